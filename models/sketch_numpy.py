"""The pass of ``sketch_kernel`` in numpy: the same values where nothing can be compiled, and the kernel's oracle.

What lives here: whole-array forms of tokenising, shingles, minima and keys. What does not: parameters and columns.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from models.alphabet import IGNORED, SINGLE, TABLE_SIZE, fold
from models.sketch_kernel import EDGES, Columns, Plan, scramble
from models.sketch_tokens import LOWER, Int64, Secrets, UInt8, UInt32, UInt64, mix

Bool = npt.NDArray[np.bool_]

_SHINGLES_AT_ONCE = 16_384  # times 64 permutations of 4 bytes: 4 MB, which a cache still holds


class Tokens(NamedTuple):
    """Token hashes of all texts in one array, ``offsets`` telling the texts apart."""

    hashes: UInt64
    offsets: Int64
    digit: Bool
    tagged: Bool


def sketch_rows_numpy(data: UInt8, offsets: Int64, *, plan: Plan, columns: Columns) -> int:
    """Sketch every text into ``columns``; returns the number of keys written."""
    tokens = tokenise(data, offsets, table=plan.fold, secrets=plan.secrets)
    columns.tokens[:] = np.diff(tokens.offsets)
    columns.digest[:] = _digests(tokens, plan.secrets)
    columns.reasoning[:] = _reasoning(tokens, plan)
    if columns.signature.shape[1]:
        columns.signature[:] = _signatures(tokens, plan)
        columns.bands[:] = _bands(columns.signature, columns.tokens, plan=plan)
    rows, keys = _keys(tokens, columns.digest, plan=plan)
    columns.keys[: len(keys)] = keys
    columns.key_offsets[1:] = np.searchsorted(rows, np.arange(len(offsets) - 1), "right")
    return len(keys)


def tokenise(data: UInt8, offsets: Int64, *, table: UInt32, secrets: Secrets) -> Tokens:
    """Hash the tokens of every text; the rules are those of ``sketch_tokens``."""
    count = len(offsets) - 1
    rows, places, chars = _characters(data, offsets, table=table)
    seen = chars != IGNORED
    rows, places, chars = rows[seen], places[seen], chars[seen]
    word = chars > IGNORED
    alone = chars >= SINGLE
    before = np.zeros(len(chars), np.bool_)  # the character before belongs to the same run
    before[1:] = word[:-1] & ~alone[:-1] & (rows[1:] == rows[:-1])
    begins = (word & (alone | ~before))[word]
    rows, places, chars = rows[word], places[word], chars[word]
    first = np.flatnonzero(begins)
    token_offsets = np.searchsorted(rows[first], np.arange(count + 1)).astype(np.int64)
    if len(first) == 0:
        empty = np.zeros(0, np.bool_)
        return Tokens(np.zeros(0, np.uint64), token_offsets, empty, empty)
    digit = np.logical_or.reduceat(chars <= ord("9"), first)
    tagged = _tagged(data, places[first], starts=offsets[rows[first]])
    return Tokens(_hash_tokens(chars & np.uint32(SINGLE - 1), first, secrets=secrets), token_offsets, digit, tagged)


def _characters(data: UInt8, offsets: Int64, *, table: UInt32) -> tuple[Int64, Int64, UInt32]:
    """Row, place and folded form of every character, and of every byte that is part of none (a separator)."""
    base, end = int(offsets[0]), int(offsets[-1])
    text = np.concatenate([data[base:end], np.zeros(3, np.uint8)]).astype(np.int64)
    size = end - base
    rows = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    lead = text[:size]
    width = np.select([lead < 0x80, lead < 0xC2, lead < 0xE0, lead < 0xF0, lead < 0xF5], [1, 0, 2, 3, 4], 0)
    valid = (width > 0) & (np.arange(size) + width <= offsets[1:][rows] - base)
    code = np.where(width > 1, lead & (0x7F >> width), lead)
    inside = np.zeros(size + 3, np.bool_)
    for index in range(1, 4):
        byte = text[index : index + size]
        valid &= (index >= width) | (byte & 0xC0 == 0x80)
        code = np.where(index < width, (code << 6) | (byte & 0x3F), code)
    for index in range(1, 4):
        inside[index : index + size] |= valid & (index < width)
    code = np.where(valid, code, 0)
    chars = np.where(code < TABLE_SIZE, table[np.minimum(code, TABLE_SIZE - 1)], 0)
    for place in np.flatnonzero(code >= TABLE_SIZE):
        chars[place] = fold(int(code[place]))
    chars = np.where(valid, chars, 0).astype(np.uint32)
    keep = np.flatnonzero(~inside[:size])
    return rows[keep], keep + base, chars[keep]


def _tagged(data: UInt8, places: Int64, *, starts: Int64) -> Bool:
    """Whether "<" or "</" stands right before each place of its text."""
    one = np.where(places > starts, data[np.maximum(places - 1, 0)], 0)
    two = np.where(places > starts + 1, data[np.maximum(places - 2, 0)], 0)
    tagged: Bool = (one == ord("<")) | ((one == ord("/")) & (two == ord("<")))
    return tagged


def _hash_tokens(chars: UInt32, first: Int64, *, secrets: Secrets) -> UInt64:
    """Hash the runs of characters that begin at ``first``."""
    wide = chars >= 0x80
    chars = np.where(wide, chars, chars | np.uint32(LOWER))
    sizes = np.where(wide, 3, 1)
    ends = np.cumsum(sizes)
    spread = np.repeat(chars.astype(np.uint64), sizes)
    place = np.arange(len(spread)) - np.repeat(ends - sizes, sizes)
    shift = np.where(np.repeat(wide, sizes), 7 * place, 0).astype(np.uint64)
    packed = (spread >> shift) & np.uint64(0x7F) | np.where(np.repeat(wide, sizes), 0x80, 0).astype(np.uint64)
    begins = (ends - sizes)[first]  # of the tokens, in packed bytes
    lengths = np.diff(np.append(begins, len(packed)))
    within = np.arange(len(packed)) - np.repeat(begins, lengths)
    packed <<= (8 * (within % 8)).astype(np.uint64)
    word_begins = np.flatnonzero(within % 8 == 0)
    words = np.add.reduceat(packed, word_begins)
    word_counts = (lengths + 7) // 8
    word_first = np.cumsum(word_counts) - word_counts
    state = np.full(len(first), secrets.token, np.uint64)
    live = np.arange(len(first))
    for index in range(int(word_counts.max())):
        live = live[word_counts[live] > index]
        state[live] = mix(state[live] ^ words[word_first[live] + index], secrets)
    return state


def _digests(tokens: Tokens, secrets: Secrets) -> UInt64:
    lengths = np.diff(tokens.offsets)
    place = np.arange(len(tokens.hashes)) - np.repeat(tokens.offsets[:-1], lengths)
    terms = mix(tokens.hashes + place.astype(np.uint64) * secrets.digest, secrets)
    totals = np.zeros(len(lengths), np.uint64)
    some = lengths > 0
    if some.any():
        totals[some] = np.add.reduceat(terms, tokens.offsets[:-1][some])
    return np.where(some, np.maximum(mix(totals + lengths.astype(np.uint64), secrets), np.uint64(1)), np.uint64(0))


def _shingles(
    hashes: UInt64, offsets: Int64, *, words: int, multiplier: np.uint64, secrets: Secrets
) -> tuple[Int64, UInt64]:
    """Row and mixed hash of every shingle of ``words`` tokens; texts with fewer tokens have none."""
    lengths = np.diff(offsets)
    counts = np.maximum(lengths - words + 1, 0)
    rows = np.repeat(np.arange(len(lengths)), counts)
    begins = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts) + offsets[:-1][rows]
    value = np.zeros(len(rows), np.uint64)
    for index in range(words):
        value = value * multiplier + hashes[begins + index]
    return rows, mix(value, secrets)


def signature_shingles(tokens: Tokens, plan: Plan) -> tuple[Int64, UInt32]:
    """Row and 32-bit hash of every shingle that the signatures are made of; a shorter text is one shingle."""
    secrets = plan.secrets
    rows, values = _shingles(
        tokens.hashes, tokens.offsets, words=plan.shingle_words, multiplier=secrets.signature, secrets=secrets
    )
    lengths = np.diff(tokens.offsets)
    for words in range(1, plan.shingle_words):
        short = np.flatnonzero(lengths == words)
        value = np.zeros(len(short), np.uint64)
        for index in range(words):
            value = value * secrets.signature + tokens.hashes[tokens.offsets[short] + index]
        rows, values = np.append(rows, short), np.append(values, mix(value, secrets))
    order = np.argsort(rows, kind="stable")
    return rows[order], (values[order] >> np.uint64(32)).astype(np.uint32)


def _signatures(tokens: Tokens, plan: Plan) -> UInt32:
    signatures = np.full((len(tokens.offsets) - 1, len(plan.multipliers)), 0xFFFFFFFF, np.uint32)
    rows, values = signature_shingles(tokens, plan)
    values = scramble(values.astype(np.uint64)).astype(np.uint32)
    for start in range(0, len(rows), _SHINGLES_AT_ONCE):
        part = slice(start, start + _SHINGLES_AT_ONCE)
        begins = np.flatnonzero(np.diff(rows[part], prepend=-1))
        permuted = values[part, None] * plan.multipliers + plan.addends
        touched = rows[part][begins]
        signatures[touched] = np.minimum(signatures[touched], np.minimum.reduceat(permuted, begins))
    return signatures


def _bands(signatures: UInt32, counts: npt.NDArray[np.int32], *, plan: Plan) -> UInt64:
    used = signatures[:, : plan.bands * plan.band_rows].astype(np.uint64)
    used = used.reshape(len(signatures), plan.bands, plan.band_rows)
    value = np.broadcast_to(np.arange(plan.bands, dtype=np.uint64), used.shape[:2])
    for row in range(plan.band_rows):
        value = value * plan.secrets.band + used[:, :, row]
    return np.where(counts[:, None] > 0, np.maximum(mix(value, plan.secrets), np.uint64(1)), np.uint64(0))


def _keys(tokens: Tokens, digests: UInt64, *, plan: Plan) -> tuple[Int64, UInt64]:
    """Row and value of every template key, ascending within a row."""
    masked, offsets = _mask(tokens, plan.secrets)
    lengths = np.diff(offsets)
    secrets = plan.secrets
    rows, values = _shingles(masked, offsets, words=plan.template_words, multiplier=secrets.template, secrets=secrets)
    rows, values = _distinct(rows, np.maximum(values, np.uint64(1)))
    place = np.arange(len(rows)) - np.searchsorted(rows, rows)
    rows, values = rows[place < plan.template_keys], values[place < plan.template_keys]
    if plan.edge_words:
        edge_rows, edge_values = _edge_minima(masked, offsets, plan=plan)
        long = lengths[edge_rows] >= plan.template_words
        rows, values = np.append(rows, edge_rows[long]), np.append(values, edge_values[long])
    short = np.flatnonzero((np.diff(tokens.offsets) > 0) & (lengths < plan.template_words))
    short_keys = np.maximum(mix(digests[short] ^ secrets.short, secrets), np.uint64(1))
    return _distinct(np.append(rows, short), np.append(values, short_keys))


def _mask(tokens: Tokens, secrets: Secrets) -> tuple[UInt64, Int64]:
    """The token stream with every run of tokens that hold digits replaced by one number."""
    lengths = np.diff(tokens.offsets)
    rows = np.repeat(np.arange(len(lengths)), lengths)
    repeated = np.zeros(len(rows), np.bool_)
    repeated[1:] = tokens.digit[1:] & tokens.digit[:-1] & (rows[1:] == rows[:-1])
    hashes = np.where(tokens.digit, secrets.number, tokens.hashes)[~repeated]
    return hashes, np.searchsorted(rows[~repeated], np.arange(len(lengths) + 1)).astype(np.int64)


def _edge_minima(masked: UInt64, offsets: Int64, *, plan: Plan) -> tuple[Int64, UInt64]:
    rows, values = _shingles(masked, offsets, words=plan.edge_words, multiplier=plan.secrets.edge, secrets=plan.secrets)
    values = np.maximum(values, np.uint64(1))
    begins = np.flatnonzero(np.diff(rows, prepend=-1))
    ends = np.append(begins[1:], len(rows))[: len(begins)]
    bounded = np.append(values, np.uint64(2**64 - 1))  # so that the last range may end at the end
    ranges = [(begins, np.minimum(begins + edge, ends)) for edge in EDGES]
    ranges += [(np.maximum(ends - edge, begins), ends) for edge in EDGES]
    found = [np.minimum.reduceat(bounded, np.column_stack(pair).ravel())[::2] for pair in ranges if len(begins)]
    return np.tile(rows[begins], len(found)), np.concatenate([values[:0], *found])


def _distinct(rows: Int64, values: UInt64) -> tuple[Int64, UInt64]:
    """The pairs sorted by row, then value, each once."""
    order = np.lexsort((values, rows))
    rows, values = rows[order], values[order]
    fresh = np.ones(len(rows), np.bool_)
    fresh[1:] = (rows[1:] != rows[:-1]) | (values[1:] != values[:-1])
    return rows[fresh], values[fresh]


def _reasoning(tokens: Tokens, plan: Plan) -> UInt8:
    asked = np.zeros(len(tokens.offsets) - 1, np.uint8)
    rows = np.repeat(np.arange(len(asked)), np.diff(tokens.offsets))
    ends = tokens.offsets[1:][rows]
    starts = np.flatnonzero(np.isin(tokens.hashes, plan.phrase_tokens[plan.phrase_offsets[:-1]]))
    for phrase, tagged in enumerate(plan.phrase_tagged):
        words = plan.phrase_tokens[plan.phrase_offsets[phrase] : plan.phrase_offsets[phrase + 1]]
        hits = starts[starts + len(words) <= ends[starts]]
        for index, word in enumerate(words):
            hits = hits[tokens.hashes[hits + index] == word]
        asked[rows[hits[tokens.tagged[hits] >= tagged]]] = 1
    return asked
