"""Bad and lopsided input: counted and named, and the decisions are those of the same events without it."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.faults.test_faults_workers import kill_some
from tests.faults.trial import Trial

pytestmark = [pytest.mark.servers, pytest.mark.faults, pytest.mark.timeout(600)]
Make = Callable[..., Trial]
FLOOD = 15_000


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
    for reason in ("time_future", "malformed_json"):
        assert trial.sum_of("distilwatch_observe_events_total", reason=reason) == kinds[reason], reason


@pytest.mark.row("29", "one account sends as much as all others together: nobody else waits or is judged otherwise")
async def test_a_hot_account(kafka: str, redis_url: str, trial_on: Make) -> None:
    trial = trial_on(kafka, redis_url)
    expected = trial.undisturbed()
    lines, accounts = [], []
    step = FLOOD // len(trial.lines) + 1
    for number, (line, account) in enumerate(zip(trial.lines, trial.accounts, strict=True)):
        lines.append(line)
        accounts.append(account)
        for copy in range(step):
            hot = f"hot-{number}-{copy}"
            lines.append(changed(line, event_id=hot, account_id="hot", org_id="hot", prompt=f"one of a kind {hot}"))
            accounts.append("hot")
    trial.lines, trial.accounts = lines, accounts
    trial.up("0")
    await trial.feed_for(10)
    await trial.until(trial.conserved, "read = accepted + rejected + duplicate + late", 180)
    found = await trial.settled(expected)
    assert {json.loads(line)["account_id"] for line in found.signals} == expected.accounts
    assert trial.slots["0"].process.poll() is None
