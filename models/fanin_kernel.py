"""The compiled pass of Fan-in over sightings in canonical order.

What lives here: the path of one key use from doorkeeper to warm entry to hot entry, and what a hot key emits. What does
not: buffering and memory management (``fanin``). A *warm* key has been used by a few customers and remembers one use of
each; a *hot* key has reached ``HOT_CUSTOMERS`` and keeps rolling statistics instead.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from models.accounts import DAY_MS, HOUR_MS
from models.compiled import jit, jit_part
from models.doorkeeper import HANDED_ON, OTHER, TICK_MS, bucket_of, touch
from models.prefetch import AHEAD, prefetch
from models.sighting import FIRST_TURN
from models.table import EMPTY, find, insert
from models.words import set_bits

HOT_CUSTOMERS = 8  # distinct customers in the window at which a key counts as shared; 4 costs precision, 12 delay
WINDOW_MS = DAY_MS
EPOCH_MS = 6 * HOUR_MS
EPOCHS = 4
FORGET_MS = 7 * DAY_MS
JUDGED_USES = 32
FIRST_TURNS_MIN = 0.5
NETWORKS_MIN = 3
BLOCK = 16
"""Rows looked at before the first of them is used: some 150 keys, whose lines of memory the cache can hold."""

WARM = np.dtype(
    [("key", "u8"), ("last_ts", "i8"), ("uses", "i8", (HOT_CUSTOMERS - 1,)), ("count", "u4"), ("hot", "i4")], align=True
)
HOT = np.dtype(
    [
        ("key", "u8"),
        ("first_ts", "i8"),
        ("last_ts", "i8"),
        ("epoch", "i8"),
        ("uses", "u4", (EPOCHS,)),
        ("first_turns", "u4", (EPOCHS,)),
        ("located", "u4", (EPOCHS,)),
        ("customers", "u8", (EPOCHS,)),
        ("networks", "u8", (EPOCHS,)),
    ],
    align=True,
)

Batch = tuple[Any, npt.NDArray[np.uint64], npt.NDArray[np.int64]]
"""Rows, keys and offsets of sightings."""
Doors = tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]
"""Cells and counts of the doorkeeper."""
Entries = tuple[Any, npt.NDArray[np.int32], npt.NDArray[np.int64]]
"""Records, index and count of the warm keys."""
Hot = tuple[Any, npt.NDArray[np.int64]]
"""Records and count of the hot keys."""


@jit_part
def _add_hot(hot: Any, row: Any) -> None:
    """Count one use in the entry's current epoch, dropping epochs that left the window."""
    epoch = row["at"] // EPOCH_MS
    for step in range(min(epoch - hot["epoch"], EPOCHS)):
        slot = (hot["epoch"] + 1 + step) % EPOCHS
        hot["uses"][slot] = 0
        hot["first_turns"][slot] = 0
        hot["located"][slot] = 0
        hot["customers"][slot] = 0
        hot["networks"][slot] = 0
    hot["epoch"] = max(epoch, hot["epoch"])
    slot = epoch % EPOCHS
    hot["last_ts"] = row["at"]
    hot["uses"][slot] += 1
    hot["first_turns"][slot] += (row["flags"] & FIRST_TURN) != 0
    hot["customers"][slot] |= np.uint64(1) << ((row["customer"] >> np.uint64(7)) & np.uint64(63))
    if row["network"] != 0:
        hot["located"][slot] += 1
        hot["networks"][slot] |= np.uint64(1) << (row["network"] % np.uint64(61))


