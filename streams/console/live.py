"""Live updates: server-sent events that say that something changed, never what.

What lives here: the tabs that listen. What does not: what they show; a tab loads its own page again and puts in what
is new, so there is one way only in which a page is made.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
from aiohttp import web

from streams.console.guard import HEADERS, Refusal

TABS_MAX = 64
GAP_S = 0.5
"""Least time between two messages to one tab: twice a second looks live, and each costs a page."""
HEARTBEAT_S = 10.0


class Beat(msgspec.Struct, frozen=True):
    """One message: a number that grows, and a sentence for screen readers where an alert is new."""

    version: int
    open: int
    said: str = ""


class Live:
    """The open streams. ``wake`` after a change; ``close`` tells every tab that the console ends.

    A stream outlives the request that began it, so ``known`` is asked again before every message.
    """

    def __init__(self, beat: Callable[[int], Beat], known: Callable[[web.Request], bool]) -> None:
        self._beat = beat
        self._known = known
        self._version = 0
        self._wakes: set[asyncio.Event] = set()
        self._closing = False

    @property
    def tabs(self) -> int:
        """How many tabs listen."""
        return len(self._wakes)

    def wake(self) -> None:
        """Something changed."""
        self._version += 1
        for wake in self._wakes:
            wake.set()

    def close(self) -> None:
        """End every stream with a word of farewell."""
        self._closing = True
        self.wake()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """One tab's stream, until it or the console goes."""
        if len(self._wakes) >= TABS_MAX:
            raise Refusal(503, f"{TABS_MAX} tabs are open already. Close some; this one can still be reloaded by hand.")
        response = web.StreamResponse(headers={**HEADERS, "Content-Type": "text/event-stream; charset=utf-8"})
        wake = asyncio.Event()
        self._wakes.add(wake)
        try:
            await response.prepare(request)
            await response.write(b"retry: 2000\n\n")
            await self._follow(request, response, wake)
        except ConnectionResetError:
            return response  # the tab is gone
        finally:
            self._wakes.discard(wake)
        return response

    async def _follow(self, request: web.Request, response: web.StreamResponse, wake: asyncio.Event) -> None:
        while self._known(request):
            await response.write(b"data: %s\n\n" % msgspec.json.encode(self._beat(self._version)))
            if self._closing:
                await response.write(b"event: bye\ndata: {}\n\n")
                return
            await asyncio.sleep(GAP_S)
            while not wake.is_set():
                try:
                    await asyncio.wait_for(wake.wait(), HEARTBEAT_S)
                except TimeoutError:
                    await response.write(b": still here\n\n")
            wake.clear()
