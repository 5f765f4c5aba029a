"""The command ``backtest``: what other rules would have said of the same events.

What lives here: the comparison, the score on labels, the cost curve and the words. What does not: the run (``lanes``)
and pairing (``rules_compare``). Rules in the shadow are tried as if they told people, as that is what one asks of them.
Exit code 1 where the outcomes differ: an alert added or lost, at another time, of another severity or size, or an
account told something else; 0 where they are the same.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec.structs import replace

from models.announce import Decisions
from models.campaigns import Campaigns, Evaluation
from models.errors import ConfigError
from models.rules import RULE_IDS, Rules
from models.verdict import Reason, named
from streams.lanes import Lane, Lanes, Traffic
from streams.rules_compare import Paired, pair, subjects
from streams.shadow_report import as_values
from streams.shadow_report import told as pairs_told

SCORES = np.arange(3.0, 15.5, 0.5)
LABELS_BYTES_MAX = 1 << 30


class Point(msgspec.Struct):
    """One opening score: how many accounts reach it, and how many of those are of a campaign (None: no labels)."""

    open_score: float
    clusters: int
    accounts: int
    members: int | None = None


class Scored(msgspec.Struct):
    """Accounts told to the limiter against labels."""

    accounts: int
    precision: float | None = None
    recall: float | None = None


class Outcome(msgspec.Struct):
    """What the rules and those they are compared with give."""

    rules: str
    against: str
    same: bool
    alerts: dict[str, Any]
    accounts_added: int
    accounts_lost: int
    accounts_changed: int
    scored: Scored
    scored_against: Scored
    curve: list[Point]


@dataclass(slots=True)
class Reach:
    """The highest score of the clusters that would have named each account, and clusters by score."""

    campaigns: Campaigns
    best: dict[int, float] = field(default_factory=dict)
    clusters: dict[float, int] = field(default_factory=dict)  # most at one evaluation that reach a score

    def note(self, evaluation: Evaluation) -> None:
        """Take the clusters of one evaluation that passed every gate but the score."""
        scores = []
        for judged in evaluation.judged:
            if judged.reason in (Reason.TOO_FEW_CUSTOMERS, Reason.TOO_FEW_NETWORKS, Reason.DILUTED):
                continue
            scores.append(judged.score)
            for account in judged.candidate.account[named(judged.candidate)].tolist():
                self.best[account] = max(judged.score, self.best.get(account, -1e9))
        for score in SCORES.tolist():
            reached = sum(value >= score for value in scores)
            self.clusters[score] = max(reached, self.clusters.get(score, 0))

    def curve(self, members: set[str] | None) -> list[Point]:
        """What each opening score would have named, hysteresis and second looks left aside."""
        accounts = np.array(sorted(self.best), np.uint64)
        best = np.array([self.best[account] for account in accounts.tolist()])
        names = self.campaigns.directory.account_ids(accounts)
        points = []
        for score in SCORES.tolist():
            reached = {names[at] for at in np.flatnonzero(best >= score)} if len(names) else set()
            known = None if members is None else len(reached & members)
            points.append(Point(score, self.clusters.get(score, 0), len(reached), known))
        return points


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare traffic, rules and labels."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="JSON lines, .gz or .zst; a folder; - is stdin")
    parser.add_argument("--rules", required=True, metavar="A", help="the rules file to try")
    parser.add_argument("--against", metavar="B", help="the rules file to compare with (the rules as shipped)")
    parser.add_argument("--labels", metavar="LABELS", help="the simulator's truth, or lines of account_id and label")
    parser.add_argument("--format", default="auto", metavar="F", help="auto, canonical, litellm, otel or glasswally")
    parser.add_argument("--quiet", action="store_true", help="no progress on stderr")


class _Campaign(msgspec.Struct):
    accounts: list[str]


class _Truth(msgspec.Struct):
    campaigns: list[_Campaign]


class _Label(msgspec.Struct):
    account_id: str
    label: str


def read_labels(path: str) -> set[str]:
    """The accounts that are of a campaign: of the simulator's truth, or those whose line says `campaign`.

    Raises:
        ConfigError: the file cannot be read, or is neither.
    """
    try:
        with Path(path).open("rb") as file:
            data = file.read(LABELS_BYTES_MAX)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror or error}") from error
    try:
        return {name for item in msgspec.json.decode(data, type=_Truth).campaigns for name in item.accounts}
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    try:
        lines = [msgspec.json.decode(line, type=_Label) for line in data.splitlines() if line.strip()]
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        wanted = 'the truth of `simulate --truth`, or lines of {"account_id": "…", "label": "campaign"}'
        raise ConfigError(f"{path} holds no labels: give {wanted}") from error
    return {line.account_id for line in lines if line.label == "campaign"}


def lifted(rules: Rules) -> Rules:
    """The same rules with every shadow lifted; one that is tried beside another is left out."""
    changes: dict[str, Any] = {
        name: replace(rules.rule(name), mode="alert") for name in RULE_IDS if rules.rule(name).mode == "shadow"
    }
    return replace(rules, mode="alert" if rules.mode == "shadow" else rules.mode, shadow=None, **changes)


def actions(decisions: Decisions) -> dict[str, tuple[str, float]]:
    """What each account was last told, leaving clearances aside: they follow from time."""
    return {account: (signal.action, signal.multiplier) for account, signal in decisions.signals if signal is not None}


def clusters(decisions: Decisions) -> dict[str, set[str]]:
    """The accounts told for each cluster."""
    found: dict[str, set[str]] = {}
    for account, signal in decisions.signals:
        if signal is not None and signal.cluster_id:
            found.setdefault(signal.cluster_id, set()).add(account)
    return found


def score(told: set[str], members: set[str] | None) -> Scored:
    """Precision and recall of the accounts told, where there are labels."""
    if members is None:
        return Scored(len(told))
    right = len(told & members)
    return Scored(len(told), right / len(told) if told else None, right / len(members) if members else None)


def compare(
    lanes: Sequence[Lane], labels: tuple[Rules, Rules], curve: list[Point], members: set[str] | None
) -> Outcome:
    """What two lanes decided, the tried one first."""
    tried, known = (lane.decisions for lane in lanes)
    paired: Paired = pair(subjects(known.alerts, clusters(known)), subjects(tried.alerts, clusters(tried)))
    now, before = actions(tried), actions(known)
    changed = sum(now[account] != before[account] for account in now.keys() & before.keys())
    moved = any(
        (old.first_ts, old.severity, old.accounts) != (new.first_ts, new.severity, new.accounts)
        for old, new in paired.both
    )
    return Outcome(
        rules=labels[0].label,
        against=labels[1].label,
        same=paired.same and not moved and now == before,
        alerts=as_values(paired) | {"lines": pairs_told(paired, "with these rules", "with those compared")},
        accounts_added=len(now.keys() - before.keys()),
        accounts_lost=len(before.keys() - now.keys()),
        accounts_changed=changed,
        scored=score(set(now), members),
        scored_against=score(set(before), members),
        curve=curve,
    )


def backtest(traffic: Traffic, rules: Rules, against: Rules, members: set[str] | None = None) -> Outcome:
    """Run both sets of rules over the traffic."""
    lanes = Lanes(traffic, [lifted(rules), lifted(against)])
    reach = Reach(lanes.lanes[0].pipeline.campaigns)
    reach.campaigns.on_evaluation = reach.note
    lanes.run()
    return compare(lanes.lanes, (rules, against), reach.curve(members), members)


def _scored(name: str, item: Scored) -> str:
    text = f"  {name:<10}{item.accounts:>8,} accounts told"
    if item.recall is not None:
        precision = "none told" if item.precision is None else f"precision {item.precision:.3f}"
        text += f", {precision}, recall {item.recall:.3f}"
    return text


def told(outcome: Outcome) -> str:
    """The outcome for a person."""
    lines = [f"rules    {outcome.rules}", f"against  {outcome.against}", ""]
    lines += ["Alerts: " + outcome.alerts["lines"][0], *outcome.alerts["lines"][1:], ""]
    changes = (
        f"{outcome.accounts_added:,} added, {outcome.accounts_lost:,} lost, {outcome.accounts_changed:,} told else"
    )
    lines += [f"Accounts: {changes}.", _scored("rules", outcome.scored), _scored("against", outcome.scored_against), ""]
    lines += ["Cost of the opening score (accounts that a cluster of so many points would name):"]
    labelled = outcome.curve and outcome.curve[0].members is not None
    lines.append("  score  clusters  accounts" + ("  of campaigns    others" if labelled else ""))
    for point in outcome.curve:
        row = f"  {point.open_score:>5.1f}  {point.clusters:>8,}  {point.accounts:>8,}"
        lines.append(
            row + (f"  {point.members:>12,}  {point.accounts - point.members:>8,}" if point.members is not None else "")
        )
    lines += ["", "The outcomes are the same." if outcome.same else "The outcomes differ."]
    return "\n".join(lines) + "\n"


def run(traffic: Traffic, rules: Rules, against: Rules, *, labels: str | None, output: str) -> int:
    """Backtest and print; 1 where the outcomes differ."""
    members = read_labels(labels) if labels else None
    outcome = backtest(traffic, rules, against, members)
    sys.stdout.write(msgspec.json.encode(outcome).decode() + "\n" if output == "json" else told(outcome))
    return 0 if outcome.same else 1
