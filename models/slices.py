"""Slices: the parts of a large table that snapshots share, so that none writes again what has not changed.

What lives here: which rows have to be written, and how rows of many parts become the table again. What does not: what
the rows mean (the operators) and where parts are kept (``streams/parts``). A row is known by its *place*: the number it
was appended under, or its position. A part holds the rows that were touched between two snapshots, as they were at the
second; of two parts that hold a place the newer one counts. What is only appended is thus written once.

Bounds: parts together hold at most twice the rows in use and one snapshot's, beyond which all is written anew; of the
last parts one is never smaller than the next, unless it is full, so their number grows with the logarithm of the table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from models.errors import WireError
from models.wire import pack, unpack

PART_BYTES = 16 << 20
"""A part at least so large is not joined with the next."""
SPARE_ROWS = 4_096
Places = range | npt.NDArray[np.int64]
Selector = slice | npt.NDArray[np.int64]
VERSION = 1


@dataclass(frozen=True, slots=True)
class Cut:
    """A snapshot in parts: what has no parts, the names of all parts, and the bytes of those not written before.

    A name is never given to other bytes while it is among ``names``.
    """

    rest: bytes
    names: list[str]
    fresh: dict[str, bytes]


class Slices:
    """The parts of one table, ``name`` being a prefix of theirs."""

    def __init__(self, name: str, dtype: npt.DTypeLike) -> None:
        self.name = name
        self._dtype: np.dtype[Any] = np.dtype(dtype)
        self._parts: list[tuple[int, Places]] = []  # oldest first
        self._next = 0

    @property
    def names(self) -> list[str]:
        """The parts in the order they are put together."""
        return [self._name(number) for number, _ in self._parts]

    def _name(self, number: int) -> str:
        return f"{self.name}/{number}"

    def renew(self) -> None:
        """Places mean other rows from now on: what was written is of no use."""
        self._parts = []

    def cut(
        self, touched: Places, used: range, rows: Callable[[Selector], npt.NDArray[Any]], fresh: dict[str, bytes]
    ) -> None:
        """Write into ``fresh`` what was ``touched`` since the last cut, of the places ``used``.

        ``rows`` is asked for the rows at a slice or an array of places, as an array is by its brackets.
        """
        self._parts = [(number, places) for number, places in self._parts if int(places[-1]) >= used.start]
        held = sum(len(places) for _, places in self._parts) + len(touched)
        if not self._parts or held > 2 * len(used) + SPARE_ROWS:
            self._parts, step = [], max(1, PART_BYTES // self._dtype.itemsize)
            due: list[Places] = [used[first : first + step] for first in range(0, len(used), step)]
        else:
            due = [self._joined(touched, used)] if len(touched) else []
        for places in due:
            number, self._next = self._next, self._next + 1
            fresh[self._name(number)] = _encoded(places, rows(_selector(places)))
            self._parts.append((number, places))

    def _joined(self, touched: Places, used: range) -> Places:
        """The places of the next part: with those of parts before it that are no larger."""
        while self._parts:
            last = self._parts[-1][1]
            if len(last) > len(touched) or (len(last) + len(touched)) * self._dtype.itemsize > PART_BYTES:
                break
            self._parts.pop()
            touched = _united(last, touched, used.start)
        return touched

    def join(self, parts: Mapping[str, bytes], used: range) -> npt.NDArray[Any]:
        """The rows of the places ``used``, and from now on know ``parts``, which come in order, as written.

        Raises:
            WireError: a part cannot be read.
        """
        table = np.zeros(len(used), self._dtype)
        self._parts = []
        for name, data in parts.items():
            prefix, _, number = name.rpartition("/")
            if prefix != self.name:
                continue
            meta, arrays = unpack(data, "slice", VERSION)
            rows = arrays["rows"].view(self._dtype)
            places = range(meta["first"], meta["first"] + len(rows)) if "first" in meta else arrays["places"]
            if len(places) != len(rows):
                raise WireError(f"part {name} has {len(rows)} rows for {len(places)} places")
            _place(table, places, rows, used)
            self._parts.append((int(number), places))
        self._next = 1 + max((number for number, _ in self._parts), default=-1)
        return table


def _united(one: Places, other: Places, start: int) -> Places:
    if isinstance(one, range) and isinstance(other, range) and one.stop == other.start:
        return range(max(one.start, start), other.stop)
    return np.union1d(np.asarray(one), np.asarray(other))


def _selector(places: Places) -> Selector:
    return slice(places.start, places.stop) if isinstance(places, range) else places


def _encoded(places: Places, rows: npt.NDArray[Any]) -> bytes:
    content = {"rows": np.ascontiguousarray(rows).view(np.uint8)}
    if isinstance(places, range):
        return pack("slice", VERSION, {"first": places.start}, content)
    return pack("slice", VERSION, {}, content | {"places": places})


def _place(table: npt.NDArray[Any], places: Places, rows: npt.NDArray[Any], used: range) -> None:
    """Put rows at their places, but for those no longer used."""
    if isinstance(places, range):
        first, stop = max(places.start, used.start), min(places.stop, used.stop)
        if first < stop:
            table[first - used.start : stop - used.start] = rows[first - places.start : stop - places.start]
        return
    inside = (places >= used.start) & (places < used.stop)
    table[places[inside] - used.start] = rows[inside]


class Touched:
    """The rows of a table that were changed since the last snapshot, for tables changed in place."""

    def __init__(self) -> None:
        self._marks = np.zeros(0, np.bool_)

    def add(self, places: npt.NDArray[np.int64]) -> None:
        """Note rows; negative places are none."""
        places = places[places >= 0]
        if not len(places):
            return
        end = int(places.max()) + 1
        if end > len(self._marks):
            self._marks = np.concatenate(
                [self._marks, np.zeros(max(end, 2 * len(self._marks)) - len(self._marks), np.bool_)]
            )
        self._marks[places] = True

    def take(self) -> npt.NDArray[np.int64]:
        """The places in ascending order; from now on none."""
        places = np.flatnonzero(self._marks)
        self._marks[places] = False
        return places

    def clear(self) -> None:
        """Forget them, as all rows will be written anyway."""
        self._marks = np.zeros(0, np.bool_)


def known(names: Iterable[str], parts: Mapping[str, bytes]) -> dict[str, bytes]:
    """The parts of ``names`` in their order; WireError where one is missing."""
    found = {}
    for name in names:
        if name not in parts:
            raise WireError(f"part {name} is missing")
        found[name] = parts[name]
    return found
