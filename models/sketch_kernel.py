"""The compiled pass over a batch of texts: signatures and keys from token hashes, without a Python object.

What lives here: shingles, minima, bands, template keys and the search for phrases. What does not: the tokens
(``sketch_tokens``), and parameters, secrets and the meaning of the columns (``sketch``).

Sources: Broder, "On the resemblance and containment of documents" (1997), for min-wise hashes and bottom-k sets;
Karp and Rabin (1987) for the polynomial hash; the affine permutations are those of datasketch's scheme ``affine32``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from models.compiled import jit, jit_helper, jit_part
from models.sketch_tokens import (
    Int64,
    Scratch,
    Secrets,
    UInt8,
    UInt32,
    UInt64,
    mask_numbers,
    mix,
    tokenise,
)

EDGES = (32, 64)
"""How many shingles from either end the edge minima look at."""
EDGE_KEYS = 2 * len(EDGES)
BUCKET_BITS = 12
"""Phrases are found by the top bits of their first token: about 100 in 4096 buckets, so one token in 40 looks."""

_LAST = np.uint64(2**64 - 1)


class Plan(NamedTuple):
    """All that a pass needs besides the texts: secrets, tables and sizes."""

    secrets: Secrets
    fold: UInt32  # code point -> folded code point, see `alphabet`
    multipliers: UInt32  # of the permutations
    addends: UInt32
    phrase_buckets: Int64  # phrases of bucket b: phrase_buckets[b] to phrase_buckets[b + 1]
    phrase_offsets: Int64
    phrase_tokens: UInt64
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
        text = data[offsets[row] : offsets[row + 1]]
        count = tokenise(text, plan.fold, plan.secrets, scratch)
        columns.tokens[row] = count
        columns.digest[row] = _digest(scratch.tokens, count, plan.secrets)
        columns.reasoning[row] = _asks_for_reasoning(text, scratch, count, plan)
        if columns.signature.shape[1]:
            _sign(scratch, count, plan, columns.signature[row])
            _fold_bands(columns.signature[row], count, plan, columns.bands[row])
        keys, masked = columns.keys[written:], mask_numbers(count, plan.secrets, scratch)
        if masked >= plan.template_words:
            written += _template_keys(scratch, masked, plan, keys)
        elif count > 0:
            keys[0] = max(mix(columns.digest[row] ^ plan.secrets.short, plan.secrets), np.uint64(1))
            written += 1
        columns.key_offsets[row + 1] = written
    return written


@jit_part
def _digest(tokens: UInt64, count: int, secrets: Secrets) -> Any:
    """One hash of the whole token stream; 0 for no tokens. A sum, so that its terms need not wait for each other."""
    if count == 0:
        return np.uint64(0)
    total = np.uint64(count)
    for index in range(count):
        total += mix(tokens[index] + np.uint64(index) * secrets.digest, secrets)
    return max(mix(total, secrets), np.uint64(1))


@jit_part
def _shingle(tokens: UInt64, count: int, words: int, multiplier: Any, shingles: UInt64) -> None:
    """Polynomial hashes (not yet mixed) of the ``count`` shingles of ``words`` tokens that begin at ``tokens[0]``.

    Each is computed anew, word by word over all of them at once: vectors of independent products, where a rolling hash
    waits for the one before.
    """
    for index in range(count):
        shingles[np.uint64(index)] = tokens[np.uint64(index)]
    for word in range(1, words):
        for index in range(count):
            at = np.uint64(index)
            shingles[at] = shingles[at] * multiplier + tokens[at + np.uint64(word)]


@jit_part
def _sign(scratch: Scratch, count: int, plan: Plan, signature: UInt32) -> None:
    """MinHash of the word shingles; a text shorter than a shingle is one shingle, and no text leaves all ones."""
    signature[:] = np.uint32(0xFFFFFFFF)
    if count == 0:
        return
    words = min(plan.shingle_words, count)
    number = count - words + 1
    _shingle(scratch.tokens, number, words, plan.secrets.signature, scratch.shingles)
    values = scratch.values
    for index in range(number):
        value = mix(scratch.shingles[index], plan.secrets) >> np.uint64(32)
        values[index] = np.uint32(scramble(value))
    while number % 4:  # a value seen twice changes no minimum, and whole fours keep the loop below free of a tail
        values[number] = values[number - 1]
        number += 1
    for index in range(0, number, 4):
        _lower(signature, plan.multipliers, plan.addends, values[index : index + 4])


@jit_part
def _lower(signature: UInt32, multipliers: UInt32, addends: UInt32, values: UInt32) -> None:
    """Lower every slot to the least of what its permutation makes of four values; vectorises over the slots."""
    v0, v1, v2, v3 = values[0], values[1], values[2], values[3]
    for slot in range(len(signature)):
        a, b = multipliers[slot], addends[slot]
        low = min(np.uint32(a * v0 + b), np.uint32(a * v1 + b))
        high = min(np.uint32(a * v2 + b), np.uint32(a * v3 + b))
        signature[slot] = min(signature[slot], min(low, high))


@jit_part
def _fold_bands(signature: UInt32, count: int, plan: Plan, bands: UInt64) -> None:
    """One key per band of rows; 0 for a text without tokens."""
    for band in range(plan.bands):
        value = np.uint64(band)
        for row in range(plan.band_rows):
            value = value * plan.secrets.band + np.uint64(signature[band * plan.band_rows + row])
        bands[band] = max(mix(value, plan.secrets), np.uint64(1)) if count else np.uint64(0)


@jit_part
def _template_keys(scratch: Scratch, masked: int, plan: Plan, keys: UInt64) -> int:
    """The least shingle hashes of the masked text and its edge minima, distinct and ascending; how many."""
    shingles = scratch.shingles
    number = masked - plan.template_words + 1
    _shingle(scratch.masked, number, plan.template_words, plan.secrets.template, shingles)
    keys[: plan.template_keys + EDGE_KEYS] = _LAST
    for index in range(number):
        shingles[index] = max(mix(shingles[index], plan.secrets), np.uint64(1))
    _lowest(shingles[:number], scratch.tokens, keys[: plan.template_keys])
    if plan.edge_words and masked >= plan.edge_words:
        _insert_edges(scratch, masked, plan, keys[: plan.template_keys + EDGE_KEYS])
    written = 0
    while written < plan.template_keys + EDGE_KEYS and keys[written] != _LAST:
        written += 1
    return written


@jit_part
def _lowest(values: UInt64, low: UInt64, smallest: UInt64) -> None:
    """Put the least distinct ``values`` into ``smallest``, ascending, all of which is ``_LAST``; ``low`` is room.

    Hashes are spread evenly, so nearly always the values below some bound are a few more than are wanted. Each then
    finds its place by how many are less, which are comparisons of whole vectors, and no branch depends on a value.
    """
    wanted, number, found = len(smallest), len(values), 0
    bound = _LAST // np.uint64(number) * np.uint64(2 * wanted) if number > 2 * wanted else _LAST
    for index in range(number):
        low[found] = values[index]
        found += values[index] < bound
    written = 0
    if found <= 4 * wanted:
        ordered = low[found : 2 * found]
        written = _rank(low[:found], ordered, smallest)
    if written < min(wanted, number):  # a text that repeats itself, or the rare one with few values below the bound
        smallest[:] = _LAST
        for index in range(number):
            if values[index] < smallest[wanted - 1]:
                _insert(smallest, values[index])


@jit_part
def _rank(values: UInt64, ordered: UInt64, smallest: UInt64) -> int:
    """Put the least distinct ``values`` into ``smallest``, ascending; how many. ``ordered`` is room for all."""
    for index in range(len(values)):
        ordered[index] = _LAST
    for index in range(len(values)):
        value, less = values[index], 0
        for other in range(len(values)):
            less += values[np.uint64(other)] < value
        ordered[less] = value  # equal values share one place, and leave the next ones empty
    written = 0
    for index in range(len(values)):
        if ordered[index] != _LAST and written < len(smallest):
            smallest[written] = ordered[index]
            written += 1
    return written


@jit_part
def _insert(ascending: UInt64, value: Any) -> None:
    """Put ``value`` in its place unless it is there; the greatest falls out."""
    place = len(ascending) - 1
    fallen = ascending[place]
    while place > 0 and ascending[place - 1] > value:
        ascending[place] = ascending[place - 1]
        place -= 1
    if place > 0 and ascending[place - 1] == value:  # rare: looked for after the move, which is then undone
        while place < len(ascending) - 1:
            ascending[place] = ascending[place + 1]
            place += 1
        value = fallen
    ascending[place] = value


@jit_part
def _insert_edges(scratch: Scratch, masked: int, plan: Plan, keys: UInt64) -> None:
    """Add the least edge shingle hash among the first and among the last of ``EDGES`` to the ascending ``keys``."""
    number = masked - plan.edge_words + 1
    reach = min(number, EDGES[-1])
    whole = number <= 2 * reach  # the ends meet: each shingle is hashed once
    shingles = scratch.shingles
    for end in range(2):
        first = (number - reach) * end
        if not whole or end == 0:
            size = number if whole else reach
            _shingle(scratch.masked[first:], size, plan.edge_words, plan.secrets.edge, shingles)
            for index in range(size):
                shingles[index] = max(mix(shingles[index], plan.secrets), np.uint64(1))
        first = first if whole else 0
        for edge in EDGES:
            size = min(reach, edge)
            start = first + (reach - size) * end
            least = shingles[start]
            for index in range(start + 1, start + size):
                least = min(least, shingles[index])
            _insert(keys, least)


@jit_part
def _asks_for_reasoning(text: UInt8, scratch: Scratch, count: int, plan: Plan) -> bool:
    """Whether any phrase of the table occurs among the tokens."""
    for at in range(count):
        bucket = np.int64(scratch.tokens[at] >> np.uint64(64 - BUCKET_BITS))
        for phrase in range(plan.phrase_buckets[bucket], plan.phrase_buckets[bucket + 1]):
            words = plan.phrase_tokens[plan.phrase_offsets[phrase] : plan.phrase_offsets[phrase + 1]]
            if not _begins_with(scratch.tokens[at:count], words):
                continue
            if not plan.phrase_tagged[phrase] or _is_tagged(text, scratch.starts[at]):
                return True
    return False


@jit_part
def _begins_with(tokens: UInt64, words: UInt64) -> bool:
    """Whether ``tokens`` begins with ``words``."""
    equal = 0
    while equal < min(len(words), len(tokens)) and tokens[equal] == words[equal]:
        equal += 1
    return equal == len(words)


@jit_part
def _is_tagged(text: UInt8, at: int) -> bool:
    """Whether "<" or "</" stands right before ``at``."""
    if at > 0 and text[at - 1] == 60:
        return True
    return at > 1 and text[at - 1] == 47 and text[at - 2] == 60
