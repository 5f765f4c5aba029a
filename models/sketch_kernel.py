"""The compiled pass over a batch of texts: bytes to tokens, shingles, minima and keys, without a Python object.

What lives here: the arithmetic, once for words (compiled) and for whole arrays (``sketch_numpy``), and the compiled
loops. What does not: parameters, secrets and the meaning of the columns (``sketch``).

Sources: Broder, "On the resemblance and containment of documents" (1997), for min-wise hashes and bottom-k sets;
Karp and Rabin (1987) for the rolling hash; the affine permutations are those of datasketch's scheme ``affine32``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from models.alphabet import IGNORED, SEPARATOR, SINGLE, TABLE_SIZE
from models.compiled import jit, jit_helper

UInt8 = npt.NDArray[np.uint8]
UInt32 = npt.NDArray[np.uint32]
UInt64 = npt.NDArray[np.uint64]
Int64 = npt.NDArray[np.int64]

EDGES = (32, 64)
"""How many shingles from either end the edge minima look at."""
EDGE_KEYS = 2 * len(EDGES)

_FOLDED = np.uint32(SINGLE - 1)
_LAST = np.uint64(2**64 - 1)


class Secrets(NamedTuple):
    """Secret 64-bit words; the multipliers are odd. One family each, so that no two kinds of key can meet."""

    token: Any
    first: Any  # multipliers of `mix`
    second: Any
    number: Any  # stands for every token with a digit
    digest: Any
    short: Any
    band: Any
    signature: Any  # multipliers of the rolling hashes
    template: Any
    edge: Any


class Plan(NamedTuple):
    """All that a pass needs besides the texts: secrets, tables and sizes."""

    secrets: Secrets
    fold: UInt32  # code point -> folded code point, see `alphabet`
    multipliers: UInt32  # of the permutations
    addends: UInt32
    phrase_filter: UInt64  # 4096 bits: top 12 bits of the first token of any phrase
    phrase_tokens: UInt64
    phrase_offsets: Int64
    phrase_tagged: UInt8  # 1 where the phrase must follow "<" or "</"
    shingle_words: int
    template_words: int
    template_keys: int
    edge_words: int
    bands: int
    band_rows: int


class Columns(NamedTuple):
    """The arrays that a pass fills; see `sketch.Sketches`."""

    digest: UInt64
    tokens: npt.NDArray[np.int32]
    signature: UInt32
    bands: UInt64
    keys: UInt64
    key_offsets: Int64
    reasoning: UInt8


class Scratch(NamedTuple):
    """Room for the longest text of a batch."""

    tokens: UInt64
    masked: UInt64
    tagged: UInt8
    shingles: UInt64
    values: UInt32


@jit_helper
def mix(value: Any, secrets: Any) -> Any:
    """Spread every bit over all 64: the murmur finaliser with secret odd multipliers, a bijection."""
    value = (value ^ (value >> np.uint64(32))) * secrets.first
    value = (value ^ (value >> np.uint64(29))) * secrets.second
    return value ^ (value >> np.uint64(32))


@jit_helper
def scramble(value: Any) -> Any:
    """MurmurHash3's 32-bit finaliser, which datasketch applies before its permutations; takes and gives uint64."""
    value = ((value ^ (value >> np.uint64(16))) * np.uint64(0x85EBCA6B)) & np.uint64(0xFFFFFFFF)
    value = ((value ^ (value >> np.uint64(13))) * np.uint64(0xC2B2AE35)) & np.uint64(0xFFFFFFFF)
    return value ^ (value >> np.uint64(16))


@jit
def sketch_rows(data: UInt8, offsets: Int64, plan: Plan, columns: Columns, scratch: Scratch) -> int:
    """Sketch every text into ``columns``; returns the number of keys written."""
    written = 0
    for row in range(len(offsets) - 1):
        count, masked = _tokenise(data[offsets[row] : offsets[row + 1]], plan, scratch)
        columns.tokens[row] = count
        columns.digest[row] = _digest(scratch.tokens, count, plan.secrets)
        columns.reasoning[row] = _asks_for_reasoning(scratch, count, plan)
        _sign(scratch, count, plan, columns.signature[row])
        _fold_bands(columns.signature[row], count, plan, columns.bands[row])
        keys = columns.keys[written:]
        if masked >= plan.template_words:
            written += _template_keys(scratch, masked, plan, keys)
        elif count > 0:
            keys[0] = max(mix(columns.digest[row] ^ plan.secrets.short, plan.secrets), np.uint64(1))
            written += 1
        columns.key_offsets[row + 1] = written
    return written


