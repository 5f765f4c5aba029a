"""Columns of strings: many texts in one byte buffer, so that compiled code can walk them.

What lives here: the column, and lines of a buffer as records. What does not: what the texts mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
import numpy.typing as npt

from models.compiled import jit
from models.words import EVERY, load, lowest, place_of, zeros

Bytes = npt.NDArray[np.uint8]
Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Strings:
    """``n`` UTF-8 texts: text ``i`` is ``data[offsets[i]:offsets[i + 1]]``.

    ``data`` is uint8, ``offsets`` int64 of length ``n + 1``; a missing text is the empty one.
    """

    data: Bytes
    offsets: Int64

    @classmethod
    def of(cls, texts: Sequence[str]) -> Strings:
        """Build the column from Python strings (a lone surrogate raises UnicodeEncodeError)."""
        joined = "".join(texts)
        if not joined.isascii():
            return cls.of_bytes([text.encode() for text in texts])
        offsets = np.zeros(len(texts) + 1, np.int64)  # characters are bytes
        np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts)), out=offsets[1:])
        return cls(np.frombuffer(joined.encode(), np.uint8), offsets)

    @classmethod
    def of_bytes(cls, texts: Iterable[bytes]) -> Strings:
        """Build the column from ready UTF-8 byte strings."""
        parts = list(texts)
        offsets = np.zeros(len(parts) + 1, np.int64)
        np.cumsum(np.fromiter(map(len, parts), np.int64, len(parts)), out=offsets[1:])
        return cls(np.frombuffer(b"".join(parts), np.uint8), offsets)

    @classmethod
    def concat(cls, columns: Sequence[Strings]) -> Strings:
        """All texts of ``columns``, in order."""
        if not columns:
            return cls.of([])
        offsets = np.zeros(sum(len(column) for column in columns) + 1, np.int64)
        np.cumsum(np.concatenate([column.lengths for column in columns]), out=offsets[1:])
        return cls(np.concatenate([column.data[column.offsets[0] : column.offsets[-1]] for column in columns]), offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> str:
        return self.data[self.offsets[index] : self.offsets[index + 1]].tobytes().decode("utf-8", "replace")

    def __iter__(self) -> Iterator[str]:
        return (self[index] for index in range(len(self)))

    @property
    def lengths(self) -> Int64:
        """Bytes per text, int64 of shape ``(n,)``."""
        return np.diff(self.offsets)

    def take(self, rows: npt.NDArray[np.integer]) -> Strings:
        """The texts at ``rows``, in that order."""
        return Strings(*_taken(self.data, self.offsets, np.asarray(rows, np.int64)))


class Lines(Sequence[bytes]):
    """The lines of one buffer as records, none of which is an object until it is asked for.

    ``column`` holds each line with the newline that ends it; the record is the line without.
    """

    __slots__ = ("column",)

    def __init__(self, column: Strings) -> None:
        self.column = column

    def __len__(self) -> int:
        return len(self.column)

    @overload
    def __getitem__(self, place: int) -> bytes: ...
    @overload
    def __getitem__(self, place: slice) -> Lines: ...
    def __getitem__(self, place: int | slice) -> bytes | Lines:
        if isinstance(place, slice):
            first, end, _ = place.indices(len(self))
            return Lines(Strings(self.column.data, self.column.offsets[first : end + 1]))
        offsets = self.column.offsets
        first = place + len(offsets) - 1 if place < 0 else place
        return self.column.data[offsets[first] : offsets[first + 1] - 1].tobytes()

    @classmethod
    def of(cls, data: bytes, bytes_max: int) -> Lines | None:
        """The lines of ``data``, which ends in a newline; None where one is too long, or begins as a blank one does."""
        column = np.frombuffer(data, np.uint8)
        offsets = _line_offsets(column)
        if np.diff(offsets).max() > bytes_max + 1 or (column[offsets[:-1]] <= _SPACE).any():
            return None
        return cls(Strings(column, offsets))


@jit
def _taken(data: Bytes, offsets: Int64, rows: Int64) -> tuple[Bytes, Int64]:
    """The texts ``rows`` of a column, one after another, and their offsets."""
    ends = np.zeros(rows.shape[0] + 1, np.int64)
    for at in range(rows.shape[0]):
        ends[at + 1] = ends[at] + offsets[rows[at] + 1] - offsets[rows[at]]
    taken = np.empty(ends[-1], np.uint8)
    for at in range(rows.shape[0]):
        taken[ends[at] : ends[at + 1]] = data[offsets[rows[at]] : offsets[rows[at] + 1]]
    return taken, ends


_BLOCK = 64
_NEWLINE, _SPACE = 10, 32
_NEWLINES = np.uint64(_NEWLINE * EVERY)


@jit
def _line_offsets(data: Bytes) -> Int64:
    """Where every line begins, and the end.

    They are counted first, for room as large as the buffer costs more than a look at it. Then a block is asked whether
    it holds a newline at all, which is one comparison of the whole block.
    """
    size, lines = data.shape[0], 0
    for at in range(size):
        lines += data[np.uint64(at)] == _NEWLINE
    offsets = np.zeros(lines + 1, np.int64)
    count = 1
    for block in range(0, size - size % _BLOCK, _BLOCK):
        found = np.uint8(0)
        for place in range(_BLOCK):
            found |= np.uint8(data[np.uint64(block) + np.uint64(place)] == _NEWLINE)
        for at in range(block, block + _BLOCK if found else block, 8):
            bits = zeros(load(data, at) ^ _NEWLINES)
            while bits:
                bit = lowest(bits)
                offsets[count] = at + (place_of(bit) >> 3) + 1
                count += 1
                bits ^= bit
    for at in range(size - size % _BLOCK, size):
        if data[at] == _NEWLINE:
            offsets[count] = at + 1
            count += 1
    return offsets
