"""Thresholds from calm traffic: order statistics in a budget, a tail where it is finer, and never too much."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.alert import Evidence
from models.calm import MARGIN, TAIL_MIN, CalmGroups, account_limit, open_score, tail_level

PEAKS = st.lists(st.integers(-10, 30).map(lambda value: value / 2), min_size=1, max_size=60).map(
    lambda values: sorted(values, reverse=True)
)


def opened(peaks, *, weeks=1.0, budget=1.0, shipped=7.5):
    return open_score(peaks, weeks, alerts_per_week=budget, shipped=shipped)


def test_calm_traffic_well_below_keeps_what_is_shipped():
    assert opened([6.0, 5.0]).value == 7.5
    assert not opened([6.0, 5.0]).moved
    assert opened([]).value == 7.5


def test_the_groups_over_the_budget_may_not_cross():
    peaks = [11.0, 10.0, 9.0, 4.0]
    assert opened(peaks, weeks=2.0, budget=1.0).value == 9.5
    assert opened(peaks, weeks=1.0, budget=1.0).value == 10.5
    assert opened(peaks, weeks=4.0, budget=1.0).value == 7.5
    assert opened(peaks, weeks=1.0, budget=1.0).moved


@given(peaks=PEAKS, weeks=st.floats(0.1, 50), budget=st.floats(0.01, 20))
def test_a_threshold_is_raised_only_as_far_as_the_calm_maximum_and_the_margin_ask(peaks, weeks, budget):
    found = opened(peaks, weeks=weeks, budget=budget)
    assert found.value == 7.5 or 7.5 < found.value <= peaks[0] + MARGIN
    assert found.moved == (found.value > 7.5)
    assert sum(peak >= found.value for peak in peaks) <= max(budget * weeks, 0)


@given(peaks=PEAKS, weeks=st.floats(0.1, 50), budget=st.floats(0.01, 20), more=st.floats(1, 10))
def test_a_larger_budget_never_asks_for_more(peaks, weeks, budget, more):
    wide = opened(peaks, weeks=weeks, budget=budget * more)
    assert wide.value <= opened(peaks, weeks=weeks, budget=budget).value


def test_the_tail_of_an_exponential_law_is_met_as_often_as_it_says():
    rng = np.random.default_rng(5)
    peaks = sorted(rng.exponential(2.0, 4_000).tolist(), reverse=True)
    level = tail_level(peaks, weeks=10.0, per_week=1.0)
    fresh = rng.exponential(2.0, 400_000)
    assert (fresh > level).mean() * 400 == pytest.approx(1.0, rel=0.4)


def test_a_budget_finer_than_the_traffic_looks_beyond_it_but_not_far():
    peaks = [8.0, *([6.0] * 5), *([3.0] * TAIL_MIN)]
    assert opened(peaks, weeks=0.2, budget=1.0).value == 8.0 + MARGIN
    assert opened([8.0, 6.0], weeks=0.2, budget=1.0).value == 8.5, "too few for a tail"


def test_limits_of_accounts_need_enough_of_them():
    few, many = np.full(1_000, 90_000), np.full(100_000, 90_000)
    limits = {"accounts_per_100k": 5.0, "shipped": 50_000, "most": 10**9}
    assert "60,000 are needed" in account_limit(few, **limits).why
    assert account_limit(few, **limits).value == 50_000
    assert account_limit(many, **limits).value == 135_001
    many[5:] = 100
    assert account_limit(many, **limits).value == 50_000, "five of 100,000 may cross"
    assert account_limit(many, **(limits | {"accounts_per_100k": 4.0})).value == 135_001
    assert account_limit(many, **(limits | {"accounts_per_100k": 4.0, "most": 61, "shipped": 50})).value == 61


def judged(accounts, score, **weights):
    size = np.array(accounts, np.uint64)
    candidate = SimpleNamespace(account=size, core=np.ones(len(size), bool))
    evidence = [Evidence(name, 0.0, 0.0, "", weight, ".") for name, weight in weights.items()]
    return SimpleNamespace(candidate=candidate, score=score, evidence=evidence)


def test_a_group_is_one_over_time_and_counts_at_its_highest():
    calm = CalmGroups()
    for now, score in ((0, 3.0), (600_000, 5.0), (1_200_000, 4.0)):
        seen = [
            judged(range(now // 600_000, 20), score, even=score - 4, turns=1.0),
            judged(range(100, 120), -2.0, even=-1.0),
        ]
        calm.note(SimpleNamespace(now_ms=now, judged=seen))
    assert (calm.evaluations, calm.peaks) == (3, [5.0, -2.0])
    assert calm.false_positives() == [("even", 1, 2), ("turns", 1, 1)]
