"""JSON texts for compiled code: where one ends, and what it says without its escapes.

What lives here: RFC 8259 section 7, refusing whatever is not plainly right. What does not: records (``flat_kernel``).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from models.compiled import jit, jit_helper
from models.strings import Bytes, Int64

WIDE: Final = 1
"""A text holds bytes beyond ASCII, which are not checked here."""
ESCAPED: Final = 2
"""A text holds escape sequences."""
ABOVE, BACKSLASH, QUOTE, FORBIDDEN = 1, 2, 3, 4  # classes of bytes that are not plain
CLASSES: Final = np.zeros(256, np.uint8)
CLASSES[128:], CLASSES[:32] = ABOVE, FORBIDDEN
CLASSES[ord("\\")], CLASSES[ord('"')] = BACKSLASH, QUOTE
SHORT: Final = 24  # bytes up to which a loop beats a slice


@jit_helper
def _hex4(data: Bytes, at: int, end: int) -> Any:
    """The value of four hexadecimal digits, or -1."""
    if at + 4 > end:
        return -1
    value: Any = 0
    for place in range(at, at + 4):
        byte = np.int64(data[place])
        lower = byte | 32
        if byte >= 48 and byte <= 57:
            value = value * 16 + byte - 48
        elif lower >= 97 and lower <= 102:
            value = value * 16 + lower - 87
        else:
            return -1
    return value


@jit
def _escape(data: Bytes, at: Any, end: int) -> Any:
    """Where the escape sequence at the backslash ``at`` ends, or -1; a surrogate needs its pair."""
    if at + 1 >= end:
        return -1
    kind = data[at + 1]
    if kind != 117:
        plain = kind == 34 or kind == 92 or kind == 47 or kind == 98
        return at + 2 if plain or kind == 102 or kind == 110 or kind == 114 or kind == 116 else -1
    value = _hex4(data, at + 2, end)
    if value < 0 or value >> 10 == 0x37:
        return -1
    if value >> 10 != 0x36:
        return at + 6
    if at + 8 > end or data[at + 6] != 92 or data[at + 7] != 117:
        return -1
    return at + 12 if _hex4(data, at + 8, end) >> 10 == 0x37 else -1


@jit
def find_marks(data: Bytes) -> npt.NDArray[np.int32]:
    """Where the bytes are that are not plain, ascending, and the length of the data as the last.

    One pass without a branch finds them all; a text then ends some marks later, however long it is.
    """
    marks = np.empty(data.shape[0] + 1, np.int32)
    count = 0
    for at in range(data.shape[0]):
        marks[count] = at
        count += CLASSES[data[at]] != 0
    marks[count] = data.shape[0]
    return marks[: count + 1]


@jit
def text_end(data: Bytes, marks: npt.NDArray[np.int32], mark: int, at: int, end: int) -> tuple[Any, int, int]:
    """The closing quote of the text that begins at ``at``, or -1; the mark after it; what the text holds.

    ``mark`` is one at or before the text. Integers go in and out, because arrays in tuples are counted references.
    """
    holds = 0
    while marks[mark] < at:
        mark += 1
    while marks[mark] < end:
        place = np.int64(marks[mark])
        kind = CLASSES[data[place]]
        mark += 1
        if kind == QUOTE:
            return place, mark, holds
        if kind == BACKSLASH:
            holds |= ESCAPED
            after = _escape(data, place, end)
            if after < 0:
                break
            while marks[mark] < after:
                mark += 1
        elif kind == ABOVE:
            holds |= WIDE
        else:
            break
    return -1, mark, 0


@jit
def _put(value: int, out: Bytes, to: int) -> int:
    """Write a code point as UTF-8; where the next one goes."""
    if value < 0x80:
        out[to] = value
        return to + 1
    if value < 0x800:
        out[to], out[to + 1] = 0xC0 | value >> 6, 0x80 | (value & 63)
        return to + 2
    if value < 0x10000:
        out[to], out[to + 1], out[to + 2] = 0xE0 | value >> 12, 0x80 | (value >> 6 & 63), 0x80 | (value & 63)
        return to + 3
    out[to], out[to + 1] = 0xF0 | value >> 18, 0x80 | (value >> 12 & 63)
    out[to + 2], out[to + 3] = 0x80 | (value >> 6 & 63), 0x80 | (value & 63)
    return to + 4


@jit
def _unescape(data: Bytes, at: int, end: int, out: Bytes, to: int) -> int:
    """Write a text that ``text_end`` has checked without its escapes; where the next text goes."""
    while at < end:
        byte = data[at]
        if byte != 92:
            out[to] = byte
            at, to = at + 1, to + 1
            continue
        kind = data[at + 1]
        if kind != 117:
            control = 8 if kind == 98 else 12 if kind == 102 else 10 if kind == 110 else 13 if kind == 114 else 9
            plain = kind == 34 or kind == 92 or kind == 47
            out[to] = kind if plain else control
            at, to = at + 2, to + 1
            continue
        value = _hex4(data, at + 2, end)
        at += 6
        if value >> 10 == 0x36:
            value = 0x10000 + ((value & 0x3FF) << 10) + (_hex4(data, at + 2, end) & 0x3FF)
            at += 6
        to = _put(value, out, to)
    return to


@jit
def column(data: Bytes, spans: Int64, first: int, rows: Int64) -> tuple[Bytes, Int64]:
    """The texts of one field, spans in columns ``first`` and next, at ``rows``, as data and offsets of ``Strings``."""
    offsets = np.zeros(rows.shape[0] + 1, np.int64)
    size = 0
    for row in rows:
        size += abs(spans[row, first + 1]) - spans[row, first]
    out = np.empty(size, np.uint8)
    to = 0
    for at in range(rows.shape[0]):
        start, end = spans[rows[at], first], spans[rows[at], first + 1]
        if end < 0:
            to = _unescape(data, start, -end, out, to)
        else:
            if end - start > SHORT:
                out[to : to + end - start] = data[start:end]
            else:
                for place in range(end - start):
                    out[to + place] = data[start + place]
            to += end - start
        offsets[at + 1] = to
    return out[:to], offsets
