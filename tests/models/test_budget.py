"""Budgets: never more than capacity and rate allow, whoever asks; leases lose tokens and never make any."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.alert import Signal
from models.budget import BURST_MS, LEASE_LIFE_MS, TOKEN_UNITS, Lease, TokenBucket, budget_of, capacity_units, milli_of

HOUR_MS = 3_600_000


def signal(multiplier: float) -> Signal:
    return Signal(
        account_id="a", cluster_id="c", action="throttle", multiplier=multiplier, score=1.0, rule="campaign",
        alert_id=None, mode="enforce", ts=1, expires=2, seq=3,
    )  # fmt: skip


def test_the_cluster_counts_as_one_customer_held_back_by_the_multiplier() -> None:
    record = budget_of(signal(0.25), 60)
    assert (record.budget_per_minute, record.cluster_id, record.multiplier, record.seq) == (15.0, "c", 0.25, 3)


@settings(max_examples=60, deadline=None)
@given(
    per_minute=st.floats(0.0, 100_000.0),
    steps=st.lists(st.tuples(st.integers(-5_000, 30_000), st.integers(0, 500)), max_size=60),
)
def test_a_bucket_never_gives_more_than_capacity_and_rate(per_minute: float, steps: list[tuple[int, int]]) -> None:
    milli = milli_of(per_minute)
    bucket, now, newest, given_out = TokenBucket(milli, 0), 0, 0, 0
    for step, wanted in steps:
        now = max(0, now + step)
        newest = max(newest, now)
        taken = bucket.take(wanted, now)
        assert 0 <= taken.granted <= wanted
        assert (taken.wait_ms > 0) == (taken.granted < wanted)
        given_out += taken.granted
        assert given_out * TOKEN_UNITS <= capacity_units(milli) + newest * milli


def test_whoever_comes_after_the_wait_gets_a_token() -> None:
    bucket = TokenBucket(milli_of(6), 0, full=False)
    wait_ms = bucket.take(1, 0).wait_ms
    assert wait_ms == 10_000
    assert bucket.take(1, wait_ms - 1).granted == 0
    assert bucket.take(1, wait_ms).granted == 1


@pytest.mark.parametrize("per_minute", [6, 15, 600])
def test_25_000_accounts_through_several_processes_get_the_budget_and_no_1_percent_more(per_minute: int) -> None:
    draw = random.Random(4)
    milli = milli_of(per_minute)
    bucket, passed, now = TokenBucket(milli, 0), 0, 0
    leases = [Lease(milli) for _ in range(5)]
    while now < HOUR_MS:
        now += draw.randrange(0, 50)  # 25,000 accounts at 6 requests an hour are one each 24 ms
        lease = draw.choice(leases)
        spent = lease.spend(1, now)
        if spent is None:
            lease.credit(bucket.take(lease.size(1, now), now), now, draw.random())
            spent = lease.spend(1, now)
        passed += bool(spent)
    budget = per_minute * 60
    assert passed <= 1.01 * budget
    assert passed >= 0.9 * budget  # and it is a budget, not a block


def test_a_lease_that_is_not_used_ends() -> None:
    lease = Lease(milli_of(600))
    lease.credit(TokenBucket(milli_of(600), 0).take(3, 0), 0, 0.0)
    assert lease.spend(1, LEASE_LIFE_MS - 1) is True
    assert lease.spend(1, LEASE_LIFE_MS) is None


def test_an_empty_bucket_is_not_asked_again_until_it_may_have_a_token() -> None:
    lease, bucket = Lease(milli_of(6)), TokenBucket(milli_of(6), 0, full=False)
    lease.credit(bucket.take(1, 0), 0, 0.5)
    assert lease.spend(1, 12_499) is False
    assert lease.spend(1, 12_500) is None  # half of the wait, half of that by chance


def test_a_lease_borrows_no_more_than_lately_asked_and_the_rate_allow() -> None:
    busy, eager, slow = Lease(milli_of(600_000)), Lease(milli_of(600_000)), Lease(milli_of(15))
    for _ in range(1_000):
        busy.spend(1, 1_000)
        eager.spend(100, 1_000)
        slow.spend(1, 1_000)
    assert busy.size(1, 1_000) == 200  # a thousand in the last second
    assert eager.size(1, 1_000) == 2_000  # 10,000 a second are allowed
    assert slow.size(1, 1_000) == 1
    assert busy.size(7, 2_000) == 7


def test_capacity_is_at_least_one_request() -> None:
    assert capacity_units(milli_of(0.001)) == TOKEN_UNITS
    assert capacity_units(milli_of(600)) == 600 * 1000 * BURST_MS
