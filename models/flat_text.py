"""JSON texts for compiled code: where one ends, and what it says without its escapes.

What lives here: RFC 8259 section 7, refusing whatever is not plainly right. What does not: records (``flat_kernel``).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from models.compiled import jit, jit_helper, jit_part
from models.strings import Bytes, Int64
from models.words import EVERY, ONE, load, lowest, place_of, store, zeros

WIDE: Final = 1
"""A text holds bytes beyond ASCII, which are not checked here."""
ESCAPED: Final = 2
"""A text holds escape sequences."""
ABOVE, BACKSLASH, QUOTE, FORBIDDEN = 1, 2, 3, 4  # classes of bytes that are not plain
CLASSES: Final = np.zeros(256, np.uint8)
CLASSES[128:], CLASSES[:32] = ABOVE, FORBIDDEN
CLASSES[ord("\\")], CLASSES[ord('"')] = BACKSLASH, QUOTE
BLOCK: Final = 32  # bytes that one instruction moves
_BACKSLASHES: Final = np.uint64(0x5C * EVERY)


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


@jit_part
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

    One pass without a branch finds them all; a text then ends some marks later, however long it is. It is two loops,
    because the first, over all bytes, works on vectors, and the second sees few words that are not 0.
    """
    size = data.shape[0]
    flags = np.zeros(size + 8, np.uint8)
    for at in range(size):
        byte = data[np.uint64(at)]
        flags[np.uint64(at)] = (byte < 32) | (byte >= 128) | (byte == 34) | (byte == 92)
    marks = np.empty(size + 1, np.int32)
    count = np.uint64(0)
    for word in range((size + 7) // 8):
        found = load(flags, 8 * word)
        while found:
            bit = lowest(found)
            marks[count] = 8 * word + (place_of(bit) >> 3)
            count += ONE
            found ^= bit
    marks[count] = size
    return marks[: count + ONE]


@jit_part
def text_end(data: Bytes, marks: npt.NDArray[np.int32], mark: int, at: int, end: int) -> tuple[Any, int, int]:
    """The closing quote of the text that begins at ``at``, or -1; the mark after it; what the text holds.

    ``mark`` is one at or before the text. Integers go in and out, because arrays in tuples are counted references.
    """
    holds = 0
    while marks[np.uint64(mark)] < at:
        mark += 1
    while marks[np.uint64(mark)] < end:
        place = np.int64(marks[np.uint64(mark)])
        kind = CLASSES[data[np.uint64(place)]]
        mark += 1
        if kind == QUOTE:
            return place, mark, holds
        if kind == BACKSLASH:
            holds |= ESCAPED
            after = _escape(data, place, end)
            if after < 0:
                break
            while marks[np.uint64(mark)] < after:
                mark += 1
        elif kind == ABOVE:
            holds |= WIDE
        else:
            break
    return -1, mark, 0


@jit_part
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


@jit_part
def _unescape(data: Bytes, at: int, end: int, out: Bytes, to: int) -> int:
    """Write a text that ``text_end`` has checked without its escapes; where the next text goes."""
    while at < end:
        plain = _copy_plain(data, at, end, out, to)
        at, to = at + plain, to + plain
        if at == end:
            break
        kind = data[at + 1]
        if kind != 117:
            control = 8 if kind == 98 else 12 if kind == 102 else 10 if kind == 110 else 13 if kind == 114 else 9
            itself = kind == 34 or kind == 92 or kind == 47
            out[to] = kind if itself else control
            at, to = at + 2, to + 1
            continue
        value = _hex4(data, at + 2, end)
        at += 6
        if value >> 10 == 0x36:
            value = 0x10000 + ((value & 0x3FF) << 10) + (_hex4(data, at + 2, end) & 0x3FF)
            at += 6
        to = _put(value, out, to)
    return to


@jit_part
def _copy_plain(data: Bytes, at: Any, end: int, out: Bytes, to: int) -> Any:
    """Copy bytes up to the first backslash, or all; how many.

    A word may be written past what counts: never past the room, as what is written is never longer than what is read.
    """
    first = at
    while at + 8 <= end:
        word = load(data, at)
        store(out, to, word)
        found = zeros(word ^ _BACKSLASHES)
        if found:
            return at + (place_of(lowest(found)) >> 3) - first
        at, to = at + 8, to + 8
    while at < end and data[at] != 92:
        out[to] = data[at]
        at, to = at + 1, to + 1
    return at - first


@jit_part
def _copy(data: Bytes, at: int, end: int, out: Bytes, to: int) -> int:
    """Copy bytes, whole blocks where there is so much to read: ``out`` has room behind; where the next ones go."""
    after = to + end - at
    while at < end and at + BLOCK <= data.shape[0]:
        for place in range(BLOCK):
            out[np.uint64(to) + np.uint64(place)] = data[np.uint64(at) + np.uint64(place)]
        at, to = at + BLOCK, to + BLOCK
    while at < end:
        out[to] = data[at]
        at, to = at + 1, to + 1
    return after


@jit
def columns(data: Bytes, spans: Int64, fields: int, rows: Int64) -> tuple[Bytes, Int64, Int64]:
    """The texts of the first ``fields`` fields, spans in two columns each, at ``rows``.

    Gives their data, where the texts of each field begin in it, and their offsets from there, of shape
    ``(fields, n + 1)``. Record by record, whose texts lie side by side: by field, each would be fetched as often.
    """
    offsets = np.zeros((fields, rows.shape[0] + 1), np.int64)
    begins = np.zeros(fields + 1, np.int64)
    for row in rows:
        for field in range(fields):
            begins[field + 1] += abs(spans[row, 2 * field + 1]) - spans[row, 2 * field]
    for field in range(fields):
        begins[field + 1] += begins[field] + BLOCK
    out, places = np.empty(begins[fields], np.uint8), begins.copy()
    for at in range(rows.shape[0]):
        for field in range(fields):
            start, end, to = spans[rows[at], 2 * field], spans[rows[at], 2 * field + 1], places[field]
            if end:
                to = _unescape(data, start, -end, out, to) if end < 0 else _copy(data, start, end, out, to)
            places[field], offsets[field, at + 1] = to, to - begins[field]
    return out, begins, offsets
