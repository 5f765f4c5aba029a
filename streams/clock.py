"""The time of day that never goes back within a process, whatever is done to the machine's clock.

What lives here: the one clock of lifetimes and due times. What does not: spans, which the monotonic clock measures
alone, and event time, which is in the events.
"""

from __future__ import annotations

import time
from collections.abc import Callable


class Clock:
    """Milliseconds since the epoch; a clock that is set back goes on from where it was, at its usual pace."""

    def __init__(self, wall_s: Callable[[], float] = time.time, steady_s: Callable[[], float] = time.monotonic) -> None:
        self._wall_s, self._steady_s = wall_s, steady_s
        self._now_s, self._then_s = wall_s(), steady_s()

    def now_ms(self) -> int:
        """The time of day, or later where that was set back."""
        steady_s = self._steady_s()
        self._now_s = max(self._wall_s(), self._now_s + steady_s - self._then_s)
        self._then_s = steady_s
        return int(self._now_s * 1000)


wall_ms = Clock().now_ms
"""The clock of this process."""
