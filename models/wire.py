"""The one binary form of our own data: envelopes between operators, and snapshots.

Layout: magic with the format version, CRC-32 of the rest, length of a MessagePack header, the header
``{kind, version, meta, arrays: [[name, dtype, shape], ...]}``, then each array's bytes in that order.
Never pickled: a reader gets numbers and text or an error.
"""

from __future__ import annotations

import math
import struct
import zlib
from typing import Annotated, Any

import msgspec
import numpy as np
import numpy.typing as npt

from models.errors import WireError

MAGIC = b"DWB1"
_FIXED = struct.Struct("<4sII")  # magic, crc32 of all that follows it, header bytes
_CHECKED = 8  # bytes before what the checksum covers
_DTYPES = frozenset(
    ["uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float32", "float64", "bool"]
)


class _Header(msgspec.Struct):
    kind: str
    version: int
    meta: dict[str, Any]
    arrays: list[tuple[str, str, list[Annotated[int, msgspec.Meta(ge=0)]]]]


_HEADERS = msgspec.msgpack.Decoder(_Header)
"""Compiled once: an envelope is read for every batch."""


class _Parts(dict[str, Any]):
    """What a message holds; asking for a part it lacks is a WireError."""

    def __missing__(self, name: str) -> Any:
        raise WireError(f"message has no {name}")


def pack(kind: str, version: int, meta: dict[str, Any], arrays: dict[str, npt.NDArray[Any]]) -> bytes:
    """Encode ``meta`` (plain values) and ``arrays`` (C order, fixed-size dtypes) into one checked message."""
    parts = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    described = [[name, str(array.dtype), list(array.shape)] for name, array in parts.items()]
    header = msgspec.msgpack.encode({"kind": kind, "version": version, "meta": meta, "arrays": described})
    # Snapshots are tens of megabytes: each byte is copied once, here at the end.
    body: list[Any] = [struct.pack("<I", len(header)), header, *(array.data for array in parts.values())]
    crc = 0
    for part in body:
        crc = zlib.crc32(part, crc)
    return b"".join([MAGIC, struct.pack("<I", crc), *body])


def unpack(data: bytes, kind: str, version: int) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
    """Decode what ``pack`` wrote.

    Raises:
        WireError: not ours, torn, corrupt, of another kind, or of a version this code does not read; also later, where
            the caller asks the result for a name that the message lacks.
    """
    if len(data) < _FIXED.size or data[:4] != MAGIC:
        raise WireError(f"not a {kind} message: magic bytes missing")
    _, crc, header_size = _FIXED.unpack_from(data)
    if zlib.crc32(memoryview(data)[_CHECKED:]) != crc:
        raise WireError(f"{kind} message is corrupt: checksum differs")
    body = memoryview(data)[_FIXED.size :]
    try:
        header = _HEADERS.decode(body[:header_size])
    except msgspec.MsgspecError as error:
        raise WireError(f"{kind} message has no readable header: {error}") from error
    if header.kind != kind or header.version != version:
        raise WireError(f"expected {kind} version {version}, found {header.kind} version {header.version}")
    arrays = _Parts()
    at = header_size
    for name, dtype, shape in header.arrays:
        if dtype not in _DTYPES:
            raise WireError(f"{kind} message holds dtype {dtype!r}, which is not read")
        count = math.prod(shape)
        size = count * np.dtype(dtype).itemsize
        if at + size > len(body):
            raise WireError(f"{kind} message is short: array {name} ends past its end")
        # Copied, so that it is aligned and can be written like any other: compiled code would be compiled once more.
        arrays[name] = np.frombuffer(body, dtype, count, at).reshape(shape).copy()
        at += size
    if at != len(body):
        raise WireError(f"{kind} message has {len(body) - at} bytes behind its last array")
    return _Parts(header.meta), arrays
