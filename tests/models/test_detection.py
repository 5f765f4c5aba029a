"""Detection from events to alerts, on small simulated fleets: who is found, who is left alone, whatever is missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np
import pytest

from models.alert import Alert, Signal
from models.announce import Decisions
from models.event import EventBatch
from models.hashing import KeyedHash
from models.pipeline import Pipeline
from models.strings import Strings
from streams.simulator.scenarios import Scenario, scenario_of
from streams.simulator.simulation import Options, Simulation
from streams.simulator.slices import to_events
from tests.models.inputs import SECRET

COUNTED_REQUESTS = 3  # an account with fewer cannot be told from a visitor
Change = Callable[[EventBatch], EventBatch]


@dataclass
class Outcome:
    """What was said of one run, beside the truth."""

    truth: dict[str, set[str]]  # accounts of each campaign
    requests: Counter[str]
    population: dict[str, str]
    alerts: list[Alert] = field(default_factory=list)
    signals: list[tuple[str, Signal | None]] = field(default_factory=list)

    @property
    def clusters(self) -> dict[str, set[str]]:
        """The accounts named in each cluster."""
        named: dict[str, set[str]] = {}
        for account, signal in self.signals:
            if signal is not None and signal.cluster_id is not None:
                named.setdefault(signal.cluster_id, set()).add(account)
        return named

    @property
    def named(self) -> set[str]:
        return set().union(*self.clusters.values())

    def recall(self, campaign: str) -> float:
        counted = {account for account in self.truth[campaign] if self.requests[account] >= COUNTED_REQUESTS}
        return len(counted & self.named) / len(counted)

    @property
    def purity(self) -> float:
        """Of the accounts named, the part that belongs to a campaign."""
        return len(self.named & set().union(*self.truth.values())) / max(len(self.named), 1)

    @property
    def cluster_alerts(self) -> list[Alert]:
        return [alert for alert in self.alerts if alert.cluster_id is not None]


@dataclass(frozen=True)
class Fleet:
    """One simulated run, kept as events."""

    batches: tuple[EventBatch, ...]
    truth: dict[str, set[str]]
    requests: Counter[str]
    population: dict[str, str]


def simulated(name: str, seed: int, scale: float, benign: int, days: float) -> Fleet:
    scenario: Scenario = scenario_of(name, scale)
    scenario = replace(scenario, benign_accounts=benign) if benign else scenario
    run = Simulation(scenario, Options(seed=seed, scale=scale, days=days))
    keyed, sent = KeyedHash(SECRET), np.zeros(len(run.accounts), np.int64)
    batches = []
    for part in run.slices():
        batches.append(to_events(part, keyed))
        sent += np.bincount(part.account, minlength=len(sent))
    truth = {campaign.name: set(campaign.accounts) for campaign in run.truth().campaigns}
    ids = [f"{int(account):016x}" for account in run.accounts.name]
    population = dict(zip(ids, (run.population[label] for label in run.labels), strict=True))
    requests = Counter(dict(zip(ids, sent.tolist(), strict=True)))
    return Fleet(tuple(batches), truth, requests, population)


@lru_cache(maxsize=1)
def fleet(name: str, seed: int = 1, scale: float = 1.0, benign: int = 0, days: float = 1.2) -> Fleet:
    return simulated(name, seed, scale, benign, days)


def small() -> Fleet:
    """60 accounts in 1,200, used by the tests of missing fields and of order."""
    return fleet("small", benign=1_200, days=0.9)


def detect(run: Fleet, batches: Iterator[EventBatch] | None = None) -> Outcome:
    pipeline, decisions = Pipeline(SECRET), Decisions()
    for events in batches or iter(run.batches):
        decisions.extend(pipeline.process(events, pipeline.sketch(events)))
    decisions.extend(pipeline.finish())
    return Outcome(run.truth, run.requests, run.population, decisions.alerts, decisions.signals)


@pytest.mark.parametrize(
    ("name", "scale", "recall"), [("letter", 0.006, 0.95), ("hydra", 0.3, 0.9), ("two", 0.4, 0.95)]
)
def test_campaigns_are_found_whole_and_alone(name, scale, recall):
    outcome = detect(fleet(name, scale=scale))
    for campaign in outcome.truth:
        assert outcome.recall(campaign) >= recall
    assert outcome.purity >= 0.99
    for accounts in outcome.clusters.values():
        owners = [campaign for campaign, members in outcome.truth.items() if accounts & members]
        assert len(owners) == 1, "each cluster is one operator's"


def test_a_small_campaign_is_found_whole_and_alone():
    outcome = detect(small())
    assert outcome.recall("campaign_1") >= 0.95
    assert outcome.purity >= 0.99
    assert len(outcome.clusters) == 1


@pytest.mark.parametrize("seed", [1, 2])
def test_a_fleet_of_look_alikes_is_left_alone(seed):
    outcome = detect(fleet("calm", seed, scale=0.15, days=1.5))
    assert outcome.cluster_alerts == []
    assert outcome.clusters == {}


def test_framed_people_are_at_worst_throttled():
    outcome = detect(fleet("framing", scale=0.3, benign=1_500))
    members = set().union(*outcome.truth.values())
    harsh = {
        account
        for account, signal in outcome.signals
        if signal is not None and signal.action not in ("throttle", "observe", "allow")
    }
    assert harsh, "the campaign itself is dealt with"
    assert harsh <= members
    wrong = Counter(outcome.population[account] for account in outcome.named - members)
    assert set(wrong) <= {"decoy"}, "nobody who did not send the campaign's prompts"
    assert "copied" not in wrong


# What events may lack.
def without_numbers(events: EventBatch, *names: str) -> EventBatch:
    absent: dict[str, Any] = {name: np.zeros_like(getattr(events, name)) for name in names}
    return replace(events, **absent)


def without_organisation(events: EventBatch) -> EventBatch:
    return replace(events, customer=events.account)


def without_age(events: EventBatch) -> EventBatch:
    return replace(events, created=np.full_like(events.created, -1))


def without_conversations(events: EventBatch) -> EventBatch:
    return replace(without_numbers(events, "conversation"), turn=np.full_like(events.turn, -1))


def without_attributes(events: EventBatch) -> EventBatch:
    return without_age(without_numbers(events, "network", "payment", "client", "email_domain"))


def required_only(events: EventBatch) -> EventBatch:
    return without_conversations(without_organisation(without_attributes(events)))


@pytest.mark.parametrize("change", [without_attributes, without_organisation, without_conversations, required_only])
def test_a_campaign_is_found_by_what_is_left(change: Change):
    outcome = detect(small(), (change(events) for events in small().batches))
    members = outcome.truth["campaign_1"]
    assert outcome.recall("campaign_1") >= 0.95
    (own,) = [accounts for accounts in outcome.clusters.values() if accounts & members]
    assert len(own & members) >= 0.95 * len(own)
    if change is not without_organisation:  # firms that share a vendor's macros are then many customers
        assert outcome.purity >= 0.95


# Order.
def shuffled(batches: tuple[EventBatch, ...], seed: int) -> Iterator[EventBatch]:
    """The same events, each up to 60 seconds late, in batches of their own."""
    events = EventBatch.concat(list(batches))
    generator = np.random.default_rng(seed)
    order = np.argsort(events.ts + generator.integers(0, 60_000, len(events)), kind="stable")
    for rows in np.array_split(order, 37):
        yield events.take(rows)


def test_the_same_events_a_minute_out_of_order_give_the_same_alerts():
    def said(outcome: Outcome) -> list[tuple[str, str, int]]:
        return [(alert.alert_id, alert.status, alert.accounts) for alert in outcome.cluster_alerts]

    plain, mixed = detect(small()), detect(small(), shuffled(small().batches, 5))
    assert said(plain)
    assert [one[0] for one in said(mixed)] == [one[0] for one in said(plain)]
    assert mixed.named == plain.named


# What nobody should send.
def strange(count: int, **columns: Any) -> EventBatch:
    """Events a second apart, each its own account, with no field but the required ones."""
    events = small().batches[0].take(np.zeros(count, np.int64))
    events = required_only(events)
    start = int(events.ts[0]) if count else 0
    own = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    account = columns.pop("account", own)
    ids = Strings.of([f"a{int(name):x}" for name in account])
    values = {"ts": start + 1_000 * np.arange(count), "event": own, "account": account, "customer": account}
    return replace(events, account_id=ids, **{**values, **columns})


def quiet(events: EventBatch) -> Decisions:
    pipeline = Pipeline(SECRET)
    decisions = pipeline.process(events, pipeline.sketch(events))
    decisions.extend(pipeline.finish())
    return decisions


@pytest.mark.parametrize(
    "text", ["", " ", "\u0000", "你好,请翻译下面的句子。" * 9, "same words for everyone, " * 20],
    ids=["empty", "blank", "nul", "chinese", "english"],
)  # fmt: skip
def test_one_prompt_from_everyone_is_no_campaign(text):
    events = strange(2_000)
    assert quiet(replace(events, prompt=Strings.of([text] * 2_000))).alerts == []


def test_one_account_with_everything_is_no_campaign():
    events = strange(3_000, account=np.full(3_000, 5, np.uint64))
    prompt = Strings.of([f"Translate the following sentence into French, keep it short: {at}" for at in range(3_000)])
    assert quiet(replace(events, prompt=prompt)).alerts == []


@pytest.mark.parametrize("count", [0, 1, 2])
def test_hardly_any_events_are_no_campaign(count):
    assert quiet(strange(count)) == Decisions()


def test_the_same_event_id_from_two_accounts_counts_for_both():
    events = strange(400)
    names = np.repeat(events.event[:200], 2)
    pipeline = Pipeline(SECRET)
    pipeline.process(replace(events, event=names), pipeline.sketch(events))
    pipeline.finish()
    assert pipeline.counts.accepted + pipeline.counts.duplicate == 400
