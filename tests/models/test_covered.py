"""Covered requests: their keys as they turn hot one by one, and the day after which they go."""

from hypothesis import given
from hypothesis import strategies as st

from models.covered import KEYS_MAX, CoveredEvents
from models.sighting import SightingBatch
from tests.models.inputs import HOUR_MS, START, sightings

DAY_MS = 24 * HOUR_MS
# A hub row is (event, hours after the start, keys); an event has one time, whenever its keys turn hot.
hubs = st.lists(
    st.tuples(st.integers(1, 12), st.lists(st.integers(1, 30), min_size=1, max_size=6, unique=True)), max_size=30
)


def batch_of(rows: list[tuple[int, list[int]]]) -> SightingBatch:
    uses = [(START + event * 3 * HOUR_MS, 100 + event, keys) for event, keys in rows]
    return sightings(uses, event=[event for event, _ in rows], tokens=[event + 50 for event, _ in rows])


def held(covered: CoveredEvents) -> dict[int, list[int]]:
    names = covered.keys.records["key"]
    return {int(row["key"]): [int(names[at]) for at in row["keys"][: row["width"]]] for row in covered.events.rows}


def naive(rows: list[tuple[int, list[int]]]) -> dict[int, list[int]]:
    """All keys of every event, the lowest of them where they are too many."""
    keys: dict[int, list[int]] = {}
    for event, mine in rows:
        keys[event] = sorted({*keys.get(event, []), *mine})[:KEYS_MAX]
    return keys


@given(hubs, st.integers(1, 10))
def test_an_event_has_the_lowest_of_all_keys_it_ever_came_with(rows, size):
    covered, novel = CoveredEvents(), 0
    for first in range(0, len(rows), size):
        novel += covered.add(batch_of(rows[first : first + size]), -(1 << 60))
    assert held(covered) == naive(rows)
    assert len(covered) == len({event for event, _ in rows})
    assert novel == sum(len(set(mine)) >= 2 for _, mine in rows)


@given(hubs, hubs, st.integers(0, 40))
def test_expiry_drops_old_events_and_only_keys_that_none_has_any_more(rows, later, hours):
    covered = CoveredEvents()
    covered.add(batch_of(rows))
    now = START + DAY_MS + hours * HOUR_MS
    covered.expire(now)
    live = {event: keys for event, keys in naive(rows).items() if START + event * 3 * HOUR_MS >= now - DAY_MS}
    assert held(covered) == live
    if len(live) < len(naive(rows)):
        assert set(covered.keys.rows["key"].tolist()) == {key for keys in live.values() for key in keys}
    covered.add(batch_of(later))  # what is left is still found by event and by key
    assert held(covered) == naive([*live.items(), *later])


def test_an_event_keeps_what_was_known_when_it_came_first():
    covered = CoveredEvents()
    covered.add(sightings([(START, 5, [1])], event=[9], tokens=[40]))
    assert covered.add(sightings([(START, 5, [2])], event=[9], tokens=[99], at=START + HOUR_MS)) == 0
    assert covered.events.rows["tokens"].tolist() == [40]
    keys = {int(row["key"]): (int(row["first_at"]), int(row["last_at"])) for row in covered.keys.rows}
    assert keys == {1: (START, START), 2: (START + HOUR_MS, START + HOUR_MS)}
