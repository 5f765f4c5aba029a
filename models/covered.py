"""The requests that hot keys pointed at, kept for a day: what templates and clusters are read from.

What lives here: joining a request's keys as they turn hot one by one, and expiry. What does not: what the rows mean.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from models.compiled import jit
from models.fanin_kernel import WINDOW_MS
from models.prefetch import AHEAD, prefetch
from models.sighting import SIGHTING, SightingBatch
from models.table import Table, find, insert

KEYS_MAX = 8  # of one request; the lowest are kept, which are the same ones in every use of a template
_CARRIED = (
    "ts",
    "account",
    "customer",
    "prompt",
    "network",
    "api_key",
    "model",
    "tokens",
    "requests_24h",
    "follow_ups_24h",
)
_FLAGS = ("age_days", "flags", "hours_24h")

COVERED = np.dtype(
    [
        ("key", "u8"),  # the event
        *[(name, SIGHTING[name]) for name in _CARRIED + _FLAGS],
        ("width", "i8"),  # eight bytes, so that there is no padding, which copies would leave undefined
        ("keys", "i4", (KEYS_MAX,)),  # rows of the key table
    ],
    align=True,
)
KEY = np.dtype([("key", "u8"), ("last_at", "i8"), ("first_at", "i8")], align=True)


@jit
def _copy(target: Any, row: Any) -> None:
    target["key"] = row["event"]
    target["ts"] = row["ts"]
    target["account"] = row["account"]
    target["customer"] = row["customer"]
    target["prompt"] = row["prompt"]
    target["network"] = row["network"]
    target["api_key"] = row["api_key"]
    target["model"] = row["model"]
    target["tokens"] = row["tokens"]
    target["requests_24h"] = row["requests_24h"]
    target["follow_ups_24h"] = row["follow_ups_24h"]
    target["age_days"] = row["age_days"]
    target["flags"] = row["flags"]
    target["hours_24h"] = row["hours_24h"]
    target["width"] = 0


@jit
def _add_key(target: Any, hashes: npt.NDArray[np.uint64], identity: int) -> None:
    """Insert a key into the row's ascending list, dropping the highest where it is full."""
    width = target["width"]
    at = 0
    while at < width and hashes[target["keys"][at]] < hashes[identity]:
        at += 1
    if at == KEYS_MAX or (at < width and target["keys"][at] == identity):
        return
    for place in range(min(width, KEYS_MAX - 1), at, -1):
        target["keys"][place] = target["keys"][place - 1]
    target["keys"][at] = identity
    target["width"] = min(width + 1, KEYS_MAX)


@jit
def join(
    batch: tuple[Any, npt.NDArray[np.uint64], npt.NDArray[np.int64]],
    events: tuple[Any, npt.NDArray[np.int32], npt.NDArray[np.int64]],
    keys: tuple[Any, npt.NDArray[np.int32], npt.NDArray[np.int64]],
    since_ms: int,
) -> int:
    """Fold hub rows into the covered events; tables must have room.

    Returns how many rows carry two keys that were first hot at ``since_ms`` or later.
    """
    rows, hashes, offsets = batch
    records, index, count = events
    known, key_index, key_count = keys
    novel = 0
    for at in range(rows.shape[0]):
        row = rows[at]
        slot = find(index, records["key"], row["event"])
        if slot < 0:
            slot = count[0]
            count[0] = slot + 1
            insert(index, row["event"], slot)
            _copy(records[slot], row)
        fresh = 0
        for position in range(offsets[at], offsets[at + 1]):
            identity = find(key_index, known["key"], hashes[position])
            if identity < 0:
                identity = key_count[0]
                key_count[0] = identity + 1
                insert(key_index, hashes[position], identity)
                known[identity]["key"] = hashes[position]
                known[identity]["first_at"] = row["at"]
            known[identity]["last_at"] = row["at"]
            fresh += known[identity]["first_at"] >= since_ms
            _add_key(records[slot], known["key"], identity)
        novel += fresh >= 2
    return novel


@jit
def _key_uses(rows: Any, picked: npt.NDArray[np.int64], keys: int) -> npt.NDArray[np.int64]:
    uses = np.zeros(keys, np.int64)
    records = rows["width"]
    for number in range(picked.shape[0]):
        prefetch(records, picked[min(number + AHEAD, picked.shape[0] - 1)])
        row = rows[picked[number]]
        for place in range(row["width"]):
            uses[row["keys"][place]] += 1
    return uses


@jit
def _expire(rows: Any, keys: Any, since_ms: int) -> tuple[int, int]:
    """Move the requests since ``since_ms`` and the keys they hold to the front, in their order; how many of each."""
    numbers = np.zeros(keys.shape[0], np.int32)
    for at in range(rows.shape[0]):
        if rows[at]["ts"] >= since_ms:
            for place in range(rows[at]["width"]):
                numbers[rows[at]["keys"][place]] = 1
    known = 0
    for key in range(keys.shape[0]):
        if numbers[key]:
            keys[known] = keys[key]
            numbers[key] = known
            known += 1
    left = 0
    for at in range(rows.shape[0]):
        if rows[at]["ts"] < since_ms:
            continue
        if left < at:
            rows[left] = rows[at]
        for place in range(KEYS_MAX):
            held = place < rows[left]["width"]
            rows[left]["keys"][place] = numbers[rows[left]["keys"][place]] if held else 0
        left += 1
    return left, known


class CoveredEvents:
    """The covered requests of the last 24 hours and the dictionary of their keys."""

    def __init__(self) -> None:
        self.events = Table(COVERED)
        self.keys = Table(KEY)

    def __len__(self) -> int:
        return len(self.events)

    def add(self, batch: SightingBatch, since_ms: int = 1 << 62) -> int:
        """Fold hub rows in canonical order; returns how many carry two keys first hot at ``since_ms`` or later."""
        self.events.reserve(len(batch))
        self.keys.reserve(len(batch.keys))
        return int(
            join(
                (batch.rows, batch.keys, batch.offsets),
                (self.events.records, self.events.index, self.events.count),
                (self.keys.records, self.keys.index, self.keys.count),
                since_ms,
            )
        )

    def key_uses(
        self, rows: npt.NDArray[Any], picked: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
        """The keys of the ``picked`` of ``rows``, in the order of their numbers, with their number of uses."""
        uses = _key_uses(rows, picked, len(self.keys))
        numbers = np.flatnonzero(uses)
        return self.keys.records["key"][numbers], uses[numbers]

    def expire(self, now_ms: int) -> None:
        """Drop requests older than the window, and keys that no request holds any more."""
        rows, since_ms = self.events.rows, now_ms - WINDOW_MS
        if (rows["ts"] >= since_ms).all():
            return
        left, keys_left = _expire(rows, self.keys.rows, since_ms)
        self.keys.cut(keys_left)
        self.events.cut(left)
