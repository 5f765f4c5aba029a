"""An open-addressing index from 64-bit hashes to rows of a record array, for compiled code.

What lives here: probing, insertion, rebuilding. What does not: what the rows hold. Keys are keyed hashes already, so
their low bits address the index as they are; 0 is never a key. Linear probing, load at most one half.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from models.compiled import jit

Index = npt.NDArray[np.int32]
Records = npt.NDArray[Any]
EMPTY = -1


def new_index(rows: int) -> Index:
    """An empty index with room for ``rows`` rows at a load of one half."""
    size = 16
    while size < 2 * rows:
        size *= 2
    return np.full(size, EMPTY, np.int32)


@jit
def find(index: Index, keys: npt.NDArray[np.uint64], key: np.uint64) -> int:
    """The row whose key is ``key``, or -1."""
    mask = np.uint64(len(index) - 1)
    slot = np.int64(key & mask)
    while index[slot] != EMPTY:
        if keys[index[slot]] == key:
            return int(index[slot])
        slot = (slot + 1) & np.int64(mask)
    return EMPTY


@jit
def lookup(index: Index, keys: npt.NDArray[np.uint64], wanted: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """The row of each wanted key, or -1."""
    rows = np.empty(wanted.shape[0], np.int64)
    for at in range(wanted.shape[0]):
        rows[at] = find(index, keys, wanted[at])
    return rows


@jit
def insert(index: Index, key: np.uint64, row: int) -> None:
    """Point ``key``, which must not be in the index, at ``row``."""
    mask = np.uint64(len(index) - 1)
    slot = np.int64(key & mask)
    while index[slot] != EMPTY:
        slot = (slot + 1) & np.int64(mask)
    index[slot] = row


@jit
def fill(index: Index, keys: npt.NDArray[np.uint64], first: int, end: int) -> None:
    """Index the keys from ``first`` to before ``end``, none of which is in the index."""
    for row in range(first, end):
        insert(index, keys[row], row)


@jit
def _moved_up(records: Records, kept: npt.NDArray[np.bool_]) -> int:
    """Move the rows that are kept to the front, in their order; how many."""
    left = 0
    for at in range(kept.shape[0]):
        if kept[at]:
            if left < at:
                records[left] = records[at]
            left += 1
    return left


def rebuilt(keys: npt.NDArray[np.uint64], count: int, rows: int) -> Index:
    """A fresh index over the first ``count`` keys with room for ``rows``."""
    index = new_index(max(rows, count))
    fill(index, keys, 0, count)
    return index


def plain(records: Records) -> Records:
    """The same memory as rows without fields, which numpy copies whole.

    Others it copies field by field, which takes some ten times as long, and so does an array of places in brackets;
    ``take`` copies whole rows of either.
    """
    return records.view(np.dtype((np.void, records.dtype.itemsize))) if records.dtype.names else records


def joined(parts: Sequence[Records]) -> Records:
    """The rows of ``parts``, of which there must be one, one after another."""
    return np.concatenate([plain(part) for part in parts]).view(parts[0].dtype)


def grown(records: Records, rows: int) -> Records:
    """``records`` with room for at least ``rows`` rows, doubled until it fits; the same array where it fits."""
    size = max(16, len(records))
    while size < rows:
        size *= 2
    if size == len(records):
        return records
    larger: Records = np.zeros((size, *records.shape[1:]), records.dtype)
    plain(larger)[: len(records)] = plain(records)
    return larger


class Table:
    """Records of ``dtype`` (whose field ``key`` is their hash) with an index that grows with them."""

    def __init__(self, dtype: npt.DTypeLike) -> None:
        self.records: Records = np.zeros(16, dtype)
        self.index = new_index(16)
        self.count = np.zeros(1, np.int64)  # an array, so that kernels can add rows

    def __len__(self) -> int:
        return int(self.count[0])

    @property
    def rows(self) -> Records:
        """The records in use, as a view."""
        return self.records[: len(self)]

    @property
    def nbytes(self) -> int:
        """Bytes held by records and index."""
        return int(self.records.nbytes + self.index.nbytes)

    def reserve(self, more: int) -> None:
        """Make room for ``more`` new rows, so that a kernel need not check."""
        needed = len(self) + more
        self.records = grown(self.records, needed)
        if len(self.index) < 2 * needed:
            self.index = rebuilt(self.records["key"], len(self), 2 * needed)

    def keep(self, mask: npt.NDArray[np.bool_]) -> None:
        """Drop the rows where ``mask`` is false, in place, and give memory back where most are dropped."""
        self.cut(_moved_up(self.records, mask))

    def cut(self, count: int) -> None:
        """Drop all but the first ``count`` rows, in place where they fill a good part of the memory."""
        if 4 * count < len(self.records):
            self.load(self.rows[:count])
            return
        self.records[count : len(self)].view(np.uint8).fill(0)
        self.count[0] = count
        self.index.fill(EMPTY)
        fill(self.index, self.records["key"], 0, count)

    def load(self, rows: Records) -> None:
        """Hold exactly ``rows``."""
        self.records = grown(np.zeros(16, self.records.dtype), len(rows))
        plain(self.records)[: len(rows)] = plain(rows)
        self.count[0] = len(rows)
        self.index = rebuilt(self.records["key"], len(rows), len(rows))
