"""The verdict: every reason is reachable, and accounts are named on what they did themselves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.alert import Evidence
from models.clusters import Candidate
from models.rules import CampaignRule
from models.verdict import (
    CORE_CUSTOMERS_MIN,
    CORE_NETWORKS_MIN,
    CORE_PART_MIN,
    HOLD_SCORE,
    OPEN_SCORE,
    STERN_SCORE,
    Reason,
    beyond_doubt,
    judge,
    named,
)
from tests.models.covering import candidates_of, covered, dealt, mixed
from tests.models.test_evidence import features


def points(score: float) -> list[Evidence]:
    return [Evidence("test", 0.0, 0.0, "", score, ".")]


def reason(score: float = OPEN_SCORE, *, is_open: bool = False, rule: CampaignRule | None = None, **known):
    return judge(features(**known), points(score), rule or CampaignRule(), is_open=is_open)


def test_enough_points_are_a_campaign():
    assert reason(OPEN_SCORE) is Reason.CAMPAIGN
    assert reason(OPEN_SCORE - 0.5) is Reason.WEAK


def test_an_open_campaign_is_held_until_it_falls_well_below():
    assert reason(HOLD_SCORE, is_open=True) is Reason.HELD
    assert reason(HOLD_SCORE - 0.5, is_open=True) is Reason.WEAK
    assert reason(HOLD_SCORE, is_open=False) is Reason.WEAK
    assert HOLD_SCORE < OPEN_SCORE


def test_few_customers_are_no_campaign_whatever_the_points():
    assert reason(99.0, customers=CORE_CUSTOMERS_MIN - 1, is_open=True) is Reason.TOO_FEW_CUSTOMERS
    assert reason(customers=CORE_CUSTOMERS_MIN) is Reason.CAMPAIGN


def test_few_networks_are_no_campaign_and_unknown_ones_no_reason():
    assert reason(99.0, networks=CORE_NETWORKS_MIN - 1, is_open=True) is Reason.TOO_FEW_NETWORKS
    assert reason(networks=CORE_NETWORKS_MIN) is Reason.CAMPAIGN
    assert reason(networks=0) is Reason.CAMPAIGN


def test_a_core_that_is_a_small_part_is_diluted():
    assert reason(99.0, core_part=CORE_PART_MIN - 0.01, is_open=True) is Reason.DILUTED
    assert reason(core_part=CORE_PART_MIN) is Reason.CAMPAIGN


@pytest.mark.parametrize(("evenness", "expected"), [(1.0, Reason.CAMPAIGN), (2.0, Reason.DILUTED)])
def test_accounts_that_have_yet_to_come_round_are_no_dilution_where_load_is_even(evenness, expected):
    assert reason(core_part=0.05, evenness=evenness, rate=0.15) is expected


def test_thresholds_are_the_rule_files():
    assert reason(5.0, rule=CampaignRule(open_score=5.0)) is Reason.CAMPAIGN
    assert reason(2.0, is_open=True, rule=CampaignRule(hold_score=2.0)) is Reason.HELD
    assert reason(rule=CampaignRule(customers_min=41)) is Reason.TOO_FEW_CUSTOMERS


@pytest.mark.parametrize(
    ("accounts", "score", "expected"),
    [(1_000, 6.0, "critical"), (1_000, 5.9, "high"), (999, 7.0, "high"), (100, 0.0, "high"), (12, 8.0, "high"),
     (99, 7.9, "medium"), (30, 0.0, "medium"), (29, 7.9, "low")],
)  # fmt: skip
def test_severity_follows_size_and_score(accounts, score, expected):
    assert CampaignRule().severity_of(accounts, score) == expected


@given(score=st.floats(0, 40), stern=st.booleans())
def test_nobody_is_blocked_and_only_clear_cases_are_challenged(score, stern):
    action, multiplier = CampaignRule().action_of(score, stern=stern)
    assert action == ("challenge" if stern and score >= STERN_SCORE else "throttle")
    assert 0.0 < multiplier < 1.0


# Naming.
CORE = range(200)
DECOYS = range(1_000, 1_400)


def framed(requests: int = 12, others: int = 10) -> tuple[Candidate, dict[int, int]]:
    """A campaign of 200 with 400 innocents, who sent one to four of its prompts beside ``others`` of their own."""
    uses = dealt(CORE, range(12), requests)
    forced = {account: 1 + at % 4 for at, account in enumerate(DECOYS)}
    generator = np.random.default_rng(4)
    late = [(account, generator.integers(12)) for account, count in forced.items() for _ in range(count)]
    uses += [(account, list(range(4 * number, 4 * number + 4))) for account, number in late]
    rows = covered(uses)
    decoy = np.isin(rows["account"], np.array([mixed(account) for account in DECOYS], np.uint64))
    rows["requests_24h"][decoy] += others
    return candidates_of(rows)[0], {mixed(account): count for account, count in forced.items()}


def named_by_uses(candidate: Candidate, chosen: np.ndarray, forced: dict[int, int]) -> list[int]:
    """Innocents chosen by number of uses, from one."""
    uses = [forced.get(int(account), 0) for account in candidate.account[chosen]]
    return [uses.count(count) for count in range(1, 5)]


def test_one_use_is_never_named_and_a_few_seldom():
    for requests in (8, 12, 25):
        candidate, forced = framed(requests)
        one, two, three, four = named_by_uses(candidate, named(candidate), forced)
        assert (one, two) == (0, 0)
        assert three <= 11, "no more of the 100 than in the laboratory"
        assert four <= 13
        core = {mixed(account) for account in CORE}
        assert core <= {int(account) for account in candidate.account[named(candidate)]}


def test_an_action_that_people_notice_takes_more():
    for requests in (6, 8, 12, 25):
        candidate, forced = framed(requests, others=6)
        chosen = named(candidate) & beyond_doubt(candidate)
        one, two, three, four = named_by_uses(candidate, chosen, forced)
        assert (one, two, three) == (0, 0, 0)
        assert four <= 2
        core = {mixed(account) for account in CORE}
        assert len(core - {int(account) for account in candidate.account[chosen]}) <= 0.02 * len(core)


def test_thresholds_move_with_the_core():
    slow, forced = framed(4, others=4)
    fast, _ = framed(25, others=4)
    *_, four = named_by_uses(slow, named(slow), forced)
    assert four >= 80
    assert named_by_uses(fast, named(fast), forced) == [0, 0, 0, 0]


@given(seed=st.integers(0, 2**32), requests=st.integers(2, 20), others=st.integers(0, 30), size=st.integers(5, 60))
def test_whoever_is_beyond_doubt_is_named_too(seed, requests, others, size):
    generator = np.random.default_rng(seed)
    uses = dealt(range(100), range(6), requests, seed)
    for account in range(200, 200 + size):
        uses += [(account, list(range(4 * n, 4 * n + 4))) for n in generator.integers(0, 6, generator.integers(1, 8))]
    rows = covered(uses)
    late = rows["account"] == rows["account"]
    rows["requests_24h"][late] += generator.integers(0, others + 1, len(rows)).astype(np.uint32)
    for candidate in candidates_of(rows):
        if candidate.core.any():
            chosen = named(candidate)
            assert (candidate.willing & beyond_doubt(candidate) <= chosen).all()
            assert candidate.covered[chosen].min(initial=2) >= 2