@jit_helper
def fold_above(code: Any) -> Any:
    """``alphabet.fold`` of code points above its table."""
    if code < 0x40000:
        return np.uint32(code) | np.uint32(SINGLE)
    return np.uint32(IGNORED) if 0xE0000 <= code <= 0xE0FFF else np.uint32(SEPARATOR)


@jit
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
    return (fold[code] if code < TABLE_SIZE else fold_above(code)), width


@jit
def _hash_token(text: UInt8, at: int, char: Any, width: int, fold: UInt32, secrets: Secrets) -> tuple[Any, bool, int]:
    """Hash the token that begins with ``char`` at ``at``: its hash, whether it has a digit, and where it ends.

    Characters are packed eight bytes to a word, and each word is mixed into the hash: a character below 128 is one
    byte, any other is three with their top bits set, so that no two tokens pack alike.
    """
    state, word, size, digit = secrets.token, np.uint64(0), 0, False
    alone = char >= SINGLE
    while True:
        at += width
        if char != IGNORED:
            digit |= char <= 57  # "9": the digits are the lowest characters of words
            code = np.uint64(char & _FOLDED)
            shift = np.uint64(0 if char < 0x80 else 14)
            mark = np.uint64(0 if char < 0x80 else 0x80)
            while True:
                word = (word << np.uint64(8)) | ((code >> shift) & np.uint64(0x7F)) | mark
                size += 1
                if size == 8:
                    state, word, size = mix(state ^ word, secrets), np.uint64(0), 0
                if shift == 0:
                    break
                shift -= np.uint64(7)
        if alone or at >= len(text):
            break
        char, width = _character(text, at, fold)
        if char == SEPARATOR or char >= SINGLE:
            break
    return (mix(state ^ word, secrets) if size else state), digit, at


@jit
def _tokenise(text: UInt8, plan: Plan, scratch: Scratch) -> tuple[int, int]:
    """Hash the tokens of one text: how many there are, and how many once every run of numbers is one."""
    count, masked, at, numeric = 0, 0, 0, False
    while at < len(text):
        char, width = _character(text, at, plan.fold)
        if char <= IGNORED:
            at += width
            continue
        tagged = at > 0 and (text[at - 1] == 60 or (at > 1 and text[at - 1] == 47 and text[at - 2] == 60))  # "<", "</"
        token, digit, at = _hash_token(text, at, char, width, plan.fold, plan.secrets)
        scratch.tokens[count] = token
        scratch.tagged[count] = tagged
        count += 1
        if not (digit and numeric):
            scratch.masked[masked] = plan.secrets.number if digit else token
            masked += 1
        numeric = digit
    return count, masked


@jit
def _digest(tokens: UInt64, count: int, secrets: Secrets) -> Any:
    """One hash of the whole token stream; 0 for no tokens. A sum, so that its terms need not wait for each other."""
    if count == 0:
        return np.uint64(0)
    total = np.uint64(count)
    for index in range(count):
        total += mix(tokens[index] + np.uint64(index) * secrets.digest, secrets)
    return max(mix(total, secrets), np.uint64(1))


@jit
def _roll(tokens: UInt64, count: int, words: int, multiplier: Any, shingles: UInt64) -> None:
    """Rolling hashes (not yet mixed) of the ``count`` shingles of ``words`` tokens that begin at ``tokens[0]``."""
    value, leaving = np.uint64(0), np.uint64(1)
    for index in range(words):
        value = value * multiplier + tokens[index]
        leaving *= multiplier
    shingles[0] = value
    for index in range(1, count):
        value = value * multiplier + tokens[index + words - 1] - leaving * tokens[index - 1]
        shingles[index] = value


@jit
def _sign(scratch: Scratch, count: int, plan: Plan, signature: UInt32) -> None:
    """MinHash of the word shingles; a text shorter than a shingle is one shingle, and no text leaves all ones."""
    signature[:] = np.uint32(0xFFFFFFFF)
    if count == 0:
        return
    words = min(plan.shingle_words, count)
    number = count - words + 1
    _roll(scratch.tokens, number, words, plan.secrets.signature, scratch.shingles)
    values = scratch.values
    for index in range(number):
        value = mix(scratch.shingles[index], plan.secrets) >> np.uint64(32)
        values[index] = np.uint32(scramble(value))
    while number % 4:  # a value seen twice changes no minimum, and whole fours keep the loop below free of a tail
        values[number] = values[number - 1]
        number += 1
    for index in range(0, number, 4):
        _lower(signature, plan.multipliers, plan.addends, values[index : index + 4])


