"""The doorkeeper against an exact dict: through growth, expiry, spilling, and its clock coming round."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.doorkeeper import ABSENT, BITS_MIN, CELLS, CHAIN, HANDED_ON, OTHER, SAME, TICK_MS, TICKS, Doorkeeper, touch
from tests.models.inputs import START, customer, key

DAY_MS = 86_400_000
WINDOW = DAY_MS // TICK_MS
TABLE_BYTES = (1 << BITS_MIN) * CELLS * 8


def doorkeeper(bytes_max: int = 64 * TABLE_BYTES) -> Doorkeeper:
    return Doorkeeper(window_ms=DAY_MS, bytes_max=bytes_max)


def use(door: Doorkeeper, name: int, who: int, ts: int) -> int:
    door.expire(ts)
    door.reserve(1, ts, ts)
    return touch(door.cells, door.counts, np.uint64(name), np.uint64(who), ts, door.window)


class Exact:
    """What the doorkeeper stands for."""

    def __init__(self) -> None:
        self.known: dict[int, tuple[int | None, int]] = {}

    def use(self, name: int, who: int, ts: int) -> int:
        tick = ts // TICK_MS
        owner, last = self.known.get(name, (0, -(10**9)))
        if tick - last > WINDOW:
            self.known[name] = (who, tick)
            return ABSENT
        handed_on = owner is None or owner != who
        self.known[name] = (None if handed_on else who, max(tick, last))
        return HANDED_ON if owner is None else OTHER if handed_on else SAME


gaps = st.sampled_from(
    [0, 1_000, TICK_MS, DAY_MS - TICK_MS, DAY_MS, DAY_MS + TICK_MS, DAY_MS + 2 * TICK_MS, 60 * DAY_MS]
)
# Keys whose first buckets are neighbours, so that they spill into one another, beside keys spread at random.
near = st.builds(lambda tag, bucket: (tag << 32) | (bucket << 16), st.integers(1, 200), st.integers(0, 3))
names = near | st.integers(1, 40).map(key)


@given(st.lists(st.tuples(names, st.integers(2, 6), gaps | st.integers(0, 3 * DAY_MS)), max_size=150))
def test_answers_are_those_of_an_exact_map(walk):
    door, exact, ts = doorkeeper(), Exact(), START
    for name, who, gap in walk:
        ts += gap
        assert use(door, name, customer(who), ts) == exact.use(name, who, ts)


def test_a_full_bucket_spills_into_the_next_ones_and_then_forgets_the_oldest():
    door, room = doorkeeper(), CELLS * CHAIN
    crowd = [(tag << 32) | (5 << 16) for tag in range(1, room + 2)]
    for at, name in enumerate(crowd[:room]):
        assert use(door, name, customer(3), START + at * TICK_MS) == ABSENT
    later = START + room * TICK_MS
    assert {use(door, name, customer(3), later) for name in crowd[1:room]} == {SAME}
    assert door.counts.tolist() == [room, 0]
    assert use(door, crowd[room], customer(3), later) == ABSENT
    assert door.counts.tolist() == [room, 1]
    assert use(door, crowd[room], customer(3), later) == SAME
    assert use(door, crowd[1], customer(3), later) == SAME
    assert use(door, crowd[0], customer(3), later) == ABSENT


def flood(door: Doorkeeper, first: int, count: int, ts: int, size: int = 20_000) -> None:
    for start in range(first, first + count, size):
        door.expire(ts)
        door.reserve(size, ts, ts)
        for number in range(start, start + size):
            touch(door.cells, door.counts, np.uint64(key(number)), np.uint64(customer(9)), ts, door.window)


def test_growing_forgets_nothing_and_a_live_key_costs_few_bytes():
    door, count = doorkeeper(), 700_000
    for number in range(100):
        assert use(door, key(number), customer(number + 2), START) == ABSENT
    flood(door, 1_000, count, START)
    assert door.nbytes > TABLE_BYTES
    assert door.counts[1] == 0
    for number in range(100):
        assert use(door, key(number), customer(number + 2), START + TICK_MS) == SAME
        assert use(door, key(number), customer(number + 3), START + TICK_MS) == OTHER
        assert use(door, key(number), customer(number + 2), START + TICK_MS) == HANDED_ON
    assert door.nbytes / count < 48


def test_a_flood_of_keys_stays_within_the_limit_and_is_counted():
    door = doorkeeper(TABLE_BYTES)
    flood(door, 0, 1_000_000, START)
    assert door.nbytes == TABLE_BYTES
    assert door.counts[1] > 400_000
    assert use(door, key(2_000_000), customer(9), START) == ABSENT
    assert use(door, key(2_000_000), customer(9), START) == SAME


def test_memory_comes_back_when_the_flood_is_over():
    door = doorkeeper()
    flood(door, 0, 600_000, START)
    assert door.nbytes > TABLE_BYTES
    assert use(door, key(1), customer(4), START + DAY_MS // 2) == OTHER
    assert use(door, key(1), customer(4), START + DAY_MS + DAY_MS // 4) == HANDED_ON
    assert door.nbytes == TABLE_BYTES
    assert use(door, key(2), customer(4), START + DAY_MS + DAY_MS // 4) == ABSENT


@pytest.mark.parametrize("days", [2, 57, 60, 100, 113, 114, 115, 230])
def test_a_key_unused_for_long_is_unknown_however_often_the_clock_came_round(days):
    assert TICKS * TICK_MS // DAY_MS == 113
    door = doorkeeper()
    use(door, key(1), customer(2), START)
    for day in range(1, days):  # other traffic goes on
        use(door, key(2), customer(3), START + day * DAY_MS)
    assert use(door, key(1), customer(4), START + days * DAY_MS) == ABSENT


@settings(max_examples=20)
@given(st.integers(1, 400))
def test_silence_of_any_length_ends_all_memory(days):
    door = doorkeeper()
    use(door, key(1), customer(2), START)
    expected = OTHER if days == 1 else ABSENT
    assert use(door, key(1), customer(4), START + days * DAY_MS) == expected


def test_a_use_that_comes_late_is_no_old_one():
    door = doorkeeper()
    use(door, key(1), customer(2), START)
    assert use(door, key(1), customer(2), START - TICK_MS) == SAME
    assert use(door, key(1), customer(2), START + DAY_MS) == SAME  # and does not make the key look older
    assert use(door, key(1), customer(3), START + DAY_MS - TICK_MS) == OTHER
