"""Batches of sightings: cutting, joining, splitting by key and their wire form keep every (request, key)."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import WireError
from models.sighting import SIGHTING, SightingBatch
from models.wire import pack, unpack
from tests.models.inputs import sightings, uses_of

lists = st.lists(st.lists(st.integers(1, 2**64 - 1), max_size=5), max_size=12)


def batch_of(keys: list[list[int]]) -> SightingBatch:
    return sightings([(1_000 + at, 7 + at, mine) for at, mine in enumerate(keys)])


def keys_of(batch: SightingBatch) -> list[list[int]]:
    assert batch.offsets[0] == 0
    assert batch.offsets[-1] == len(batch.keys)
    return [batch.keys[first:end].tolist() for first, end in zip(batch.offsets[:-1], batch.offsets[1:], strict=True)]


@given(lists, st.data())
def test_taking_rows_takes_their_keys(keys, data):
    picked = data.draw(st.lists(st.integers(0, len(keys) - 1), max_size=20)) if keys else []
    taken = batch_of(keys).take(np.array(picked, np.int64))
    assert keys_of(taken) == [keys[row] for row in picked]
    assert taken.rows["ts"].tolist() == [1_000 + row for row in picked]


@given(lists, st.data())
def test_a_part_is_the_same_as_taking_its_rows(keys, data):
    first = data.draw(st.integers(0, len(keys)))
    end = data.draw(st.integers(first, len(keys)))
    part = batch_of(keys).part(first, end)
    assert keys_of(part) == keys[first:end]
    assert part.rows["ts"].tolist() == list(range(1_000 + first, 1_000 + end))


@given(st.lists(lists, max_size=4))
def test_joining_keeps_order(groups):
    joined = SightingBatch.concat([batch_of(keys) for keys in groups])
    assert keys_of(joined) == [mine for keys in groups for mine in keys]
    assert len(joined) == sum(map(len, groups))


@given(lists, st.integers(1, 17))
def test_every_key_goes_to_one_partition(keys, parts):
    batch = batch_of(keys)
    split = batch.partition(parts)
    assert len(split) == parts
    for number, part in enumerate(split):
        assert all(name % parts == number for name in part.keys.tolist())
    assert sorted(use for part in split for use in uses_of(part)) == uses_of(batch)


@given(lists, st.integers(1, 9))
def test_partitions_put_together_again_are_the_united_rows(keys, parts):
    keyed = [mine for mine in keys if mine]  # a partition does not send a request without a key of its own
    pieces = SightingBatch.concat(batch_of(keyed).partition(parts))
    together = pieces.take(np.argsort(pieces.rows["event"], kind="stable")).united()
    assert keys_of(together) == [sorted(set(mine)) for mine in keyed]
    assert keys_of(batch_of(keyed).united()) == keys_of(together)


def test_requests_of_two_accounts_under_one_event_id_stay_two():
    batch = sightings([(5, 1, [3]), (5, 2, [4])], event=[9, 9])
    assert keys_of(batch.united()) == [[3], [4]]


@given(lists, st.integers(0, 2**40))
def test_wire_form_gives_the_batch_back(keys, sequence):
    batch = batch_of(keys)
    meta, read = SightingBatch.decode(batch.encode("sightings", {"sequence": sequence}), "sightings")
    assert meta == {"sequence": sequence}
    assert keys_of(read) == keys
    assert read.rows.tobytes() == batch.rows.tobytes()


def arrays() -> dict[str, np.ndarray]:
    return dict(unpack(batch_of([[1, 2], [3]]).encode("sightings", {}), "sightings", 1)[1])


@pytest.mark.parametrize(
    "wrong",
    [
        {"counts": np.array([200, 200], np.uint8)},  # keys past the end: compiled code would read there
        {"counts": np.array([2], np.uint8)},
        {"counts": np.array([2, 1], np.int64)},
        {"keys": np.array([1], np.uint64)},
        {"keys": np.array([1, 2, 3], np.float64)},
        {"keys": np.array([[1, 2, 3]], np.uint64)},
        {"rows": np.zeros(SIGHTING.itemsize + 1, np.uint8)},
        {"rows": np.zeros(0, np.uint8)},
    ],
)
def test_arrays_that_do_not_fit_one_another_are_refused(wrong):
    SightingBatch.decode(pack("sightings", 1, {}, arrays()), "sightings")
    with pytest.raises(WireError, match="fit"):
        SightingBatch.decode(pack("sightings", 1, {}, arrays() | wrong), "sightings")


@pytest.mark.parametrize("missing", ["rows", "keys", "counts"])
def test_a_missing_array_is_refused(missing):
    rest = {name: array for name, array in arrays().items() if name != missing}
    with pytest.raises(WireError):
        SightingBatch.decode(pack("sightings", 1, {}, rest), "sightings")
