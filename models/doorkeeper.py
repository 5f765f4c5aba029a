"""The doorkeeper: fan-in keys that only one customer has used, eight bytes each.

What lives here: the table that most keys never leave (in natural traffic about 98 % of them). A cell holds 32 bits of
the key, 16 of the customer, how far it spilled and the ten-minute slice of the last use; with the bucket number 48 bits
of the key are known, so that the table behaves like an exact map: its size changes no answer until it is full. After
the filter of the same name in TinyLFU (Einziger, Friedman, Manes 2017), with the customer in place of a count.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from models.admission import UNSET
from models.compiled import jit, jit_part

CELLS = 8  # one cache line
CHAIN = 4  # buckets a key may spill over
BITS_MIN = 16
TICKS = 0x3FFF  # the slice number is kept modulo 114 days
SHARED = 0xFFFF  # customer mark: the key has been handed on, look in the tables behind
TICK_MS = 600_000
EXPIRE_MS = 24 * 3_600_000  # a pass over all cells; must be far below the 57 days after which an age looks young again
Cells = npt.NDArray[np.uint64]

_IDENTITY = np.uint64(0xFFFFFFFF_0000C000)
"""What of a cell tells its key: the bits of the key, and how far it spilled."""
ABSENT, SAME, OTHER, HANDED_ON = 0, 1, 2, 3


@jit_part
def _customer_tag(customer: np.uint64) -> np.uint64:
    """Sixteen bits of the customer that are neither 0 nor the mark."""
    tag = (customer >> np.uint64(20)) & np.uint64(0xFFFF)
    if tag == np.uint64(0) or tag == np.uint64(SHARED):
        return np.uint64(1)
    return tag


@jit_part
def _age(tick: int, value: np.uint64) -> int:
    """Ticks since the cell's last use; a use from before it (order within the lateness) is no age."""
    age = int((tick - np.int64(value & np.uint64(TICKS))) & TICKS)
    return 0 if age > TICKS // 2 else age


@jit_part
def _spilled(step: int) -> Any:
    return np.uint64(step << 14)


@jit_part
def _cell(tag: np.uint64, owner: np.uint64, step: int, tick: int) -> Any:
    return (tag << np.uint64(32)) | (owner << np.uint64(16)) | np.uint64((step << 14) | tick)


@jit_part
def bucket_of(key: np.uint64, cells: Cells) -> np.uint64:
    """The bucket in which the search for ``key`` begins."""
    return (key >> np.uint64(16)) & np.uint64(cells.shape[0] - 1)


@jit_part
def _enter(
    cells: Cells, counts: npt.NDArray[np.int64], bucket: Any, fresh: Any, found: tuple[int, int, int], window: int
) -> int:
    """Put the key of the cell ``fresh``, which nobody knew, into its chain.

    ``found`` is (step, cell, age): the first empty cell, or the end of the chain, and the greatest age before it. A
    cell unused for longest is taken where it has expired, and where none is empty.
    """
    step, cell, oldest = found
    if step < CHAIN and oldest <= window:
        counts[0] += 1
        cells[(bucket + np.uint64(step)) & np.uint64(cells.shape[0] - 1), np.uint64(cell)] = fresh + _spilled(step)
        return ABSENT
    counts[1] += oldest <= window
    tick = int(np.int64(fresh & np.uint64(TICKS)))
    for step in range(CHAIN):
        place = (bucket + np.uint64(step)) & np.uint64(cells.shape[0] - 1)
        for cell in range(CELLS):
            if _age(tick, cells[place, np.uint64(cell)]) == oldest:
                cells[place, np.uint64(cell)] = fresh + _spilled(step)
                return ABSENT
    return ABSENT