@jit_part
def _is_open(hot: Any) -> bool:
    """Whether the key may be campaign evidence: not mostly inside conversations, not all from a few networks."""
    uses = 0
    first_turns = 0
    located = 0
    customers = np.uint64(0)
    networks = np.uint64(0)
    for slot in range(EPOCHS):
        uses += hot["uses"][slot]
        first_turns += hot["first_turns"][slot]
        located += hot["located"][slot]
        customers |= hot["customers"][slot]
        networks |= hot["networks"][slot]
    if uses < JUDGED_USES:
        return True
    if first_turns < FIRST_TURNS_MIN * uses:
        return False
    return not (2 * located > uses and set_bits(networks) < NETWORKS_MIN <= set_bits(customers) // 4)


@jit_part
def _heat(entry: Any, hot: Any, row: Any) -> None:
    """Make ``hot`` the fresh statistics of a key that just turned hot."""
    hot["key"] = entry["key"]
    hot["first_ts"] = row["at"]
    hot["epoch"] = row["at"] // EPOCH_MS
    for slot in range(EPOCHS):
        hot["uses"][slot] = 0
        hot["first_turns"][slot] = 0
        hot["located"][slot] = 0
        hot["customers"][slot] = 0
        hot["networks"][slot] = 0


@jit_part
def _warm_use(entry: Any, ring: Any, tail: int, sequence: int, row: Any) -> bool:
    """Remember one use of a warm key per customer; True once enough customers have used it."""
    mask = ring.shape[0] - 1
    kept = 0
    known = False
    for index in range(entry["count"]):
        use = entry["uses"][index]
        if use < tail or ring[use & mask]["ts"] < row["at"] - WINDOW_MS:
            continue
        entry["uses"][kept] = use
        kept += 1
        known = known or ring[use & mask]["customer"] == row["customer"]
    entry["count"] = kept
    entry["last_ts"] = row["at"]
    if known:
        return False
    if kept == HOT_CUSTOMERS - 1:
        return True
    entry["uses"][kept] = sequence
    entry["count"] = kept + 1
    return False


@jit_part
def _emit(pairs: npt.NDArray[np.int64], total: int, sequence: int, at: int, key: np.uint64) -> int:
    pairs[total, 0] = sequence
    pairs[total, 1] = at
    pairs[total, 2] = np.int64(key)
    return total + 1


@jit_part
def _meet(batch: Batch, doors: Doors, warm: Entries, ring: tuple[Any, Any], part: tuple[int, int, Any]) -> None:
    """Put the rows of ``part`` (first, end) into the ring and say of each of their keys what the doorkeeper knew."""
    rows, keys, offsets = batch
    cells, cell_counts = doors
    _, index, _ = warm
    records, span = ring
    first, end, known = part
    mask, begin = records.shape[0] - 1, offsets[first]
    for at in range(first, end):
        row = rows[at]
        records[(span[0] + at - first) & mask] = row
        for position in range(offsets[at], offsets[at + 1]):
            if position + AHEAD < keys.shape[0]:
                prefetch(cells, bucket_of(keys[position + AHEAD], cells))
            state = touch(cells, cell_counts, keys[position], row["customer"], row["at"], WINDOW_MS // TICK_MS)
            known[position - begin] = state
            if state in (OTHER, HANDED_ON):
                prefetch(index, keys[position] & np.uint64(index.shape[0] - 1))


@jit_part
def _fetch(used: npt.NDArray[np.uint64], warm: Entries, hots: Any, ring: Any, known: npt.NDArray[np.uint8]) -> None:
    """Send for the entries of known keys, begin and end, and then for what warm ones remember and hot ones count."""
    entries, index, _ = warm
    begins, ends, mask = entries["key"], entries["hot"], np.uint64(index.shape[0] - 1)
    for at in range(used.shape[0]):
        if known[at] in (OTHER, HANDED_ON):
            slot = index[used[at] & mask]
            if slot != EMPTY:
                prefetch(begins, slot)
                prefetch(ends, slot)
    stamps, customers = ring["ts"], ring["customer"]
    # In the three lines of cache of a record, wherever it begins.
    first, second, third = hots["key"], hots["located"], hots["networks"][:, EPOCHS - 1]
    for at in range(used.shape[0]):
        slot = index[used[at] & mask] if known[at] in (OTHER, HANDED_ON) else EMPTY
        if slot != EMPTY and entries[slot]["hot"] >= 0:
            prefetch(first, entries[slot]["hot"])
            prefetch(second, entries[slot]["hot"])
            prefetch(third, entries[slot]["hot"])
        for use in range(entries[slot]["count"] if slot != EMPTY else 0):
            sequence = entries[slot]["uses"][use] & (ring.shape[0] - 1)
            prefetch(stamps, sequence)
            prefetch(customers, sequence)


@jit_part
def _entry(warm: Entries, key: Any, state: int, at: int) -> Any:
    """The place of the warm key, entered or begun anew where it must be."""
    entries, index, count = warm
    slot = find(index, entries["key"], key)
    if slot < 0:
        slot = count[0]
        count[0] = slot + 1
        insert(index, key, slot)
        entries[slot]["key"] = key
        entries[slot]["count"] = 0
        entries[slot]["hot"] = -1
    elif state == OTHER or at - entries[slot]["last_ts"] > FORGET_MS:
        entries[slot]["count"] = 0
        entries[slot]["hot"] = -1
    return slot


@jit_part
def _use(entry: Any, hot: Hot, ring: tuple[Any, Any], use: tuple[Any, int], pairs: Any, total: int) -> int:
    """Count one use = (row, sequence) of an entered key; returns the number of pairs emitted so far."""
    hots, hot_count = hot
    records, span = ring
    row, sequence = use
    if entry["hot"] < 0:
        if not _warm_use(entry, records, span[1], sequence, row):
            return total
        entry["hot"] = hot_count[0]
        hot_count[0] += 1
        _heat(entry, hots[entry["hot"]], row)
        for place in range(HOT_CUSTOMERS - 1):
            total = _emit(pairs, total, entry["uses"][place], row["at"], entry["key"])
            _add_hot(hots[entry["hot"]], records[entry["uses"][place] & (records.shape[0] - 1)])
        entry["count"] = 0
    entry["last_ts"] = row["at"]
    _add_hot(hots[entry["hot"]], row)
    if _is_open(hots[entry["hot"]]):
        total = _emit(pairs, total, sequence, row["at"], entry["key"])
    return total


@jit
def fold(
    batch: Batch, doors: Doors, warm: Entries, hot: Hot, ring: tuple[Any, Any], pairs: npt.NDArray[np.int64]
) -> int:
    """Fold sorted sightings; ``pairs`` receives (ring sequence, time, key) of every use a hot key emits.

    ``ring`` is (records, [head, tail]); tables must have room, but for ``hot``: the fold ends early before rows whose
    keys might not fit there. Returns the number of pairs; [head] tells how many rows were folded. Rows are taken
    ``BLOCK`` at a time, so that what a key needs next is on its way from memory while others are looked at.
    """
    rows, keys, offsets = batch
    span, total = ring[1], 0
    for first in range(0, rows.shape[0], BLOCK):
        end = min(first + BLOCK, rows.shape[0])
        begin = offsets[first]
        if hot[1][0] + offsets[end] - begin > hot[0].shape[0]:
            break
        known = np.empty(offsets[end] - begin, np.uint8)
        _meet(batch, doors, warm, ring, (first, end, known))
        _fetch(keys[begin : offsets[end]], warm, hot[0], ring[0], known)
        for at in range(first, end):
            for position in range(offsets[at], offsets[at + 1]):
                state = known[position - begin]
                if state in (OTHER, HANDED_ON):
                    slot = _entry(warm, keys[position], state, rows[at]["at"])
                    use = (rows[at], span[0] + at - first)
                    total = _use(warm[0][slot], hot, ring, use, pairs, total)
        span[0] += end - first
    return total


@jit
def settle(pairs: npt.NDArray[np.int64], moves_max: int) -> bool:
    """Put pairs in the order of time, sequence and key; False where that took more than ``moves_max`` steps.

    Times ascend already and few pairs share one, so each pair finds its place a few steps ahead of where it is.
    """
    moves = 0
    for at in range(pairs.shape[0]):
        sequence, time, key = pairs[at, 0], pairs[at, 1], pairs[at, 2]
        place = at
        while place > 0 and pairs[place - 1, 1] == time and pairs[place - 1, 0] >= sequence:
            if pairs[place - 1, 0] == sequence and np.uint64(pairs[place - 1, 2]) < np.uint64(key):
                break
            for column in range(3):
                pairs[place, column] = pairs[place - 1, column]
            place -= 1
        pairs[place, 0], pairs[place, 1], pairs[place, 2] = sequence, time, key
        moves += at - place
        if moves > moves_max:
            return False
    return True


@jit
def gather(pairs: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint64]]:
    """Where each (time, sequence) of ordered pairs begins, and all keys."""
    keys = np.empty(pairs.shape[0], np.uint64)
    offsets = np.empty(pairs.shape[0] + 1, np.int64)
    count = 0
    for at in range(pairs.shape[0]):
        keys[at] = np.uint64(pairs[at, 2])
        if at == 0 or pairs[at, 0] != pairs[at - 1, 0] or pairs[at, 1] != pairs[at - 1, 1]:
            offsets[count] = at
            count += 1
    offsets[count] = pairs.shape[0]
    return offsets[: count + 1].copy(), keys
