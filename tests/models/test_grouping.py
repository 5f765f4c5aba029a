"""Groups: each kernel against the plain call of numpy or the set that it stands for."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.grouping import by_hash, by_number, different, distinct, numbered

SMALL = st.lists(st.integers(-1, 6), max_size=80)
HASHES = st.lists(st.one_of(st.integers(0, 3), st.integers(0, 2**64 - 1)), max_size=120)


@given(SMALL)
def test_by_number_is_a_stable_sort_without_the_negative(numbers):
    values = np.array(numbers, np.int64)
    found, starts = by_number(values, 7)
    assert found.tolist() == [at for at in np.argsort(values, kind="stable").tolist() if numbers[at] >= 0]
    assert np.diff(starts).tolist() == [numbers.count(number) for number in range(7)]


@given(HASHES, st.integers(1, 40))
def test_by_hash_is_a_stable_sort(hashes, times):
    values = np.array(hashes * times, np.uint64)
    picked = np.arange(len(values))[::2]
    assert by_hash(values, picked).tolist() == picked[np.argsort(values[picked], kind="stable")].tolist()


@given(HASHES)
def test_different_values_are_those_of_a_set(hashes):
    assert different(np.array(hashes, np.uint64)) == len(set(hashes))


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 50)), max_size=200))
def test_distinct_pairs_are_those_of_a_set_with_their_uses(pairs):
    pairs = sorted(pairs, key=lambda pair: pair[0])
    groups, values = np.array(pairs, np.int64).reshape(-1, 2).T
    who, what, uses = distinct(np.ascontiguousarray(groups), np.ascontiguousarray(values))
    assert list(zip(who.tolist(), what.tolist(), strict=True)) == sorted(set(pairs))
    assert uses.tolist() == [pairs.count(pair) for pair in sorted(set(pairs))]


@given(st.lists(st.integers(0, 30), max_size=60))
def test_numbers_are_places_among_the_different_values_and_the_scratch_is_clean(values):
    scratch = np.full(31, -1, np.int32)
    known, numbers = numbered(np.array(values, np.int64), scratch)
    assert known.tolist() == sorted(set(values))
    assert known[numbers].tolist() == values
    assert (scratch == -1).all()