@jit
def _lower(signature: UInt32, multipliers: UInt32, addends: UInt32, values: UInt32) -> None:
    """Lower every slot to the least of what its permutation makes of four values; vectorises over the slots."""
    v0, v1, v2, v3 = values[0], values[1], values[2], values[3]
    for slot in range(len(signature)):
        a, b = multipliers[slot], addends[slot]
        low = min(np.uint32(a * v0 + b), np.uint32(a * v1 + b))
        high = min(np.uint32(a * v2 + b), np.uint32(a * v3 + b))
        signature[slot] = min(signature[slot], min(low, high))


@jit
def _fold_bands(signature: UInt32, count: int, plan: Plan, bands: UInt64) -> None:
    """One key per band of rows; 0 for a text without tokens."""
    for band in range(plan.bands):
        value = np.uint64(band)
        for row in range(plan.band_rows):
            value = value * plan.secrets.band + np.uint64(signature[band * plan.band_rows + row])
        bands[band] = max(mix(value, plan.secrets), np.uint64(1)) if count else np.uint64(0)


@jit
def _template_keys(scratch: Scratch, masked: int, plan: Plan, keys: UInt64) -> int:
    """The least shingle hashes of the masked text and its edge minima, distinct and ascending; how many."""
    shingles = scratch.shingles
    number = masked - plan.template_words + 1
    _roll(scratch.masked, number, plan.template_words, plan.secrets.template, shingles)
    keys[: plan.template_keys + EDGE_KEYS] = _LAST
    smallest = keys[: plan.template_keys]
    for index in range(number):
        value = max(mix(shingles[index], plan.secrets), np.uint64(1))
        if value < smallest[plan.template_keys - 1]:
            _insert(smallest, value)
    if plan.edge_words and masked >= plan.edge_words:
        _insert_edges(scratch, masked, plan, keys[: plan.template_keys + EDGE_KEYS])
    written = 0
    while written < plan.template_keys + EDGE_KEYS and keys[written] != _LAST:
        written += 1
    return written


@jit
def _insert(ascending: UInt64, value: Any) -> None:
    """Put ``value`` in its place unless it is there; the greatest falls out."""
    place = len(ascending) - 1
    while place > 0 and ascending[place - 1] > value:
        place -= 1
    if place > 0 and ascending[place - 1] == value:
        return
    for index in range(len(ascending) - 1, place, -1):
        ascending[index] = ascending[index - 1]
    ascending[place] = value


@jit
def _insert_edges(scratch: Scratch, masked: int, plan: Plan, keys: UInt64) -> None:
    """Add the least edge shingle hash among the first and among the last of ``EDGES`` to the ascending ``keys``."""
    number = masked - plan.edge_words + 1
    reach = min(number, EDGES[-1])
    shingles = scratch.shingles
    for end in range(2):
        first = (number - reach) * end
        _roll(scratch.masked[first:], reach, plan.edge_words, plan.secrets.edge, shingles)
        for index in range(reach):
            shingles[index] = max(mix(shingles[index], plan.secrets), np.uint64(1))
        for edge in EDGES:
            size = min(reach, edge)
            start = (reach - size) * end
            least = shingles[start]
            for index in range(start + 1, start + size):
                least = min(least, shingles[index])
            _insert(keys, least)


@jit
def _asks_for_reasoning(scratch: Scratch, count: int, plan: Plan) -> bool:
    """Whether any phrase of the table occurs among the tokens."""
    for at in range(count):
        token = scratch.tokens[at]
        bits = plan.phrase_filter[token >> np.uint64(58)]
        if (bits >> ((token >> np.uint64(52)) & np.uint64(63))) & np.uint64(1) and _begins(scratch, at, count, plan):
            return True
    return False


@jit
def _begins(scratch: Scratch, at: int, count: int, plan: Plan) -> bool:
    """Whether a phrase of the table begins at token ``at``."""
    for phrase in range(len(plan.phrase_tagged)):
        first = plan.phrase_offsets[phrase]
        size = plan.phrase_offsets[phrase + 1] - first
        if at + size > count or plan.phrase_tagged[phrase] > scratch.tagged[at]:
            continue
        equal = 0
        while equal < size and plan.phrase_tokens[first + equal] == scratch.tokens[at + equal]:
            equal += 1
        if equal == size:
            return True
    return False
