"""Rows that wait: a canonical order out of any, nothing lost, and the least watermark of the sources."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.admission import UNSET
from models.pending import MOVES_PER_ROW, Pending, Sources, _settle
from models.sighting import SightingBatch
from tests.models.inputs import sightings, uses_of

# Few times, events and accounts, so that rows tie; a row is (time, event, account, keys).
rows = st.lists(
    st.tuples(st.integers(0, 3), st.integers(1, 2), st.integers(1, 4), st.lists(st.integers(1, 9), max_size=3))
)


def batch_of(some: list[tuple[int, int, int, list[int]]]) -> SightingBatch:
    return sightings([(at, account, keys) for at, _, account, keys in some], event=[event for _, event, _, _ in some])


def order(batch: SightingBatch) -> list[tuple[int, int, int]]:
    return [(int(row["at"]), int(row["event"]), int(row["account"])) for row in batch.rows]


@given(rows, st.lists(st.integers(0, 5), max_size=3).map(sorted), st.integers(1, 5))
def test_gives_each_row_once_in_order_when_its_time_has_passed(some, watermarks, size):
    pending, given_out = Pending(), []
    for first in range(0, len(some), size):
        pending.add(batch_of(some[first : first + size]))
    for watermark in [*watermarks, 5]:
        released = pending.release(watermark)
        assert order(released) == sorted(order(released))
        assert all(row["at"] < watermark for row in released.rows)
        given_out += uses_of(released)
        due = [row for row in some if row[0] >= watermark]
        assert len(pending) == len(due)
        assert order(pending.all()) == sorted((at, event, account) for at, event, account, _ in due)
    assert sorted(given_out) == uses_of(batch_of(some))


@given(rows, st.randoms(use_true_random=False), st.integers(0, 5))
def test_the_order_of_arrival_leaves_no_trace(some, random, watermark):
    unique = list({row[:3]: row for row in some}.values())
    shuffled = random.sample(unique, len(unique))
    one, other = Pending(), Pending()
    one.add(batch_of(unique))
    for row in shuffled:
        other.add(batch_of([row]))
    for left, right in ((one.release(watermark), other.release(watermark)), (one.all(), other.all())):
        assert order(left) == order(right)
        assert left.keys.tolist() == right.keys.tolist()
        assert left.offsets.tolist() == right.offsets.tolist()


def test_holds_what_a_snapshot_kept():
    pending, again = Pending(), Pending()
    pending.add(batch_of([(5, 1, 1, [7]), (3, 2, 1, [8, 9])]))
    again.load(pending.all())
    assert uses_of(again.release(4)) == [(3, 2, 8), (3, 2, 9)]
    assert len(again) == 1
    again.load(SightingBatch.empty())
    assert len(again) == len(again.release(100)) == 0


def test_a_repeated_envelope_is_told_from_a_new_one_per_source():
    sources = Sources(2)
    assert [sources.accept("a", 0), sources.accept("a", 0), sources.accept("b", 0), sources.accept("a", 1)] == [
        True,
        False,
        True,
        True,
    ]
    assert not sources.accept("a", 0)


def test_no_watermark_until_every_source_has_spoken():
    sources = Sources(2)
    sources.update("a", 100)
    assert sources.watermark_ms == UNSET
    sources.update("b", 50)
    assert sources.watermark_ms == 50


def test_a_watermark_of_a_source_never_goes_back():
    sources = Sources(1)
    sources.update("a", 100)
    sources.update("a", 90)
    assert sources.watermark_ms == 100


def test_an_idle_source_holds_nobody_up():
    sources = Sources(2)
    sources.update("a", 100)
    sources.update("b", 50, idle=True)
    assert (sources.watermark_ms, sources.all_idle) == (100, False)
    sources.update("a", 100, idle=True)
    assert (sources.watermark_ms, sources.all_idle) == (100, True)
    sources.update("b", 120)
    assert (sources.watermark_ms, sources.all_idle) == (120, False)


@pytest.mark.parametrize("count", [0, 1])
def test_a_source_that_is_not_there_yet_is_not_idle(count):
    sources = Sources(2)
    for number in range(count):
        sources.update(str(number), 1, idle=True)
    assert not sources.all_idle
    assert np.iinfo(np.int64).min < sources.watermark_ms


def test_rows_far_out_of_order_are_sorted_instead_and_come_out_the_same():
    some = [(at, event, 1, [event]) for at in range(40, 0, -1) for event in (3, 1, 2)]
    pending = Pending()
    pending.add(batch_of(some))
    released = pending.release(100)
    assert order(released) == sorted(row[:3] for row in some)
    assert released.keys.tolist() == [event for _, event, _ in order(released)]
    assert _settle(batch_of(some).rows, np.arange(len(some)), MOVES_PER_ROW * len(some)) < 0
    assert _settle(batch_of(some[-3:]).rows, np.arange(3), MOVES_PER_ROW * 3) == 2
