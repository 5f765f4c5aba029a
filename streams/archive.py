"""Bytes of a file or of stdin in bounded chunks, decompressed where their first bytes say so.

What lives here: opening, gzip and Zstandard, and what is wrong with a damaged archive. What does not: records
(``records``).
"""

from __future__ import annotations

import io
import os
import sys
import zlib
from collections.abc import Iterator

import zstandard

from models import reasons
from models.errors import ConfigError
from models.limits import READ_BYTES

_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
# A block of 4 bytes may stand for 128 KiB of one value: this much input yields at most 16 MiB at once.
_ZSTD_INPUT_BYTES = 512
_ZSTD_WINDOW_BYTES_MAX = 1 << 27  # what the zstd tool itself accepts without being told otherwise


class Archive:
    """A source of bytes; memory is bounded whatever it decompresses to.

    Attributes:
        name: its base name, or ``-``.
        size: bytes on disk, None for a pipe.
        bytes_read: bytes taken from disk so far.
        fault: the reject reason of a truncated or corrupt archive, known once ``chunks`` is exhausted.

    Raises:
        ConfigError: the path cannot be opened.
    """

    def __init__(self, path: str) -> None:
        self.name = "-" if path == "-" else os.path.basename(path)
        self.bytes_read = 0
        self.fault: str | None = None
        try:
            raw = sys.stdin.buffer if path == "-" else open(path, "rb")  # noqa: SIM115  closed by close()
        except OSError as error:
            raise ConfigError(f"cannot read {path}: {error.strerror or error}; check the path") from error
        self._file = raw if isinstance(raw, io.BufferedReader) else io.BufferedReader(raw)  # type: ignore[type-var]
        status = os.fstat(self._file.fileno()) if path != "-" else None
        self.size = status.st_size if status is not None else None

    def close(self) -> None:
        """Close the file; stdin stays open."""
        if self.name != "-":
            self._file.close()

    def chunks(self) -> Iterator[bytes]:
        """Decompressed bytes in order, some 4 MiB at a time; a live pipe gives what it has."""
        head = self._file.peek(4)[:4]
        if head.startswith(_GZIP):
            yield from self._gunzip()
        elif head == _ZSTD:
            yield from self._unzstd()
        else:
            while data := self._read(READ_BYTES):
                yield data

    def _read(self, size: int) -> bytes:
        data = self._file.read1(size)
        self.bytes_read += len(data)
        return data

    def _gunzip(self) -> Iterator[bytes]:
        """All members of a gzip file, as ``gzip -dc`` reads them; zero padding after the last is no fault."""
        stream, data = zlib.decompressobj(31), b""
        while True:
            data = data or self._read(READ_BYTES)
            if not data:
                self.fault = None if stream.eof else reasons.TRUNCATED_ARCHIVE
                return
            if stream.eof:
                data = data.lstrip(b"\0")
                stream = zlib.decompressobj(31) if data else stream
                continue
            try:
                produced = stream.decompress(data, READ_BYTES)
                data = stream.unused_data if stream.eof else stream.unconsumed_tail
            except zlib.error:
                self.fault = reasons.CORRUPT_ARCHIVE
                return
            if produced:
                yield produced

    def _unzstd(self) -> Iterator[bytes]:
        """All frames of a Zstandard file."""
        tool = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES_MAX)
        stream, data = tool.decompressobj(), b""
        parts: list[bytes] = []
        size = 0
        while data := data or self._read(READ_BYTES):
            if stream.eof:
                stream = tool.decompressobj()
            for start in range(0, len(data), _ZSTD_INPUT_BYTES):
                try:
                    parts.append(stream.decompress(data[start : start + _ZSTD_INPUT_BYTES]))
                except zstandard.ZstdError:
                    self.fault = reasons.CORRUPT_ARCHIVE
                    yield b"".join(parts)
                    return
                size += len(parts[-1])
                if size >= READ_BYTES:
                    yield b"".join(parts)
                    parts, size = [], 0
                if stream.eof:
                    break
            data = stream.unused_data + data[start + _ZSTD_INPUT_BYTES :] if stream.eof else b""
        self.fault = None if stream.eof else reasons.TRUNCATED_ARCHIVE
        yield b"".join(parts)
