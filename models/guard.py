"""Checks on raw bytes before a parser sees them: size and nesting.

What lives here: refusals that cost no parsing. What does not: checks of what was parsed (``request``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from models import reasons
from models.compiled import jit
from models.limits import JSON_DEPTH_MAX
from models.strings import Bytes, Strings

_JOINED_BYTES_MAX: Final = 1 << 24  # larger batches are looked at record by record instead of being copied


def refusals(records: Sequence[bytes | None], bytes_max: int) -> dict[int, str]:
    """The rows to refuse unread, with their reasons.

    Nearly always there are none, and one pass over all bytes of the batch shows it.
    """
    filled = [record for record in records if record]
    suspects: Sequence[int] = range(len(records))
    if len(filled) == len(records) and sum(map(len, filled)) <= _JOINED_BYTES_MAX:
        suspects = _suspects(Strings.of_bytes(filled), bytes_max)
    found = ((row, refusal(records[row], bytes_max)) for row in suspects)
    return {row: reason for row, reason in found if reason}


def _suspects(records: Strings, bytes_max: int) -> list[int]:
    """Rows, none of them empty, that are long, start with white space, or hold many opening brackets."""
    opening = np.flatnonzero((records.data | np.uint8(32)) == np.uint8(123))  # 91 and 123 differ in this bit alone
    brackets = np.diff(np.searchsorted(opening, records.offsets))
    blank = records.data[records.offsets[:-1]] <= 32
    rows: list[int] = np.flatnonzero(blank | (brackets > JSON_DEPTH_MAX) | (records.lengths > bytes_max)).tolist()
    return rows


def refusal(record: bytes | None, bytes_max: int) -> str | None:
    """The reason to refuse ``record`` unread, or None."""
    if not record:
        return reasons.EMPTY_RECORD
    if len(record) > bytes_max:
        return reasons.TOO_LARGE
    # Two byte counts are some 20 times cheaper than a walk, and nearly always enough.
    if record.count(b"{") + record.count(b"[") > JSON_DEPTH_MAX and nesting(record) > JSON_DEPTH_MAX:
        return reasons.TOO_DEEP
    return reasons.EMPTY_RECORD if record[0] <= 32 and not record.strip() else None


def nesting(record: bytes) -> int:
    """The greatest number of open brackets outside of strings."""
    return int(_nesting(np.frombuffer(record, np.uint8)))


@jit
def _nesting(data: Bytes) -> int:
    depth, deepest = 0, 0
    quoted, escaped = False, False
    for byte in data:
        if escaped:
            escaped = False
        elif quoted:
            escaped = byte == 92
            quoted = byte != 34
        elif byte == 34:
            quoted = True
        elif byte == 123 or byte == 91:
            depth += 1
            deepest = max(deepest, depth)
        elif byte == 125 or byte == 93:
            depth -= 1
    return deepest
