"""The compiled tokeniser: UTF-8 bytes to token hashes, and those with the numbers masked.

What lives here: where tokens begin and end, and their hashes. What does not: what becomes of them (``sketch_kernel``);
the same rules over whole arrays are in ``sketch_numpy``.

Eight bytes are classified at a time (``words``): a run of ASCII then costs one mix per eight bytes and no branch per
byte, a third of what a loop over characters takes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from models.alphabet import IGNORED, SEPARATOR, SINGLE, TABLE_SIZE
from models.compiled import jit_helper, jit_part
from models.words import EVERY, LOWS, ONE, TOPS, load, lowest, place_of

UInt8 = npt.NDArray[np.uint8]
UInt32 = npt.NDArray[np.uint32]
UInt64 = npt.NDArray[np.uint64]
Int64 = npt.NDArray[np.int64]

PADDING = 64
"""Bytes that must follow the last text, as whole blocks are read and then masked."""
LOWER = 0x20
"""Set in every ASCII byte of a word: upper case becomes lower, digits keep their value, ``_`` stays apart."""

_FOLDED = np.uint32(SINGLE - 1)
_LETTER = np.uint64(0x40 * EVERY)  # set in letters and "_", clear in digits
_LOWER = np.uint64(LOWER * EVERY)
_ALL = np.uint64(2**64 - 1)


class Secrets(NamedTuple):
    """Secret odd 64-bit words. Each kind of key has one of its own, so that no two kinds can meet."""

    token: Any
    first: Any  # multipliers of `mix`
    second: Any
    number: Any  # stands for every token with a digit
    digest: Any
    short: Any
    band: Any
    signature: Any  # multipliers of the polynomial hashes
    template: Any
    edge: Any


class Scratch(NamedTuple):
    """Room for the longest text of a batch."""

    runs: Int64  # begin and end of every run of word bytes
    starts: Int64  # first byte of every token
    tokens: UInt64
    digits: UInt8  # 1 for a token with a digit
    masked: UInt64  # tokens with every run of numbers made one
    shingles: UInt64
    values: UInt32


@jit_helper
def mix(value: Any, secrets: Any) -> Any:
    """Spread every bit over all 64: the murmur finaliser with secret odd multipliers, a bijection."""
    value = (value ^ (value >> np.uint64(32))) * secrets.first
    value = (value ^ (value >> np.uint64(29))) * secrets.second
    return value ^ (value >> np.uint64(32))


@jit_part
def tokenise(text: UInt8, fold: UInt32, secrets: Secrets, scratch: Scratch) -> int:
    """Hash the tokens of one text, which ``PADDING`` readable bytes follow; returns how many.

    Characters are packed eight bytes to a word, first byte lowest, and each word is mixed into the token's hash: an
    ASCII character is one byte, any other is three with their top bits set. No two tokens pack alike.
    """
    count = 0
    for run in range(0, _find_runs(text, scratch.runs), 2):
        begin, end = scratch.runs[run], scratch.runs[run + 1]
        state, letters, wide = _hash_ascii(text, begin, end, secrets)
        if wide:
            count = _split_run(text[:end], begin, fold, secrets, scratch, count)
            continue
        scratch.starts[count] = begin
        scratch.tokens[count] = state
        scratch.digits[count] = not letters
        count += 1
    return count


@jit_part
def mask_numbers(count: int, secrets: Secrets, scratch: Scratch) -> int:
    """Fill ``scratch.masked``: every run of tokens that hold a digit becomes one number. Returns how many remain."""
    masked, before = 0, np.uint8(0)
    for index in range(count):
        digit = scratch.digits[index]
        scratch.masked[masked] = secrets.number if digit else scratch.tokens[index]
        masked += 1 - (digit & before)
        # Where a number follows a number, the place is written again by whatever comes next.
        before = digit
    return masked


@jit_helper
def _classify(word: Any) -> Any:
    """Eight bits, one per byte of ``word``: set for ASCII letters, digits, ``_``, and every byte of 128 or more."""
    low = word & LOWS
    folded = (word | _LOWER) & LOWS
    letter = (folded + np.uint64(0x1F * EVERY)) & ~(folded + np.uint64(0x05 * EVERY))  # "a" to "z"
    digit = (low + np.uint64(0x50 * EVERY)) & ~(low + np.uint64(0x46 * EVERY))  # "0" to "9"
    underscore = ~((low ^ np.uint64(0x5F * EVERY)) + LOWS)
    top = (letter | digit | underscore | word) & TOPS
    return ((top >> np.uint64(7)) * np.uint64(0x0102040810204080)) >> np.uint64(56)


@jit_part
def _find_runs(text: UInt8, runs: Int64) -> int:
    """Write begin and end of every run of bytes that words are made of; returns twice their number."""
    count, carry = 0, np.uint64(0)
    for block in range(0, len(text), 64):
        inside = np.uint64(0)
        for index in range(8):
            inside |= _classify(load(text, block + 8 * index)) << np.uint64(8 * index)
        if len(text) - block < 64:
            inside &= (ONE << np.uint64(len(text) - block)) - ONE
        turns = inside ^ ((inside << ONE) | carry)
        carry = inside >> np.uint64(63)
        while turns:
            turn = lowest(turns)
            runs[count] = block + place_of(turn)
            count += 1
            turns ^= turn
    if count % 2:
        runs[count] = len(text)
        count += 1
    return count


@jit_part
def _hash_ascii(text: UInt8, begin: int, end: int, secrets: Secrets) -> tuple[Any, bool, bool]:
    """Hash a run as if it were ASCII: the hash, whether it has no digit, and whether it is not ASCII after all."""
    state, digits, wide = secrets.token, np.uint64(0), np.uint64(0)
    while end - begin > 8:
        word = load(text, begin)
        wide |= word & TOPS
        digits |= ~word & _LETTER
        state = mix(state ^ (word | _LOWER), secrets)
        begin += 8
    keep = _ALL >> np.uint64(64 - 8 * (end - begin))
    word = load(text, begin)
    wide |= word & keep & TOPS
    digits |= ~word & keep & _LETTER
    return mix(state ^ ((word | _LOWER) & keep), secrets), digits == 0, wide != 0


@jit_part
def _split_run(text: UInt8, at: int, fold: UInt32, secrets: Secrets, scratch: Scratch, count: int) -> int:
    """Hash the tokens of a run that goes on to the end of ``text`` and is not all ASCII; returns the new count."""
    while at < len(text):
        char, width = _character(text, at, fold)
        if char <= IGNORED:
            at += width
            continue
        scratch.starts[count] = at
        if char >= SINGLE:
            token, digit, at = mix(secrets.token ^ _pack(char & _FOLDED), secrets), False, at + width
        else:
            token, digit, at = _hash_wide(text, at, fold, secrets)
        scratch.tokens[count] = token
        scratch.digits[count] = digit
        count += 1
    return count


@jit_part
def _hash_wide(text: UInt8, at: int, fold: UInt32, secrets: Secrets) -> tuple[Any, bool, int]:
    """Hash the token at ``at`` character by character: its hash, whether it has a digit, and where it ends."""
    state, word, size, digit = secrets.token, np.uint64(0), 0, False
    while at < len(text):
        char, width = _character(text, at, fold)
        if char == SEPARATOR or char >= SINGLE:
            break
        at += width
        if char == IGNORED:
            continue
        digit |= char <= 57  # "9": the digits are the lowest characters of words
        packed = _pack(char)
        while packed:
            word |= (packed & np.uint64(0xFF)) << np.uint64(8 * size)
            packed >>= np.uint64(8)
            size += 1
            if size == 8:
                state, word, size = mix(state ^ word, secrets), np.uint64(0), 0
    return (mix(state ^ word, secrets) if size else state), digit, at


@jit_helper
def _pack(code: Any) -> Any:
    """The one or three bytes of a folded character, first byte lowest; none of them is 0."""
    code = np.uint64(code)
    if code < 0x80:
        return code | np.uint64(LOWER)
    middle, high = (code >> np.uint64(7)) & np.uint64(0x7F), code >> np.uint64(14)
    return (code & np.uint64(0x7F)) | (middle << np.uint64(8)) | (high << np.uint64(16)) | np.uint64(0x808080)


@jit_part
def _character(text: UInt8, at: int, fold: UInt32) -> tuple[Any, int]:
    """The folded character at ``at`` and its bytes. What is not UTF-8 separates, one byte at a time."""
    lead = np.int64(text[at])
    if lead < 0x80:
        return fold[lead], 1
    width = 2 if lead < 0xE0 else (3 if lead < 0xF0 else 4)
    if lead < 0xC2 or lead > 0xF4 or at + width > len(text):
        return np.uint32(SEPARATOR), 1
    code = lead & (0x7F >> width)
    for index in range(1, width):
        byte = np.int64(text[at + index])
        if byte & 0xC0 != 0x80:
            return np.uint32(SEPARATOR), 1
        code = (code << 6) | (byte & 0x3F)
    return (fold[code] if code < TABLE_SIZE else _fold_above(code)), width


@jit_helper
def _fold_above(code: Any) -> Any:
    """``alphabet.fold`` of code points above its table."""
    if code < 0x40000:
        return np.uint32(code) | np.uint32(SINGLE)
    return np.uint32(IGNORED) if 0xE0000 <= code <= 0xE0FFF else np.uint32(SEPARATOR)
