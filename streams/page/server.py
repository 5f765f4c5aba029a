"""The server of the live page: its own thread and event loop, loopback only, read only.

What lives here: routes, headers, the stream of changes. What does not: what the state means (``state``).

A browser tab gets the whole state once and then, at most four times a second, the fields that changed. No
route changes anything, so there is nothing to forge; the check of the Host header keeps a foreign web site
that points its own name at this address from reading the page.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Mapping
from importlib import resources
from typing import Any

from aiohttp import web

from models.errors import ConfigError
from streams.page.state import PageState, Parts, encode_state, join_parts

STREAM_GAP_S = 0.25
"""Least time between two messages to one tab: four a second look live, and more only cost the engine."""
HEARTBEAT_S = 10.0
"""A comment line this often keeps idle streams open and finds tabs that are gone."""
STREAMS_MAX = 32
START_TIMEOUT_S = 10.0
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
FILES = {
    "page.css": "text/css",
    "page.js": "text/javascript",
    "dom.js": "text/javascript",
    "chart.js": "text/javascript",
    "alert.js": "text/javascript",
}
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class LivePage:
    """A local page that shows what ``publish`` was last given.

    ``start``, ``stop`` and ``publish`` may be called from any thread. Port 0 takes a free port; ``url`` is
    known after ``start``.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        if host not in LOOPBACK:
            raise ConfigError(f"the live page has no sign-in and serves this machine only: use 127.0.0.1, not {host!r}")
        self._host = host
        self._port = port
        self._parts: Parts = encode_state(PageState())
        self._wakes: set[asyncio.Event] = set()
        self._ready = threading.Event()
        self._failure: OSError | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._thread: threading.Thread | None = None
        self._files = {name: resources.files(__package__).joinpath(name).read_bytes() for name in FILES}
        self._html = resources.files(__package__).joinpath("page.html").read_bytes()

    @property
    def url(self) -> str:
        """Address of the page, for people."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}/"

    def start(self) -> None:
        """Serve from a thread of its own; returns when the port is bound.

        Raises:
            ConfigError: the port cannot be bound.
        """
        if self._thread is not None:
            return
        self._ready.clear()
        self._failure = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="live-page", daemon=True)
        self._thread.start()
        bound = self._ready.wait(START_TIMEOUT_S)
        if self._failure is not None or not bound:
            failure, self._thread = self._failure, None
            raise ConfigError(f"the live page cannot listen on port {self._port}: choose another, or 0") from failure

    def stop(self) -> None:
        """Send every tab what it has not seen yet, close, and join the thread; harmless twice."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        loop, stopping = self._loop, self._stopping
        if loop is not None and stopping is not None:
            with contextlib.suppress(RuntimeError):  # the loop closed by itself in the meantime
                loop.call_soon_threadsafe(stopping.set)
        thread.join(START_TIMEOUT_S)

    def publish(self, state: PageState | Mapping[str, Any]) -> None:
        """Show ``state`` from now on; it is copied before this returns, and never waits for a browser.

        Encoding costs about a millisecond at a hundred alerts, so call it a few times a second, not per batch.

        Raises:
            msgspec.ValidationError: see `encode_state`.
        """
        self._parts = encode_state(state)
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # published after stop: nobody is left to tell
                loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        for wake in self._wakes:
            wake.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        app = web.Application(middlewares=[_guard])
        app.router.add_get("/", self._page)
        app.router.add_get("/static/{name}", self._file)
        app.router.add_get("/state", self._state)
        app.router.add_get("/stream", self._stream)
        app.router.add_get("/favicon.ico", _no_icon)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=2.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self._port).start()
            self._port = runner.addresses[0][1]
        except OSError as failure:
            self._failure = failure
            self._stopping.set()
        self._ready.set()
        await self._stopping.wait()
        self._wake()
        await runner.cleanup()
        self._loop = None

    async def _page(self, request: web.Request) -> web.Response:
        return web.Response(body=self._html, content_type="text/html", charset="utf-8")

    async def _file(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in FILES:
            raise web.HTTPNotFound
        return web.Response(body=self._files[name], content_type=FILES[name], charset="utf-8")

    async def _state(self, request: web.Request) -> web.Response:
        return web.Response(body=join_parts(self._parts), content_type="application/json")

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        if len(self._wakes) >= STREAMS_MAX:
            raise web.HTTPServiceUnavailable(text="too many open pages")
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        response.headers.update(HEADERS)
        wake = asyncio.Event()
        self._wakes.add(wake)
        try:
            await response.prepare(request)
            await response.write(b"retry: 1000\n\n")
            await self._follow(response, wake)
        except ConnectionResetError:
            return response  # the tab was closed: nothing was lost, it held no state of ours
        finally:
            self._wakes.discard(wake)
        return response

    async def _follow(self, response: web.StreamResponse, wake: asyncio.Event) -> None:
        """Write what changed since the last message until the server stops."""
        assert self._stopping is not None  # noqa: S101 - set before the first route exists
        sent: Parts = {}
        while True:
            parts = self._parts
            changed = {name: text for name, text in parts.items() if sent.get(name) != text}
            sent = parts
            if changed:
                await response.write(b"data: %s\n\n" % join_parts(changed))
            if self._stopping.is_set():
                await response.write(b"event: bye\ndata: {}\n\n")
                return
            await asyncio.sleep(STREAM_GAP_S)
            try:
                await asyncio.wait_for(wake.wait(), HEARTBEAT_S)
            except TimeoutError:
                await response.write(b": still here\n\n")
            wake.clear()


@web.middleware
async def _guard(request: web.Request, handler: Any) -> web.StreamResponse:
    """Refuse foreign Host headers (DNS rebinding), and put the safety headers on every plain answer."""
    name = request.host if request.host.endswith("]") else request.host.rsplit(":", 1)[0]
    if name.strip("[]") not in LOOPBACK:
        raise web.HTTPMisdirectedRequest(text="this page answers to its own address only", headers=HEADERS)
    try:
        response: web.StreamResponse = await handler(request)
    except web.HTTPException as answer:
        answer.headers.update(HEADERS)
        raise
    if not response.prepared:
        response.headers.update(HEADERS)
    return response


async def _no_icon(request: web.Request) -> web.Response:
    return web.Response(status=204)
