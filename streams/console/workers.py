"""Asks the workers for their metrics and health every few seconds.

What lives here: the requests, with time-outs and bounds. What does not: what the answers mean (``fleet``). The
addresses are the operator's own settings; nothing a visitor sends can name one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

import aiohttp
import msgspec

from streams.console.fleet import Fleet, Reading, WorkersFold

POLL_S = 2.0
TIMEOUT_S = 1.5
ANSWER_BYTES_MAX = 4 << 20


class _Health(msgspec.Struct):
    components: dict[str, dict[str, str]] = {}


async def follow(urls: Sequence[str], publish: Callable[[Fleet], None]) -> None:
    """Poll until cancelled; each round is published, also one that nobody answered."""
    fold = WorkersFold()
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        while True:
            readings = await asyncio.gather(*(_ask(session, url.rstrip("/")) for url in urls))
            publish(fold.take(readings, int(time.time() * 1000)))
            await asyncio.sleep(POLL_S)


async def _ask(session: aiohttp.ClientSession, url: str) -> Reading:
    try:
        metrics = await _text(session, f"{url}/metrics")
        health = msgspec.json.decode(await _text(session, f"{url}/-/ready"), type=_Health)
    except (aiohttp.ClientError, TimeoutError, UnicodeDecodeError, msgspec.MsgspecError) as error:
        return Reading(url, None, {}, type(error).__name__)
    return Reading(url, metrics, health.components)


async def _text(session: aiohttp.ClientSession, url: str) -> str:
    """The body of an answer, whatever its status: 503 says which part is not ready."""
    async with session.get(url, allow_redirects=False) as answer:
        body = bytearray()
        async for part in answer.content.iter_chunked(1 << 16):
            body += part
            if len(body) > ANSWER_BYTES_MAX:
                raise aiohttp.ClientPayloadError("the answer is too long")
        return body.decode()
