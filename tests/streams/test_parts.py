"""Parts in the state topic: written once, read back whole or not at all, removed once nobody needs them."""

from __future__ import annotations

import random

import pytest

from models.errors import WireError
from models.slices import Cut
from streams.parts import CHUNK_BYTES, RUN_GAP, Part, Parts, assembled, part_id, part_records, runs


def written(name: str, data: bytes, first: int = 0) -> tuple[Part, dict[bytes, bytes]]:
    part = part_id(data, 1, 0)
    records = dict(part_records(part, data))
    return Part(name, part, len(data), first, first + len(records) - 1), records


def test_a_large_part_is_cut_and_joined() -> None:
    data = random.Random(1).randbytes(2 * CHUNK_BYTES + 7)
    part, records = written("a", data)
    assert len(records) == 3
    assert max(map(len, records.values())) < CHUNK_BYTES + 1024
    assert assembled([part], records) == {"a": data}
    assert [key.encode() for key in part.keys] == list(records)


def test_a_missing_torn_or_foreign_part_is_refused() -> None:
    part, records = written("a", bytes(range(256)))
    key = next(iter(records))
    other = dict(part_records(part.id, bytes(256)))  # under the right key and whole in itself
    for damaged in ({}, other, {key: records[key][:-1]}, {key: records[key][:-1] + b"?"}, {key: b""}):
        with pytest.raises(WireError):
            assembled([part], damaged)


def test_parts_that_lie_together_are_read_together() -> None:
    places = [(0, 3), (4, 4), (5 + RUN_GAP, 90), (90 + 3 * RUN_GAP, 400)]
    parts = [Part(str(at), "", 1, first, last) for at, (first, last) in enumerate(places)]
    assert runs(parts[::-1]) == [range(91), range(90 + 3 * RUN_GAP, 401)]


def test_a_part_is_written_once_and_outlives_the_snapshot_that_left_it_by_one() -> None:
    parts, log, places = Parts(), {}, iter(range(100))

    def snapshot(generation: int, names: list[str], fresh: dict[str, bytes]) -> list[str]:
        nonlocal parts
        new = {}
        for name, (part, data) in parts.due(Cut(b"", names, fresh), generation).items():
            new[name] = Part(name, part, len(data), at := next(places), at)
            log.update(part_records(part, data))
        for key in parts.stale:
            del log[key.encode()]
        parts = parts.next(names, new)
        return sorted(new)

    assert snapshot(1, ["a", "b"], {"a": b"1", "b": b"2"}) == ["a", "b"]
    before = parts
    assert snapshot(2, ["a", "c"], {"c": b"3"}) == ["c"]
    assert assembled(before.held, log) == {"a": b"1", "b": b"2"}
    assert assembled(parts.held, log) == {"a": b"1", "c": b"3"}
    assert snapshot(3, ["a", "c"], {"c": b"4"}) == ["c"]  # a name may come to mean something else
    assert assembled(parts.held, log) == {"a": b"1", "c": b"4"}
    with pytest.raises(WireError, match="missing"):
        assembled(before.held, log)
    with pytest.raises(WireError, match="never written"):
        parts.next(["z"], {})
    assert parts.size == 2
