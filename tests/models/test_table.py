"""The index and the growing records: like a dict, whatever the keys and however often they move."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.accounts import ACCOUNT
from models.covered import COVERED, KEY
from models.fanin_kernel import HOT, WARM
from models.sighting import PROFILE, SIGHTING
from models.table import EMPTY, Table, find, grown, insert, new_index

ROW = np.dtype([("key", "u8"), ("value", "i8")])
# Few low bits, so that chains are long and wrap around the end of the index.
keys = st.integers(1, 2**64 - 1) | st.builds(lambda high: (high << 40) | 15, st.integers(1, 2**20))


def add(table: Table, key: int, value: int) -> None:
    table.reserve(1)
    row = len(table)
    table.records[row] = (key, value)
    insert(table.index, np.uint64(key), row)
    table.count[0] = row + 1


def held(table: Table, wanted: list[int]) -> dict[int, int]:
    rows = {key: find(table.index, table.records["key"], np.uint64(key)) for key in wanted}
    return {key: int(table.records["value"][row]) for key, row in rows.items() if row != EMPTY}


@given(st.lists(keys, max_size=120, unique=True), st.lists(keys, max_size=20))
def test_finds_what_was_added_and_nothing_else(added, others):
    table = Table(ROW)
    for value, key in enumerate(added):
        add(table, key, value)
    expected = {key: value for value, key in enumerate(added)}
    assert held(table, added + others) == expected
    assert len(table) == len(added)


@given(st.lists(keys, min_size=1, max_size=80, unique=True), st.data())
def test_keeps_exactly_the_rows_chosen(added, data):
    table = Table(ROW)
    for value, key in enumerate(added):
        add(table, key, value)
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=len(added), max_size=len(added))))
    table.keep(mask)
    assert held(table, added) == {key: value for value, key in enumerate(added) if mask[value]}
    add(table, 2**63 + 12345, -1)
    assert held(table, [2**63 + 12345]) == {2**63 + 12345: -1}


def test_dropping_rows_gives_their_memory_back():
    table = Table(ROW)
    empty = table.nbytes
    for key in range(1, 5_001):
        add(table, key, key)
    full = table.nbytes
    table.keep(table.rows["key"] <= 5)
    assert full > 50 * empty
    assert table.nbytes <= 2 * empty


@given(st.integers(0, 10_000))
def test_an_index_is_at_most_half_full_and_a_power_of_two(rows):
    size = len(new_index(rows))
    assert size >= 2 * rows
    assert size & (size - 1) == 0


@given(st.integers(0, 200), st.integers(0, 500))
def test_growing_keeps_the_rows(count, rows):
    records = np.zeros(count, ROW)
    records["key"] = np.arange(count)
    larger = grown(records, rows)
    assert len(larger) >= rows
    assert larger["key"][:count].tolist() == list(range(count))
    assert not larger["key"][count:].any()


@pytest.mark.parametrize("record", [ACCOUNT, SIGHTING, PROFILE, WARM, HOT, COVERED, KEY])
def test_records_have_no_padding(record):
    """Copies leave padding undefined, and snapshots of equal states must be equal bytes."""
    assert sum(record[name].itemsize for name in record.names) == record.itemsize
