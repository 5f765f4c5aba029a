"""Marks and snapshots: what was written comes back, and what is damaged is refused."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from streams.checkpoint import (
    CHUNK_BYTES,
    NOWHERE,
    Mark,
    chunked,
    make_plan,
    mark_record,
    next_mark,
    read_mark,
    snapshot_records,
)

Log = list[tuple[bytes, bytes]]


def write_log(snapshots: list[bytes | None]) -> tuple[Log, Mark]:
    """A state topic of one mark per entry, with a snapshot where there is one; its last mark."""
    log: Log = []
    last: Mark | None = None
    for step, data in enumerate(snapshots):
        offset, at = 10 * (step + 1), None
        if data is not None:
            at = len(log)
            newest = last.newest + 1 if last else 1
            log += snapshot_records(chunked(data, newest), offset=offset, idle=step % 2 == 1)
        last = next_mark(last, offset=offset, idle=step % 2 == 1, skips=(3,), snapshot_at=at)
        log.append(mark_record(last))
    assert last is not None
    return log, last


@given(st.lists(st.none() | st.binary(max_size=40), min_size=1, max_size=12))
def test_the_newest_snapshot_and_the_one_before_lead_to_the_same_end(snapshots: list[bytes | None]) -> None:
    log, last = write_log(snapshots)
    for at in (last.snapshot_at, last.previous_at):
        plan = make_plan(log[at:] if at != NOWHERE else log, with_snapshot=at != NOWHERE)
        assert plan.problem is None
        reached = plan.marks[-1].offset if plan.marks else plan.offset
        assert reached == last.offset
    steps = [step for step, data in enumerate(snapshots) if data is not None]
    if steps:
        plan = make_plan(log[last.snapshot_at :], with_snapshot=True)
        assert plan.snapshot == snapshots[steps[-1]]
        assert plan.offset == 10 * (steps[-1] + 1)
        assert len(plan.marks) == len(snapshots) - 1 - steps[-1]


def test_a_large_snapshot_is_cut_and_joined() -> None:
    data = random.Random(1).randbytes(2 * CHUNK_BYTES + 7)
    log = snapshot_records(chunked(data, 1), offset=5, idle=False)
    assert len(log) == 4
    assert max(len(value) for _, value in log) < CHUNK_BYTES + 1024
    plan = make_plan(log, with_snapshot=True)
    assert (plan.snapshot, plan.offset, plan.problem) == (data, 5, None)


def test_any_flipped_byte_is_refused_with_a_reason() -> None:
    log = snapshot_records(chunked(bytes(range(256)), 1), offset=5, idle=False)
    log.append(mark_record(next_mark(None, offset=5, idle=False, skips=(), snapshot_at=0)))
    for place, (key, value) in enumerate(log):
        for position in range(0, len(value), 7):
            broken = bytearray(value)
            broken[position] ^= 0x55
            damaged = [*log[:place], (key, bytes(broken)), *log[place + 1 :]]
            plan = make_plan(damaged, with_snapshot=True)
            assert plan.problem is not None
            assert plan.snapshot is None


def test_a_missing_chunk_header_or_mark_is_refused() -> None:
    log, last = write_log([b"one", None, None, b"two", None, None])
    assert make_plan(log[last.snapshot_at + 1 :], with_snapshot=True).problem is not None
    assert make_plan([r for r in log if not r[0].startswith(b"snapshot")], with_snapshot=True).problem is not None
    assert "mark" in str(make_plan([*log[last.previous_at : 4], *log[5:]], with_snapshot=True).problem)


def test_a_mark_keeps_every_field() -> None:
    mark = next_mark(None, offset=7, idle=True, skips=(1, 2), snapshot_at=None)
    assert read_mark(mark_record(mark)[1]) == mark
