"""Accounts that join a known campaign: named at the request that completes their own evidence, and never before."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from models.errors import WireError
from models.hashing import KeyedHash
from models.joiners import EARLY_MS, STALE_MS, Joiners
from models.known import Known, Terms
from models.labels import Label
from models.orders import Orders
from models.sighting import SightingBatch
from models.strings import Strings
from tests.models.inputs import START, key, sightings

HOUR_MS = 3_600_000
CAMPAIGN = "c-00000000000000aa"
TERMS = Terms(
    cluster_id=CAMPAIGN,
    alert_id="a-1",
    mode="enforce",
    action="throttle",
    multiplier=0.2,
    score=9.0,
    decided_ms=START,
    count_min=3.0,
    share_min=0.5,
    even_templates=4.0,
    arrived_ms=START - HOUR_MS,
)
TEMPLATES = 4
KEYS = [[key(10 * template + place) for place in range(3)] for template in range(TEMPLATES)]
OTHER = [key(900 + place) for place in range(3)]
Use = tuple[int, list[int]]


def known(terms: Terms = TERMS, templates: list[list[int]] = KEYS) -> Known:
    found = sorted((one, template) for template, mine in enumerate(templates) for one in mine)
    return Known(
        terms, np.array([one for one, _ in found], np.uint64), np.array([template for _, template in found], np.uint16)
    )


def joiners(*campaigns: Known, orders: Orders | None = None, **bounds: int) -> Joiners:
    subject = Joiners(orders, **bounds)
    for one in campaigns or [known()]:
        subject.know(one.terms.cluster_id, one.encode(), START)
    return subject


def requests(uses: list[Use], account: int = 7, **columns: Any) -> SightingBatch:
    """Requests of one account, a minute apart, by (prompt, keys)."""
    batch = sightings([(START + 60_000 * at, account, keys) for at, (_, keys) in enumerate(uses)])
    batch.rows["prompt"] = [prompt for prompt, _ in uses]
    batch.rows["requests_24h"] = np.arange(1, len(uses) + 1)
    for name, values in columns.items():
        batch.rows[name] = values
    return batch


def fold(subject: Joiners, batch: SightingBatch, first_seen: int = START, counts: list[bool] | None = None) -> Any:
    marks = np.ones(len(batch), np.bool_) if counts is None else np.array(counts)
    ids = Strings.of([f"account-{account}" for account in batch.rows["account"]])
    return subject.fold(batch, marks, np.full(len(batch), first_seen, np.int64), ids)


def member(count: int = 3) -> list[Use]:
    return [(100 + at, KEYS[at % TEMPLATES]) for at in range(count)]


def test_the_request_that_completes_the_evidence_gives_the_signal() -> None:
    subject = joiners()
    assert fold(subject, requests(member(2))) == []
    batch = requests(member(6)).part(2, 6)
    ((account, signal),) = fold(subject, batch)
    assert account == signal.account_id == "account-7"
    assert (signal.cluster_id, signal.alert_id, signal.rule) == (CAMPAIGN, "a-1", "campaign")
    assert (signal.action, signal.multiplier, signal.mode) == ("throttle", 0.2, "enforce")
    assert signal.expires == int(batch.rows["ts"][0]) + EARLY_MS  # of the third request: the others repeat nothing
    assert (signal.ts, signal.seq) == (START, 0)  # anything an evaluation says goes over it


@pytest.mark.parametrize(
    ("why", "uses", "columns"),
    [
        ("one template, however often", [(at, KEYS[0]) for at in range(40)], {}),
        ("one prompt, however often", [(5, KEYS[at % TEMPLATES]) for at in range(40)], {}),
        ("two of three requests", member(2), {}),
        ("one key of each template: a common phrase", [(at, [KEYS[at % TEMPLATES][0]]) for at in range(40)], {}),
        ("one key each of several templates", [(at, [mine[0] for mine in KEYS]) for at in range(40)], {}),
        ("two of four templates in many requests", [(at, KEYS[at % 2]) for at in range(40)], {"even": 9.0}),
        ("a small part of what it sends", member(40), {"requests_24h": 200}),
        ("others' texts", [(at, OTHER) for at in range(40)], {}),
        ("known before the campaign", member(40), {"first_seen": START - 2 * HOUR_MS}),
        ("no evaluation for two hours", member(40), {"ts": START + STALE_MS + 1}),
    ],
)
def test_less_than_that_names_nobody(why: str, uses: list[Use], columns: dict[str, Any]) -> None:
    first_seen, even = columns.pop("first_seen", START), columns.pop("even", TERMS.even_templates)
    subject = joiners(known(msgspec.structs.replace(TERMS, even_templates=even)))
    assert fold(subject, requests(uses, **columns), first_seen) == [], why
    assert fold(subject, requests(member(4), account=8)), "the rule still names who shows enough"


def test_retries_do_not_count() -> None:
    subject = joiners()
    assert fold(subject, requests(member(3)), counts=[True, False, True]) == []


def test_requests_of_yesterday_do_not_count() -> None:
    subject = joiners(known(msgspec.structs.replace(TERMS, decided_ms=START + 30 * HOUR_MS)))
    assert fold(subject, requests(member(2))) == []
    assert fold(subject, requests(member(2), ts=START + 25 * HOUR_MS)) == []


def test_a_share_is_of_the_hours_in_which_the_uses_were() -> None:
    """Ten of a hundred requests, and one 23 hours later, when the hour of the hundred is no longer counted."""
    first = START // HOUR_MS * HOUR_MS + 50 * 60_000
    later = first + 23 * HOUR_MS + 20 * 60_000
    terms = msgspec.structs.replace(TERMS, decided_ms=later, arrived_ms=0)
    subject = joiners(known(terms))
    assert fold(subject, requests(member(10), ts=first, requests_24h=100)) == []
    assert fold(subject, requests(member(1), ts=later, requests_24h=1)) == []


def test_an_account_is_told_once_a_day_and_not_by_every_request() -> None:
    subject = joiners()
    assert len(fold(subject, requests(member(40)))) == 1
    assert fold(subject, requests(member(40))) == []


@pytest.mark.parametrize("size", [1, 2, 5])
def test_batches_do_not_matter(size: int) -> None:
    whole, cut = joiners(), joiners()
    batch = SightingBatch.concat([requests(member(9), account) for account in range(1, 6)])
    found = [one for at in range(0, len(batch), size) for one in fold(cut, batch.part(at, min(at + size, len(batch))))]
    assert found == fold(whole, batch)
    assert len(found) == 5
    assert cut.snapshot()[1].tobytes() == whole.snapshot()[1].tobytes()


def test_a_key_of_two_campaigns_stands_for_neither() -> None:
    other = known(msgspec.structs.replace(TERMS, cluster_id="c-00000000000000bb"), [KEYS[0], KEYS[1], OTHER])
    subject = joiners(known(), other)
    assert fold(subject, requests([(at, KEYS[at % 2]) for at in range(40)])) == []
    ((_, signal),) = fold(subject, requests([(at, KEYS[2 + at % 2]) for at in range(4)], account=8))
    assert signal.cluster_id == CAMPAIGN


def test_a_campaign_that_is_known_no_more_takes_its_signals_back() -> None:
    subject = joiners()
    assert fold(subject, requests(member()))
    assert subject.know(CAMPAIGN, b"", START) == ["account-7"]
    assert fold(subject, requests(member(), account=8)) == []
    assert subject.know(CAMPAIGN, b"", START) == []


@pytest.mark.parametrize("swept", [False, True])
def test_what_has_ended_is_not_taken_back_swept_or_not(swept: bool) -> None:
    subject, later = joiners(), START + 5 * HOUR_MS
    assert fold(subject, requests(member()))
    if swept:
        subject.sweep(later)
    assert subject.know(CAMPAIGN, b"", later) == []


def label(kind: str, subject: dict[str, str]) -> bytes:
    return msgspec.json.encode(
        Label(action_id="1", ts=START, who="kim", kind=kind, subject=subject, reason="a test")  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    ("kind", "subject"), [("allow", {"account_id": "account-7"}), ("undo", {"cluster_id": CAMPAIGN})]
)
def test_people_have_the_last_word(kind: str, subject: dict[str, str]) -> None:
    orders = Orders(KeyedHash(b"secret"))
    tested = joiners(orders=orders)
    account = int(orders._columns.hashes("account_id", Strings.of(["account-7"]))[0])
    batch = requests(member(), account)
    ids = Strings.of(["account-7"] * len(batch))
    arrived = np.full(len(batch), START, np.int64)
    assert tested.fold(batch, np.ones(len(batch), np.bool_), arrived, ids)
    orders.take("k", label(kind, subject))
    assert tested.follow_labels(START) == ["account-7"]
    again = joiners(orders=orders)
    assert again.fold(batch, np.ones(len(batch), np.bool_), arrived, ids) == []


def test_a_restored_one_goes_on() -> None:
    stopped, restored = joiners(), Joiners()
    told = requests(member(4), account=8)
    assert fold(stopped, told)
    assert fold(stopped, requests(member(2))) == []
    restored.restore(*stopped.snapshot(), START)
    assert restored.snapshot()[0] == stopped.snapshot()[0]
    rest = requests(member(3)).part(2, 3)
    assert fold(restored, rest) == fold(stopped, rest) != []
    assert fold(restored, told) == []
    assert sorted(restored.know(CAMPAIGN, b"", START)) == ["account-7", "account-8"]


def test_memory_is_bounded_and_time_frees_it() -> None:
    subject = joiners(joins_max=64)
    for first in range(1, 1_000, 16):
        fold(subject, SightingBatch.concat([requests(member(1), account) for account in range(first, first + 16)]))
        assert len(subject.joins) <= 64
    subject.sweep(START + 30 * HOUR_MS)
    assert len(subject.joins) == 0


def test_records_that_cannot_be_read_change_nothing() -> None:
    subject = joiners()
    for name, value in ((CAMPAIGN, b"rubbish"), ("c-00000000000000bb", known().encode())):
        with pytest.raises(WireError):
            subject.know(name, value, START)
    assert list(subject.known) == [CAMPAIGN]
    assert fold(subject, requests(member()))
