"""The compiled pass over records that are one flat canonical object each: where every field's value lies.

What lives here: the grammar, for the records that nearly all are: known fields of the usual types and others with
plain values. What does not: anything doubtful. A record that this pass does not take is not wrong; the parser decides
(``decode``). So it takes only what the parser would take, and must read the same values: RFC 8259 without nesting.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from models.compiled import jit, jit_helper, jit_part
from models.event import MISSING
from models.flat_text import ESCAPED, WIDE, find_marks, text_end
from models.limits import COUNT_MAX, ID_BYTES_MAX, PROMPT_CHARACTERS_MAX, TIME_MAX_MS, TIME_MIN_MS
from models.strings import Bytes, Int64

TEXTS: Final = (
    "event_id",
    "account_id",
    "model",
    "prompt",
    "org_id",
    "system",
    "conversation_id",
    "client_ip",
    "user_agent",
    "ja4",
    "payment_id",
    "email_domain",
    "api_key_id",
    "plan",
)
IDS, REQUIRED = 2, 4  # the first two are ids, and the first four must be there
NUMBERS: Final = ("ts", "account_created", "turn", "input_tokens", "output_tokens", "status", "refused", "tools")
TIMES, COUNTS = 2, 6  # the first two are times, counts follow up to the sixth, then flags
ABSENT: Final = ("messages", "sketch")  # events with these are read by the parser
NAMES: Final = (*TEXTS, *NUMBERS, *ABSENT)
SLOTS: Final = 256
TAKEN: Final = 4
_DIGITS_MAX: Final = 15  # exact in every number type
Marks = npt.NDArray[np.int32]


def name_slot(name: bytes) -> int:
    """The slot of a field name; the kernel computes the same."""
    return (len(name) * 7 + name[0] * 5 + name[len(name) // 2] * 3 + name[-1] * 11) & (SLOTS - 1)


def _table() -> npt.NDArray[np.int16]:
    """Numbers of the names by slot; names of one slot take the next free one."""
    slots = np.full(SLOTS, -1, np.int16)
    for number, name in enumerate(NAMES):
        slot = name_slot(name.encode())
        while slots[slot] >= 0:
            slot = (slot + 1) % SLOTS
        slots[slot] = number
    return slots


_SLOTS: Final = _table()
_LETTERS: Final = np.frombuffer("".join(NAMES).encode(), np.uint8)
_STARTS: Final = np.concatenate([[0], np.cumsum([len(name) for name in NAMES])]).astype(np.int64)


@jit_helper
def _space(data: Bytes, at: int, end: int) -> int:
    while at < end:
        byte = data[np.uint64(at)]
        if byte > 32 or not (byte == 32 or byte == 10 or byte == 9 or byte == 13):
            break
        at += 1
    return at


@jit_part
def _number(data: Bytes, at: int, end: int) -> tuple[int, Any, bool]:
    """Where the number ends, or -1; its value, and whether it is an integer that is not negative."""
    negative = at < end and data[at] == 45
    at += negative
    first: int = at
    value: Any = 0
    while at < end and at - first <= _DIGITS_MAX and data[at] >= 48 and data[at] <= 57:
        value = value * 10 + np.int64(data[at]) - 48
        at += 1
    if at == first or at - first > _DIGITS_MAX or (data[first] == 48 and at - first > 1):
        return -1, 0, False
    whole = not negative
    if at < end and data[at] == 46:
        whole, point = False, at
        at += 1
        while at < end and at - point <= _DIGITS_MAX and data[at] >= 48 and data[at] <= 57:
            at += 1
        if at == point + 1 or at - point > _DIGITS_MAX:
            return -1, 0, False
    return at, value, whole


@jit_part
def _literal(data: Bytes, at: int, end: int) -> int:
    """4 for ``true`` and ``null`` (which begins with n), 5 for ``false``, 0 for anything else: its length."""
    if at + 4 > end:
        return 0
    a, b, c, d = data[at], data[at + 1], data[at + 2], data[at + 3]
    if (a == 116 and b == 114 and c == 117 and d == 101) or (a == 110 and b == 117 and c == 108 and d == 108):
        return 4
    if a == 102 and b == 97 and c == 108 and d == 115 and at + 5 <= end and data[at + 4] == 101:
        return 5
    return 0


@jit_part
def _name(data: Bytes, at: int, end: int) -> int:
    """The number of the name in ``data[at:end]``, or -1 for another."""
    if at == end:
        return -1
    first, last = np.int64(data[np.uint64(at)]), np.int64(data[np.uint64(end - 1)])
    middle = np.int64(data[np.uint64(at + ((end - at) >> 1))])
    slot = ((end - at) * 7 + first * 5 + middle * 3 + last * 11) & (SLOTS - 1)
    while _SLOTS[slot] >= 0:
        number = _SLOTS[slot]
        start = _STARTS[number]
        if _STARTS[number + 1] - start == end - at:
            same = 0
            while same < end - at and _LETTERS[np.uint64(start + same)] == data[np.uint64(at + same)]:
                same += 1
            if same == end - at:
                return int(number)
        slot = (slot + 1) & (SLOTS - 1)
    return -1


@jit_part
def _printable(data: Bytes, at: int, end: int) -> bool:
    """Whether plain bytes hold no DEL, the one control character that JSON allows."""
    found = 0
    for place in range(at, end):
        found += data[place] == 127
    return found == 0


@jit_part
def _fits(field: int, value: int) -> bool:
    """Whether an integer may stand in the numeric field."""
    if field < TIMES:
        return TIME_MIN_MS <= value <= TIME_MAX_MS
    return field < COUNTS and value <= COUNT_MAX


@jit_part
def _take_text(data: Bytes, name: int, stop: int, at: int, holds: int) -> bool:
    """Whether the text from ``at`` to ``stop`` may stand in the field."""
    if name < IDS:
        return holds == 0 and 0 < stop - at <= ID_BYTES_MAX and _printable(data, at, stop)
    return name < len(TEXTS) and stop - at <= PROMPT_CHARACTERS_MAX


@jit_part
def _take_literal(name: int, null: bool) -> bool:
    """Whether ``null``, or else ``true`` or ``false``, may stand in the field."""
    if null:
        return name < 0 or name > len(TEXTS) or (name >= REQUIRED and name < len(TEXTS))
    return name < 0 or (name >= len(TEXTS) + COUNTS and name < len(TEXTS) + len(NUMBERS))


@jit_part
def _value(data: Bytes, marks: Marks, out: Int64, where: tuple[int, int, int, int, int]) -> tuple[int, int, int]:
    """Take the value at ``where`` = (row, field name, begin, end of record, mark): its end or -1, mark, holds."""
    row, name, at, end, mark = where
    if at < end and data[at] == 34:
        stop, mark, holds = text_end(data, marks, mark, at + 1, end)
        if stop < 0 or (name >= 0 and not _take_text(data, name, stop, at + 1, holds)):
            return -1, mark, 0
        if name >= 0:
            out[row, 2 * name] = at + 1
            out[row, 2 * name + 1] = stop if holds & ESCAPED == 0 else -stop
        return stop + 1, mark, holds
    size = _literal(data, at, end)
    if size > 0:
        if not _take_literal(name, data[at] == 110):
            return -1, mark, 0
        if data[at] == 116 and name >= 0:
            out[row, len(TEXTS) + name] = 1
        return at + size, mark, 0
    stop, value, whole = _number(data, at, end)
    if stop >= 0 and name >= 0:
        field = name - len(TEXTS)
        if field < 0 or field >= len(NUMBERS) or not whole or not _fits(field, value):
            return -1, mark, 0
        out[row, len(TEXTS) + name] = value
    return stop, mark, 0


@jit_part
def _field(data: Bytes, marks: Marks, out: Int64, where: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    """Take one name and value at ``where`` = (row, begin, end, mark): its end or -1, mark, holds, field name."""
    row, at, end, mark = where
    if at >= end or data[at] != 34:
        return -1, mark, 0, -1
    stop, mark, named = text_end(data, marks, mark, at + 1, end)
    if stop < 0 or named & ESCAPED:
        return -1, mark, 0, -1
    name = _name(data, at + 1, stop)
    at = _space(data, stop + 1, end)
    if at >= end or data[at] != 58:
        return -1, mark, 0, -1
    at, mark, holds = _value(data, marks, out, (row, name, _space(data, at + 1, end), end, mark))
    return at, mark, holds | named, name


@jit_part
def _object(data: Bytes, marks: Marks, out: Int64, where: tuple[int, int, int, int]) -> tuple[int, int]:
    """Take the record ``where`` = (row, begin, end, mark): ``TAKEN`` with what its texts hold, or 0; and the mark."""
    row, at, end, mark = where
    seen, holds = 0, 0
    if at >= end or data[at] != 123:
        return 0, mark
    at += 1
    while True:
        at, mark, inside, name = _field(data, marks, out, (row, _space(data, at, end), end, mark))
        if at < 0 or (name >= 0 and seen >> name & 1):
            return 0, mark
        if name >= 0:
            seen |= 1 << name
        holds |= inside
        at = _space(data, at, end)
        if at >= end or (data[at] != 44 and data[at] != 125):
            return 0, mark
        at += 1
        if data[at - 1] == 125:
            break
    needed = (1 << REQUIRED) - 1 | 1 << len(TEXTS)
    complete = _space(data, at, end) == end and seen & needed == needed
    return (TAKEN | (holds & WIDE) if complete else 0), mark


@jit
def scan(data: Bytes, offsets: Int64, bytes_max: int) -> tuple[npt.NDArray[np.uint8], Int64]:
    """For every record 0 or ``TAKEN`` (with ``WIDE``), and its fields, int64 of shape ``(n, 2 * texts + numbers)``.

    Two for each text: begin and end, negated where it has escapes, both 0 where absent; then the numbers, ``MISSING``
    where absent and 0 for absent flags.
    """
    count = offsets.shape[0] - 1
    taken = np.zeros(count, np.uint8)
    out = np.zeros((count, 2 * len(TEXTS) + len(NUMBERS)), np.int64)
    marks, mark = find_marks(data), 0
    for row in range(count):
        for field in range(COUNTS):
            out[row, 2 * len(TEXTS) + field] = MISSING
        if offsets[row + 1] - offsets[row] <= bytes_max:
            taken[row], mark = _object(data, marks, out, (row, offsets[row], offsets[row + 1], mark))
    return taken, out
