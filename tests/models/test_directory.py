"""The directory: who accounts are and how common their attributes, against plain dicts."""

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.directory import ATTRIBUTES, Directory
from models.sighting import PROFILE
from models.strings import Strings

profiles = st.lists(
    st.tuples(st.integers(1, 20), st.integers(0, 3), st.integers(0, 3), st.text(max_size=12)), max_size=30
)


def rows_of(some: list[tuple[int, int, int, str]]) -> tuple[np.ndarray, Strings]:
    rows = np.zeros(len(some), PROFILE)
    for at, (account, payment, network, _) in enumerate(some):
        rows[at]["key"], rows[at]["payment"], rows[at]["network"] = account, payment, network
        rows[at]["ts"] = 1_000 + at
    return rows, Strings.of_bytes([name.encode("utf-8", "replace") for _, _, _, name in some])


def filled(some: list[tuple[int, int, int, str]], size: int) -> Directory:
    directory = Directory()
    for first in range(0, len(some), size):
        directory.add(*rows_of(some[first : first + size]))
    return directory


def first_of(some: list[tuple[int, int, int, str]]) -> dict[int, tuple[int, int, int, str]]:
    known: dict[int, tuple[int, int, int, str]] = {}
    for row in some:
        known.setdefault(row[0], row)
    return known


def said(directory: Directory) -> list[object]:
    accounts = np.arange(1, 22, dtype=np.uint64)
    values = np.arange(5, dtype=np.uint64)
    commons = [directory.popularity(name, values).tolist() for name in ATTRIBUTES]
    return [len(directory), directory.account_ids(accounts), directory.rows(accounts).tolist(), commons]


@given(profiles, st.integers(1, 31))
def test_keeps_the_first_word_on_every_account(some, size):
    directory, known = filled(some, size), first_of(some)
    accounts = np.arange(1, 22, dtype=np.uint64)
    assert len(directory) == len(known)
    expected = [known[account][3] if account in known else f"hash:{account:016x}" for account in range(1, 22)]
    assert directory.account_ids(accounts) == [text.encode("utf-8", "replace").decode() for text in expected]
    assert (directory.rows(accounts) >= 0).tolist() == [account in known for account in range(1, 22)]
    for place, name in ((1, "payment"), (2, "network")):
        counts = Counter(row[place] for row in known.values() if row[place])
        assert directory.popularity(name, np.arange(5, dtype=np.uint64)).tolist() == [
            counts[value] for value in range(5)
        ]


@given(profiles, profiles, st.integers(1, 31))
def test_a_snapshot_is_the_directory(some, more, size):
    directory, restored = filled(some, size), Directory()
    meta, arrays = directory.snapshot()
    restored.restore(meta, {name: array.copy() for name, array in arrays.items()})
    assert said(restored) == said(directory)
    for each in (directory, restored):
        each.add(*rows_of(more))
    assert said(restored) == said(directory)
    assert restored.newest_ms == directory.newest_ms


def test_costs_at_most_some_400_bytes_an_account():
    count = 20_000
    rows = np.zeros(count, PROFILE)
    rows["key"] = np.arange(1, count + 1)
    directory = Directory()
    directory.add(rows, Strings.of([f"{at:016x}" for at in range(count)]))
    assert directory.nbytes / count < 420
