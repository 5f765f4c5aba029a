"""The packed form of one sketch: what an edge sends that may not send the text.

What lives here: bytes to sketches and back, and what makes bytes unacceptable. What does not: making sketches.

Layout, little-endian: version, flags, bands, keys (uint8 each), permutations (uint16), tokens (int32), fingerprint
(uint32), digest (uint64), then the bands and keys (uint64) and the signature (uint32). With 64 permutations, 4 bands
and 18 keys that is 458 bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

import numpy as np

from models.sketch import Sketches

VERSION = 1

_HEADER = struct.Struct("<BBBBHiIQ")
_REASONING, _TRUNCATED = 1, 2


def pack_sketch(sketches: Sketches, row: int, *, fingerprint: int = 0) -> bytes:
    """Pack one row; ``fingerprint`` is ``Sketcher.fingerprint``, by which the receiver knows secret and parameters.

    Raises:
        ValueError: more keys or bands than one byte can count, which no parameters give.
    """
    keys = sketches.keys[sketches.key_offsets[row] : sketches.key_offsets[row + 1]]
    signature, bands = sketches.signature[row], sketches.bands[row]
    if max(len(keys), len(bands)) > 255:
        raise ValueError("sketch is too wide to pack: at most 255 keys and 255 bands")
    flags = _REASONING * bool(sketches.reasoning[row]) | _TRUNCATED * bool(sketches.truncated[row])
    widths = len(bands), len(keys), len(signature)
    numbers = int(sketches.tokens[row]), fingerprint, int(sketches.digest[row])
    header = _HEADER.pack(VERSION, flags, *widths, *numbers)
    body: bytes = bands.astype("<u8").tobytes() + keys.astype("<u8").tobytes() + signature.astype("<u4").tobytes()
    return header + body


def sketch_fault(data: bytes, *, fingerprint: int = 0) -> str:
    """Why ``data`` is not a sketch to accept, or the empty string if it is; never raises."""
    if len(data) < _HEADER.size:
        return "sketch is shorter than its header"
    version, flags, bands, keys, permutations, tokens, mark, digest = _HEADER.unpack_from(data)
    if version != VERSION:
        return f"sketch version {version} is not read, only {VERSION}"
    if len(data) != _HEADER.size + 8 * (bands + keys) + 4 * permutations:
        return "sketch length does not match its header"
    if mark != fingerprint:
        return "sketch was made with another secret or other parameters"
    if flags & ~(_REASONING | _TRUNCATED):
        return "sketch has unknown flags"
    values = np.frombuffer(data, "<u8", bands + keys, _HEADER.size)
    if tokens < 0 or (tokens > 0) != (digest > 0) or (tokens > 0) != bool(keys):
        return "sketch contradicts itself on whether there is any text"
    if np.any((values[:bands] > 0) != (tokens > 0)):
        return "sketch has bands that do not fit its tokens"
    ascending = values[bands:]
    if keys and (ascending[0] == 0 or np.any(ascending[1:] <= ascending[:-1])):
        return "sketch keys are not ascending"
    return ""


def unpack_sketches(packed: Sequence[bytes], *, fingerprint: int = 0) -> Sketches:
    """Unpack sketches of equal widths.

    Raises:
        ValueError: one is not acceptable (see ``sketch_fault``), or the widths differ.
    """
    for data in packed:
        fault = sketch_fault(data, fingerprint=fingerprint)
        if fault:
            raise ValueError(fault)
    if not packed:
        return Sketches.empty()
    headers = np.array([_HEADER.unpack_from(data) for data in packed], object)
    bands, permutations = (_one_width(headers[:, column]) for column in (2, 4))
    counts = headers[:, 3].astype(np.int64)
    offsets = np.zeros(len(packed) + 1, np.int64)
    np.cumsum(counts, out=offsets[1:])
    after = [_HEADER.size + 8 * (bands + int(count)) for count in counts]
    values = [np.frombuffer(data[:end], "<u8", offset=_HEADER.size) for data, end in zip(packed, after, strict=True)]
    slots = [np.frombuffer(data, "<u4", permutations, end) for data, end in zip(packed, after, strict=True)]
    return Sketches(
        digest=headers[:, 7].astype(np.uint64),
        tokens=headers[:, 5].astype(np.int32),
        signature=np.stack(slots).astype(np.uint32),
        bands=np.stack([row[:bands] for row in values]).astype(np.uint64),
        keys=np.concatenate([row[bands:] for row in values]).astype(np.uint64),
        key_offsets=offsets,
        reasoning=headers[:, 1].astype(np.int64) & _REASONING > 0,
        truncated=headers[:, 1].astype(np.int64) & _TRUNCATED > 0,
    )


def overlay(sketches: Sketches, packed: Mapping[int, bytes], *, fingerprint: int = 0) -> Sketches:
    """``sketches`` with the rows of ``packed`` replaced by what an edge sent, signatures only where the rest has them.

    Raises:
        ValueError: as ``unpack_sketches``, or the widths are not those of ``sketches``.
    """
    if not packed:
        return sketches
    sent = unpack_sketches(list(packed.values()), fingerprint=fingerprint)
    if not sketches.signature.shape[1]:
        sent = sent.narrow()
    if sent.signature.shape[1] != sketches.signature.shape[1] or sent.bands.shape[1] != sketches.bands.shape[1]:
        raise ValueError("sketch has other widths than ours")
    rows = np.arange(len(sketches))
    rows[list(packed)] = len(sketches) + np.arange(len(sent))
    return Sketches.concat([sketches, sent]).take(rows)


def _one_width(widths: np.ndarray[tuple[int], np.dtype[np.object_]]) -> int:
    if len(set(widths)) > 1:
        raise ValueError("sketches differ in their widths")
    return int(widths[0])
