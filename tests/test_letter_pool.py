"""The pool of the letter's bench: a later day is the first one with stamps and ids of its own, and valid lines."""

import json
import time
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest

from bench.letter import Weeks
from bench.letter_pool import CHUNK_LINES, DAY_H, HOUR_MS, PAST_H, Pool, _Files
from streams.simulator.slices import Line

DAY_MS = DAY_H * HOUR_MS
COUNT = CHUNK_LINES + 10
START_MS = 1_772_409_599_000


@pytest.fixture
def pool(tmp_path):
    lines = [
        Line(
            event_id=f"{number * 0x0123456789ABCDEF % (1 << 64):016x}",
            ts=START_MS + 997 * number,
            account_id=f"{number % 50:016x}",
            model="m",
            prompt=f'say "conversation_id":"{number} \\ fünf',
            api_key_id="k",
            turn=1,
            input_tokens=1,
            output_tokens=1,
            latency_ms=1,
            status=200,
            conversation_id=f"{number * 0x9E3779B97F4A7C15 % (1 << 64):016x}" if number % 3 else None,
        )
        for number in range(COUNT)
    ]
    files = _Files(tmp_path)
    files.add(PAST_H, msgspec.json.Encoder().encode_lines(lines))
    files.close()
    return Pool(tmp_path, PAST_H + 1, [0] * PAST_H + [COUNT], [], [], 0, np.zeros((0, PAST_H + 1), np.int32))


def records(pool, plan):
    return [json.loads(record) for batch in pool.batches(plan) for record in batch.records]


def test_a_later_day_is_the_first_with_stamps_and_ids_of_its_own(pool):
    days = {day: records(pool, [(PAST_H, day)]) for day in (0, 1, 44)}
    assert len(days[0]) == pool.total([(PAST_H, 0)]) == COUNT
    for day in (1, 44):
        for first, later in zip(days[0], days[day], strict=True):
            moved = {"event_id", "ts", "conversation_id"}
            assert {name: first[name] for name in first.keys() - moved} == {
                name: later[name] for name in later.keys() - moved
            }
            assert later["ts"] == first["ts"] + day * DAY_MS
            assert first.keys() == later.keys()
    for name in ("event_id", "conversation_id"):
        known = [record[name] for day in days.values() for record in day if name in record]
        assert len(set(known)) == len(known)


def test_a_plan_is_the_past_and_then_the_day_again_and_again(pool):
    plan = pool.plan(2.0, 3)
    assert plan[:3] == [(PAST_H - 3, 0), (PAST_H - 2, 0), (PAST_H - 1, 0)]
    assert plan[3:] == [(PAST_H + hour, day) for day in range(2) for hour in range(DAY_H)]


def test_weeks_are_counted_from_the_second_day_of_the_campaign(monkeypatch):
    plan = [(hour, 0) for hour in range(2 + 24 * 16)]
    weeks = Weeks(SimpleNamespace(total=lambda part: 10 * len(part)), plan, 2)
    assert weeks.rates() == []
    for read in range(0, 10 * len(plan) + 1, 10):
        monkeypatch.setattr(time, "monotonic", lambda read=read: read / (10 if read <= 10 * (26 + 168) else 5))
        weeks.note(read)
    assert weeks.rates() == [10.0, pytest.approx(1_680 / ((26 + 336) * 2 - 194))]
