"""Relays: pools without a template, found by what the days of their accounts are like; who is not so is left alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from models.announce import Announcer
from models.campaigns import Campaigns
from models.directory import DAY_KEPT_MS, Directory
from models.hashing import KeyedHash
from models.relays import CUSTOMERS_MIN, Relay, find_relays
from models.sighting import SightingBatch
from models.verdict import HOLD_SCORE, OPEN_SCORE
from tests.models.covering import covered, dealt, mixed, profiles
from tests.models.inputs import HOUR_MS, SECRET, START, sightings

SETTLED = START + 6 * HOUR_MS
NOW = START + 30 * HOUR_MS
POOL, OTHERS = range(5_000, 5_120), range(600)
BUILD = 77
NOBODY = np.zeros(0, np.uint64)


def days(accounts: range, **columns: Any) -> tuple[np.ndarray, Any]:
    """Profiles with a dispatcher's day: 14 conversations over 12 hours."""
    told = {"told_at": NOW - HOUR_MS, "requests": 20, "follow_ups": 6, "hours": 10, "spent_min": 720}
    return profiles(accounts, **{"ts": SETTLED + 6 * HOUR_MS, **told, **columns})


def fleet(**pool: Any) -> Directory:
    """600 people of as many builds, who sit down for three hours, and a pool of 120 behind one build."""
    directory = Directory()
    rate = np.random.default_rng(1).integers(60, 900, len(OTHERS))
    directory.add(*days(OTHERS, hours=3, client=np.arange(600) % 40 + 1, spent_min=rate, ts=SETTLED + 1))
    directory.add(*days(POOL, **{"client": BUILD, **pool}))
    return directory


def found(directory: Directory, rows: np.ndarray | None = None, left_out: np.ndarray = NOBODY) -> list[Relay]:
    return find_relays(covered([]) if rows is None else rows, directory, left_out, (NOW, SETTLED))


def score(relay: Relay) -> float:
    return sum(item.weight for item in relay.evidence)


def test_a_pool_behind_one_build_that_works_round_the_clock_is_a_campaign():
    (relay,) = found(fleet())
    assert {int(key) for key in relay.profiles["key"]} == {mixed(account) for account in POOL}
    assert score(relay) >= OPEN_SCORE
    assert relay.features.customers == len(POOL)


@pytest.mark.parametrize(
    "pool",
    [
        {"hours": 5},
        {"hours": 8, "follow_ups": 0},
        {"client": np.arange(120) % 60 + 1},
        {"client": 0},
        {"ts": START},
        {"told_at": NOW - DAY_KEPT_MS - 1},
        {"customer": 9},
    ],
    ids=["sessions", "several an hour", "builds of their own", "no build known", "old", "long ago", "one firm"],
)
def test_others_are_left_alone(pool):
    assert not [relay for relay in found(fleet(**pool)) if score(relay) >= OPEN_SCORE]


def test_a_build_is_nothing_special_where_everybody_works_so():
    directory = fleet()
    directory.add(*days(range(9_000, 9_400), client=np.arange(400) % 40 + 1))
    assert found(directory) == []


def test_a_service_that_its_users_turn_to_at_their_own_pace_stays_below():
    generator = np.random.default_rng(2)
    spent = np.clip(np.exp(generator.normal(5, 1.2, 120)), 20, 1440).astype(int)
    pace = {"spent_min": spent, "ts": SETTLED + generator.integers(0, 20 * HOUR_MS, 120)}
    (relay,) = found(fleet(**pace))
    assert score(relay) < HOLD_SCORE + 1


def test_whoever_works_under_templates_is_found_by_them():
    rows = covered(dealt(POOL, range(6), 10))
    assert found(fleet(), rows) == []
    assert len(found(fleet(), covered(dealt(POOL, range(6), 1)))) == 1


def test_who_is_left_out_is_not_counted():
    keys = np.array([mixed(account) for account in POOL], np.uint64)
    assert found(fleet(), left_out=keys) == []
    assert len(found(fleet(), left_out=keys[CUSTOMERS_MIN:])[0].profiles) == CUSTOMERS_MIN
    assert found(fleet(), left_out=keys[CUSTOMERS_MIN - 1 :]) == []


def campaigns() -> Campaigns:
    """The fleet's profiles, and a few shared prompts of others, so that there is something to evaluate."""
    operator = Campaigns(Announcer(KeyedHash(SECRET), mode="enforce"))
    operator.learn(*profiles(range(20_000, 20_001), ts=START))
    generator = np.random.default_rng(1)
    paces = generator.integers(60, 900, len(OTHERS))
    operator.learn(*days(OTHERS, hours=3, client=np.arange(600) % 40 + 1, spent_min=paces, ts=SETTLED + 1))
    first, told = days(POOL, client=BUILD)
    operator.learn(first, told)
    uses = dealt(range(100), range(3), 1)
    step = 60_000
    shared: SightingBatch = sightings(
        [(NOW - 2 * HOUR_MS + at * step, mixed(account), [mixed(key) for key in keys]) for at, (account, keys) in
         enumerate(uses)],
        event=np.arange(len(uses)) + 1, prompt=np.arange(len(uses)) + 1, requests_24h=20,
    )  # fmt: skip
    operator.process(shared)
    return operator


def test_the_alert_tells_of_it_and_each_account_is_throttled():
    operator = campaigns()
    decided = operator.advance(NOW)
    decided.extend(operator.finish())
    (opened,) = [alert for alert in decided.alerts if alert.status == "open"]
    assert "one client build" in opened.summary
    assert opened.templates == []
    assert opened.first_seen == SETTLED + 6 * HOUR_MS, "when its accounts came, not when their days were told of"
    assert opened.accounts == len(POOL)
    assert opened.requests == 20 * len(POOL)
    assert {item.name for item in opened.evidence} >= {"alike_by_client", "even_rates", "same_start"}
    signals = {account: signal for account, signal in decided.signals if signal is not None}
    assert set(signals) == {f"account-{account}" for account in POOL}
    assert {signal.action for signal in signals.values()} == {"throttle"}


def test_it_is_one_campaign_over_a_restart_and_a_day():
    operator = campaigns()
    operator.advance(NOW)
    first = operator.finish()
    restored = Campaigns(Announcer(KeyedHash(SECRET), mode="enforce"))
    restored.restore(operator.snapshot())
    for run in (operator, restored):
        run.learn(*days(POOL, client=BUILD, ts=NOW + 20 * HOUR_MS, told_at=NOW + 20 * HOUR_MS))
        run.process(sightings([(NOW + 21 * HOUR_MS, mixed(at), [mixed(1), mixed(2)]) for at in range(100)]))
    again, other = ([*run.advance(NOW + 22 * HOUR_MS).alerts, *run.finish().alerts] for run in (operator, restored))
    assert again == other
    assert {alert.cluster_id for alert in again} <= {alert.cluster_id for alert in first.alerts}
    assert len(operator.memory.campaigns) == 1
