"""The command ``calibrate``: thresholds for a stated budget of false alarms, learnt from benign traffic alone.

What lives here: reading the traffic, gathering what accounts did, the rules file and the report. What does not: the
method (``models/calm``), which says where it comes from. Where the traffic is too little a threshold stays as shipped,
and the report says why.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

from models.accounts import NETWORK_BUCKETS
from models.calm import CalmGroups, Threshold, account_limit, open_score
from models.errors import ConfigError
from models.event import EventBatch
from models.pipeline import Pipeline
from models.rules import DAY_MS, HOUR_MS, Rules
from models.sketch import Sketches
from streams.lanes import Lanes, Traffic
from streams.rules_text import rendered

WEEK_MS = 7 * DAY_MS
SPAN_MIN_MS = 12 * HOUR_MS
"""Less than this shows no day: groups of the office and of the night are different ones."""
ACCOUNTS_MIN = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """False alarms that are acceptable."""

    alerts_per_week: float
    accounts_per_100k: float


class Reading(msgspec.Struct):
    """How often one reading speaks against calm groups."""

    name: str
    given: int
    read: int


class Report(msgspec.Struct):
    """What the traffic was, and what it asks of each threshold."""

    rules: str
    events: int
    accounts: int
    days: float
    evaluations: int
    groups: int
    named_accounts: int
    thresholds: dict[str, tuple[float, bool, str]]
    readings: list[Reading]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare traffic, budget and output."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="benign events: JSON lines, .gz or .zst; a folder; -")
    parser.add_argument("--alerts-per-week", type=_positive, default=1.0, metavar="N", help="false alerts allowed (1)")
    parser.add_argument(
        "--accounts-per-100k", type=_positive, default=5.0, metavar="M", help="false accounts of 100,000 allowed (5)"
    )
    parser.add_argument("-r", "--rules-out", metavar="OUT", help="write the rules file here")
    parser.add_argument("--format", default="auto", metavar="F", help="auto, canonical, litellm, otel or glasswally")
    parser.add_argument("--quiet", action="store_true", help="no progress on stderr")


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value <= 1e5:
        raise ValueError(text)
    return value


class Calm(Lanes):
    """One lane under the rules as shipped, with everything that calibration needs of it."""

    def __init__(self, traffic: Traffic) -> None:
        super().__init__(traffic, [Rules()])
        self.groups = CalmGroups()
        self.pipeline: Pipeline = self.lanes[0].pipeline
        self.pipeline.campaigns.on_evaluation = self.groups.note
        self.highest: dict[int, tuple[int, int, int]] = {}
        self._looked_ms = 0

    def feed(self, events: EventBatch, sketches: Sketches) -> None:
        """Fold one batch, and look at what accounts have done once an hour of event time."""
        super().feed(events, sketches)
        if self.last_ts - self._looked_ms >= HOUR_MS:
            self._look()

    def finish(self) -> None:
        """The end of the traffic."""
        super().finish()
        self._look()

    def _look(self) -> None:
        self._looked_ms = self.last_ts
        rows = self.pipeline.observe.accounts.rows
        buckets = np.bitwise_count(rows["networks"][:, 0])
        percent = self.lanes[0].rules.account_reasoning.percent
        asking = rows["reasoning_24h"].astype(np.int64)
        asking[100 * asking < percent * rows["requests_24h"].astype(np.int64)] = 0
        found = zip(rows["key"].tolist(), rows["requests_24h"].tolist(), asking.tolist(), buckets.tolist(), strict=True)
        for key, *now in found:
            volume, asked, networks = self.highest.get(key, (0, 0, 0))
            self.highest[key] = max(volume, now[0]), max(asked, now[1]), max(networks, now[2])

    def days(self) -> npt.NDArray[np.int64]:
        """The highest day of every account: requests, requests for reasoning, network buckets."""
        return np.array(list(self.highest.values()) or np.zeros((0, 3)), np.int64)


def calibrated(calm: Calm, budget: Budget) -> tuple[Rules, Report]:
    """The rules for a budget, and what they rest on.

    Raises:
        ConfigError: the traffic is too little to say anything.
    """
    span_ms = calm.last_ts - calm.first_ts
    if span_ms < SPAN_MIN_MS or len(calm.highest) < ACCOUNTS_MIN:
        hours = max(span_ms, 0) / HOUR_MS
        raise ConfigError(
            f"{len(calm.highest):,} accounts over {hours:.1f} hours are too little to calibrate on: give at least "
            f"{ACCOUNTS_MIN} accounts over {SPAN_MIN_MS // HOUR_MS} hours, a week of all traffic where you can"
        )
    shipped, days = Rules(), calm.days()
    accounts = {"accounts_per_100k": budget.accounts_per_100k}
    found: dict[str, Threshold] = {
        "campaign.open_score": open_score(
            calm.groups.peaks,
            span_ms / WEEK_MS,
            alerts_per_week=budget.alerts_per_week,
            shipped=shipped.campaign.open_score,
        ),
        "account_volume.limit": account_limit(days[:, 0], shipped=shipped.account_volume.limit, most=10**9, **accounts),
        "account_reasoning.limit": account_limit(
            days[:, 1], shipped=shipped.account_reasoning.limit, most=10**9, **accounts
        ),
        "account_networks.limit": account_limit(
            days[:, 2], shipped=shipped.account_networks.limit, most=NETWORK_BUCKETS, **accounts
        ),
    }
    rules = Rules(
        name="calibrated",
        version=datetime.fromtimestamp(calm.last_ts / 1000, UTC).strftime("%Y-%m-%d"),
        campaign=replace(shipped.campaign, open_score=found["campaign.open_score"].value),
        account_volume=replace(shipped.account_volume, limit=int(found["account_volume.limit"].value)),
        account_reasoning=replace(shipped.account_reasoning, limit=int(found["account_reasoning.limit"].value)),
        account_networks=replace(shipped.account_networks, limit=int(found["account_networks.limit"].value)),
    )
    told = {account for account, signal in calm.lanes[0].decisions.signals if signal is not None}
    report = Report(
        rules=rules.label,
        events=calm.read,
        accounts=len(calm.highest),
        days=span_ms / DAY_MS,
        evaluations=calm.groups.evaluations,
        groups=len(calm.groups.groups),
        named_accounts=len(told),
        thresholds={name: (item.value, item.moved, item.why) for name, item in found.items()},
        readings=[Reading(*item) for item in calm.groups.false_positives()],
    )
    return rules, report


def written(rules: Rules, report: Report, budget: Budget) -> str:
    """The rules file, with what each threshold rests on as its comment."""
    notes = {name: why for name, (_, _, why) in report.thresholds.items()}
    notes[""] = (
        f"Calibrated on {report.events:,} events of {report.accounts:,} accounts over {report.days:.1f} days, for\n"
        f"{budget.alerts_per_week:g} false alerts a week and {budget.accounts_per_100k:g} false accounts of 100,000."
    )
    return rendered(rules, notes)


def told(report: Report, budget: Budget) -> str:
    """The report for a person."""
    lines = [
        f"{report.events:,} events of {report.accounts:,} accounts over {report.days:.1f} days; "
        f"{report.evaluations} evaluations, {report.groups} groups came to be scored.",
        f"Budget: {budget.alerts_per_week:g} alerts a week, {budget.accounts_per_100k:g} accounts of 100,000. "
        f"Under the rules as shipped {report.named_accounts:,} accounts were named.",
        "",
    ]
    for name, (value, moved, why) in report.thresholds.items():
        lines.append(f"{name:<24}{value:>10,g}  {'moved' if moved else 'kept '}  {why}")
    lines += ["", "Readings that give calm groups points (at each group's highest score):"]
    for item in report.readings:
        part = f"{100 * item.given / item.read:.0f} %"
        lines.append(f"  {item.name:<24}{part:>6}  {item.given} of {item.read} groups")
    if not report.readings:
        lines.append("  none: no group came to be scored")
    return "\n".join([*lines, "", f"Rules: {report.rules}"]) + "\n"


def run(traffic: Traffic, budget: Budget, out: str | None, output: str) -> int:
    """Read the traffic, write the rules and print the report."""
    calm = Calm(traffic)
    calm.run()
    rules, report = calibrated(calm, budget)
    if out:
        try:
            Path(out).write_text(written(rules, report, budget))
        except OSError as error:
            raise ConfigError(f"cannot write {out}: {error.strerror or error}; choose another path") from error
    text = msgspec.json.encode(report).decode() + "\n" if output == "json" else told(report, budget)
    sys.stdout.write(text)
    return 0
