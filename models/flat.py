"""Records that are one flat canonical object each, read into columns without a Python object per event.

What lives here: which records of a batch are read so, and their columns. What does not: the grammar (``flat_kernel``)
and all other records (``decode``). Whether a record is read here or by the parser changes nothing in its event.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from models.columns import EventColumns
from models.compiled import COMPILED
from models.event import EventBatch
from models.flat_kernel import NUMBERS, TEXTS, scan
from models.flat_text import WIDE, columns
from models.strings import Lines, Strings

_JOINED_BYTES_MAX: Final = 1 << 24  # larger batches are not worth a copy
_PAUSE: Final = 15
Flat = tuple[EventBatch, npt.NDArray[np.bool_]]
"""Events, and which of the records of a batch they are."""


class FlatReader:
    """Reads flat records; where most of a batch was something else, the next few batches are not looked at."""

    __slots__ = ("_columns", "_pause")

    def __init__(self, columns: EventColumns) -> None:
        self._columns = columns
        self._pause = 0

    def read(self, records: Sequence[bytes | None], bytes_max: int) -> Flat | None:
        """The events of the flat records and which records those are, of shape ``(n,)``; None for no look taken."""
        if not COMPILED or not records or self._pause > 0:
            self._pause = max(self._pause - 1, 0)
            return None
        joined = _joined(records)
        if joined is None:
            return None
        marks, fields = scan(joined.data, joined.offsets, bytes_max)
        taken: npt.NDArray[np.bool_] = marks > 0
        wide = np.flatnonzero(marks & WIDE)
        if len(wide) and not _is_text(joined, wide):
            taken[wide] = False
        rows = np.flatnonzero(taken)
        if 2 * len(rows) < len(records):
            self._pause = _PAUSE
        data, begins, offsets = columns(joined.data, fields, len(TEXTS), rows)
        texts = {name: Strings(data[begins[at] :][: offsets[at, -1]], offsets[at]) for at, name in enumerate(TEXTS)}
        numbers = {name: fields[rows, 2 * len(TEXTS) + at] for at, name in enumerate(NUMBERS)}
        return self._columns.batch(texts, numbers), taken


def _joined(records: Sequence[bytes | None]) -> Strings | None:
    """All records in one buffer, a line with its newline, which is white space behind the object; None for too much."""
    if isinstance(records, Lines):
        return records.column
    filled = [record or b"" for record in records]
    return Strings.of_bytes(filled) if sum(map(len, filled)) <= _JOINED_BYTES_MAX else None


def _is_text(records: Strings, rows: npt.NDArray[np.intp]) -> bool:
    """Whether all are UTF-8; a flat record begins and ends with a bracket, so neighbours cannot mend it."""
    data, starts, ends = records.data.data, records.offsets[rows], records.offsets[rows + 1]
    try:
        b"".join([data[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]).decode()
    except UnicodeDecodeError:
        return False
    return True
