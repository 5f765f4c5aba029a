"""Eight bytes at a time: a run of text as 64-bit words, for compiled code.

What lives here: reading and writing a word of a byte array, finding the first byte that is marked in one, counting its
bits. What does not: what the bytes mean (``sketch_tokens``, ``flat_text``). Places are unsigned, so that none counts
from the end of the array: the compiler then makes one instruction of each, and vectors of loops.

Source: Lamport, "Multiple byte processing with full-word instructions" (1975); the place of a lone bit as in Leiserson,
Prokop, Randall, "Using de Bruijn sequences to index a 1 in a computer word" (1998).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from models.compiled import jit_helper

EVERY = 0x0101010101010101
"""Times a byte: that byte eight times."""
ONE = np.uint64(1)
TOPS = np.uint64(0x80 * EVERY)
LOWS = np.uint64(0x7F * EVERY)

_PAIRS, _FOURS, _NIBBLES = np.uint64(0x55 * EVERY), np.uint64(0x33 * EVERY), np.uint64(0x0F * EVERY)
_DE_BRUIJN = 0x03F79D71B4CB0A89
_BIT_PLACE = np.zeros(64, np.int64)
for _place in range(64):
    _BIT_PLACE[((_DE_BRUIJN << _place) & (2**64 - 1)) >> 58] = _place


@jit_helper
def load(data: npt.NDArray[np.uint8], at: Any) -> Any:
    """The eight bytes from ``at``, the first lowest."""
    at = np.uint64(at)
    word = np.uint64(data[at])
    for index in range(1, 8):
        word |= np.uint64(data[at + np.uint64(index)]) << np.uint64(8 * index)
    return word


@jit_helper
def store(data: npt.NDArray[np.uint8], at: Any, word: Any) -> None:
    """Write the eight bytes of ``word`` from ``at``, the lowest first."""
    at = np.uint64(at)
    for index in range(8):
        data[at + np.uint64(index)] = np.uint8(word >> np.uint64(8 * index))


@jit_helper
def lowest(word: Any) -> Any:
    """The lowest bit of a word that is not 0."""
    return word & (~word + ONE)


@jit_helper
def place_of(bit: Any) -> Any:
    """The place of a lone bit, from 0."""
    return _BIT_PLACE[(bit * np.uint64(_DE_BRUIJN)) >> np.uint64(58)]


@jit_helper
def zeros(word: Any) -> Any:
    """The top bit of every byte of ``word`` that is 0, and no other bit."""
    return ~(((word & LOWS) + LOWS) | word | LOWS)


@jit_helper
def set_bits(word: Any) -> int:
    """How many bits of ``word`` are set: summed in pairs, fours, bytes and so on, which takes as long for any word."""
    word = word - ((word >> ONE) & _PAIRS)
    word = (word & _FOURS) + ((word >> np.uint64(2)) & _FOURS)
    word = (word + (word >> np.uint64(4))) & _NIBBLES
    word += word >> np.uint64(8)
    word += word >> np.uint64(16)
    return int((word + (word >> np.uint64(32))) & np.uint64(0x7F))
