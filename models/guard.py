"""Checks on raw bytes before a parser sees them: size and nesting.

What lives here: refusals that cost no parsing. What does not: checks of what was parsed (``request``).
"""

from __future__ import annotations

import numpy as np

from models import reasons
from models.compiled import jit
from models.limits import JSON_DEPTH_MAX
from models.strings import Bytes


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
