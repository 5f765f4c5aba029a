"""Keyed 64-bit hashes of texts: the identities that leave decoding in place of the texts themselves.

What lives here: SipHash-2-4 over a column, one sub-key per purpose, and the short digests shown to people.
What does not: hashes of words and shingles (``sketch``), which need speed and mixing but no per-text strength.

Source: Aumasson and Bernstein, "SipHash: a fast short-input PRF" (2012); sub-keys are BLAKE2b (RFC 7693) in keyed mode.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt

from models.compiled import COMPILED, jit, jit_helper
from models.errors import ConfigError
from models.strings import Bytes, Int64, Strings
from models.words import load

UInt64 = npt.NDArray[np.uint64]

_WORD = 2**64 - 1
_INITIAL = (0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573)


class KeyedHash:
    """Hashes under one secret; 0 is kept for "no text", and a text whose hash is 0 gets 1 instead.

    Without the secret nobody can tell a hash from a random number, so stored hashes give no text back and nobody can
    look for two texts with one hash. Two of ``n`` texts share a hash with probability about ``n**2 / 2**65``.

    Args:
        secret: any length but 0; at least 16 random bytes for the above to hold.

    Raises:
        ConfigError: the secret is empty.
    """

    __slots__ = ("_key", "_root")

    def __init__(self, secret: bytes) -> None:
        if not secret:
            raise ConfigError("the hashing secret is empty; give at least 16 random bytes")
        # BLAKE2b takes keys up to 64 bytes, secrets may be longer.
        self._root = hashlib.blake2b(secret, digest_size=64, person=b"distilwatch").digest()
        self._key = np.frombuffer(self._expand(b"siphash", 16), "<u8").astype(np.uint64)

    def __repr__(self) -> str:
        return "KeyedHash(secret=***)"

    def derive(self, label: bytes) -> KeyedHash:
        """The hash for one purpose: its values say nothing about those of any other label."""
        return KeyedHash(self._expand(b"derive:" + label, 64))

    def strings(self, column: Strings) -> UInt64:
        """Hash every text of ``column``: uint64 of shape ``(n,)``, 0 where the text is empty."""
        hashes = siphash(column, self._key)
        hashes[hashes == 0] = 1
        hashes[column.lengths == 0] = 0
        return hashes

    def text(self, text: str) -> int:
        """Hash one text; the same value that ``strings`` gives it."""
        data = text.encode("utf-8", "surrogatepass")
        return int(self.strings(Strings.of_bytes([data]))[0])

    def words(self, count: int) -> UInt64:
        """``count`` secret 64-bit words, uniformly distributed: multipliers and seeds for faster hashes."""
        return np.frombuffer(self._expand(b"words", 8 * count), "<u8").astype(np.uint64)

    def digest(self, value: int, kind: str) -> str:
        """Sixteen hex digits to show for a hash: another kind gives another digest, and neither leads back."""
        message = kind.encode() + b"\0" + (value & _WORD).to_bytes(8, "little")
        return hashlib.blake2b(message, key=self._root, digest_size=8).hexdigest()

    def _expand(self, label: bytes, size: int) -> bytes:
        blocks = (
            hashlib.blake2b(label + b"\0" + index.to_bytes(4, "little"), key=self._root).digest()
            for index in range(-(-size // 64))
        )
        return b"".join(blocks)[:size]


def siphash(column: Strings, key: UInt64) -> UInt64:
    """SipHash-2-4 of every text of ``column`` under ``key`` (two words): uint64 of shape ``(n,)``."""
    if len(column) == 0:
        return np.zeros(0, np.uint64)
    if COMPILED:
        hashes: UInt64 = _siphash_compiled(column.data, column.offsets, key[0], key[1])
        return hashes
    return siphash_numpy(column, key)


@jit_helper
def _rotate(value: Any, bits: Any) -> Any:
    return (value << np.uint64(bits)) | (value >> np.uint64(64 - bits))


@jit_helper
def _round(v0: Any, v1: Any, v2: Any, v3: Any) -> Any:
    v0 = v0 + v1
    v2 = v2 + v3
    v1 = _rotate(v1, 13) ^ v0
    v3 = _rotate(v3, 16) ^ v2
    v0 = _rotate(v0, 32) + v3
    v2 = v2 + v1
    v3 = _rotate(v3, 21) ^ v0
    v1 = _rotate(v1, 17) ^ v2
    return v0, v1, _rotate(v2, 32), v3


@jit_helper
def _absorb(v0: Any, v1: Any, v2: Any, v3: Any, word: Any) -> Any:
    v3 = v3 ^ word
    v0, v1, v2, v3 = _round(v0, v1, v2, v3)
    v0, v1, v2, v3 = _round(v0, v1, v2, v3)
    return v0 ^ word, v1, v2, v3


@jit_helper
def _finish(v0: Any, v1: Any, v2: Any, v3: Any) -> Any:
    v2 = v2 ^ np.uint64(0xFF)
    for _ in range(4):
        v0, v1, v2, v3 = _round(v0, v1, v2, v3)
    return v0 ^ v1 ^ v2 ^ v3


@jit
def _siphash_compiled(data: Bytes, offsets: Int64, k0: Any, k1: Any) -> UInt64:
    count = len(offsets) - 1
    hashes = np.empty(count, np.uint64)
    for row in range(count):
        at, end = offsets[row], offsets[row + 1]
        v0, v1 = k0 ^ np.uint64(_INITIAL[0]), k1 ^ np.uint64(_INITIAL[1])
        v2, v3 = k0 ^ np.uint64(_INITIAL[2]), k1 ^ np.uint64(_INITIAL[3])
        last = np.uint64((end - at) & 0xFF) << np.uint64(56)
        while end - at >= 8:
            v0, v1, v2, v3 = _absorb(v0, v1, v2, v3, load(data, at))
            at += 8
        for byte in range(end - at):
            last |= np.uint64(data[np.uint64(at) + np.uint64(byte)]) << np.uint64(8 * byte)
        v0, v1, v2, v3 = _absorb(v0, v1, v2, v3, last)
        hashes[row] = _finish(v0, v1, v2, v3)
    return hashes


def siphash_numpy(column: Strings, key: UInt64) -> UInt64:
    """``siphash`` without a compiler, all texts side by side; one pass per 8 bytes of the longest text."""
    lengths = column.lengths
    order = np.argsort(-lengths, kind="stable")  # so that the texts still running are always a prefix
    lengths, starts = lengths[order], column.offsets[:-1][order]
    state = [np.full(len(lengths), int(key[i % 2]) ^ _INITIAL[i], np.uint64) for i in range(4)]
    padded = np.concatenate([column.data, np.zeros(8, np.uint8)])
    for index in range(int(lengths[0]) // 8 + 1 if len(lengths) else 0):
        live = int(np.searchsorted(-lengths, -8 * index, "right"))
        rest = np.minimum(lengths[:live] - 8 * index, 8)
        word = np.zeros(live, np.uint64)
        for byte in range(8):
            value = padded[starts[:live] + 8 * index + byte].astype(np.uint64)
            word |= np.where(byte < rest, value << np.uint64(8 * byte), np.uint64(0))
        word |= np.where(rest < 8, (lengths[:live] & 0xFF).astype(np.uint64) << np.uint64(56), np.uint64(0))
        v0, v1, v2, v3 = (part[:live] for part in state)
        for part, value in zip(state, _absorb(v0, v1, v2, v3, word), strict=True):
            part[:live] = value
    hashes = np.empty(len(lengths), np.uint64)
    hashes[order] = _finish(*state)
    return hashes
