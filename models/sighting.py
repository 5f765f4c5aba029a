"""The sighting: what the later operators may know of one request, without its text.

What lives here: the record, its flags, its batch and wire form. What does not: how it is made (``observe``) or
counted (``fanin``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from models.compiled import jit
from models.errors import WireError
from models.table import joined
from models.wire import pack, unpack

FIRST_TURN = 1  # opens a conversation, as far as the event says
FOLLOW_UP = 2  # continues a conversation
REASONING = 4  # asks for its reasoning to be shown
BURST = 8  # within five minutes of the account's request before
REFUSED = 16
ERROR = 32  # HTTP status 4xx or 5xx
TOOLS = 64
SHORT = 128  # fewer than SHORT_TOKENS tokens
SHORT_TOKENS = 5

SIGHTING = np.dtype(
    [
        ("ts", "i8"),  # event time, ms
        ("at", "i8"),  # when it counts: `ts`, or for an earlier use of a key that turned hot, the time it did
        ("event", "u8"),
        ("account", "u8"),
        ("customer", "u8"),
        ("prompt", "u8"),  # digest of the normalised prompt
        ("network", "u8"),
        ("api_key", "u8"),  # 0 unknown; so that a key on the allowlist takes back what it did before
        ("model", "u4"),
        ("tokens", "u4"),
        ("requests_24h", "u4"),  # of the account, this one included
        ("follow_ups_24h", "u4"),
        ("age_days", "i4"),  # of the account at this request; -1 unknown
        ("flags", "u2"),
        ("hours_24h", "u2"),  # distinct hours of the last 24 in which the account was active
    ],
    align=True,
)
"""One request as later operators see it: 88 bytes."""

PROFILE = np.dtype(
    [
        ("key", "u8"),  # account hash
        ("ts", "i8"),
        ("customer", "u8"),
        ("payment", "u8"),
        ("client", "u8"),
        ("network", "u8"),
        ("email_domain", "u8"),
        ("created", "i8"),
        ("told_at", "i8"),  # when its day was told of, 0 where this record does not; the rest is of that day
        ("requests", "u4"),
        ("follow_ups", "u4"),
        ("hours", "u4"),  # distinct active ones
        ("spent_min", "u4"),  # minutes of that day since the account was first seen
    ],
    align=True,
)
"""What an account is, sent when it is first seen, and what its day is like where it is busy: 88 bytes beside its id."""


@dataclass(slots=True)
class SightingBatch:
    """``n`` requests with their fan-in keys: those of row ``i`` are ``keys[offsets[i]:offsets[i + 1]]``."""

    rows: npt.NDArray[np.void]  # SIGHTING, shape (n,)
    keys: npt.NDArray[np.uint64]
    offsets: npt.NDArray[np.int64]  # shape (n + 1,)

    @classmethod
    def empty(cls) -> SightingBatch:
        """A batch of nothing."""
        return cls(np.zeros(0, SIGHTING), np.zeros(0, np.uint64), np.zeros(1, np.int64))

    @classmethod
    def concat(cls, batches: list[SightingBatch]) -> SightingBatch:
        """All rows of ``batches``, in order."""
        if not batches:
            return cls.empty()
        if len(batches) == 1:
            return batches[0]
        offsets = np.zeros(sum(len(batch) for batch in batches) + 1, np.int64)
        np.cumsum(np.concatenate([np.diff(batch.offsets) for batch in batches]), out=offsets[1:])
        return cls(
            joined([batch.rows for batch in batches]), np.concatenate([batch.keys for batch in batches]), offsets
        )

    def __len__(self) -> int:
        return len(self.rows)

    def part(self, first: int, end: int) -> SightingBatch:
        """The rows from ``first`` to before ``end``, sharing memory with these."""
        if first == 0 and end == len(self):
            return self
        offsets = self.offsets[first : end + 1]
        return SightingBatch(self.rows[first:end], self.keys[offsets[0] : offsets[-1]], offsets - offsets[0])

    def take(self, picked: npt.NDArray[np.integer]) -> SightingBatch:
        """The rows ``picked``, in that order."""
        return SightingBatch(self.rows.take(picked), *_taken(self.keys, self.offsets, picked))

    def united(self) -> SightingBatch:
        """Rows of one request at one time as one row with all their keys, ascending; such rows must be neighbours.

        How a request's keys are spread over rows depends on who counted them and in which batches; this form does not.
        """
        if not len(self) or _are_united(self.rows, self.keys, self.offsets):
            return self
        new = np.ones(len(self), np.bool_)
        new[1:] = np.any([self.rows[name][1:] != self.rows[name][:-1] for name in ("at", "event", "account")], axis=0)
        owner = np.repeat(np.cumsum(new) - 1, np.diff(self.offsets))
        order = np.lexsort((self.keys, owner))
        keys, owner = self.keys[order], owner[order]
        kept = np.ones(len(keys), np.bool_)
        kept[1:] = (keys[1:] != keys[:-1]) | (owner[1:] != owner[:-1])
        offsets = np.zeros(int(new.sum()) + 1, np.int64)
        np.cumsum(np.bincount(owner[kept], minlength=len(offsets) - 1), out=offsets[1:])
        return SightingBatch(self.rows.take(np.flatnonzero(new)), keys[kept], offsets)

    def partition(self, parts: int) -> list[SightingBatch]:
        """Split by key: part ``key mod parts`` gets the row with its share of the keys."""
        if parts == 1:
            return [self]
        owner = np.repeat(np.arange(len(self)), np.diff(self.offsets))
        part_of = self.keys % np.uint64(parts)
        batches = []
        for part in range(parts):
            mine = part_of == part
            counts = np.bincount(owner[mine], minlength=len(self))
            present = np.flatnonzero(counts)
            offsets = np.zeros(len(present) + 1, np.int64)
            np.cumsum(counts[present], out=offsets[1:])
            batches.append(SightingBatch(self.rows.take(present), self.keys[mine], offsets))
        return batches

    def encode(self, kind: str, meta: dict[str, int]) -> bytes:
        """The batch as one wire message."""
        arrays: dict[str, npt.NDArray[Any]] = {
            "rows": self.rows.view(np.uint8),
            "keys": self.keys,
            "counts": np.diff(self.offsets).astype(np.uint8),
        }
        return pack(kind, 1, meta, arrays)

    @classmethod
    def decode(cls, data: bytes, kind: str) -> tuple[dict[str, int], SightingBatch]:
        """Read what ``encode`` wrote; raises WireError on anything else."""
        meta, arrays = unpack(data, kind, 1)
        if not _agree(arrays):
            raise WireError(f"{kind} message holds rows, keys and counts that do not fit one another")
        offsets = np.zeros(len(arrays["counts"]) + 1, np.int64)
        np.cumsum(arrays["counts"], out=offsets[1:])
        return meta, cls(arrays["rows"].view(SIGHTING), arrays["keys"], offsets)


@jit
def _taken(
    keys: npt.NDArray[np.uint64], offsets: npt.NDArray[np.int64], picked: npt.NDArray[np.integer]
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
    """The keys of the rows ``picked``, and their offsets."""
    ends = np.zeros(picked.shape[0] + 1, np.int64)
    for at in range(picked.shape[0]):
        ends[at + 1] = ends[at] + offsets[picked[at] + 1] - offsets[picked[at]]
    taken = np.empty(ends[-1], np.uint64)
    for at in range(picked.shape[0]):
        first = offsets[picked[at]]
        for place in range(ends[at + 1] - ends[at]):
            taken[ends[at] + place] = keys[first + place]
    return taken, ends


@jit
def _are_united(rows: Any, keys: npt.NDArray[np.uint64], offsets: npt.NDArray[np.int64]) -> bool:
    """Whether no two neighbours are one request at one time, and the keys of each row ascend."""
    for at in range(rows.shape[0]):
        row = rows[at]
        before = rows[max(at - 1, 0)]
        same = row["at"] == before["at"] and row["event"] == before["event"] and row["account"] == before["account"]
        if at > 0 and same:
            return False
        for place in range(offsets[at] + 1, offsets[at + 1]):
            if keys[place] <= keys[place - 1]:
                return False
    return True


def _agree(arrays: dict[str, npt.NDArray[Any]]) -> bool:
    """Whether the arrays of a message are one batch: compiled code walks them without looking."""
    expected = {"rows": np.uint8, "keys": np.uint64, "counts": np.uint8}
    if any(
        name not in arrays or arrays[name].dtype != dtype or arrays[name].ndim != 1 for name, dtype in expected.items()
    ):
        return False
    rows, counts = len(arrays["rows"]), arrays["counts"]
    return rows == len(counts) * SIGHTING.itemsize and int(counts.sum()) == len(arrays["keys"])
