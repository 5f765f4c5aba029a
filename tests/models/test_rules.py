"""Rules: today's defaults, versions by content, the lower mode wins, and what contradicts itself is said."""

from __future__ import annotations

import msgspec
import pytest
from msgspec.structs import replace

from models.rules import (
    MODES,
    RULE_IDS,
    CampaignRule,
    OrgLimits,
    Rules,
    Severities,
    Step,
    conflicts,
    lowest,
)


def test_equal_rules_have_equal_versions_and_any_difference_shows():
    assert Rules() == Rules()
    assert Rules().label == Rules().label
    assert Rules().label.startswith("default/1@")
    others = [
        Rules(campaign=CampaignRule(open_score=7.4)),
        Rules(mode="alert"),
        Rules(orgs=(OrgLimits(org="acme"),)),
        Rules(version="2"),
    ]
    assert len({rules.digest for rules in [Rules(), *others]}) == 5


def test_the_record_of_the_topic_gives_the_same_rules_back():
    rules = Rules(name="x", orgs=(OrgLimits(org="acme", account_volume=7),))
    assert Rules.decode(rules.encode()) == rules


@pytest.mark.parametrize(
    "record",
    [b"", b"null", b"{", b"[]", b'{"modes":"off"}', b'{"mode":"of"}', b'{"campaign":{"open_score":99}}',
     b'{"campaign":{"open_score":5,"hold_score":6}}', b'{"campaign":{"signal_ms":1}}', b'{"name":"a b"}',
     b'{"account_networks":{"limit":62}}', b"\xff"],
)  # fmt: skip
def test_a_wrong_record_is_refused(record):
    with pytest.raises((ValueError, msgspec.DecodeError)):
        Rules.decode(record)


@pytest.mark.parametrize("own", MODES)
@pytest.mark.parametrize("all_rules", MODES)
@pytest.mark.parametrize("host", MODES)
def test_the_lowest_mode_wins(own, all_rules, host):
    rules = Rules(mode=all_rules, campaign=CampaignRule(mode=own))
    expected = MODES[min(MODES.index(mode) for mode in (own, all_rules, host))]
    assert rules.mode_of("campaign", host) == expected == lowest(own, all_rules, host)


def test_account_rules_tell_people_by_default_and_never_the_limiter():
    assert [Rules().mode_of(name) for name in RULE_IDS] == ["enforce", "alert", "alert", "alert"]


@pytest.mark.parametrize(
    ("rule", "place"),
    [
        (CampaignRule(open_score=5, hold_score=6), "campaign.hold_score"),
        (CampaignRule(severities=Severities(medium_accounts=200)), "campaign.severities"),
        (CampaignRule(ladder=(Step("throttle", 0.5, 9), Step("observe", 1.0, 2))), "campaign.ladder"),
        (CampaignRule(ladder=(Step("throttle", 0.5), Step("block", 0.0, 20))), "campaign.ladder.1"),
    ],
)
def test_values_that_contradict_each_other_are_named(rule, place):
    assert [found for found, _ in conflicts(Rules(campaign=rule))] == [place]


def test_organisations_are_named_once():
    twice = (OrgLimits(org="acme"), OrgLimits(org="acme"))
    assert [place for place, _ in conflicts(Rules(orgs=twice))] == ["orgs"]
    assert conflicts(Rules()) == []


def test_the_last_rung_that_applies_is_taken():
    ladder = (Step("observe", 1.0), Step("throttle", 0.5, 8.0), Step("block", 0.0, 12.0, beyond_doubt=True))
    rule = replace(CampaignRule(), ladder=ladder)
    assert rule.action_of(7.9, stern=True) == ("observe", 1.0)
    assert rule.action_of(12.0, stern=False) == ("throttle", 0.5)
    assert rule.action_of(12.0, stern=True) == ("block", 0.0)
