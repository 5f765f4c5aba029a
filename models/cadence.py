"""When the next evaluation is due, beside growth and arrivals: new text soon, known text at leisure.

What lives here: what has come since the last evaluation, and how much of it asks for another. What does not: the
moments at which Campaigns asks (``campaigns``). An evaluation reads everything that is covered, so where that is much
its cost is held to what has come: each covered request is read some two dozen times in its day, whatever the fleet's
size. Time is that of the events and nothing is measured, so replay asks at the same moments.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from models.fanin_kernel import WINDOW_MS

KNOWN_PERIOD_MS = 1_800_000
LARGE_PERIOD_MS = 3_600_000
"""The longest wait where covered requests are many, with a look to spare below the life of an early signal."""
NOVEL_MIN = 32  # rows of text that was unknown when the watch had settled
FREE = 1 << 18  # covered requests up to which an evaluation costs next to nothing
PART = 1 / 24  # of the covered requests must be new where they are more; in an even day that is an hour of it
NOVEL_PART = 1 / 8
"""Of the new text of a day: a campaign's first minutes are more than that, and a fleet's usual fashions are not."""


@dataclass(slots=True)
class Cadence:
    """What has come since the last evaluation; ``usual`` is the novel rows of a day, older ones counting less."""

    rows: int = 0
    novel: int = 0
    usual: float = 0.0

    def add(self, rows: int, novel: int) -> None:
        """Count rows as they are covered."""
        self.rows += rows
        self.novel += novel

    def begin(self, waited_ms: int) -> None:
        """An evaluation ``waited_ms`` after the one before."""
        kept = math.exp(-min(waited_ms, 100 * WINDOW_MS) / WINDOW_MS)
        self.usual = self.usual * kept + self.novel
        self.rows = self.novel = 0

    def is_due(self, covered: int, waited_ms: int) -> bool:
        """Whether to evaluate ``covered`` requests after ``waited_ms``."""
        large = covered > FREE
        if self.novel >= max(NOVEL_MIN, NOVEL_PART * self.usual if large else 0.0):
            return True
        enough = not large or self.rows >= PART * covered or waited_ms >= LARGE_PERIOD_MS
        return enough and waited_ms >= KNOWN_PERIOD_MS

    def snapshot(self) -> list[float]:
        """What ``restore`` needs."""
        return [self.rows, self.novel, self.usual]

    def restore(self, kept: list[float]) -> None:
        """Take over what ``snapshot`` gave."""
        self.rows, self.novel, self.usual = int(kept[0]), int(kept[1]), float(kept[2])
