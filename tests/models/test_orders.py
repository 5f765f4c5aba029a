"""Orders in the detector: whom people let go is let go at once, stays so, and counts for nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from models.account_rules import AccountRules
from models.alert import Alert
from models.announce import Decisions
from models.columns import EventColumns
from models.hashing import KeyedHash
from models.labels import Label, Limits, Seen, encode_label
from models.observe import Observe
from models.orders import Orders
from models.pipeline import Pipeline
from models.rules import AccountRule, Rules
from models.sketch import Sketcher
from models.strings import Strings
from tests.models.desk_records import label
from tests.models.inputs import HOUR_MS, SECRET, START, eager_pipeline, events_at, fleet

COLUMNS = EventColumns(KeyedHash(SECRET))
PARTS = 24
DAY_MS = 24 * HOUR_MS


def order(pipeline: Pipeline, said: Label) -> Decisions:
    return pipeline.order(said.key, encode_label(said))


class Story:
    """The small fleet in parts; ``labels`` come in before the part of their number, ``restart`` snapshots there."""

    def __init__(self, labels: dict[int, list[Label]] | None = None, *, restart: int = -1) -> None:
        self.alerts: list[Alert] = []
        self.signals: list[tuple[int, str, bool]] = []
        pipeline = eager_pipeline()
        events, sketches = fleet()
        for number, rows in enumerate(np.array_split(np.arange(len(events)), PARTS)):
            if number == restart:
                kept, pipeline = pipeline.snapshot(), eager_pipeline()
                pipeline.restore(kept)
            for said in (labels or {}).get(number, []):
                self._note(number, order(pipeline, said))
            self._note(number, pipeline.process(events.take(rows), sketches.take(rows)))
        self._note(PARTS, pipeline.finish())
        self.pipeline = pipeline

    def _note(self, number: int, decisions: Decisions) -> None:
        self.alerts += decisions.alerts
        self.signals += [(number, account, signal is not None) for account, signal in decisions.signals]

    def last(self) -> dict[str, bool]:
        """Whether each account that was ever told of is told of in the end."""
        return {account: named for _, account, named in self.signals}


@pytest.fixture(scope="module")
def plain() -> Story:
    return Story()


def named_at(story: Story) -> tuple[int, str, str]:
    """The part in which an account was first named, the account, and the cluster."""
    number, account, _ = next(item for item in story.signals if item[2])
    return number, account, str(story.alerts[0].cluster_id)


def test_an_allowed_account_is_cleared_at_once_and_never_named_again(plain):
    number, account, _ = named_at(plain)
    story = Story({number + 1: [label("allow", {"account_id": account})]})
    mine = [(at, named) for at, who, named in story.signals if who == account]
    assert (mine[0][1], mine[1:]) == (True, [(number + 1, False)])
    others = {who for who, named in plain.last().items() if named} - {account}
    assert {who for who, named in story.last().items() if named} == others
    assert all(account not in alert.members_sample for alert in story.alerts if alert.ts > story.alerts[0].ts)
    assert story.alerts[-1].accounts == plain.alerts[-1].accounts - 1
    assert story.pipeline.campaigns.announcer.orders.hits_by_field()["account_id"] > 0


def test_an_account_allowed_before_it_is_named_gets_a_tombstone_and_no_signal(plain):
    _, account, _ = named_at(plain)
    story = Story({0: [label("allow", {"account_id": account})]})
    assert [named for _, who, named in story.signals if who == account] == [False]


def test_what_is_allowed_for_a_time_is_named_after_it(plain):
    number, account, _ = named_at(plain)
    soon = plain.alerts[0].ts + 3 * HOUR_MS
    story = Story({number + 1: [label("allow", {"account_id": account}, ts=START, expires=soon)]})
    assert story.last()[account]


def test_disallowing_takes_an_allowance_back(plain):
    number, account, _ = named_at(plain)
    allow, disallow = label("allow", {"account_id": account}), label("disallow", {"account_id": account})
    story = Story({number + 1: [allow], number + 2: [disallow]})
    assert story.last()[account]


def test_an_allowed_organisation_covers_its_accounts():
    hashes = COLUMNS.hashes("org_id", Strings.of(["acme"]))
    orders = Orders(KeyedHash(SECRET))
    said = label("allow", {"org_id": "acme"}, ts=1, expires=100)
    orders.take(said.key, encode_label(said))
    customers = np.array([hashes[0], 5], np.uint64)
    assert orders.allowed(np.array([1, 2], np.uint64), customers, 50).tolist() == [True, False]
    assert orders.allowed(np.array([1, 2], np.uint64), customers, 100).tolist() == [False, False]
    orders.take(said.key, b"")
    assert orders.allowed(np.array([1, 2], np.uint64), customers, 50).tolist() == [False, False]


def test_allowed_templates_are_no_evidence(plain):
    digests = {digest for alert in plain.alerts for template in alert.templates for digest in template.digests}
    assert Story({0: [label("allow", {"template": digest}) for digest in sorted(digests)]}).alerts == []


def test_undoing_a_cluster_clears_all_of_it_until_that_is_lifted(plain):
    number, _, cluster = named_at(plain)
    undone = Story({number + 1: [label("undo", {"cluster_id": cluster})]})
    assert set(undone.last()) == {who for at, who, _ in plain.signals if at <= number}
    assert not any(undone.last().values())
    assert [alert.status for alert in undone.alerts] == [alert.status for alert in plain.alerts], "people still see it"
    assert undone.alerts[-1].accounts == plain.alerts[-1].accounts
    again = Story(
        {number + 1: [label("undo", {"cluster_id": cluster})], PARTS - 2: [label("redo", {"cluster_id": cluster})]}
    )
    assert {who for who, named in again.last().items() if named} == {
        who for who, named in plain.last().items() if named
    }


def verdict(cluster: str, severity: Any, kind: Any = "false_positive") -> Label:
    return label("close", cluster, verdict=kind, seen=Seen("a", severity, 1, cluster))


def test_a_cluster_judged_no_campaign_is_silent_and_free_at_that_severity(plain):
    number, _, cluster = named_at(plain)
    story = Story({number + 1: [verdict(cluster, "critical")]})
    assert not any(story.last().values())
    assert len(story.alerts) == len([alert for alert in plain.alerts if alert.ts <= story.alerts[-1].ts])
    assert Story({0: [verdict(cluster, "critical")]}).alerts == []
    assert Story({0: [verdict(cluster, "critical", "confirmed")]}).alerts == plain.alerts
    assert Story({0: [verdict(cluster, "info")]}).alerts == plain.alerts, "it is more severe than what was judged"


def test_a_verdict_taken_back_counts_no_more(plain):
    _, _, cluster = named_at(plain)
    back = label("reopen", cluster, seen=Seen("a", "critical", 1, cluster))
    assert Story({0: [verdict(cluster, "critical"), back]}).alerts == plain.alerts


def test_orders_outlive_a_restart(plain):
    number, account, cluster = named_at(plain)
    labels = {
        number + 1: [label("allow", {"account_id": account})],
        number + 2: [label("undo", {"cluster_id": cluster})],
    }
    whole, cut = Story(labels), Story(labels, restart=number + 3)
    assert (whole.alerts, whole.signals) == (cut.alerts, cut.signals)
    assert cut.pipeline.snapshot() == whole.pipeline.snapshot()


def test_what_is_no_label_is_counted_and_changes_nothing(plain):
    orders = Orders(KeyedHash(SECRET))
    for value in (b"{", b"[]", b"x" * 20_000, encode_label(label("close", "c-1"))):
        assert orders.take("key", value) is None
    assert orders.refused == 4
    assert orders.take("allow nobody", b"") is None


def volumes(*labels: Label, parts: int = 1) -> list[tuple[str, float]]:
    """The volume alerts of 40 requests of one account under a limit of 20."""
    rules = AccountRules(KeyedHash(SECRET), rules=Rules(account_volume=AccountRule(limit=20)))
    for said in labels:
        rules.order(said.key, encode_label(said))
    operator, decisions = Observe(rules), Decisions()
    (account,) = COLUMNS.hashes("account_id", Strings.of(["bulk"]))
    (customer,) = COLUMNS.hashes("org_id", Strings.of(["acme"]))
    events = events_at([START + at for at in range(40)], account=[account] * 40, customer=np.full(40, customer))
    for rows in np.array_split(np.arange(40), parts):
        batch = events.take(rows)
        decisions.extend(operator.process(batch, Sketcher(SECRET).sketch(batch.prompt)).decisions)
    return [(alert.rule, alert.evidence[0].baseline) for alert in decisions.alerts]


@pytest.mark.parametrize("parts", [1, 7])
@pytest.mark.parametrize("subject", [{"account_id": "bulk"}, {"org_id": "acme"}], ids=["account", "organisation"])
def test_a_known_bulk_user_is_measured_against_its_own_baseline(subject, parts):
    def profile(limit: int, **more: Any) -> Label:
        return label("profile", subject, limits=Limits(requests_24h=limit), **more)

    assert volumes(parts=parts) == [("account_volume", 20.0)]
    assert volumes(profile(41), parts=parts) == []
    assert volumes(profile(30), parts=parts) == [("account_volume", 30.0)]
    assert volumes(profile(10), parts=parts) == [("account_volume", 10.0)]
    assert volumes(profile(41), label("unprofile", subject), parts=parts) == [("account_volume", 20.0)]
    assert volumes(profile(41, ts=1, expires=START), parts=parts) == [("account_volume", 20.0)]


def test_an_allowed_account_trips_no_rule():
    assert volumes(label("allow", {"account_id": "bulk"})) == []
    assert volumes(label("allow", {"org_id": "acme"})) == []
    assert volumes(label("allow", {"org_id": "other"})) == [("account_volume", 20.0)]


def test_hits_are_counted_by_entry(plain):
    _, account, _ = named_at(plain)
    digest = plain.alerts[-1].templates[0].digests[0]
    allowed, template = label("allow", {"account_id": account}), label("allow", {"template": digest})
    hits = Story({0: [allowed, template]}).pipeline.campaigns.announcer.orders.hits
    assert set(hits) == {allowed.key, template.key}
    assert all(count > 0 for count in hits.values())


def test_an_allowed_api_key_lets_go_at_once_who_used_no_other_and_is_no_evidence(plain, monkeypatch):
    number, account, _ = named_at(plain)
    (hashed,) = COLUMNS.hashes("account_id", Strings.of([account]))
    (key,) = COLUMNS.hashes("api_key_id", Strings.of(["batch-key"]))
    events, sketches = fleet()
    events = replace(events, api_key=np.where(events.account == hashed, key, np.uint64(7)))  # others share the original
    monkeypatch.setitem(globals(), "fleet", lambda: (events, sketches))
    allowed = label("allow", {"api_key_id": "batch-key"})
    story = Story({number + 1: [allowed]})
    mine = [(at, named) for at, who, named in story.signals if who == account]
    assert (mine[0][1], mine[1:]) == (True, [(number + 1, False)])
    others = {who for who, named in plain.last().items() if named} - {account}
    assert {who for who, named in story.last().items() if named} == others
    assert story.pipeline.hits[allowed.key] > 0
    assert Story({number + 1: [allowed]}, restart=number + 2).signals == story.signals
    # Where half of its requests come under another key, those still speak against it.
    odd = np.flatnonzero(events.account == hashed)[::2]
    events.api_key[odd] = 7
    assert Story({number + 1: [allowed]}).signals[: len(plain.signals)] != story.signals
    assert account not in {who for at, who, named in Story({number + 1: [allowed]}).signals if not named}


@pytest.mark.parametrize("parts", [1, 7])
def test_requests_under_an_allowed_api_key_count_for_no_rule(parts):
    (key,) = COLUMNS.hashes("api_key_id", Strings.of(["batch"]))
    rules = AccountRules(KeyedHash(SECRET), rules=Rules(account_volume=AccountRule(limit=20)))
    said = label("allow", {"api_key_id": "batch"}, ts=1, expires=START + 30)
    rules.order(said.key, encode_label(said))
    operator, told = Observe(rules), []
    events = events_at([START + at for at in range(60)], account=[7] * 60, api_key=[int(key)] * 60)
    for rows in np.array_split(np.arange(60), parts):
        batch = events.take(rows)
        seen = operator.process(batch, Sketcher(SECRET).sketch(batch.prompt))
        told += [alert.ts for alert in seen.decisions.alerts]
    assert told == [START + 49], "the first 30 were left out, the 20th after them is the limit"
    assert rules.orders.hits == {said.key: 30}
    assert rules.orders.hits_by_field() == {"api_key_id": 30}


def days(requests: list[int], *labels: Label) -> list[tuple[int, float, float]]:
    """Day, requests and baseline of the volume alerts of one account that sends so many each day, under 20."""
    rules = AccountRules(KeyedHash(SECRET), rules=Rules(account_volume=AccountRule(limit=20)))
    for said in labels:
        rules.order(said.key, encode_label(said))
    operator, found = Observe(rules), []
    (account,) = COLUMNS.hashes("account_id", Strings.of(["bulk"]))
    first = START // DAY_MS * DAY_MS
    for day, count in enumerate(requests):
        events = events_at([first + day * DAY_MS + 1_000 * at for at in range(count)], account=[account] * count)
        events.event += np.uint64(1_000 * day)
        decisions = operator.process(events, Sketcher(SECRET).sketch(events.prompt)).decisions
        found += [(day, alert.evidence[0].value, alert.evidence[0].baseline) for alert in decisions.alerts]
    return found


def test_a_bulk_user_may_be_measured_against_its_own_history():
    def profile(**limits: Any) -> Label:
        return label("profile", {"account_id": "bulk"}, limits=Limits(**limits))

    usual = [60, 70, 60, 80, 60]
    assert [day for day, _, _ in days(usual)] == [0, 1, 2, 3, 4]
    own = profile(requests_24h=100, requests_times=2.0)
    assert days(usual, own) == []
    assert days([*usual, 159], own) == []
    assert days([*usual, 0, 200], own) == [(6, 160.0, 80.0)], "twice the busiest day of the week before"
    assert days([90, 0, 0, 0, 0, 0, 0, 101], own) == [(7, 100.0, 100.0)], "a day older than that counts no more"
    assert [day for day, _, _ in days([*usual, 0, 200, 0, 200], own)] == [6, 8], "what was told of is no baseline"
    assert [day for day, _, _ in days([30, 0, 61], profile(requests_times=2.0))] == [0, 2], (
        "everybody's limit is the floor"
    )


def test_a_key_itself_is_never_a_name():
    orders = Orders(KeyedHash(SECRET))
    for secret in ("sk-abc", "Bearer x"):
        assert orders.take("key", encode_label(label("allow", {"api_key_id": secret}))) is None
    assert orders.refused == 2
