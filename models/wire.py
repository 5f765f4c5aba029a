"""The one binary form of our own data: envelopes between operators, and snapshots.

Layout: magic, format version, CRC-32 of the rest, length of a MessagePack header, the header
``{kind, version, meta, arrays: [[name, dtype, shape], ...]}``, then each array's bytes in that order.
Never pickled: a reader gets numbers and text or an error.
"""

from __future__ import annotations

import struct
import zlib
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from models.errors import WireError

MAGIC = b"DWB1"
_FIXED = struct.Struct("<4sII")  # magic, crc32 of what follows this struct, header bytes
_DTYPES = frozenset("uint8 uint16 uint32 uint64 int8 int16 int32 int64 float32 float64 bool".split())


def pack(kind: str, version: int, meta: dict[str, Any], arrays: dict[str, npt.NDArray[Any]]) -> bytes:
    """Encode ``meta`` (plain values) and ``arrays`` (C order, fixed-size dtypes) into one checked message."""
    parts = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    described = [[name, str(array.dtype), list(array.shape)] for name, array in parts.items()]
    header = msgspec.msgpack.encode({"kind": kind, "version": version, "meta": meta, "arrays": described})
    body = b"".join([header, *(array.tobytes() for array in parts.values())])
    return _FIXED.pack(MAGIC, zlib.crc32(body), len(header)) + body


def unpack(data: bytes, kind: str, version: int) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
    """Decode what ``pack`` wrote.

    Raises:
        WireError: not ours, torn, corrupt, of another kind, or of a version this code does not read.
    """
    if len(data) < _FIXED.size or data[:4] != MAGIC:
        raise WireError(f"not a {kind} message: magic bytes missing")
    _, crc, header_size = _FIXED.unpack_from(data)
    body = memoryview(data)[_FIXED.size :]
    if zlib.crc32(body) != crc:
        raise WireError(f"{kind} message is corrupt: checksum differs")
    header = msgspec.msgpack.decode(body[:header_size])
    if header["kind"] != kind or header["version"] != version:
        raise WireError(f"expected {kind} version {version}, found {header['kind']} version {header['version']}")
    arrays: dict[str, npt.NDArray[Any]] = {}
    at = header_size
    for name, dtype, shape in header["arrays"]:
        if dtype not in _DTYPES:
            raise WireError(f"{kind} message holds dtype {dtype!r}, which is not read")
        count = int(np.prod(shape, dtype=np.int64))
        size = count * np.dtype(dtype).itemsize
        if at + size > len(body):
            raise WireError(f"{kind} message is short: array {name} ends past its end")
        arrays[name] = np.frombuffer(body, dtype, count, at).reshape(shape)
        at += size
    return header["meta"], arrays
