"""The binary form of progress: marks, snapshot chunks, and the plan of a recovery made from them.

What lives here: bytes of the state topic, without IO. What does not: reading and writing it (``statelog``).

Each transaction of a partition ends with a *mark*: the next input offset, and whether the stage was declared idle.
Marks since the snapshot say where ``advance`` and ``idle`` ran, so a replay repeats them at the same offsets.
A mark has a key of its own per index, not one key for all: compaction may then never drop one that a replay needs,
and each costs the same however long the snapshot interval is. Snapshots alternate between two slots of keys, and
marks with them: if the newest snapshot cannot be read, the one before plus all marks since gives the same state.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from models.errors import WireError
from models.wire import pack, unpack
from streams.parts import CHUNK_BYTES, Part, Parts

VERSION = 1
NOWHERE = -1
BARRIER = b"barrier"


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """The end of one transaction.

    ``generation`` is the snapshot that the mark follows (0: none), ``newest`` the one that exists after it, ``index``
    counts marks of a generation. ``snapshot_at`` and ``previous_at`` are state-topic offsets of the newest and the
    last but one snapshot. ``skips`` are the offsets of quarantined records, which a replay leaves out too. ``controls``
    are the control records (topic, key, value) that the stage took in this transaction, before ``idle`` and
    ``advance``; ``control_next`` says up to where it has taken them. ``last`` is the last record that was read, its
    offset and a digest: where another one stands there now, the input is not the one that was read.
    """

    generation: int
    newest: int
    index: int
    offset: int
    idle: bool
    skips: tuple[int, ...]
    snapshot_at: int
    previous_at: int
    controls: tuple[tuple[str, bytes, bytes], ...] = ()
    control_next: dict[str, int] = {}
    last: tuple[int, bytes] | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """How to come back: the snapshot (None: an empty stage), where it stands, and the marks to repeat after it.

    ``offset`` None means from the first record there is. ``problem`` says why the plan cannot be used, or is None.
    """

    snapshot: bytes | None
    offset: int | None
    marks: Sequence[Mark]
    idle: bool
    problem: str | None = None
    parts: Parts | None = None  # of a snapshot in parts, which goes with the bytes of these


def mark_record(mark: Mark) -> tuple[bytes, bytes]:
    """Key and value of a mark."""
    key = f"mark/{mark.generation % 2}/{mark.index}".encode()
    return key, pack("mark", VERSION, msgspec.to_builtins(mark, builtin_types=(bytes,)), {})


def read_mark(value: bytes) -> Mark:
    """Decode a mark; WireError if it is torn or of another version."""
    meta, _ = unpack(value, "mark", VERSION)
    try:
        return msgspec.convert(meta, Mark, builtin_types=(bytes,))
    except msgspec.ValidationError as error:
        raise WireError(f"mark has an unexpected shape: {error}") from error


@dataclass(frozen=True, slots=True)
class Chunks:
    """The bytes of a snapshot as records, and what its header says of them."""

    generation: int
    records: list[tuple[bytes, bytes]]
    size: int
    crc: int


def chunked(data: bytes, generation: int) -> Chunks:
    """Cut a snapshot's bytes into records; the header follows once it is known where its parts lie."""
    pieces = [memoryview(data)[at : at + CHUNK_BYTES] for at in range(0, len(data), CHUNK_BYTES)]
    records = []
    for index, piece in enumerate(pieces):
        meta = {"generation": generation, "index": index}
        value = pack("chunk", VERSION, meta, {"data": np.frombuffer(piece, np.uint8)})
        records.append((f"chunk/{generation % 2}/{index}".encode(), value))
    return Chunks(generation, records, len(data), zlib.crc32(data))


def snapshot_records(
    chunks: Chunks, *, offset: int, idle: bool, parts: Parts | None = None
) -> list[tuple[bytes, bytes]]:
    """Keys and values of a snapshot in writing order: chunks, then the header that makes them valid.

    ``parts`` of a snapshot in parts have been written before it.
    """
    header: dict[str, Any] = {
        "generation": chunks.generation,
        "offset": offset,
        "idle": idle,
        "chunks": len(chunks.records),
        "bytes": chunks.size,
        "crc": chunks.crc,
    }
    if parts is not None:
        header |= {"parts": msgspec.to_builtins(parts.held), "stale": parts.stale}
    key = f"snapshot/{chunks.generation % 2}".encode()
    return [*chunks.records, (key, pack("snapshot", VERSION, header, {}))]


def make_plan(records: Iterable[tuple[bytes, bytes]], *, with_snapshot: bool) -> Plan:
    """Read the state topic from a snapshot's first chunk on (or from its start, where there is none yet).

    Args:
        records: key and value in log order.
        with_snapshot: the records begin with a snapshot; without it the fold starts empty.
    """
    chunks: list[bytes] = []
    header: dict[str, Any] | None = None
    marks: list[Mark] = []
    try:
        for key, value in records:
            if key.startswith(b"mark/"):
                marks.append(read_mark(value))
            elif header is None and key.startswith(b"chunk/"):
                chunks.append(unpack(value, "chunk", VERSION)[1]["data"].tobytes())
            elif header is None and key.startswith(b"snapshot/"):
                header = unpack(value, "snapshot", VERSION)[0]
        if not with_snapshot:
            return _checked(Plan(None, None, marks, False), 0)
        if header is None:
            return Plan(None, None, [], False, "the snapshot's header is missing")
        data = b"".join(chunks[-header["chunks"] :]) if header["chunks"] else b""
        if len(data) != header["bytes"] or zlib.crc32(data) != header["crc"]:
            return Plan(None, None, [], False, "the snapshot's checksum differs")
    except WireError as error:
        return Plan(None, None, [], False, str(error))
    kept = [mark for mark in marks if mark.generation >= header["generation"]]
    plan = Plan(data, header["offset"], kept, bool(header["idle"]), parts=_parts_of(header))
    return _checked(plan, header["generation"])


def _parts_of(header: dict[str, Any]) -> Parts | None:
    return Parts(msgspec.convert(header["parts"], list[Part]), header["stale"]) if "parts" in header else None


def _checked(plan: Plan, generation: int) -> Plan:
    """Refuse a plan whose marks have a hole: the state they lead to would differ silently."""
    index, offset = 0, plan.offset or 0
    for mark in plan.marks:
        if mark.generation == generation + 1 and mark.index == 0:
            generation, index = generation + 1, 0
        if mark.generation != generation or mark.index != index or mark.offset < offset:
            return Plan(None, None, [], False, f"mark {generation}/{index} is missing")
        index, offset = index + 1, mark.offset
    return plan


def next_mark(last: Mark | None, *, offset: int, idle: bool, skips: tuple[int, ...], snapshot_at: int | None) -> Mark:
    """The mark that follows ``last``; ``snapshot_at`` is set where the same transaction wrote a snapshot."""
    if last is None:
        generation, index, at, previous = 0, 0, NOWHERE, NOWHERE
    else:
        generation, at, previous = last.newest, last.snapshot_at, last.previous_at
        index = last.index + 1 if last.generation == last.newest else 0
    newest = generation
    if snapshot_at is not None:
        newest, at, previous = generation + 1, snapshot_at, at
    return Mark(
        generation=generation,
        newest=newest,
        index=index,
        offset=offset,
        idle=idle,
        skips=skips,
        snapshot_at=at,
        previous_at=previous,
        control_next={} if last is None else last.control_next,
    )
