"""Characters as the tokeniser sees them: what belongs to a word, what ends one, and what does not exist.

What lives here: one table from code point to folded code point. What does not: how runs become tokens (``sketch``).

Disguises that cost a sender nothing must not change a token, so case, accents, width, mathematical alphabets and
foreign digits fold to their plain form, and unseen marks (zero-width, soft hyphen, combining accents) are skipped.
"""

from __future__ import annotations

import functools
import unicodedata

import numpy as np
import numpy.typing as npt

SEPARATOR = 0
"""Ends a token and is dropped: space, punctuation, symbols, emoji, unassigned, broken UTF-8."""
IGNORED = 1
"""Dropped without ending a token."""
SINGLE = 1 << 31
"""Flag of a character that is a token by itself, because its script writes no spaces between words."""
TABLE_SIZE = 0x20000
"""Planes 0 and 1; ``fold`` answers for what lies above without a table."""

# First and last code point. Scripts without spaces, and Hangul, whose particles stick to the words.
_UNSPACED = (
    (0x0E00, 0x0FFF),  # Thai, Lao, Tibetan
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x3005, 0x3007),  # iteration marks and the zero of CJK
    (0x3041, 0x318F),  # kana, bopomofo, Hangul letters
    (0x31F0, 0x31FF),
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xAC00, 0xD7A3),
    (0xF900, 0xFAFF),
    (0x1B000, 0x1B16F),  # historic kana
    (0x20000, 0x3FFFF),  # rare ideographs
)
_INVISIBLE_ABOVE = (0xE0000, 0xE0FFF)  # tags and variation selectors


def fold(code: int) -> int:
    """The folded form of a code point: ``SEPARATOR``, ``IGNORED``, or a code point, with ``SINGLE`` set or not."""
    if code >= TABLE_SIZE:
        if _INVISIBLE_ABOVE[0] <= code <= _INVISIBLE_ABOVE[1]:
            return IGNORED
        return code | SINGLE if _is_unspaced(code) else SEPARATOR
    char = chr(code)
    if _is_unseen(char):
        return IGNORED
    plain = _plain(char)
    if not (plain.isalnum() or plain == "_" or unicodedata.category(plain)[0] == "M"):
        return SEPARATOR
    folded = ord(plain)
    return folded | SINGLE if _is_unspaced(folded) else folded


@functools.cache
def fold_table() -> npt.NDArray[np.uint32]:
    """``fold`` of every code point below ``TABLE_SIZE``, uint32 (0.1 s to make, made once, read-only)."""
    table = np.fromiter(map(fold, range(TABLE_SIZE)), np.uint32, TABLE_SIZE)
    table.flags.writeable = False
    return table


def _is_unspaced(code: int) -> bool:
    return any(first <= code <= last for first, last in _UNSPACED)


def _is_unseen(char: str) -> bool:
    """Whether a reader would not notice the character: format controls, accents, vowel points, variation selectors."""
    if unicodedata.category(char) == "Cf" or "\ufe00" <= char <= "\ufe0f" or char == "\u034f":
        return True
    # Combining classes: 1 overlays, 10 to 35 Hebrew and Arabic points, 200 and up accents. The vowel signs and viramas
    # of Indic scripts (0, 7, 9) are letters of their words and stay.
    placement = unicodedata.combining(char)
    return placement == 1 or 10 <= placement <= 35 or placement >= 200


def _plain(char: str) -> str:
    """``char`` without compatibility form, accents and case, as one character; itself where it would become several."""
    decimal = unicodedata.decimal(char, None)
    if decimal is not None:
        return str(decimal)
    composed = unicodedata.normalize("NFKC", char)
    if len(composed) == 1:
        char = composed
    apart = unicodedata.normalize("NFD", char)
    if all(map(_is_unseen, apart[1:])):
        char = apart[0]
    for lowered in (char.casefold(), char.lower()):
        if len(lowered) == 1:
            return lowered
    return char
