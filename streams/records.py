"""Records from files and stdin: lines, or the elements of one JSON document, in batches of bounded size.

What lives here: where one record ends and the next begins. What does not: what is inside (``models.decode``) and
compression (``archive``).

A line longer than the limit comes out as its first bytes, one more than the limit, so that the decoder refuses it as
too large in its place; the rest of it is never held. Blank lines are no records.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final

import msgspec
import numpy as np

from models.compiled import COMPILED, jit
from models.decode import Origin
from models.event import Reject
from models.limits import BATCH_RECORDS_MAX, RECORD_BYTES_MAX
from models.strings import Bytes, Int64, Lines
from streams.archive import Archive

_LINES: Final = -1


@dataclass(frozen=True, slots=True)
class RecordBatch:
    """Records with where they came from, rejects of the file itself, and the bytes read from disk so far.

    The offset of a record is its line, or its place in the document, from 0. A host adds ``rejects`` to those of the
    decoder: each counts as one read and one rejected.
    """

    records: Sequence[bytes]
    origin: Origin
    rejects: list[Reject]
    bytes_read: int


class RecordFile:
    """The records of one file, or of stdin for ``-``; gzip and Zstandard are told by their first bytes.

    Args:
        path: file name or ``-``.
        record_bytes_max: longer records are cut to one byte more than this.
        batch_records_max: records in one batch.

    Raises:
        ConfigError: the file cannot be opened; the message names it.
    """

    def __init__(
        self, path: str, *, record_bytes_max: int = RECORD_BYTES_MAX, batch_records_max: int = BATCH_RECORDS_MAX
    ) -> None:
        self._archive = Archive(path)
        self._bytes_max = record_bytes_max
        self._batch_max = batch_records_max

    @property
    def size(self) -> int | None:
        """Bytes on disk, for progress; None for a pipe."""
        return self._archive.size

    def batches(self) -> Iterator[RecordBatch]:
        """All records in order; closes the file at its end. Damaged archives end in a reject, never in an exception."""
        name, first = self._archive.name, 0
        for pieces in self._pieces():
            for start in range(0, len(pieces), self._batch_max):
                part = pieces[start : start + self._batch_max]
                yield RecordBatch(*_numbered(part, name, first), [], self._archive.bytes_read)
                first += len(part)
        if self._archive.fault:
            reject = Reject(self._archive.fault, name, 0, first, "", 0)
            yield RecordBatch([], Origin(name, 0, first), [reject], self._archive.bytes_read)
        self._archive.close()

    def _pieces(self) -> Iterator[Sequence[bytes]]:
        """Runs of lines (blank ones among them) or of document elements."""
        chunks = self._archive.chunks()
        head = b""
        for chunk in chunks:
            head += chunk
            if len(head) > 2 * self._bytes_max or head.strip().count(b"\n") >= 2:
                break
        depth = _layout(head, self._bytes_max)
        everything = chain((head,), chunks)
        if depth == _LINES:
            yield from _lines(everything, self._bytes_max)
            return
        found = 0
        for elements in _elements(everything, depth, self._bytes_max):
            found += len(elements)
            yield elements
        if not found:  # a document without a single object still is something that was read and refused
            yield [head[: self._bytes_max + 1]]


def _numbered(pieces: Sequence[bytes], name: str, first: int) -> tuple[Sequence[bytes], Origin]:
    """The pieces that are not blank, with their offsets."""
    if isinstance(pieces, Lines):
        return pieces, Origin(name, 0, first)
    rows = [row for row, piece in enumerate(pieces) if piece and not piece.isspace()]
    if len(rows) == len(pieces):
        return pieces, Origin(name, 0, first)
    return [pieces[row] for row in rows], Origin(name, 0, first, [first + row for row in rows])


def _layout(head: bytes, bytes_max: int) -> int:
    """``_LINES``, or the depth of the elements: 1 in one large array, 0 in objects printed over several lines.

    Lines are assumed unless the first one cannot stand alone and the next continues it, so that a broken first line
    costs a file of lines only that line.
    """
    text = head.lstrip()
    if text[:1] not in (b"[", b"{"):
        return _LINES
    depth = 1 if text[:1] == b"[" else 0
    first, newline, rest = text.partition(b"\n")
    if not newline:
        return 1 if depth and len(first) > bytes_max else _LINES
    first = first.rstrip()
    if _parses(first):
        return _LINES
    indented = rest[:1] in (b" ", b"\t")
    open_ended = first.endswith((b"{", b"[", b","))
    alone = first in (b"[", b"{", b"[{")
    continued = alone or (open_ended and (indented or first.startswith(b"[{")))
    return depth if continued else _LINES


def _parses(line: bytes) -> bool:
    try:
        msgspec.json.decode(line)
    except (ValueError, RecursionError):
        return False
    return True


def _lines(chunks: Iterator[bytes], bytes_max: int) -> Iterator[Sequence[bytes]]:
    carry = b""
    for chunk in chunks:
        end = chunk.rfind(b"\n") + 1
        whole = Lines.of(b"".join((carry, memoryview(chunk)[:end])), bytes_max) if end and COMPILED else None
        if whole is not None:
            carry = chunk[end:][: bytes_max + 1]
            yield whole
            continue
        lines = chunk.split(b"\n")
        lines[0] = carry + lines[0]
        # The unfinished line is cut as it grows: one without an end costs no more than the limit.
        carry = lines.pop()[: bytes_max + 1]
        yield [line[: bytes_max + 1] for line in lines] if max(map(len, lines), default=0) > bytes_max else lines
    if carry:
        yield [carry]


def _elements(chunks: Iterator[bytes], depth: int, bytes_max: int) -> Iterator[list[bytes]]:
    """The objects and arrays at ``depth``; a last one that never closes comes out as far as it goes."""
    state = np.zeros(3, np.int64)
    carry = b""
    for chunk in chunks:
        inside = bool(state[0] > depth)
        elements, begin = [], 0
        for cut in _cuts(np.frombuffer(chunk, np.uint8), state, depth).tolist():
            if inside:
                elements.append((carry + chunk[begin:cut])[: bytes_max + 1])
                carry = b""
            begin, inside = cut, not inside
        if inside:
            carry = (carry + chunk[begin:])[: bytes_max + 1]
        yield elements
    if carry:
        yield [carry]


@jit
def _cuts(data: Bytes, state: Int64, base: int) -> Int64:
    """Where elements begin and end, alternately; ``state`` is depth, inside a string, after a backslash."""
    cuts = np.empty(len(data), np.int64)
    count = 0
    for at in range(len(data)):
        byte = data[at]
        if state[2] == 1:
            state[2] = 0
        elif state[1] == 1:
            if byte == 92:
                state[2] = 1
            elif byte == 34:
                state[1] = 0
        elif byte == 34:
            state[1] = 1
        elif byte == 123 or byte == 91:
            if state[0] == base:
                cuts[count] = at
                count += 1
            state[0] += 1
        elif (byte == 125 or byte == 93) and state[0] > 0:
            state[0] -= 1
            if state[0] == base:
                cuts[count] = at + 1
                count += 1
    return cuts[:count]
