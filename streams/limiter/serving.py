"""What the HTTP servers of limiter and intake share: who may call, JSON answers, listening, waiting for the end.

What lives here: that, and nothing of what they answer.
"""

from __future__ import annotations

import asyncio
import hmac
import signal
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from aiohttp import web
from aiohttp.typedefs import Middleware

from models.errors import ConfigError
from streams.config import LOOPBACK, HttpSettings, Secret
from streams.openapi import Problem

OPEN_PATHS = ("/-/", "/healthz", "/readyz", "/metrics")
"""Health and metrics need no token: they name no account."""


def check_exposure(http: HttpSettings, token: Secret | None, name: str) -> None:
    """Refuse to serve beyond this machine without a token.

    Raises:
        ConfigError: with the name of the setting that is missing.
    """
    if http.host not in LOOPBACK and token is None:
        raise ConfigError(f"DISTILWATCH_HTTP_HOST={http.host!r}: to serve beyond this machine set {name}")


def guarded(token: Secret | None, count: Callable[[str], None]) -> Middleware:
    """A middleware that wants ``Authorization: Bearer`` or ``X-Api-Key`` with the token, where there is one.

    What goes wrong is told as JSON, whatever it is.
    """
    wanted = token.reveal().encode() if token else b""

    @web.middleware
    async def guard(request: web.Request, handler: Any) -> web.StreamResponse:
        if wanted and not request.path.startswith(OPEN_PATHS):
            bearer = request.headers.get("Authorization", "").removeprefix("Bearer ")
            given = request.headers.get("X-Api-Key", bearer).encode("utf-8", "replace")
            if not hmac.compare_digest(given, wanted):
                count("token")
                return answer_json(401, Problem("a token is needed: Authorization: Bearer TOKEN"))
        try:
            response: web.StreamResponse = await handler(request)
        except web.HTTPException as error:  # no such path, another method, a body too large: as JSON, like all else
            response = answer_json(error.status, Problem(error.reason))
            if "Allow" in error.headers:
                response.headers["Allow"] = error.headers["Allow"]
        except web.RequestPayloadError:
            response = answer_json(400, Problem("the body is not in the encoding that its headers name"))
        return response

    return guard


def answer_json(status: int, body: object, **headers: str) -> web.Response:
    """A JSON answer; names of headers are written with ``_`` for ``-``."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return web.Response(body=msgspec.json.encode(body), status=status, content_type="application/json", headers=named)


class Listener:
    """One application on one port."""

    def __init__(self, application: web.Application) -> None:
        self.port = 0
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=5)

    async def start(self, host: str, port: int) -> None:
        """Listen; port 0 becomes the port found, -1 serves nothing."""
        if port < 0:
            return
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Take no new requests and end those that run."""
        await self._runner.cleanup()


async def until_told(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Wait for SIGTERM or SIGINT, or for the end of a task that should have none, whose error is raised."""
    ended, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    asked = asyncio.create_task(ended.wait())
    done, _ = await asyncio.wait([asked, *tasks], return_when=asyncio.FIRST_COMPLETED)
    asked.cancel()
    for task in done - {asked}:
        task.result()


async def end_all(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Cancel tasks until they end: a client library may take one cancellation for a time-out of its own."""
    for _ in range(10):
        for task in tasks:
            task.cancel()
        _, running = await asyncio.wait(tasks, timeout=0.5)
        if not running:
            return
