"""The parts of snapshots in the state topic: written once, named by what they hold, removed when nobody needs them.

What lives here: which parts exist, their records, and which of them a new snapshot writes and an old one leaves behind.
What does not: what is in a part (``models/slices``) and the records of a snapshot itself (``checkpoint``).

A part's id is its generation and a digest of its bytes, so a record can belong to one part only, and a part that is
torn, missing or another one is known as such. A snapshot's header lists its parts with their offsets. The snapshot
before the newest one stays readable: what only it needs is removed with the snapshot after.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np

from models.errors import WireError
from models.slices import Cut
from models.wire import pack, unpack

CHUNK_BYTES = 512 * 1024
"""Below the broker's default record limit of 1 MiB with room for the batch around it."""
VERSION = 1
PREFIX = b"part/"
DIGEST_BYTES = 16
RUN_GAP = 64
"""Offsets between two parts that are cheaper to read over than to seek past."""


class Part(msgspec.Struct, frozen=True, array_like=True):
    """Where a part is: offsets of its first and last record."""

    name: str
    id: str
    size: int
    first: int
    last: int

    @property
    def keys(self) -> list[str]:
        """The keys of its records."""
        return [_key(self.id, at) for at in range(-(-self.size // CHUNK_BYTES))]


def _key(part: str, index: int) -> str:
    return f"part/{part}/{index}"


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES).hexdigest()


def part_id(data: bytes, generation: int, number: int) -> str:
    """The id of the part that is the ``number``-th new one of a snapshot."""
    return f"{generation}-{number}-{_digest(data)}"


def part_records(part: str, data: bytes) -> list[tuple[bytes, bytes]]:
    """Keys and values of a part, in writing order."""
    pieces = [memoryview(data)[at : at + CHUNK_BYTES] for at in range(0, len(data), CHUNK_BYTES)]
    return [
        (_key(part, index).encode(), pack("part", VERSION, {"id": part, "index": index}, {"data": _bytes(piece)}))
        for index, piece in enumerate(pieces)
    ]


def _bytes(piece: memoryview) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    return np.frombuffer(piece, np.uint8)


def runs(parts: list[Part]) -> list[range]:
    """The offsets to read for ``parts``, in few stretches."""
    found: list[range] = []
    for part in sorted(parts, key=lambda part: part.first):
        if found and part.first <= found[-1].stop + RUN_GAP:
            found[-1] = range(found[-1].start, max(found[-1].stop, part.last + 1))
        else:
            found.append(range(part.first, part.last + 1))
    return found


def assembled(parts: list[Part], records: Mapping[bytes, bytes]) -> dict[str, bytes]:
    """The bytes of ``parts`` by name, in their order, from the values of their keys.

    Raises:
        WireError: a part is missing or torn.
    """
    found = {}
    for part in parts:
        pieces = []
        for key in part.keys:
            if key.encode() not in records:
                raise WireError(f"part {part.name} is missing")
            pieces.append(unpack(records[key.encode()], "part", VERSION)[1]["data"].tobytes())
        data = b"".join(pieces)
        if len(data) != part.size or _digest(data) != part.id.rpartition("-")[2]:
            raise WireError(f"part {part.name} is not the one that was written")
        found[part.name] = data
    return found


@dataclass(slots=True)
class Parts:
    """The parts of the newest snapshot, and the keys that only the one before it needs."""

    held: list[Part] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Bytes of all parts held."""
        return sum(part.size for part in self.held)

    def due(self, cut: Cut, generation: int) -> dict[str, tuple[str, bytes]]:
        """What the next snapshot has to write: id and bytes by name."""
        fresh = [(name, cut.fresh[name]) for name in cut.names if name in cut.fresh]
        return {name: (part_id(data, generation, at), data) for at, (name, data) in enumerate(fresh)}

    def next(self, names: Sequence[str], written: Mapping[str, Part]) -> Parts:
        """The parts ``names`` after a snapshot that wrote ``written``; its transaction must remove ``self.stale``.

        Raises:
            WireError: the stage names a part that it never gave.
        """
        before = {part.name: part for part in self.held} | dict(written)
        missing = [name for name in names if name not in before]
        if missing:
            raise WireError(f"part {missing[0]} was never written")
        held = [before[name] for name in names]
        kept = {part.id for part in held}
        return Parts(held, [key for part in self.held if part.id not in kept for key in part.keys])
