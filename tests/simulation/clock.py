"""An event loop on simulated time: nothing waits for real, and a run is decided by its seed alone.

What lives here: the loop. What does not: what happens in it. A loop with nothing left to wait for is a deadlock of the
code under test, and says so.
"""

from __future__ import annotations

import asyncio
import selectors
from typing import Any


class _Skip(selectors.BaseSelector):
    """Moves the clock to the next timer in place of waiting for sockets, of which there are none."""

    def __init__(self, loop: SimulatedLoop) -> None:
        self._loop = loop
        self._inner = selectors.DefaultSelector()

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise RuntimeError("deadlock: every task waits and no timer is left")
        self._loop.now_s += max(0.0, timeout)
        return []

    def register(self, fileobj: Any, events: int, data: Any = None) -> Any:
        return self._inner.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> Any:
        return self._inner.unregister(fileobj)

    def close(self) -> None:
        self._inner.close()

    def get_map(self) -> Any:
        return self._inner.get_map()


class SimulatedLoop(asyncio.SelectorEventLoop):
    """An event loop whose time is a number."""

    def __init__(self) -> None:
        self.now_s = 1_000.0
        super().__init__(_Skip(self))

    def time(self) -> float:
        return self.now_s
