"""Groups: rows in the order of a number or a hash, distinct values, and distinct pairs; kernels, each one pass or two.

What lives here: ordering and counting that knows nothing of what the numbers mean. What does not: an index that grows
(``table``). A general sort of a million hashes costs more than everything that is then read off it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from models.compiled import jit

FEW = 32
"""Values that are put in order by moving each to its place, which is cheaper than any call to sort."""
FIRST_DIGIT = 9
"""Bits: more places to write to at once than this are more than the cache keeps open."""

Ints = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]
Slots = npt.NDArray[np.int32]


@jit
def by_number(numbers: Any, count: int) -> tuple[Ints, Ints]:
    """The places of each number below ``count``, in their order, and where each number's begin; others are left out."""
    starts = np.zeros(count + 2, np.int64)
    for at in range(numbers.shape[0]):
        if numbers[at] >= 0:
            starts[numbers[at] + 2] += 1
    for number in range(count):
        starts[number + 2] += starts[number + 1]
    found = np.empty(starts[count + 1], np.int64)
    for at in range(numbers.shape[0]):
        if numbers[at] >= 0:
            found[starts[numbers[at] + 1]] = at
            starts[numbers[at] + 1] += 1
    return found, starts[: count + 1]


@jit
def _put_in_order(values: Hashes, places: Ints) -> None:
    """Sort ``values``, and ``places`` with them; equal ones stay in their order."""
    if values.shape[0] > FEW:
        order = np.argsort(values, kind="mergesort")
        values[:] = values[order]
        places[:] = places[order]
        return
    for at in range(1, values.shape[0]):
        value, place = values[at], places[at]
        to = at
        while to > 0 and values[to - 1] > value:
            values[to], places[to] = values[to - 1], places[to - 1]
            to -= 1
        values[to], places[to] = value, place


@jit
def _bucketed(values: Hashes, places: Ints, digit: tuple[int, int], to: tuple[Hashes, Ints], starts: Ints) -> None:
    """Put ``values`` and their ``places`` into ``to`` by their digit = (bits above it, its bits); where each begins."""
    above, bits = digit
    shift, mask = np.uint64(64 - above - bits), np.uint64((1 << bits) - 1)
    starts[: (1 << bits) + 2] = 0
    for at in range(values.shape[0]):
        starts[np.int64((values[at] >> shift) & mask) + 2] += 1
    for bucket in range(1 << bits):
        starts[bucket + 2] += starts[bucket + 1]
    for at in range(values.shape[0]):
        after = np.int64((values[at] >> shift) & mask) + 1
        to[0][starts[after]], to[1][starts[after]] = values[at], places[at]
        starts[after] += 1


@jit
def by_hash(hashes: Any, picked: Ints) -> Ints:
    """``picked`` in ascending order of their ``hashes``; those of one hash in the order in which they come.

    Hashes are spread evenly over their range, so their highest bits nearly sort them. They are read in two digits:
    what the second one moves about is few enough to stay in the cache.
    """
    count = picked.shape[0]
    bits = 2
    while bits < 24 and (4 << bits) < count:
        bits += 1
    high = min(bits - 1, FIRST_DIGIT)
    values, places = np.empty(count, np.uint64), np.empty(count, np.int64)
    parted, parted_places = np.empty(count, np.uint64), np.empty(count, np.int64)
    starts, within = np.empty((1 << high) + 2, np.int64), np.empty((1 << (bits - high)) + 2, np.int64)
    for at in range(count):
        values[at] = hashes[picked[at]]
    _bucketed(values, picked, (0, high), (parted, parted_places), starts)
    for bucket in range(1 << high):
        first, end = starts[bucket], starts[bucket + 1]
        mine = values[first:end], places[first:end]
        _bucketed(parted[first:end], parted_places[first:end], (high, bits - high), mine, within)
        for at in range(1 << (bits - high)):
            if within[at + 1] - within[at] > 1:
                _put_in_order(mine[0][within[at] : within[at + 1]], mine[1][within[at] : within[at + 1]])
    return places


@jit
def slots_for(count: int) -> Slots:
    """An empty table for ``first_place`` with room for ``count`` values."""
    size = 16
    while size < 2 * count:
        size *= 2
    return np.full(size, -1, np.int32)


@jit
def first_place(slots: Slots, values: Any, at: int) -> int:
    """The first place that holds the value of ``at``; ``at`` itself, which is then entered, where none did."""
    # Networks are numbers beside one another, not hashes: unmixed they would all queue for the same few slots.
    value = values[at]
    folded = np.int64((value ^ (value >> np.uint64(32))) & np.uint64(0x7FFFFFFF))
    mask = slots.shape[0] - 1
    slot = (folded * 0x5BD1E995 >> 16) & mask
    while slots[slot] != -1:
        if values[slots[slot]] == value:
            return int(slots[slot])
        slot = (slot + 1) & mask
    slots[slot] = at
    return at


@jit
def different(values: Any) -> int:
    """How many different values there are."""
    slots = slots_for(values.shape[0])
    count = 0
    for at in range(values.shape[0]):
        count += first_place(slots, values, at) == at
    return count


@jit
def distinct(groups: Ints, values: Any) -> tuple[Ints, Ints, Ints]:
    """Distinct (group, value) pairs, ascending, and how often each occurs; ``groups`` come in ascending order."""
    count = groups.shape[0]
    who, what, uses = np.empty(count, np.int64), np.empty(count, np.int64), np.zeros(count, np.int64)
    found = first = 0
    while first < count:
        end = first + 1
        while end < count and groups[end] == groups[first]:
            end += 1
        begin = found
        mine = values[first:end] if end - first <= FEW else np.sort(values[first:end])
        for value in mine:
            to = found
            while to > begin and what[to - 1] > value:
                to -= 1
            if to > begin and what[to - 1] == value:
                uses[to - 1] += 1
                continue
            for later in range(found, to, -1):
                what[later], uses[later] = what[later - 1], uses[later - 1]
            who[found], what[to], uses[to] = groups[first], value, 1
            found += 1
        first = end
    return who[:found], what[:found], uses[:found]


@jit
def numbered(values: Any, scratch: npt.NDArray[np.int32]) -> tuple[Ints, Ints]:
    """The different values, ascending, and the number of each among them; ``scratch`` is -1 for each possible value."""
    known = np.empty(values.shape[0], np.int64)
    count = 0
    for value in values:
        if scratch[value] < 0:
            scratch[value] = 0
            known[count] = value
            count += 1
    known = np.sort(known[:count])
    for number in range(count):
        scratch[known[number]] = number
    numbers = np.empty(values.shape[0], np.int64)
    for at in range(values.shape[0]):
        numbers[at] = scratch[values[at]]
    for value in known:
        scratch[value] = -1
    return known, numbers
