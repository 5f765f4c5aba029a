"""Newcomers: a second pool is noticed at once, told once, and named by its own repeats alone."""

from __future__ import annotations

import numpy as np
import pytest

from models.accounts import DAY_MS
from models.admission import SLICE_MS
from models.campaigns import PERIOD_MS
from models.directory import IDLE_DAYS, Directory
from models.identity import Memory
from models.newcomers import ARRIVALS_MIN, POOL_MIN, Lookout, find_newcomers, had_time
from models.sighting import SightingBatch
from tests.models.covering import candidates_of, covered, dealt, directory_of, mixed, profiles, template
from tests.models.inputs import HOUR_MS, START, sightings
from tests.models.test_announce import Run, ids

KNOWN, SECOND = range(100), range(1_000, 1_060)
WATCHED = [mixed(key) for number in range(6) for key in template(number)]


def uses(accounts: range, number: int = 0) -> SightingBatch:
    keys = [mixed(key) for key in template(number)]
    return sightings([(START + at, mixed(account), keys) for at, account in enumerate(accounts)])


def lookout(keys: list[int] = WATCHED) -> Lookout:
    counted = Lookout()
    counted.know(keys)
    return counted


def history() -> tuple[Directory, int]:
    """The known accounts were seen before the last evaluation."""
    return directory_of(KNOWN, ts=START - 1), START


def test_only_accounts_nobody_knew_arrive():
    known = history()
    assert lookout().due(uses(KNOWN), 0, known) == -1
    assert lookout().due(uses(SECOND), 0, known) == ARRIVALS_MIN - 1
    assert lookout().due(uses(SECOND), 5, known) == ARRIVALS_MIN + 4


def test_who_appeared_after_the_last_evaluation_arrives_listed_or_not():
    directory, evaluated_ms = history()
    directory.add(*profiles(SECOND, ts=evaluated_ms))
    assert lookout().due(uses(SECOND), 0, (directory, evaluated_ms)) == ARRIVALS_MIN - 1


def test_only_templates_of_known_campaigns_count():
    assert lookout().due(uses(SECOND, 6), 0, history()) == -1
    assert lookout([]).due(uses(SECOND), 0, history()) == -1
    assert lookout([mixed(template(0)[0])]).due(uses(SECOND), 0, history()) == -1, "one key is a phrase"


def test_a_pool_of_thousands_is_not_looked_at_for_each_dozen():
    counted, known = lookout(), history()
    looks = 0
    for first in range(0, 4_000, 10):
        batch = uses(range(10_000 + first, 10_010 + first))
        if counted.due(batch, 0, known) >= 0:
            looks += 1
            counted.take(batch, known)
            counted.watch(lambda now_ms: WATCHED, START)
        else:
            counted.take(batch, known)
    assert 5 <= looks <= 8


def late(accounts: range, seen_ms: int) -> tuple[np.ndarray, bool]:
    """Which of ``accounts``, first seen at ``seen_ms``, are newcomers of a campaign opened an hour after the start."""
    rows = covered(dealt(range(60), range(6), 8) + dealt(accounts, range(6), 2))
    rows["ts"][480:] = START + 5 * HOUR_MS + np.arange(len(rows) - 480)
    directory = directory_of(range(60), ts=START)
    directory.add(*profiles(accounts, ts=seen_ms))
    candidate = candidates_of(rows)[0]
    found = find_newcomers(rows, candidate, directory, START + HOUR_MS)
    time = had_time(rows, candidate, found, START + 6 * HOUR_MS)
    assert (time[~found] == 1.0).all()
    assert not found.any() or time[found].max() < 0.25
    return found, bool(found.any())


def test_a_second_pool_came_with_the_campaign_after_it_opened():
    found, _ = late(SECOND, START + 5 * HOUR_MS)
    assert found.sum() == len(SECOND)


@pytest.mark.parametrize("seen_ms", [START, START + 2 * HOUR_MS], ids=["before it opened", "long before its prompts"])
def test_whoever_was_there_before_is_no_newcomer(seen_ms):
    assert not late(SECOND, seen_ms)[1]


def test_fewer_than_a_pool_are_nobody():
    assert not late(range(1_000, 1_000 + POOL_MIN - 1), START + 5 * HOUR_MS)[1]


def settled() -> Run:
    """A campaign that has been open for three hours."""
    run = Run().wave(requests=12)
    assert run.statuses[0] == "open"
    return run.wait(3 * HOUR_MS)


