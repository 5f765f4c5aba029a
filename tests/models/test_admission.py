"""Which events enter: against a naive clock, with wrong stamps, real gaps and repeats."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.admission import (
    CONFIRM_ROWS,
    HELD_ROWS_MAX,
    JUMP_MS,
    LATENESS_MS,
    SLICE_MS,
    UNSET,
    Admission,
    watermark_of,
)
from tests.models.inputs import START


class Gate:
    """Drives an ``Admission`` as Observe does and keeps the fate of every row by its number."""

    def __init__(self) -> None:
        self.admission = Admission()
        self.fate: dict[int, str] = {}
        self.accepted: list[int] = []
        self.counts = {"duplicate": 0, "late": 0}
        self.waiting: list[tuple[int, int, int]] = []
        self.fed = 0

    def feed(self, ts: list[int], event: list[int] | None = None, *, last: bool = False) -> None:
        numbers = range(self.fed, self.fed + len(ts))
        names = event if event is not None else [number + 1 for number in numbers]
        rows = [*self.waiting, *zip(numbers, ts, names, strict=True)]
        self.fed += len(ts)
        stamps, events = np.array([r[1] for r in rows], np.int64), np.array([r[2] for r in rows], np.uint64)
        before = self.admission.watermark_ms
        judged = self.admission.judge(stamps, events, len(self.waiting), last=last)
        assert self.admission.watermark_ms >= before
        self.accepted += [rows[row][0] for row in judged.order]
        self.fate |= {rows[row][0]: "accepted" for row in judged.order}
        self.fate |= {rows[row][0]: "future" for row in judged.future}
        self.counts["duplicate"] += judged.duplicate
        self.counts["late"] += judged.late
        self.waiting = [rows[row] for row in judged.held]

    @property
    def accounted(self) -> int:
        return len(self.fate) + sum(self.counts.values()) + len(self.waiting)

    def open(self, at: int) -> "Gate":
        """Start the clock at ``at``."""
        self.feed([at] * CONFIRM_ROWS)
        assert self.accounted == len(self.accepted) == CONFIRM_ROWS
        return self


def naive(ts: list[int], events: list[int], newest: int) -> list[str]:
    """The verdicts on rows without jumps, by remembering everything."""
    fates, seen = [], {}
    for stamp, event in zip(ts, events, strict=True):
        newest = max(newest, stamp)
        watermark = watermark_of(newest)
        if stamp < watermark:
            fates.append("late")
        elif seen.get(event, UNSET) >= watermark:
            fates.append("duplicate")
        else:
            seen[event] = stamp
            fates.append("accepted")
    return fates


steps = st.lists(st.tuples(st.integers(-300_000, 200_000), st.integers(1, 12)), min_size=1, max_size=60)


@given(steps, st.integers(1, 60))
def test_verdicts_are_those_of_a_clock_that_remembers_everything(walk, size):
    gate, at = Gate().open(START), START
    ts, events = [], []
    for step, event in walk:
        at = max(at, at + step)
        ts.append(at + min(step, 0))
        events.append(1_000 + event)
    for first in range(0, len(ts), size):
        gate.feed(ts[first : first + size], events[first : first + size])
    fates = naive(ts, events, START)
    expected = [CONFIRM_ROWS + row for row, fate in enumerate(fates) if fate == "accepted"]
    assert gate.accepted[CONFIRM_ROWS:] == expected
    assert gate.counts == {"duplicate": fates.count("duplicate"), "late": fates.count("late")}


stamps = st.integers(START, START + 300_000) | st.integers(START, START + 40 * JUMP_MS) | st.integers(0, 2**41)


@given(st.lists(stamps, max_size=80), st.lists(st.integers(0, 80), max_size=6), st.booleans())
def test_every_row_is_accounted_for_once_and_the_watermark_never_goes_back(ts, cuts, last):
    gate, ends = Gate(), sorted({cut for cut in cuts if cut < len(ts)} | {len(ts)})
    first = 0
    for end in ends:
        gate.feed(ts[first:end], last=last and end == len(ts))
        assert gate.accounted == end
        first = end
    assert len(gate.accepted) == len(set(gate.accepted))
    assert not (last and gate.waiting)


@given(st.lists(stamps, max_size=60), st.lists(st.integers(1, 20), min_size=60, max_size=60), st.integers(1, 59))
def test_batches_do_not_matter(ts, events, size):
    whole, parts = Gate(), Gate()
    whole.feed(ts, events[: len(ts)])
    for first in range(0, len(ts), size):
        parts.feed(ts[first : first + size], events[first : min(first + size, len(ts))])
    assert (parts.fate, parts.counts, parts.waiting) == (whole.fate, whole.counts, whole.waiting)
    assert parts.accepted == whole.accepted
    assert parts.admission.watermark_ms == whole.admission.watermark_ms


@pytest.mark.parametrize("ahead_ms", [JUMP_MS + 1, 30 * 86_400_000, 2**42])
def test_one_stamp_far_ahead_does_not_move_the_clock(ahead_ms):
    gate = Gate().open(START)
    gate.feed([START + ahead_ms])
    assert (len(gate.waiting), gate.admission.newest_ms) == (1, START)
    gate.feed([START, START + 1, START + 2])
    assert gate.fate[CONFIRM_ROWS] == "future"
    assert gate.admission.newest_ms == START + 2
    assert not gate.waiting


def test_a_first_stamp_far_ahead_does_not_open_the_stream():
    gate = Gate()
    gate.feed([START + 400 * JUMP_MS, *range(START, START + 40)])
    assert gate.fate[0] == "future"
    assert gate.admission.newest_ms == START + 39
    assert len(gate.accepted) == 40


@given(st.lists(st.integers(2, 10_000), min_size=1, max_size=60, unique=True), st.integers(3, 8))
def test_garbage_stamps_among_honest_rows_are_refused_and_move_nothing(hours, honest):
    gate, at = Gate().open(START), START
    for hour in hours:
        gate.feed([START + hour * JUMP_MS + hour, *range(at, at + honest)])
        at += honest
    assert gate.admission.newest_ms == at - 1
    assert list(gate.fate.values()).count("future") == len(hours)
    assert len(gate.accepted) == CONFIRM_ROWS + honest * len(hours)
    assert gate.counts == {"duplicate": 0, "late": 0}


def test_a_real_gap_is_confirmed_by_the_rows_behind_it_and_loses_none():
    gate = Gate().open(START)
    after = START + 3 * 86_400_000
    gate.feed([after + step for step in range(CONFIRM_ROWS - 1)])
    assert gate.admission.newest_ms == START
    gate.feed([after + CONFIRM_ROWS])
    assert gate.admission.newest_ms == after + CONFIRM_ROWS
    assert len(gate.accepted) == 2 * CONFIRM_ROWS


def test_a_quiet_partition_gets_past_a_gap_after_a_few_rows():
    gate = Gate().open(START)
    gate.feed([START + 86_400_000 + step * 40 * 60_000 for step in range(CONFIRM_ROWS)])  # a row every 40 minutes
    assert len(gate.accepted) == 2 * CONFIRM_ROWS
    assert not gate.waiting


def test_scattered_rows_do_not_wait_for_ever():
    gate = Gate().open(START)
    gate.feed([START + (step + 1) * 3 * JUMP_MS for step in range(HELD_ROWS_MAX + 40)])
    assert len(gate.waiting) < HELD_ROWS_MAX
    assert gate.admission.newest_ms > START
    assert gate.accounted == gate.fed


def test_the_end_of_the_input_admits_what_waits():
    gate = Gate()
    gate.feed([START + 2, START])
    assert (gate.accepted, len(gate.waiting)) == ([], 2)
    gate.feed([], last=True)
    assert gate.accepted == [1, 0]


def test_lateness_is_held_to_the_slice():
    gate = Gate().open(START)
    watermark = watermark_of(START)
    assert watermark % SLICE_MS == 0
    assert START - LATENESS_MS - SLICE_MS < watermark <= START - LATENESS_MS
    gate.feed([watermark, watermark - 1])
    assert gate.accepted[-1] == CONFIRM_ROWS
    assert gate.counts["late"] == 1


@settings(max_examples=10)
@given(st.integers(0, 2**32))
def test_repeats_are_counted_once_and_memory_of_ids_stays_bounded(seed):
    generator, gate = np.random.default_rng(seed), Gate().open(START)
    rows, memory = 20_000, 0
    ts = START + np.arange(rows) * 100
    for first in range(0, rows, 1_000):
        gate.feed(ts[first : first + 1_000].tolist(), list(range(10**6 + first, 10**6 + first + 1_000)))
        again = generator.integers(first, first + 1_000, 100)
        gate.feed(ts[again].tolist(), (10**6 + again).tolist())
        memory = max(memory, gate.admission.seen.nbytes)
    assert len(gate.accepted) == CONFIRM_ROWS + rows
    assert gate.counts == {"duplicate": 2_000, "late": 0}
    assert memory < 1_500_000  # ids of some two minutes, not of all 33


def test_a_snapshot_keeps_clock_and_repeats():
    gate = Gate().open(START)
    gate.feed([START + 5_000], [99])
    restored = Gate()
    restored.admission.restore(*gate.admission.snapshot())
    restored.feed([START + 5_000, START + 6_000], [99, 100])
    assert restored.counts["duplicate"] == 1
    assert restored.admission.newest_ms == START + 6_000
