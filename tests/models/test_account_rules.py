"""Account rules: each once a day, and people are told while the limiter is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from models.account_rules import AccountRules
from models.alert import Mode
from models.announce import Decisions
from models.columns import EventColumns
from models.hashing import KeyedHash
from models.observe import Observe
from models.rules import AccountRule, NetworksRule, OrgLimits, PlanLimits, Rules
from models.sketch import Sketcher, Sketches
from models.strings import Strings
from tests.models.inputs import HOUR_MS, SECRET, START, events_at

DAY_MS = 24 * HOUR_MS
NOON = START // DAY_MS * DAY_MS + 12 * HOUR_MS
SKETCHER = Sketcher(SECRET)


def rules(mode: Mode = "alert", **more: Any) -> Rules:
    """Limits low enough to be met, every rule in ``mode``."""
    return Rules(
        account_volume=AccountRule(mode=mode, limit=20),
        account_reasoning=AccountRule(mode=mode, limit=10, percent=80),
        account_networks=NetworksRule(mode=mode, limit=30),
        **more,
    )


def decided(
    ts: list[int], *, given: Rules | None = None, mode: Mode = "enforce", asking: bool = False, parts: int = 1,
    **columns: Any,
) -> Decisions:  # fmt: skip
    """What the rules decide of these events of one account, given in ``parts`` batches, under a host in ``mode``."""
    operator = Observe(AccountRules(KeyedHash(SECRET), mode=mode, rules=given or rules()))
    decisions = Decisions()
    events = events_at(ts, **columns)
    if asking:
        texts = [f"Solve {at}. Think step by step and write out your full chain of thought." for at in range(len(ts))]
        events.prompt = Strings.of(texts)
    for rows in np.array_split(np.arange(len(ts)), parts):
        batch = events.take(rows)
        sketches: Sketches = SKETCHER.sketch(batch.prompt)
        decisions.extend(operator.process(batch, sketches).decisions)
    decisions.extend(operator.finish().decisions)
    return decisions


def said(decisions: Decisions) -> list[str]:
    return [alert.rule for alert in decisions.alerts]


def every(step_ms: int, count: int, start: int = NOON) -> list[int]:
    return [start + step_ms * at for at in range(count)]


def test_volume_trips_above_its_limit_and_not_at_it():
    assert said(decided(every(1_000, 19))) == []
    assert said(decided(every(1_000, 40))) == ["account_volume"]


@pytest.mark.parametrize("parts", [1, 7, 200])
def test_a_rule_trips_once_a_day_however_events_come(parts):
    decisions = decided(every(1_000, 200), parts=parts)
    assert said(decisions) == ["account_volume"]


def test_it_trips_again_the_next_day():
    found = decided(every(HOUR_MS // 4, 4 * 36))
    assert said(found) == ["account_volume"] * 2
    assert len({alert.alert_id for alert in found.alerts}) == 2
    assert len({alert.dedup_key for alert in found.alerts}) == 2


def test_reasoning_trips_where_most_requests_ask_for_it():
    assert said(decided(every(60_000, 15), asking=True)) == ["account_reasoning"]
    assert said(decided(every(60_000, 9), asking=True)) == []


def test_many_networks_trip():
    many = list(range(1, 16 * 12))
    assert "account_networks" in said(decided(every(1_000, len(many)), network=many))
    assert "account_networks" not in said(decided(every(1_000, len(many)), network=[5] * len(many)))
    assert "account_networks" not in said(decided(every(1_000, len(many))))


@pytest.mark.parametrize("mode", ["alert", "shadow"])
def test_people_are_told_and_the_limiter_is_not(mode):
    decisions = decided(every(1_000, 40), given=rules(mode))
    assert [alert.mode for alert in decisions.alerts] == [mode]
    assert decisions.signals == []


def test_mode_off_says_nothing():
    assert decided(every(1_000, 40), given=rules("off")) == Decisions()
    assert decided(every(1_000, 40), mode="off") == Decisions()


def test_mode_enforce_throttles_and_never_more():
    ((account, signal),) = decided(every(1_000, 40), given=rules("enforce")).signals
    assert signal is not None
    assert (account, signal.action, signal.cluster_id) == ("account-7", "throttle", None)
    assert 0.0 < signal.multiplier < 1.0
    assert signal.expires > signal.ts


def test_under_a_host_that_enforces_they_still_only_alert():
    (alert,) = decided(every(1_000, 40), mode="enforce").alerts
    assert alert.mode == "alert"
    (alert,) = decided(every(1_000, 40), mode="shadow").alerts
    assert alert.mode == "shadow"


def hashed(field: str, name: str) -> int:
    return int(EventColumns(KeyedHash(SECRET)).hashes(field, Strings.of([name]))[0])


def test_an_organisation_may_have_limits_of_its_own():
    maker = AccountRules(
        KeyedHash(SECRET), rules=rules(orgs=(OrgLimits(org="acme", account_volume=60), OrgLimits(org="tiny")))
    )
    acme, tiny = hashed("org_id", "acme"), hashed("org_id", "tiny")
    events = events_at(every(1, 3), customer=np.array([acme, tiny, 5], np.uint64))
    limits = maker.limits[maker.rows_of(events)]
    assert limits[:, 0].tolist() == [60, 20, 20]
    assert limits[:, 1:].tolist() == [[10, 80, 30, 0]] * 3
    for sent, told in ((59, []), (90, ["account_volume"])):
        own = rules(orgs=(OrgLimits(org="acme", account_volume=60),))
        found = decided(every(1_000, sent), given=own, customer=np.full(sent, acme, np.uint64))
        assert said(found) == told
    assert said(decided(every(1_000, 40), given=own, customer=np.full(40, tiny, np.uint64))) == ["account_volume"]


def test_a_plan_may_have_limits_of_its_own_and_its_organisation_goes_before():
    acme = hashed("org_id", "acme")
    own = rules(
        plans=(PlanLimits(plan="free", account_volume=5), PlanLimits(plan="enterprise", account_volume=60)),
        orgs=(OrgLimits(org="acme", account_volume=10),),
    )
    for plan, sent, baseline in (("enterprise", 59, 0), ("enterprise", 61, 60), ("free", 6, 5), ("pro", 30, 20)):
        found = decided(every(1_000, sent), given=own, plan=[hashed("plan", plan)] * sent)
        assert [alert.evidence[0].baseline for alert in found.alerts] == [baseline] * bool(baseline)
    found = decided(every(1_000, 40), given=own, plan=[hashed("plan", "enterprise")] * 40, customer=np.full(40, acme))
    assert [alert.evidence[0].baseline for alert in found.alerts] == [10]


def test_other_rules_hold_from_the_next_request_on():
    maker = AccountRules(KeyedHash(SECRET), rules=rules())
    operator = Observe(maker)
    first, second = events_at(every(1_000, 19)), events_at([NOON + 60_000], event=[100])
    found = operator.process(first, SKETCHER.sketch(first.prompt)).decisions
    maker.use(Rules(account_volume=AccountRule(limit=10)))
    found.extend(operator.process(second, SKETCHER.sketch(second.prompt)).decisions)
    found.extend(operator.finish().decisions)
    assert said(found)[-1:] == ["account_volume"]
    assert found.alerts[-1].evidence[0].baseline == 10


def test_an_alert_says_who_and_how_much_and_holds_no_prompt():
    (alert,) = decided(every(1_000, 40)).alerts
    assert (alert.account_id, alert.members_sample, alert.accounts) == ("account-7", ["account-7"], 1)
    assert alert.status == "open"
    assert "prompt" not in str(alert)
    assert alert.runbook_url == "docs/runbook.md#account-volume"


def test_ids_are_the_same_in_a_replay_and_differ_by_account_and_secret():
    first, again = decided(every(1_000, 40)), decided(every(1_000, 40), parts=5)
    assert first == again
    other = decided(every(1_000, 40), account=[8] * 40)
    assert other.alerts[0].alert_id != first.alerts[0].alert_id
