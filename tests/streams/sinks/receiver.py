"""A receiver on this machine that notes what it is sent and answers as it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
from aiohttp import web


@dataclass
class Receiver:
    """``answers`` are given in order, the last one from then on."""

    answers: list[Callable[[], web.Response]] = field(default_factory=lambda: [lambda: web.Response(status=202)])
    seen: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    url: str = ""

    async def handle(self, request: web.Request) -> web.Response:
        self.seen.append((dict(request.headers), await request.read()))
        return self.answers[min(len(self.seen), len(self.answers)) - 1]()

    def bodies(self) -> list[Any]:
        return [msgspec.json.decode(body) for _, body in self.seen]

    async def until(self, count: int, timeout_s: float = 20.0) -> None:
        """Wait until so many requests have come."""
        async with asyncio.timeout(timeout_s):
            while len(self.seen) < count:
                await asyncio.sleep(0.01)


@asynccontextmanager
async def receiving(*statuses: int, **headers: str) -> AsyncIterator[Receiver]:
    """A running receiver that answers with these statuses."""
    answers = [lambda status=status: web.Response(status=status, headers=headers) for status in statuses or (202,)]
    receiver = Receiver(answers)
    application = web.Application()
    application.router.add_route("*", "/{rest:.*}", receiver.handle)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield receiver
    finally:
        await runner.cleanup()
