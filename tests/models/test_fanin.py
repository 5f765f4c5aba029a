"""Fan-in: which uses it gives, against a plain reading of the rules; partitions; floods."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.doorkeeper import TICK_MS
from models.fanin import FanIn
from models.fanin_kernel import FIRST_TURNS_MIN, HOT_CUSTOMERS, JUDGED_USES, NETWORKS_MIN, settle
from models.sighting import FIRST_TURN, FOLLOW_UP, SightingBatch
from tests.models.inputs import HOUR_MS, Use, customer, key, sightings, uses_of

DAY_MS = 24 * HOUR_MS
BEGIN = 1_700_006_400_000  # a midnight, so that epochs of six hours begin where the tests count from


def run(batch: SightingBatch, operator: FanIn | None = None) -> list[tuple[int, int, int]]:
    """Every (time, event, key) that comes out of one operator."""
    operator = operator or FanIn()
    operator.process(batch)
    return uses_of(operator.advance(int(batch.rows["at"].max()) + DAY_MS))


class Naive:
    """One key by the rules in words, while its gate stays open.

    The first customer's use is not remembered. From the second customer on one use of each customer is, for a day;
    with eight the key is hot: those uses and every later one count. A day without use and all is forgotten.
    """

    def __init__(self) -> None:
        self.owner: int | None = None
        self.shared = False
        self.hot = False
        self.last = -(10**15)
        self.kept: list[tuple[int, int, int]] = []

    def use(self, ts: int, who: int, event: int) -> list[tuple[int, int]]:
        """The (time, event) pairs this use gives."""
        expired = ts // TICK_MS - self.last // TICK_MS > DAY_MS // TICK_MS
        self.last = ts
        if expired:
            self.owner, self.shared, self.hot, self.kept = who, False, False, []
            return []
        if not self.shared and who == self.owner:
            return []
        self.shared = True
        if self.hot:
            return [(ts, event)]
        self.kept = [use for use in self.kept if use[0] >= ts - DAY_MS]
        if all(use[1] != who for use in self.kept):
            self.kept.append((ts, who, event))
        if len(self.kept) < HOT_CUSTOMERS:
            return []
        self.hot = True
        return [(ts, use[2]) for use in self.kept]


def naive(uses: list[Use]) -> list[tuple[int, int, int]]:
    keys: dict[int, Naive] = defaultdict(Naive)
    out = []
    for event, (ts, who, names) in enumerate(uses, 1):
        for name in names:
            out += [(at, earlier, name) for at, earlier in keys[name].use(ts, who, event)]
    return sorted(out)


gaps = st.sampled_from([0, 1, 60_000, 20 * 60_000]) | st.sampled_from(
    [3 * HOUR_MS, DAY_MS - 1, DAY_MS, DAY_MS + TICK_MS]
)
walks = st.lists(st.tuples(gaps, st.integers(2, 13), st.sets(st.integers(1, 4), max_size=3)), min_size=1, max_size=31)


@given(walks, st.integers(0, 3))
def test_uses_given_are_those_of_the_rules_in_words(walk, quick):
    uses, ts = [], BEGIN
    for at, (gap, who, names) in enumerate(walk):
        ts += gap if quick == 0 or at % (10 * quick) == 9 else min(gap, 60_000)
        uses.append((ts, customer(who), [key(name) for name in sorted(names)]))
    assert run(sightings(uses)) == naive(uses)  # below the number of uses at which a key is judged


def crowd(count: int, *, first: int = 2, at: int = BEGIN, name: int = 1) -> list[Use]:
    """One use each by ``count`` customers, a second apart."""
    return [(at + 1_000 * step, customer(first + step), [key(name)]) for step in range(count)]


def test_the_first_customer_is_not_remembered_and_eight_more_make_a_key_hot():
    assert run(sightings(crowd(HOT_CUSTOMERS))) == []
    out = run(sightings(crowd(HOT_CUSTOMERS + 1)))
    turned = BEGIN + 1_000 * HOT_CUSTOMERS
    assert out == [(turned, event, key(1)) for event in range(2, HOT_CUSTOMERS + 2)]


def test_earlier_uses_come_out_once_as_they_were_with_the_time_they_came_to_count():
    operator = FanIn()
    operator.process(sightings(crowd(HOT_CUSTOMERS + 3)))
    out = operator.advance(BEGIN + HOUR_MS)
    assert out.rows["ts"].tolist() == [BEGIN + 1_000 * step for step in range(1, HOT_CUSTOMERS + 3)]
    turned = BEGIN + 1_000 * HOT_CUSTOMERS
    assert out.rows["at"].tolist() == [max(int(ts), turned) for ts in out.rows["ts"]]
    assert out.rows["customer"].tolist() == [customer(2 + step) for step in range(1, HOT_CUSTOMERS + 3)]


def test_one_customer_never_makes_a_key_hot_however_often_it_asks():
    assert run(sightings([(BEGIN + step, customer(2 + step % 2), [key(1)]) for step in range(500)])) == []


def test_customers_of_more_than_a_day_ago_do_not_count():
    early = crowd(HOT_CUSTOMERS - 1)
    keep = [(BEGIN + 12 * HOUR_MS, customer(3), [key(1)])]  # the key itself stays known
    late = crowd(HOT_CUSTOMERS - 1, first=40, at=BEGIN + 25 * HOUR_MS)
    assert run(sightings(early + keep + late)) == []


def judged(uses: list[Use], **columns: object) -> int:
    """How many of the uses after the hundredth come out."""
    batch = sightings(uses, **columns)
    return len({event for _, event, _ in run(batch) if event > 100})


many = [(BEGIN + 1_000 * step, customer(2 + step % 60), [key(1)]) for step in range(300)]


def test_a_key_used_inside_conversations_is_closed():
    mostly = np.where(np.arange(300) % 5 < 2, FIRST_TURN, FOLLOW_UP)
    seldom = np.where(np.arange(300) % 5 < 3, FIRST_TURN, FOLLOW_UP)
    assert 0.4 < FIRST_TURNS_MIN < 0.6
    assert judged(many, flags=mostly) == 0
    assert judged(many, flags=seldom) == 200


def test_a_key_from_few_networks_is_closed_and_one_without_addresses_is_not():
    assert judged(many, network=1 + np.arange(300) % (NETWORKS_MIN - 1)) == 0
    assert judged(many, network=1 + np.arange(300) % 40) == 200
    assert judged(many) == 200
    mostly_unknown = np.where(np.arange(300) % 5 < 3, 0, 1)
    assert judged(many, network=mostly_unknown) == 200


def test_no_key_is_judged_by_its_first_uses():
    follow_ups = np.full(300, FOLLOW_UP)
    out = {event for _, event, _ in run(sightings(many, flags=follow_ups))}
    assert out == set(range(2, 1 + JUDGED_USES))


@settings(max_examples=25)
@given(st.integers(0, 2**32), st.sampled_from([2, 4, 16]))
def test_the_number_of_partitions_changes_no_answer(seed, parts):
    generator = np.random.default_rng(seed)
    times = np.sort(generator.integers(0, 3 * DAY_MS, 1_500))
    uses = [
        (BEGIN + int(ts), customer(2 + int(who)), [key(int(name)) for name in names])
        for ts, who, names in zip(
            times, generator.integers(0, 40, 1_500), generator.integers(1, 40, (1_500, 3)), strict=True
        )
    ]
    uses = [(ts, who, sorted(set(names))) for ts, who, names in uses]
    batch = sightings(uses, network=generator.integers(0, 9, 1_500), flags=generator.integers(1, 3, 1_500))
    whole = run(batch)
    assert len(whole) > 500
    assert sorted(use for part in batch.partition(parts) for use in run(part)) == whole


def flood(operator: FanIn, customers: int, rounds: int, *, first: int = 1) -> int:
    """Rounds of 4,000 requests with 16 keys never seen before, all by the same customers; returns the most memory."""
    most = 0
    for number in range(rounds):
        at = BEGIN + number * 60_000
        rows = np.repeat(np.arange(4_000 // customers), customers)
        batch = sightings([(at, customer(2 + step % customers), []) for step in range(len(rows))])
        names = first + number * 64_000 + rows[:, None] * 16 + np.arange(16)
        batch.keys = (names.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)).ravel()
        batch.offsets = np.arange(len(rows) + 1, dtype=np.int64) * 16
        operator.process(batch)
        operator.advance(at + 30_000)
        most = max(most, operator.nbytes)
    return most


@pytest.mark.parametrize(("customers", "rounds"), [(1, 30), (2, 60)])
def test_a_flood_of_keys_stays_within_the_limits(customers, rounds):
    limits = {"ring_max": 1 << 13, "doorkeeper_bytes_max": 1 << 23, "entries_max": 100_000}
    most = flood(FanIn(**limits), customers, rounds)
    entries = 2 * (100_000 + 64_000) * (80 + 16)  # doubled as tables grow, with the index
    assert most <= (1 << 23) + (1 << 13) * 80 + entries


def test_what_the_flood_pushes_out_is_counted_and_hot_keys_stay():
    operator = FanIn(entries_max=100_000)
    operator.process(sightings(crowd(HOT_CUSTOMERS + 1, at=BEGIN - HOUR_MS)))
    operator.advance(BEGIN - HOUR_MS // 2)
    flood(operator, 2, 10)
    assert operator.evicted > 100_000
    batch = sightings([(BEGIN + HOUR_MS, customer(900), [key(1)])])
    assert run(batch, operator) == [(BEGIN + HOUR_MS, 1, key(1))]


def test_a_small_ring_gives_whole_rows_or_none():
    uses = [(BEGIN + step, customer(2 + step % 13), [key(1 + step % 3)]) for step in range(9_000)]
    operator, batch = FanIn(ring_max=1 << 10), sightings(uses)
    operator.process(batch)
    out = operator.advance(BEGIN + DAY_MS)
    assert len(out) > 8_000
    expected = {event: ts for event, (ts, _, _) in enumerate(uses, 1)}
    assert all(expected[int(row["event"])] == row["ts"] for row in out.rows)


def test_a_use_that_fell_out_of_a_full_ring_does_not_count():
    noise = [(BEGIN + 60_000 + step, customer(500), []) for step in range(2_000)]
    late = crowd(2, first=60, at=BEGIN + HOUR_MS)
    uses = crowd(HOT_CUSTOMERS - 1) + noise + late
    assert len(run(sightings(uses))) == HOT_CUSTOMERS
    assert run(sightings(uses), FanIn(ring_max=1 << 10)) == []


def test_thousands_of_uses_of_one_millisecond_come_out_in_the_same_order(monkeypatch):
    keys = [key(name) for name in range(1, 9)]
    uses = [(BEGIN, customer(number), keys[number % 3 :]) for number in range(1, 60)]
    columns = {"event": np.random.default_rng(1).permutation(len(uses)) + 1}
    given_out = []
    for moves in (1 << 20, 0):
        monkeypatch.setattr("models.fanin.MOVES_PER_PAIR", moves)
        operator = FanIn()
        operator.process(sightings(uses, **columns))
        out = operator.advance(BEGIN + DAY_MS)
        given_out.append((out.rows.tolist(), out.keys.tolist(), out.offsets.tolist()))
    assert given_out[0] == given_out[1]
    assert len(given_out[0][0]) > HOT_CUSTOMERS


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3), st.integers(-(1 << 63), (1 << 63) - 1)), unique=True),
    st.integers(0, 200),
)
def test_pairs_are_settled_as_they_would_be_sorted(some, moves):
    some.sort(key=lambda pair: pair[1])
    pairs = np.array(some, np.int64).reshape(-1, 3)
    wanted = pairs[np.lexsort((pairs[:, 2].view(np.uint64), pairs[:, 0], pairs[:, 1]))]
    if settle(pairs, moves):
        assert pairs.tolist() == wanted.tolist()
    assert sorted(pairs.tolist()) == sorted(wanted.tolist())