@jit_part
def touch(
    cells: Cells, counts: npt.NDArray[np.int64], key: np.uint64, customer: np.uint64, ts: int, window: int
) -> int:
    """Note a use of ``key`` and say what was known: nobody, the same customer, another, or handed on already.

    ``counts`` is [cells ever filled, live cells evicted]; ``window`` is in ticks. After ``OTHER`` the key counts as
    handed on. Most keys are new: the way to an empty cell asks of each cell before it whether it is the key's, and
    how old the oldest is, without a branch on what is as good as random.
    """
    tag, tick, mine = key >> np.uint64(32), int((ts // TICK_MS) & TICKS), _customer_tag(customer)
    bucket, oldest = bucket_of(key, cells), -1
    for step in range(CHAIN):
        place = (bucket + np.uint64(step)) & np.uint64(cells.shape[0] - 1)
        wanted = (tag << np.uint64(32)) + _spilled(step)
        for cell in range(CELLS):
            value = cells[place, np.uint64(cell)]
            if value == np.uint64(0):
                return _enter(cells, counts, bucket, _cell(tag, mine, 0, tick), (step, cell, oldest), window)
            age = _age(tick, value)
            if (value ^ wanted) & _IDENTITY == np.uint64(0):
                owner = (value >> np.uint64(16)) & np.uint64(0xFFFF)
                state = HANDED_ON if owner == np.uint64(SHARED) else (SAME if owner == mine else OTHER)
                if age > window:
                    state, owner = ABSENT, mine
                elif state == OTHER:
                    owner = np.uint64(SHARED)
                newest = tick if age > 0 or state == ABSENT else int(np.int64(value & np.uint64(TICKS)))
                cells[place, np.uint64(cell)] = _cell(tag, owner, step, newest)
                return state
            oldest = max(oldest, age)
    return _enter(cells, counts, bucket, _cell(tag, mine, 0, tick), (CHAIN, 0, oldest), window)


@jit
def _place_of(cells: Cells, key: np.uint64) -> int:
    """The cell of ``key``, counted through all buckets, or -1."""
    identity = key >> np.uint64(16)
    tag = (identity >> np.uint64(16)) & np.uint64(0xFFFFFFFF)
    for step in range(CHAIN):
        place = np.int64((identity + np.uint64(step)) & np.uint64(cells.shape[0] - 1))
        for cell in range(CELLS):
            value = cells[place, cell]
            here = value != np.uint64(0) and np.int64((value >> np.uint64(14)) & np.uint64(3)) == step
            if here and value >> np.uint64(32) == tag:
                return int(place * CELLS + cell)
    return -1


@jit
def places_of(cells: Cells, keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """The cell of each key, counted through all buckets; -1 where it has none any more."""
    places = np.empty(keys.shape[0], np.int64)
    for at in range(keys.shape[0]):
        places[at] = _place_of(cells, keys[at])
    return places


@jit
def _settle(cells: Cells, identity: np.uint64, value: np.uint64) -> bool:
    """Put the key, customer and time of ``value`` into the first free cell of its chain; False where there is none."""
    mask = np.uint64(cells.shape[0] - 1)
    owner = (value >> np.uint64(16)) & np.uint64(0xFFFF)
    for step in range(CHAIN):
        place = np.int64((identity + np.uint64(step)) & mask)
        for cell in range(CELLS):
            if cells[place, cell] == np.uint64(0):
                tick = int(np.int64(value & np.uint64(TICKS)))
                cells[place, cell] = _cell(identity >> np.uint64(16), owner, step, tick)
                return True
    return False


@jit
def _rehash(old: Cells, new: Cells, counts: npt.NDArray[np.int64], tick: int, window: int) -> None:
    """Move the live cells of ``old`` into the empty ``new``."""
    for place in range(old.shape[0]):
        for cell in range(CELLS):
            value = old[place, cell]
            if value == np.uint64(0) or _age(tick, value) > window:
                continue
            step = np.int64((value >> np.uint64(14)) & np.uint64(3))
            identity = ((value >> np.uint64(32)) << np.uint64(16)) | np.uint64((place - step) & 0xFFFF)
            counts[0 if _settle(new, identity, value) else 1] += 1


class Doorkeeper:
    """The cells and their growth: doubled while more than half are live, up to ``bytes_max``, then the oldest go."""

    def __init__(self, *, window_ms: int, bytes_max: int) -> None:
        self.window = window_ms // TICK_MS
        self._buckets_max = max(1 << BITS_MIN, bytes_max // (8 * CELLS))
        self.cells: Cells = np.zeros((1 << BITS_MIN, CELLS), np.uint64)
        self.counts = np.zeros(2, np.int64)
        self._used_ms = UNSET
        self._expired_ms = UNSET
        self._scanned_tick = UNSET
        self.rebuilds = 0  # how often cells moved, so that a place holds another key than before

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return int(self.cells.nbytes)

    def reserve(self, keys: int, now_ms: int, until_ms: int) -> None:
        """Make room for ``keys`` uses between two times, by forgetting expired keys or by growing."""
        self._used_ms = max(self._used_ms, until_ms)
        room = self.cells.size // 2
        if self.counts[0] + keys <= room:
            return
        buckets = self.cells.shape[0]
        full = 2 * buckets > self._buckets_max
        if full and now_ms // TICK_MS == self._scanned_tick:
            return  # only time frees cells of a full table, and looking for them is a pass over all
        self._scanned_tick = now_ms // TICK_MS
        tick = self._scanned_tick & TICKS
        live = int(_live(self.cells, tick, self.window))
        while live + keys > 0.35 * buckets * CELLS and 2 * buckets <= self._buckets_max:
            buckets *= 2
        if buckets != self.cells.shape[0] or self.counts[0] - live >= room // 4:
            self._rebuild(buckets, tick)

    def expire(self, now_ms: int) -> None:
        """Once a day: give memory back, and keep expired cells from looking young again as their clock comes round."""
        if now_ms - self._expired_ms < EXPIRE_MS:
            return
        self._expired_ms = now_ms
        if now_ms - self._used_ms > (self.window + 1) * TICK_MS:
            self.cells = np.zeros((1 << BITS_MIN, CELLS), np.uint64)
            self.counts[0] = 0
            self.rebuilds += 1
            return
        self.rebuilds += 1
        tick = now_ms // TICK_MS & TICKS
        live = int(_renew(self.cells, tick, self.window))
        buckets = 1 << BITS_MIN
        while live > 0.175 * buckets * CELLS:
            buckets *= 2
        if buckets < self.cells.shape[0]:
            self._rebuild(buckets, tick)

    def _rebuild(self, buckets: int, tick: int) -> None:
        old, self.cells = self.cells, np.zeros((buckets, CELLS), np.uint64)
        self.counts[0] = 0
        self.rebuilds += 1
        _rehash(old, self.cells, self.counts, tick, self.window)

    def clocks(self) -> list[int]:
        """The state beside cells and counts, for a snapshot."""
        return [self._used_ms, self._expired_ms, self._scanned_tick]

    def load(self, cells: Cells, counts: npt.NDArray[np.int64], clocks: list[int]) -> None:
        """Take over what a snapshot kept."""
        self.cells, self.counts = cells.copy(), counts.copy()
        self._used_ms, self._expired_ms, self._scanned_tick = clocks


@jit
def _live(cells: Cells, tick: int, window: int) -> int:
    count = 0
    for place in range(cells.shape[0]):
        for cell in range(CELLS):
            value = cells[place, cell]
            count += value != np.uint64(0) and _age(tick, value) <= window
    return count


@jit
def _renew(cells: Cells, tick: int, window: int) -> int:
    """Date expired cells back to just expired; returns how many live."""
    count = 0
    expired = np.uint64((tick - window - 1) & TICKS)
    for place in range(cells.shape[0]):
        for cell in range(CELLS):
            value = cells[place, cell]
            if value == np.uint64(0):
                continue
            if _age(tick, value) <= window:
                count += 1
            else:
                cells[place, cell] = (value & ~np.uint64(TICKS)) | expired
    return count
