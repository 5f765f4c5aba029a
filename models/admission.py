"""Which events may enter: event time, lateness, far-future stamps, duplicates.

What lives here: the event-time clock of one input partition and the verdict on each row. What does not: anything
about accounts or content. One wrong stamp must not move the clock (it would make every honest event late), so a row
more than ``JUMP_MS`` ahead waits until later rows confirm the jump or refute it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from models.compiled import jit
from models.table import Table, find, insert

SLICE_MS = 10_000
"""Length of a slice, the grain at which later operators evaluate."""
LATENESS_MS = 120_000
"""How far behind the newest event of its partition an event may be and still count."""
JUMP_MS = 3_600_000
CONFIRM_ROWS = 16  # this many waiting rows, each within one jump of the next: the gap in the traffic was real
REFUTE_ROWS = 3  # this many ordinary rows after a waiting one: its stamp was wrong
HELD_ROWS_MAX = 256
UNSET = -(1 << 60)

ACCEPTED, DUPLICATE, LATE = 0, 1, 2
_SEEN = np.dtype([("key", "u8"), ("ts", "i8")])


def watermark_of(newest_ms: int) -> int:
    """The slice start before which nothing more is awaited once ``newest_ms`` was seen."""
    return (newest_ms - LATENESS_MS) // SLICE_MS * SLICE_MS if newest_ms != UNSET else UNSET


@jit
def _reach(ts: npt.NDArray[np.int64]) -> tuple[int, int]:
    """How many stamps follow the lowest one in steps of at most one jump, and the last of them.

    Steps, and not the distance to the lowest: a quiet partition may take hours to bring ``CONFIRM_ROWS``.
    """
    ordered = np.sort(ts)
    count = 1
    while count < ordered.shape[0] and ordered[count] <= ordered[count - 1] + JUMP_MS:
        count += 1
    return count, ordered[count - 1]


@jit
def _judge_jumps(
    ts: npt.NDArray[np.int64], waiting: int, state: npt.NDArray[np.int64], order: npt.NDArray[np.int64]
) -> tuple[int, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Order the admissible rows; the first ``waiting`` rows were held before. ``state`` is [newest, refuting rows]."""
    held = np.arange(ts.shape[0])
    held_count = waiting
    rejected = np.zeros(ts.shape[0], np.int64)
    rejected_count = 0
    ordered = 0
    for row in range(waiting, ts.shape[0]):
        if ts[row] <= state[0] + JUMP_MS:
            order[ordered] = row
            ordered += 1
            state[0] = max(state[0], ts[row])
            state[1] += 1
            if held_count > 0 and state[1] >= REFUTE_ROWS:
                rejected[rejected_count : rejected_count + held_count] = held[:held_count]
                rejected_count += held_count
                held_count = 0
            continue
        state[1] = 0
        held[held_count] = row
        held_count += 1
        near, reach = _reach(ts[held[:held_count]])
        if near < CONFIRM_ROWS and held_count < HELD_ROWS_MAX:
            continue
        left = 0
        for index in range(held_count):
            candidate = held[index]
            if ts[candidate] <= reach:
                order[ordered] = candidate
                ordered += 1
                state[0] = max(state[0], ts[candidate])
            else:
                held[left] = candidate
                left += 1
        held_count = left
    return ordered, held[:held_count].copy(), rejected[:rejected_count].copy()


@jit
def _admit(
    ts: npt.NDArray[np.int64],
    event: npt.NDArray[np.uint64],
    newest: int,
    seen: Any,
    index: npt.NDArray[np.int32],
    count: npt.NDArray[np.int64],
) -> npt.NDArray[np.uint8]:
    """One verdict a row; ``seen`` gains the accepted events."""
    verdicts = np.zeros(ts.shape[0], np.uint8)
    keys = seen["key"]
    stamps = seen["ts"]
    for row in range(ts.shape[0]):
        newest = max(newest, ts[row])
        watermark = (newest - LATENESS_MS) // SLICE_MS * SLICE_MS
        if ts[row] < watermark:
            verdicts[row] = LATE
            continue
        at = find(index, keys, event[row])
        if at >= 0 and stamps[at] >= watermark:
            verdicts[row] = DUPLICATE
            continue
        if at < 0:
            at = count[0]
            keys[at] = event[row]
            insert(index, event[row], at)
            count[0] = at + 1
        stamps[at] = ts[row]
    return verdicts


@dataclass(slots=True)
class Admitted:
    """Row numbers of the judged batch: ``order`` are admitted in sequence, the rest is accounted for by name."""

    order: npt.NDArray[np.int64]
    duplicate: int
    late: int
    future: npt.NDArray[np.int64]
    held: npt.NDArray[np.int64]


class Admission:
    """The event-time clock and the duplicate memory of one input partition."""

    def __init__(self) -> None:
        self.newest_ms = UNSET
        self._refuting = 0
        self.seen = Table(_SEEN)

    @property
    def watermark_ms(self) -> int:
        """No event before this time is awaited any more."""
        return watermark_of(self.newest_ms)

    def judge(
        self, ts: npt.NDArray[np.int64], event: npt.NDArray[np.uint64], waiting: int, *, last: bool = False
    ) -> Admitted:
        """Judge a batch whose first ``waiting`` rows were held by the call before.

        An event id is remembered for as long as its stamp could still be admitted, so a repeat is either a duplicate
        or late, whenever it comes; a later event under a forgotten id is new. With ``last`` nothing follows, and rows
        still waiting are admitted.
        """
        before = self.newest_ms
        rows = np.arange(len(ts))
        held = future = rows[:0]
        if waiting or (len(ts) and (before == UNSET or int(ts.max()) > before + JUMP_MS)):
            state = np.array([before, self._refuting], np.int64)
            order = np.zeros(len(ts), np.int64)
            ordered, held, future = _judge_jumps(ts, waiting, state, order)
            rows = order[:ordered]
            self.newest_ms, self._refuting = int(state[0]), int(state[1])
        if last and len(held):
            rows = np.concatenate([rows, held[np.argsort(ts[held], kind="stable")]])
            held = held[:0]
        if len(rows):
            self.newest_ms = max(self.newest_ms, int(ts[rows].max()))
        if len(self.seen) > 4_096:
            stale = self.seen.rows["ts"] < watermark_of(before)
            if 2 * int(stale.sum()) > len(self.seen):
                self.seen.keep(~stale)
        self.seen.reserve(len(rows))
        verdicts = _admit(ts[rows], event[rows], before, self.seen.records, self.seen.index, self.seen.count)
        late, duplicate = int((verdicts == LATE).sum()), int((verdicts == DUPLICATE).sum())
        return Admitted(rows[verdicts == ACCEPTED] if late or duplicate else rows, duplicate, late, future, held)

    def snapshot(self) -> tuple[dict[str, int], npt.NDArray[np.void]]:
        """The clock, and the remembered events in a canonical order."""
        rows = self.seen.rows[self.seen.rows["ts"] >= self.watermark_ms]
        return {"newest_ms": self.newest_ms, "refuting": self._refuting}, np.sort(rows, order="key")

    def restore(self, meta: dict[str, int], rows: npt.NDArray[np.void]) -> None:
        """Take over what ``snapshot`` gave."""
        self.newest_ms, self._refuting = meta["newest_ms"], meta["refuting"]
        self.seen.load(rows)