def arriving(run: Run, accounts: range, requests: int) -> Run:
    """``accounts``, unknown so far, send the campaign's prompts within ten minutes."""
    sent = dealt(accounts, range(6), requests, 9)
    step = PERIOD_MS // len(sent)
    at = np.arange(len(sent)) + 100_000
    rows = [
        (run.now + place * step, mixed(account), [mixed(key) for key in keys])
        for place, (account, keys) in enumerate(sent)
    ]
    network = np.array([mixed(account) for account, _ in sent], np.uint64)
    run.campaigns.learn(*profiles(accounts, ts=run.now))
    run.campaigns.process(sightings(rows, event=at, prompt=at, network=network, requests_24h=requests))
    return run.wait(PERIOD_MS)


def test_a_second_pool_is_told_within_minutes_and_once():
    run = settled()
    before = len(run.alerts)
    arriving(run, SECOND, 1)
    (told,) = run.alerts[before:]
    assert told.status == "update"
    assert "A new pool" in told.summary
    assert set(told.members_sample) <= ids(SECOND)
    assert told.ts - (run.now - PERIOD_MS) < PERIOD_MS
    assert told.cluster_id == run.alerts[0].cluster_id
    arriving(run, range(2_000, 2_060), 1)
    assert [alert for alert in run.alerts[before + 1 :] if "A new pool" in alert.summary] == []


@pytest.mark.parametrize(("late_ms", "expected"), [(0, 0), (1, 1)])
def test_who_comes_within_the_hour_of_the_first_alert_is_of_the_first_pool(late_ms, expected):
    run = Run().wave(requests=12)
    (campaign,) = run.campaigns.memory.campaigns.values()
    run.campaigns.learn(*profiles(SECOND, ts=campaign.opened_ms + HOUR_MS + late_ms))
    before = len(run.alerts)
    arriving(run, SECOND, 1).wait(HOUR_MS)
    assert len([alert for alert in run.alerts[before:] if "A new pool" in alert.summary]) == expected


def test_the_time_with_a_campaign_is_that_of_the_rule_which_knows_it():
    run = settled()
    arriving(run, SECOND, 1)
    assert any(judged.candidate.time is not None for judged in run.campaigns.latest.judged)
    run.campaigns.memory = Memory()  # as the rule in force, where the one in the shadow knows the campaign alone
    run.campaigns._identify(run.campaigns.latest)
    assert all(judged.candidate.time is None for judged in run.campaigns.latest.judged)


def test_a_single_request_names_no_newcomer_and_a_few_do():
    run = settled()
    told = len(run.decisions.signals)
    arriving(run, SECOND, 1)
    assert not run.told(told) & ids(SECOND)
    run = settled()
    arriving(run, SECOND, 4).wait(HOUR_MS)
    assert len(run.told() & ids(SECOND)) >= 0.8 * len(SECOND), "though half of the first pool's twelve is six"


def test_people_who_were_there_before_are_no_new_pool():
    run = settled()
    run.campaigns.learn(*profiles(SECOND, ts=run.now - 2 * HOUR_MS))
    before = len(run.alerts)
    arriving(run, SECOND, 1)
    assert [alert for alert in run.alerts[before:] if "A new pool" in alert.summary] == []


def returning(step_ms: int) -> list[int]:
    """When evaluations were, where a pool comes back minutes after the midnight on which it is forgotten."""
    run, looks = settled(), list[int]()
    midnight = (run.now // DAY_MS + IDLE_DAYS + 2) * DAY_MS
    run.campaigns.on_evaluation = lambda evaluation: looks.append(evaluation.now_ms - midnight)
    run.campaigns.learn(*profiles(SECOND, ts=midnight - (IDLE_DAYS + 1) * DAY_MS))
    stays = [(KNOWN, days * DAY_MS, 1) for days in (20, 10)] + [(KNOWN, 2_100_000, 2)]
    for number, (accounts, before_ms, requests) in enumerate([*stays, (SECOND, -720_000, 1)]):
        sent = dealt(accounts, range(6), requests, 5)
        at, first_ms = np.arange(len(sent)) + 100_000 * (number + 1), midnight - before_ms
        rows = [
            (first_ms + 1_000 * place, mixed(who), [mixed(key) for key in keys])
            for place, (who, keys) in enumerate(sent)
        ]
        network = np.array([mixed(who) for who, _ in sent], np.uint64)
        run.campaigns.process(sightings(rows, event=at, prompt=at, network=network, requests_24h=requests))
        run.campaigns.learn(*profiles(accounts, ts=first_ms))
    run.campaigns.advance(midnight - HOUR_MS)
    looks.clear()
    for now in range(midnight - HOUR_MS, midnight + 3 * HOUR_MS + 1, step_ms):
        run.campaigns.advance(now)
    return looks


def test_who_has_been_forgotten_arrives_or_not_however_far_event_time_goes_at_once():
    often, seldom = returning(SLICE_MS), returning(2 * HOUR_MS)
    assert often == seldom
    assert any(0 < moment <= HOUR_MS for moment in often)
