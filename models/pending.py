"""Rows that wait for the watermark: what makes later operators independent of arrival order.

What lives here: the buffer of rows not yet complete, and the bookkeeping of the sources that feed an operator. What
does not: what the rows mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from models.admission import UNSET
from models.compiled import jit, jit_part
from models.sighting import SIGHTING, SightingBatch
from models.wire import pack, unpack

VERSION = 1
PARTS_MAX = 256
"""More parts than this are written as one."""
MOVES_PER_ROW = 16
"""Rows further out of order than this on average are sorted instead."""


class Pending:
    """Rows by the time they count; given out slice by slice in the canonical order (time, event, account).

    Each batch is put in order as it comes, so that a release cuts it in two without moving what stays: minutes of
    rows wait while seconds of them are due.
    """

    def __init__(self) -> None:
        self._batches: list[SightingBatch] = []  # each in canonical order
        self._new: list[SightingBatch] | None = None  # those of them that came since the last cut, once there was one
        self._parts: list[tuple[int, int, int]] = []  # number, newest time in it, watermark when it was cut

    def __len__(self) -> int:
        return sum(len(batch) for batch in self._batches)

    def add(self, batch: SightingBatch) -> None:
        """Keep ``batch`` until the watermark has passed its rows."""
        if len(batch):
            batch = _ordered(batch)
            self._batches.append(batch)
            if self._new is not None:
                self._new.append(batch)

    def release(self, watermark_ms: int) -> SightingBatch:
        """All rows that count before ``watermark_ms``, in canonical order; they are kept no longer."""
        due = [batch.part(0, _until(batch, watermark_ms)) for batch in self._batches]
        self._batches = _after(self._batches, watermark_ms)
        if self._new is not None:
            self._new = _after(self._new, watermark_ms)
        return _ordered(SightingBatch.concat([batch for batch in due if len(batch)]))

    def all(self) -> SightingBatch:
        """Everything held, for a snapshot."""
        return _ordered(SightingBatch.concat(self._batches))

    def load(self, batch: SightingBatch) -> None:
        """Hold exactly ``batch``."""
        self._batches = []
        self.add(batch)

    def cut(self, watermark_ms: int, fresh: dict[str, bytes]) -> list[str]:
        """What is held, in parts by when it came: those not written before into ``fresh``, the names of all given.

        ``watermark_ms`` is that of the last release: it tells which rows of a part are gone.
        """
        held = [part for part in self._parts if part[1] >= watermark_ms or part[2] == watermark_ms]
        new = self._batches if self._new is None or len(held) >= PARTS_MAX else self._new
        self._parts, self._new = held if new is self._new else [], []
        if rows := _ordered(SightingBatch.concat(new)):
            number = 1 + max((part[0] for part in held), default=-1)
            fresh[f"pending/{number}"] = pack("pending", VERSION, {"at": watermark_ms}, rows_of(rows))
            self._parts.append((number, int(rows.rows["at"][-1]), watermark_ms))
        return [f"pending/{number}" for number, _, _ in self._parts]

    def join(self, parts: Mapping[str, bytes], watermark_ms: int) -> None:
        """Take over what ``cut`` gave; raises WireError where it cannot be read."""
        self._batches, self._parts, self._new = [], [], []
        for name, data in parts.items():
            if name.startswith("pending/"):
                meta, arrays = unpack(data, "pending", VERSION)
                batch = SightingBatch(arrays["rows"].view(SIGHTING), arrays["keys"], arrays["offsets"])
                self._parts.append((int(name.rpartition("/")[2]), int(batch.rows["at"][-1]), meta["at"]))
                left = [batch] if meta["at"] == watermark_ms else _after([batch], watermark_ms)
                self._batches += left


def rows_of(batch: SightingBatch) -> dict[str, npt.NDArray[Any]]:
    """A batch as arrays of a message."""
    return {"rows": batch.rows.view(np.uint8), "keys": batch.keys, "offsets": batch.offsets}


def _until(batch: SightingBatch, watermark_ms: int) -> int:
    return int(np.searchsorted(batch.rows["at"], watermark_ms))


def _after(batches: list[SightingBatch], watermark_ms: int) -> list[SightingBatch]:
    """What of ordered ``batches`` counts at ``watermark_ms`` or later."""
    left = [batch.part(end, len(batch)) if (end := _until(batch, watermark_ms)) else batch for batch in batches]
    return [batch for batch in left if len(batch)]


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
