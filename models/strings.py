"""Columns of strings: many texts in one byte buffer, so that compiled code can walk them.

What lives here: the column and its keyed hash. What does not: what the texts mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

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
        lengths = self.lengths[rows]
        offsets = np.zeros(len(rows) + 1, np.int64)
        np.cumsum(lengths, out=offsets[1:])
        gather = np.repeat(self.offsets[:-1][rows] - offsets[:-1], lengths) + np.arange(offsets[-1])
        return Strings(self.data[gather], offsets)
