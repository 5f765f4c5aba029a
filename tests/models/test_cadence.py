"""When an evaluation is due: soon for new text, later for known, and by what has come where much is covered."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
from msgspec import ValidationError, convert

from models.cadence import FREE, KNOWN_PERIOD_MS, LARGE_PERIOD_MS, NOVEL_MIN, NOVEL_PART, PART, Cadence
from models.campaigns import PERIOD_MS
from models.fanin_kernel import WINDOW_MS
from models.joiners import EARLY_MS, STALE_MS
from models.rules import CampaignRule

LARGE = FREE + 1
HALF_MS = KNOWN_PERIOD_MS // 2


@pytest.mark.parametrize("covered", [0, FREE, LARGE])
def test_new_text_is_looked_at_at_once(covered):
    since = Cadence()
    since.add(NOVEL_MIN - 1, NOVEL_MIN - 1)
    assert not since.is_due(covered, HALF_MS)
    since.add(1, 1)
    assert since.is_due(covered, HALF_MS)


@pytest.mark.parametrize(("covered", "expected"), [(0, True), (FREE, True), (LARGE, False)])
def test_known_text_waits_for_its_period_and_among_much_for_more(covered, expected):
    since = Cadence(rows=1)
    assert not since.is_due(covered, KNOWN_PERIOD_MS - 1)
    assert since.is_due(covered, KNOWN_PERIOD_MS) is expected


def test_where_much_is_covered_a_part_of_it_must_be_new():
    covered = 24 * FREE
    enough = int(PART * covered)
    assert not Cadence(rows=enough - 1).is_due(covered, KNOWN_PERIOD_MS)
    assert Cadence(rows=enough).is_due(covered, KNOWN_PERIOD_MS)
    assert not Cadence(rows=enough).is_due(covered, KNOWN_PERIOD_MS - 1)


def test_no_wait_is_longer_than_what_open_campaigns_bear():
    assert not Cadence().is_due(LARGE, LARGE_PERIOD_MS - 1)
    assert Cadence().is_due(LARGE, LARGE_PERIOD_MS)


def test_an_early_signal_outlives_the_wait_for_the_evaluation_that_renews_it():
    assert LARGE_PERIOD_MS + PERIOD_MS <= EARLY_MS < STALE_MS


def test_every_signal_lifetime_that_rules_may_have_is_renewed_before_it_ends():
    shortest = 2 * (LARGE_PERIOD_MS + PERIOD_MS)
    for lifetime_ms, valid in ((shortest - 1, False), (shortest, True)):
        with nullcontext() if valid else pytest.raises(ValidationError):
            convert({"signal_ms": lifetime_ms}, CampaignRule)


def test_usual_fashions_of_a_large_fleet_are_no_news_and_a_campaign_is():
    since = Cadence()
    for _ in range(24 * 14):  # two weeks of ten thousand novel rows an hour
        since.add(20_000, 10_000)
        since.begin(WINDOW_MS // 24)
    assert 200_000 < since.usual < 300_000
    since.add(20_000, 10_000)
    assert not since.is_due(LARGE, HALF_MS)
    assert since.is_due(FREE, HALF_MS)  # a small fleet is looked at whatever is usual
    since.add(0, int(NOVEL_PART * since.usual))
    assert since.is_due(LARGE, HALF_MS)


def test_what_was_usual_long_ago_is_forgotten():
    since = Cadence(usual=1e6)
    since.begin(20 * WINDOW_MS)
    assert since.usual < 1
    since.begin(1 << 61)  # the first evaluation of all
    assert since.usual < 1


def test_a_snapshot_goes_on_where_it_was():
    since = Cadence(rows=7, novel=3, usual=2.5)
    other = Cadence()
    other.restore(since.snapshot())
    assert other == since
