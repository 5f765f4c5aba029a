"""The command ``rules test``: do these rules still find a campaign, and do they leave an honest fleet alone?

What lives here: two small simulated fleets and what is expected of rules on them. What does not: the bench, which
scores detection on large ones (``bench.detection``), and your own traffic (``backtest``).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace

import msgspec

from models.announce import Decisions
from models.event import EventBatch
from models.hashing import KeyedHash
from models.pipeline import Pipeline
from models.rules import Rules, lowest
from models.sketch import Sketches
from streams.simulator.scenarios import Scenario, scenario_of
from streams.simulator.simulation import Options, Simulation
from streams.simulator.slices import to_events

SECRET = b"rules under test, a secret of no worth"
SCALE = 0.004
DAYS = 1.0


class Check(msgspec.Struct):
    """One expectation and what came of it."""

    name: str
    passed: bool
    found: str


def fleet(scenario: Scenario, days: float) -> tuple[Simulation, Iterator[EventBatch]]:
    """A simulated fleet and its events."""
    run = Simulation(scenario, Options(seed=3, scale=SCALE, days=days))
    keyed = KeyedHash(SECRET)
    return run, (to_events(part, keyed) for part in run.slices())


def decided(rules: Rules, events: Iterator[EventBatch]) -> Decisions:
    """What the rules decide of the events."""
    pipeline, decisions = Pipeline(SECRET, rules=rules), Decisions()
    for batch in events:
        sketches: Sketches = pipeline.sketch(batch)
        decisions.extend(pipeline.process(batch, sketches))
    decisions.extend(pipeline.finish())
    return decisions


def checks(rules: Rules) -> Iterator[Check]:
    """Each check, as it is done; rules that are off or in the shadow are judged by the alerts they would give."""
    letter = replace(scenario_of("letter", SCALE), benign_ratio=4.0)
    run, events = fleet(letter, DAYS)
    found = decided(rules, events)
    (campaign,) = run.truth().campaigns
    opened = [alert for alert in found.alerts if alert.rule == "campaign" and alert.status == "open"]
    minutes = min(((alert.ts - campaign.start) / 60_000 for alert in opened), default=None)
    said = "no alert" if minutes is None else f"alert {minutes:.0f} minutes after its first request"
    yield Check(f"a campaign of {len(campaign.accounts)} accounts is found", minutes is not None, said)
    members = set(campaign.accounts)
    told = {account for account, signal in found.signals if signal is not None and signal.cluster_id}
    if lowest(rules.mode, rules.campaign.mode) in ("alert", "enforce"):
        part = len(told & members) / len(members)
        yield Check("nine of ten of its accounts get a signal", part >= 0.9, f"{100 * part:.0f} %")
        wrong = len(told - members)
        yield Check("nobody else does", wrong == 0, f"{wrong} others")
    _, events = fleet(scenario_of("calm", 0.1), 0.5)
    quiet = decided(rules, events)
    yield Check("an honest fleet of 2,000 accounts is left alone", not quiet.alerts, f"{len(quiet.alerts)} alerts")


def run(rules: Rules, output: str) -> int:
    """Do the checks and print them; 1 where one is not passed."""
    done = []
    for check in checks(rules):
        done.append(check)
        if output != "json":
            sys.stdout.write(f"{'passed' if check.passed else 'FAILED'}  {check.name}: {check.found}\n")
            sys.stdout.flush()
    if output == "json":
        sys.stdout.write(msgspec.json.encode({"rules": rules.label, "checks": done}).decode() + "\n")
    return 0 if all(check.passed for check in done) else 1
