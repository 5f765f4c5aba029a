"""Arrivals: who is known and who is forgotten depends on event time alone, against a plain dict that lives each day."""

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.arrivals import Arrivals
from models.directory import IDLE_DAYS, Directory
from models.sighting import PROFILE
from models.strings import Strings

KEPT = np.array([1, 2], np.uint64)
told = st.lists(st.tuples(st.integers(1, 9), st.integers(0, 150 * 24), st.integers(0, 2)), max_size=40)


def profiles(words: list[tuple[int, int, int]]) -> tuple[np.ndarray, Strings]:
    """Profiles of (account, hour, payment); the id carries the hour, so that a later word is told from the first."""
    rows = np.zeros(len(words), PROFILE)
    for at, (account, hour, payment) in enumerate(words):
        rows[at]["key"], rows[at]["ts"], rows[at]["payment"] = account, hour * 3_600_000, payment
    return rows, Strings.of([f"account-{account}-{hour}" for account, hour, _ in words])


def learnt(words: list[tuple[int, int, int]], stops: list[int], restart: bool = False) -> Directory:
    """The directory after ``words``, learnt up to each hour of ``stops`` in turn."""
    directory = Directory()
    arrivals, fed = Arrivals(directory, lambda: KEPT), 0
    for stop in sorted(stops):
        due = [word for word in words if fed <= word[1] < stop]
        arrivals.add(*profiles(due[::-1]))
        fed = stop
        arrivals.learn(stop * 3_600_000)
        if restart:
            meta, arrays = directory.snapshot()
            day, unlearnt = arrivals.snapshot()
            directory = Directory()
            directory.restore(meta, arrays)
            arrivals = Arrivals(directory, lambda: KEPT)
            arrivals.restore(day, unlearnt)
    return directory


def lived(words: list[tuple[int, int, int]], until_hour: int) -> dict[int, tuple[str, int]]:
    """Ids and payments as somebody would know them who lives through every day."""
    known: dict[int, list] = {}
    for day in range(until_hour // 24 + 1):
        known = {a: value for a, value in known.items() if a in KEPT or value[2] >= day - IDLE_DAYS}
        for account, hour, payment in sorted({word[:2]: word for word in words[::-1]}.values(), key=lambda w: w[1::-1]):
            if hour // 24 == day and hour < until_hour:
                known.setdefault(account, [f"account-{account}-{hour}", payment, day])[2] = day
    return {account: (name, payment) for account, (name, payment, _) in known.items()}


def said(directory: Directory) -> tuple[dict[int, str], dict[int, int]]:
    accounts = np.arange(1, 10, dtype=np.uint64)
    known = directory.rows(accounts) >= 0
    ids = dict(zip(accounts[known].tolist(), directory.account_ids(accounts[known]), strict=True))
    counts = directory.popularity("payment", np.arange(3, dtype=np.uint64)).tolist()
    return ids, {payment: count for payment, count in enumerate(counts) if count}


@given(told, st.lists(st.integers(0, 200 * 24), max_size=6))
def test_the_same_are_known_however_far_it_learns_at_a_time(words, stops):
    words = list({word[:2]: word for word in words}.values())  # of one account one word an hour
    until = 200 * 24
    expected = lived(words, until)
    for directory in (
        learnt(words, [until]),
        learnt(words, [*stops, until]),
        learnt(words, [*stops, until], restart=True),
    ):
        ids, payments = said(directory)
        assert ids == {account: name for account, (name, _) in expected.items()}
        assert payments == dict(Counter(payment for _, payment in expected.values() if payment))
        assert len(directory) == len(expected)


def test_an_account_told_of_every_week_is_never_forgotten_and_a_silent_one_is():
    words = [(5, 24 * day, 1) for day in range(0, 140, 7)] + [(6, 0, 1), (1, 0, 2)]
    ids, payments = said(learnt(words, [24 * 140]))
    assert ids == {5: "account-5-0", 1: "account-1-0"}  # as first told of; 1 belongs to a remembered campaign
    assert payments == {1: 1, 2: 1}


def test_silence_shorter_than_the_horizon_is_nothing():
    words = [(5, 0, 1)]
    assert said(learnt(words, [24 * (IDLE_DAYS + 1) - 1]))[0]
    assert not said(learnt(words, [24 * (IDLE_DAYS + 1)]))[0]


def test_memory_follows_the_live_accounts_and_not_those_ever_seen():
    directory = Directory()
    arrivals, sizes = Arrivals(directory, lambda: KEPT), []
    for week in range(24):
        rows, ids = profiles([(1_000 * week + at + 10, 24 * 7 * week, 1) for at in range(1_000)])
        rows["payment"] = rows["key"]
        arrivals.add(rows, ids)
        arrivals.learn((24 * 7 * week + 1) * 3_600_000)
        sizes.append((len(directory), directory.nbytes))
    assert max(size for size, _ in sizes) <= 5_000
    assert max(nbytes for _, nbytes in sizes[12:]) <= max(nbytes for _, nbytes in sizes[:12])
