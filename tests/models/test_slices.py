"""Snapshots in parts: whatever was written before, the parts together are the state."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import WireError
from models.slices import Cut, Slices, Touched, known
from tests.models.test_contract import SUBJECTS, Subject, difference, same, whole

parted = pytest.mark.parametrize("subject", [s for s in SUBJECTS if s.name != "pipeline"], ids=lambda s: s.name)


class Store:
    """Parts by name, as the host keeps them: those of the last cut alone."""

    def __init__(self) -> None:
        self.cut = Cut(b"", [], {})
        self.parts: dict[str, bytes] = {}
        self.written = 0

    def take(self, cut: Cut) -> None:
        self.written += sum(map(len, cut.fresh.values()))
        self.parts = known(cut.names, self.parts | cut.fresh)
        self.cut = cut


@given(
    st.lists(
        st.tuples(st.integers(0, 30), st.lists(st.integers(0, 200), max_size=8), st.integers(0, 9), st.booleans()),
        max_size=30,
    )
)
def test_the_newest_of_every_row_is_what_comes_back(steps):
    """Rows appended, changed in place, left behind, or all renumbered, with a cut after each step."""
    rows, start, slices, touched, store = np.zeros(0, np.int64), 0, Slices("rows", np.int64), Touched(), Store()
    for step, (more, changed, gone, renewed) in enumerate(steps):
        before = len(rows)
        rows = np.concatenate([rows, np.full(more, step)])
        start = min(len(rows), start + gone)
        places = np.array([place for place in changed if start <= place < len(rows)], np.int64)
        rows[places] = -step
        touched.add(np.concatenate([places, np.arange(before, len(rows))]))
        if renewed:
            rows[start:] = rows[start:][::-1]
            slices.renew()
        fresh: dict[str, bytes] = {}
        slices.cut(touched.take(), range(start, len(rows)), rows.__getitem__, fresh)
        store.take(Cut(b"", slices.names, fresh))
        again = Slices("rows", np.int64)
        assert again.join(store.parts, range(start, len(rows))).tolist() == rows[start:].tolist()
        assert again.names == slices.names
        if step % 3 == 2:
            slices = again


def test_what_is_only_appended_is_written_once_and_parts_stay_few():
    rows = np.arange(1 << 18)
    slices, written, most = Slices("rows", np.int64), 0, 0
    for end in range(1_000, len(rows), 1_000):
        fresh: dict[str, bytes] = {}
        slices.cut(range(end - 1_000, end), range(end), rows.__getitem__, fresh)
        written += sum(map(len, fresh.values()))
        most = max(most, len(slices.names))
    assert most <= 12
    assert written <= 9 * rows.nbytes  # the logarithm of 256 steps; writing it whole each time is 128 times


def test_parts_hold_at_most_twice_what_is_in_use():
    generator, rows, slices, store = np.random.default_rng(1), np.arange(100_000), Slices("rows", np.int64), Store()
    for _ in range(100):
        fresh: dict[str, bytes] = {}
        slices.cut(np.unique(generator.integers(0, len(rows), 5_000)), range(len(rows)), rows.__getitem__, fresh)
        store.take(Cut(b"", slices.names, fresh))
        assert sum(map(len, store.parts.values())) < 2 * (2 * rows.nbytes + 16 * 8_192)  # a place beside each row
    assert store.written < 100 * rows.nbytes / 4


@parted
@settings(max_examples=3)
@given(st.integers(0, 1 << 30))
def test_an_operator_put_together_from_parts_goes_on_as_the_one_that_was_cut(subject: Subject, seed: int):
    dice, store = random.Random(seed), Store()
    operator, outputs, first = subject.fresh(), [], 0
    while first < subject.rows():
        end = min(subject.rows(), first + dice.randint(1, max(2, subject.rows() // 12)))
        outputs += subject.feed(operator, first, end, None)
        first = end
        if dice.random() < 0.7:
            store.take(operator.cut())
        if store.cut.rest and dice.random() < 0.3:
            store.take(operator.cut())
            restored = subject.fresh()
            restored.join(store.cut.rest, store.parts)
            assert difference(restored.snapshot(), operator.snapshot()) == []
            operator = restored
    assert same(outputs + subject.finish(operator), whole(subject))


@parted
def test_time_that_frees_memory_leaves_no_parts_behind(subject: Subject):
    operator, store = subject.fresh(), Store()
    subject.feed(operator, 0, subject.rows(), None)
    store.take(operator.cut())
    before = sum(map(len, store.parts.values()))
    subject.forget(operator)
    store.take(operator.cut())
    restored = subject.fresh()
    restored.join(store.cut.rest, store.parts)
    assert restored.snapshot() == operator.snapshot()
    assert sum(map(len, store.parts.values())) <= before


@parted
def test_a_missing_or_torn_part_is_refused(subject: Subject):
    operator = subject.fresh()
    subject.feed(operator, 0, subject.rows() // 2, None)
    cut = operator.cut()
    assert cut.names
    for name in cut.names:
        with pytest.raises(WireError, match="missing"):
            known(cut.names, {other: data for other, data in cut.fresh.items() if other != name})
        torn = cut.fresh | {name: cut.fresh[name][:-1] + bytes([cut.fresh[name][-1] ^ 1])}
        with pytest.raises(WireError):
            subject.fresh().join(cut.rest, torn)
