"""Bad and lopsided input: counted and named, and the decisions are those of the same events without it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest

from tests.faults.test_faults_workers import kill_some
from tests.faults.trial import Trial

pytestmark = [pytest.mark.servers, pytest.mark.faults, pytest.mark.timeout(600)]
Make = Callable[..., Trial]
REASONS = ("time_future", "malformed_json")
HOT, ONCE = 9, 4
"""Requests of a crowd for each of everybody else: 90 % of the traffic, and 87,000 accounts."""
ACCOUNT_BYTES_MAX = 2_000
"""Of an account seen once, its keys and its place in the directory, with the slack of tables that double."""
FLOODED_BYTES = 200 << 20
"""What batches, snapshots and unsent outputs may take beside the state."""


def changed(line: bytes, **fields: object) -> bytes:
    return json.dumps(json.loads(line) | fields).encode()


def mixed(trial: Trial) -> dict[str, int]:
    """Put bad records between the good ones; gives how many of each kind."""
    lines, accounts = [], []
    kinds = dict.fromkeys(("duplicate", "late", "time_future", "malformed_json"), 0)
    for number, (line, account) in enumerate(zip(trial.lines, trial.accounts, strict=True)):
        lines.append(line)
        accounts.append(account)
        extra: list[tuple[str, bytes]] = []
        if trial.dice.random() < 0.1:
            extra.append(("duplicate", line))
        ts = json.loads(line)["ts"]
        if number > 2_000 and number % 97 == 0:
            extra.append(("late", changed(line, event_id=f"late-{number}", ts=ts - 3_600_000)))
        if number % 1_009 == 5:
            extra.append(("time_future", changed(line, event_id=f"far-{number}", ts=4_000_000_000_000)))
        if number % 1_501 == 7:
            extra.append(("malformed_json", line[: len(line) // 2]))
        if number == 9_000:
            extra.append(("duplicate", changed(line, prompt="x" * 1_040_000)))  # as large as the broker takes
        for kind, bad in extra:
            kinds[kind] += 1
            if kind in REASONS:
                trial.bad[len(lines)] = kind
            lines.append(bad)
            accounts.append(account)
    trial.lines, trial.accounts = lines, accounts
    return kinds


@pytest.mark.row("18-27", "duplicates, late, far future, torn, oversize between good records, under kills")
async def test_bad_records_change_no_decision(kafka: str, redis_url: str, trial_on: Make) -> None:
    trial = trial_on(kafka, redis_url)
    trial.undisturbed()  # of the good records alone
    kinds = mixed(trial)
    trial.up("0")
    trial.supervise()
    await trial.under(kill_some(trial, 3), 30)
    for outcome in ("duplicate", "late"):
        assert trial.sum_of("distilwatch_observe_events_total", outcome=outcome) == kinds[outcome]
    for reason in REASONS:
        assert trial.sum_of("distilwatch_observe_events_total", reason=reason) == kinds[reason], reason


def lags(trial: Trial) -> dict[str, float]:
    """What each partition of the requests has not read yet."""
    found = re.findall(
        r'input_lag_records\{partition="(\d+)",stage="observe"\} (\S+)', trial.at(trial.slots["0"], "/metrics")
    )
    return {partition: float(lag) for partition, lag in found}


def crowd(trial: Trial, size: int, name: Callable[[int, int], str]) -> None:
    """Put requests with prompts of their own behind each of the letter; ``name`` gives the account of each."""
    lines, accounts = [], []
    for number, (line, account) in enumerate(zip(trial.lines, trial.accounts, strict=True)):
        lines.append(line)
        accounts.append(account)
        for copy in range(size):
            event, who = f"crowd-{number}-{copy}", name(number, copy)
            lines.append(changed(line, event_id=event, account_id=who, org_id=who, prompt=f"one of a kind {event}"))
            accounts.append(who)
    trial.lines, trial.accounts = lines, accounts


@pytest.mark.row("29", "one account sends 90 %: other partitions do not wait for its, nobody is judged otherwise")
async def test_a_hot_account(kafka: str, redis_url: str, trial_on: Make) -> None:
    trial = trial_on(kafka, redis_url)
    expected = trial.undisturbed()
    crowd(trial, HOT, lambda number, copy: "hot")
    await trial.feed_for(10)  # all of it waits when the worker comes
    trial.up("0")
    await trial.until(lambda: 0 in lags(trial).values(), "a partition without the hot account to be read")
    behind = max(lags(trial).values())
    await trial.accounted()
    assert behind > 0.3 * trial.fed, "the other partitions waited for the hot one"
    found = await trial.outcome(expected)
    assert found.standing.keys() == expected.standing.keys()
    assert trial.slots["0"].process.poll() is None
    await trial.fresh()


@pytest.mark.row("30", "a flood of accounts and prompts seen once: memory within its bound, nobody is judged otherwise")
async def test_a_flood_of_new_accounts(kafka: str, redis_url: str, trial_on: Make) -> None:
    # A slow machine must not lose its partitions here: what a recovery takes for itself is not what is measured.
    trial = trial_on(kafka, redis_url, DISTILWATCH_SESSION_MS="30000")
    expected = trial.undisturbed()
    letter = len(trial.lines)
    crowd(trial, ONCE, lambda number, copy: f"once-{number}-{copy}")
    trial.up("0")
    await trial.feed_for(5, upto=0.1)
    await trial.until(trial.conserved, "the beginning")
    before = trial.resident()
    await trial.feed_for(10)
    await trial.accounted()
    found = await trial.outcome(expected)
    assert found.standing.keys() == expected.standing.keys()
    assert trial.resident() - before < FLOODED_BYTES + ACCOUNT_BYTES_MAX * (len(trial.lines) - letter)
    assert trial.slots["0"].process.poll() is None
    await trial.fresh()
