"""Rules files: what is written is what is read, and every error of a broken file is named with its line and the fix."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from models.errors import ConfigError
from models.rules import (
    MODES,
    AccountRule,
    CampaignRule,
    NetworksRule,
    OrgLimits,
    PlanLimits,
    Rules,
    Severities,
    Step,
    conflicts,
)
from streams.rules_file import BYTES_MAX, load, parse
from streams.rules_text import differences, explained, rendered

BROKEN = sorted((Path(__file__).parent.parent / "rules" / "broken").glob("*.yaml"))
MODE = st.sampled_from(MODES)
COUNT = st.integers(1, 1_000_000_000)
SCORE = st.floats(0, 60).map(lambda value: round(value, 3))
PART = st.floats(0, 1).map(lambda value: round(value, 3))
MINUTES = st.integers(60, 7 * 1440).map(lambda value: 60_000 * value)
RENEWED = MINUTES.filter(lambda value: value >= 8_400_000)


def accounts() -> st.SearchStrategy[AccountRule]:
    levels = st.sampled_from(["info", "low", "medium", "high", "critical"])
    return st.builds(AccountRule, mode=MODE, limit=COUNT, severity=levels, multiplier=PART, signal_ms=MINUTES)


def campaigns() -> st.SearchStrategy[CampaignRule]:
    def built(scores: list[float], sizes: list[int], modes: tuple[str, int]) -> CampaignRule:
        hold, throttle, opens, challenge = sorted(scores)
        medium, high, critical = sorted(sizes)
        ladder = (Step("throttle", 0.3, throttle), Step("block", 0.0, challenge, beyond_doubt=True))
        return CampaignRule(
            mode=modes[0], open_score=opens, hold_score=hold, customers_min=12 + medium, confirmed_below=high,
            severities=Severities(critical, hold, high, opens, medium), ladder=ladder, signal_ms=modes[1],
        )  # fmt: skip

    sizes = st.lists(st.integers(0, 9_999), min_size=3, max_size=3)
    return st.builds(
        built,
        st.lists(SCORE, min_size=4, max_size=4),
        sizes,
        st.tuples(MODE, RENEWED),
    )


@settings(max_examples=40)
@given(
    campaign=campaigns(), volume=accounts(), mode=MODE, shadow=st.none() | campaigns(),
    networks=st.builds(NetworksRule, limit=st.integers(2, 61), mode=MODE),
    orgs=st.lists(st.sampled_from(["acme", 'a"b', "x: y", "ö#"]), unique=True),
)  # fmt: skip
def test_what_is_written_is_read_back(campaign, volume, mode, shadow, networks, orgs):
    shadow = shadow and replace(shadow, mode="shadow")
    limits = tuple(OrgLimits(org=org, account_volume=7, account_networks=9) for org in orgs)
    plans = tuple(PlanLimits(plan=org, account_reasoning=8) for org in orgs)
    rules = Rules(
        name="a.b-c", version="2026-01", mode=mode, campaign=campaign, account_volume=volume, account_networks=networks,
        orgs=limits, plans=plans, shadow=shadow,
    )  # fmt: skip
    assert conflicts(rules) == []
    found = parse(rendered(rules).encode())
    assert found.problems == []
    assert found.rules == rules


def test_an_empty_list_of_rules_is_what_is_shipped():
    assert parse(b"name: default\n").rules == Rules()
    assert parse(rendered(Rules()).encode()).rules == Rules()


@pytest.mark.parametrize("path", BROKEN, ids=lambda path: path.stem)
def test_every_error_is_named_with_its_line_and_the_fix(path):
    expected = {}
    for number, line in enumerate(path.read_text().splitlines(), 1):
        found = re.search(r"# ERROR (.*)", line)
        if found:
            expected[number] = found[1]
    problems = parse(path.read_bytes()).problems
    assert {problem.line for problem in problems} == set(expected), [str(problem) for problem in problems]
    for problem in problems:
        assert expected[problem.line] in problem.text, str(problem)
    with pytest.raises(ConfigError) as caught:
        load(str(path))
    assert len(str(caught.value).splitlines()) == len(problems)
    assert all(line.startswith(f"{path}:") for line in str(caught.value).splitlines())


@pytest.mark.parametrize(
    ("data", "text"),
    [(b"", "empty"), (b"# only a comment", "empty"), (b"\xff\xfe", "UTF-8"), (b"a: \x00", "not YAML"),
     (b"[" * 5_000, "nested"), (b"#" * (BYTES_MAX + 1), "larger"), (b"a: [" + b"*x, " * 9 + b"]", "aliases"),
     (b"!!python/object/apply:os.system ['true']", "keys and values")],
)  # fmt: skip
def test_what_is_no_file_of_rules_is_said(data, text):
    problems = parse(data).problems
    assert text in problems[0].text
    assert parse(data).rules is None


@given(st.binary(max_size=200))
def test_any_bytes_are_rules_or_named_errors(data):
    found = parse(data)
    assert (found.rules is None) == bool(found.problems)


def test_off_is_a_mode_and_not_a_boolean():
    found = parse(b"mode: off\nrules: [{id: campaign, mode: shadow}]")
    assert found.rules is not None
    assert (found.rules.mode, found.rules.campaign.mode) == ("off", "shadow")


TENANTS = b"""mode: enforce
rules: [{id: campaign, correlation: {condition: {gte: 9}}}]
overrides:
  - tenant: acme
    mode: alert
    rules: [{id: campaign, correlation: {condition: {gte: 6}}}]
  - org: big
    rules: [{id: account_volume, correlation: {condition: {gte: 900000}}}]
"""


def test_a_tenant_has_rules_of_its_own():
    acme, other = parse(TENANTS, "acme").rules, parse(TENANTS, "other").rules
    assert acme is not None
    assert other is not None
    assert (acme.mode, acme.campaign.open_score) == ("alert", 6.0)
    assert (other.mode, other.campaign.open_score) == ("enforce", 9.0)
    assert acme.orgs == other.orgs == (OrgLimits(org="big", account_volume=900_000),)


def test_a_rule_in_the_shadow_begins_with_what_the_one_in_force_says():
    text = """
rules: [{id: campaign, mode: alert, cool-down: 48h, correlation: {condition: {gte: 9}}}]
shadow: [{id: campaign, correlation: {condition: {gte: 6}}}]
"""
    rules = parse(text.encode()).rules
    assert rules is not None
    assert rules.shadow == replace(rules.campaign, mode="shadow", open_score=6.0)
    assert rules.campaign.open_score == 9.0
    assert ("shadow.open_score", None, 6.0) in differences(Rules(), rules)


def test_differences_are_named_by_attribute():
    assert differences(Rules(), Rules()) == []
    looser = Rules(campaign=CampaignRule(open_score=5.0))
    assert differences(Rules(), looser) == [("campaign.open_score", 7.5, 5.0)]


def test_every_rule_is_explained_with_its_numbers():
    text = "\n".join(explained(parse(TENANTS).rules or Rules(), "shadow"))
    assert "9 points" in text
    assert text.count("in the shadow") == 4
    assert "big" in text
