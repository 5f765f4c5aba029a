"""Texts as rows of fragment numbers: prompts are composed as integers and become bytes once, at the end.

What lives here: the fragment table and the ragged rows over it. What does not: which fragments make which text.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.compiled import COMPILED, jit
from models.strings import Strings

Ids = npt.NDArray[np.int32]
Rows = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]


class Fragments:
    """An append-only table of distinct pieces of text; a piece is named by its number, the empty piece is 0."""

    def __init__(self) -> None:
        self._number: dict[str, int] = {"": 0}
        self._texts: list[str] = [""]
        self._column: Strings | None = None

    def __len__(self) -> int:
        return len(self._texts)

    def add(self, text: str) -> int:
        """The number of ``text``, entered if new."""
        number = self._number.get(text)
        if number is None:
            number = len(self._texts)
            self._number[text] = number
            self._texts.append(text)
            self._column = None
        return number

    def add_range(self, texts: Sequence[str]) -> tuple[int, int]:
        """Enter ``texts`` side by side even where some are known; returns (first number, how many)."""
        first = len(self._texts)
        self._texts.extend(texts)
        self._column = None
        return first, len(texts)

    @property
    def column(self) -> Strings:
        """All pieces as one column, rebuilt only after additions."""
        if self._column is None or len(self._column) != len(self._texts):
            self._column = Strings.of(self._texts)
        return self._column


@dataclass(frozen=True, slots=True)
class Ragged:
    """``n`` rows of fragment numbers: ``counts[i]`` numbers of row ``i`` lie after those of the rows before it."""

    ids: Ids
    counts: Rows

    def __len__(self) -> int:
        return len(self.counts)

    @property
    def starts(self) -> Rows:
        """First position of each row in ``ids``, int64 of shape ``(n,)``."""
        return np.cumsum(self.counts) - self.counts

    def take(self, rows: npt.NDArray[np.integer]) -> Ragged:
        """The rows numbered ``rows``, in that order, repeats allowed."""
        counts = self.counts[rows]
        return Ragged(self.ids[spread(self.starts[rows], counts)], counts)

    def group(self, sizes: Rows) -> Ragged:
        """Glue neighbours: new row ``i`` is the next ``sizes[i]`` rows run together (sizes sum to ``n``)."""
        ends = np.cumsum(sizes)
        total = np.concatenate([[0], np.cumsum(self.counts)])
        return Ragged(self.ids, total[ends] - total[ends - sizes])


EMPTY = Ragged(np.zeros(0, np.int32), np.zeros(0, np.int64))
"""No rows at all."""


def spread(starts: Rows, counts: Rows) -> Rows:
    """Positions ``starts[i] .. starts[i] + counts[i]`` of all rows, end to end."""
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    return np.repeat(starts - ends + counts, counts) + np.arange(total)


def blank(n: int) -> Ragged:
    """``n`` empty rows."""
    return Ragged(np.zeros(0, np.int32), np.zeros(n, np.int64))


def repeated(ids: Sequence[int] | Ids, n: int) -> Ragged:
    """``n`` rows that all hold ``ids``."""
    row = np.asarray(ids, np.int32)
    return Ragged(np.tile(row, n), np.full(n, len(row), np.int64))


def singles(ids: npt.NDArray[np.integer]) -> Ragged:
    """One fragment a row."""
    return Ragged(ids.astype(np.int32), np.ones(len(ids), np.int64))


def rows_of(rows: Iterable[Sequence[int]]) -> Ragged:
    """Rows from Python lists of numbers."""
    lists = list(rows)
    counts = np.fromiter(map(len, lists), np.int64, len(lists))
    ids = np.fromiter((number for row in lists for number in row), np.int32, int(counts.sum()))
    return Ragged(ids, counts)


def masked(matrix: npt.NDArray[np.integer]) -> Ragged:
    """Rows of a padded matrix, shape ``(n, width)``; negative entries are padding."""
    keep = matrix >= 0
    return Ragged(matrix[keep].astype(np.int32), keep.sum(axis=1))


def beside(*parts: Ragged) -> Ragged:
    """Rows joined side by side: row ``i`` is row ``i`` of every part in turn."""
    if not len(parts[0]):
        return EMPTY
    counts = np.stack([part.counts for part in parts], axis=1)
    ids = np.empty(int(counts.sum()), np.int32)
    before = (np.cumsum(counts.ravel()) - counts.ravel()).reshape(counts.shape)
    for index, part in enumerate(parts):
        ids[spread(before[:, index], part.counts)] = part.ids
    return Ragged(ids, counts.sum(axis=1))


def stacked(parts: Sequence[Ragged]) -> Ragged:
    """All rows of each part after those of the part before it."""
    if not parts:
        return EMPTY
    return Ragged(np.concatenate([part.ids for part in parts]), np.concatenate([part.counts for part in parts]))


def placed(n: int, choices: Sequence[tuple[Rows, Ragged]]) -> Ragged:
    """Rows in their places: each choice is (row numbers, their texts); rows named by no choice stay empty."""
    place = np.full(n, -1, np.int64)
    first = 0
    for rows, part in choices:
        place[rows] = np.arange(first, first + len(part))
        first += len(part)
    pool = stacked([part for _, part in choices] + [blank(1)])
    place[place < 0] = first
    return pool.take(place)


def rendered(fragments: Fragments, texts: Ragged) -> Strings:
    """The bytes of each row; one copy per byte, compiled where the compiler loads."""
    column = fragments.column
    lengths = column.lengths[texts.ids]
    ends = np.concatenate([[0], np.cumsum(lengths)])
    offsets = ends[np.concatenate([[0], np.cumsum(texts.counts)])]
    if COMPILED:
        data = np.empty(int(ends[-1]), np.uint8)
        _copy(column.data, column.offsets, texts.ids, data)
        return Strings(data, offsets)
    return Strings(column.take(texts.ids).data, offsets)


@jit
def _copy(source: Bytes, offsets: Rows, ids: Ids, data: Bytes) -> None:
    at = 0
    for number in ids:
        for index in range(offsets[number], offsets[number + 1]):
            data[at] = source[index]
            at += 1
