"""Rows that wait for the watermark: what makes later operators independent of arrival order.

What lives here: the buffer of rows not yet complete, and the bookkeeping of the sources that feed an operator. What
does not: what the rows mean.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from models.admission import UNSET
from models.compiled import jit, jit_part
from models.sighting import SightingBatch

MOVES_PER_ROW = 16
"""Rows further out of order than this on average are sorted instead."""


class Pending:
    """Rows by the time they count; given out slice by slice in the canonical order (time, event, account).

    Each batch is put in order as it comes, so that a release cuts it in two without moving what stays: minutes of
    rows wait while seconds of them are due.
    """

    def __init__(self) -> None:
        self._batches: list[SightingBatch] = []  # each in canonical order

    def __len__(self) -> int:
        return sum(len(batch) for batch in self._batches)

    def add(self, batch: SightingBatch) -> None:
        """Keep ``batch`` until the watermark has passed its rows."""
        if len(batch):
            self._batches.append(_ordered(batch))

    def release(self, watermark_ms: int) -> SightingBatch:
        """All rows that count before ``watermark_ms``, in canonical order; they are kept no longer."""
        due, kept = [], []
        for batch in self._batches:
            end = int(np.searchsorted(batch.rows["at"], watermark_ms))
            if end:
                due.append(batch.part(0, end))
            if end < len(batch):
                kept.append(batch.part(end, len(batch)))
        self._batches = kept
        return _ordered(SightingBatch.concat(due))

    def all(self) -> SightingBatch:
        """Everything held, for a snapshot."""
        return _ordered(SightingBatch.concat(self._batches))

    def load(self, batch: SightingBatch) -> None:
        """Hold exactly ``batch``."""
        self._batches = []
        self.add(batch)


def _ordered(batch: SightingBatch) -> SightingBatch:
    """``batch`` in canonical order; itself where it is so already."""
    order = np.arange(len(batch))
    moved = _settle(batch.rows, order, MOVES_PER_ROW * len(batch))
    if moved < 0:
        order = np.lexsort((batch.rows["account"], batch.rows["event"], batch.rows["at"]))
    return batch if moved == 0 else batch.take(order)


@jit_part
def _precedes(one: Any, other: Any) -> bool:
    """Whether ``one`` stands before ``other`` in the order by time, request and account."""
    if one["at"] != other["at"]:
        return bool(one["at"] < other["at"])
    if one["event"] != other["event"]:
        return bool(one["event"] < other["event"])
    return bool(one["account"] < other["account"])


@jit
def _settle(rows: Any, order: npt.NDArray[np.int64], moves_max: int) -> int:
    """Put ``order``, at first 0, 1, 2 and so on, in canonical order by moving rows forward one place at a time.

    Returns how many moves that took, which for rows that arrive nearly in order are few, or -1 beyond ``moves_max``.
    """
    moves = 0
    for at in range(1, order.shape[0]):
        place, row = at, order[at]
        while place > 0 and _precedes(rows[row], rows[order[place - 1]]):
            order[place] = order[place - 1]
            place -= 1
        order[place] = row
        moves += at - place
        if moves > moves_max:
            return -1
    return moves


@dataclass(slots=True)
class Sources:
    """How far each upstream partition has come: the last envelope folded, its watermark, whether it is idle."""

    expected: int
    sequence: dict[str, int] = field(default_factory=dict)
    watermark: dict[str, int] = field(default_factory=dict)
    idle: dict[str, bool] = field(default_factory=dict)

    def accept(self, source: str, sequence: int) -> bool:
        """Whether this envelope is new; a repeat after a crash upstream is not."""
        if sequence <= self.sequence.get(source, -1):
            return False
        self.sequence[source] = sequence
        return True

    def update(self, source: str, watermark_ms: int, *, idle: bool = False) -> None:
        """Note a source's watermark, which never goes back; an idle source holds nobody up."""
        self.watermark[source] = max(watermark_ms, self.watermark.get(source, UNSET))
        self.idle[source] = idle

    @property
    def watermark_ms(self) -> int:
        """The least watermark of all sources that are not idle, or of all once every source is idle."""
        if len(self.watermark) < self.expected:
            return UNSET
        live = [value for source, value in self.watermark.items() if not self.idle.get(source, False)]
        return min(live) if live else max(self.watermark.values(), default=UNSET)

    @property
    def all_idle(self) -> bool:
        """Whether every expected source is idle: what is known is all there is for now."""
        return len(self.idle) >= self.expected and all(self.idle.values())
