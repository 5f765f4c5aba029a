"""What the commands of the desk say to people: one line for a case or label, a page for an alert.

What lives here: words for a terminal. What does not: deciding anything. Nothing that came from outside moves a cursor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from models.cases import Case
from models.labels import Label, entry_digest
from models.precision import PRECISION_WANTED, VERDICTS_MIN, RuleRecord
from streams.summary import moment, visible

MEMBERS_SHOWN = 20


def case_line(case: Case) -> str:
    """One case on one line."""
    about = case.alert.cluster_id or case.alert.account_id or ""
    return (
        f"{case.status:<12} {case.alert.severity:<8} {moment(case.last.ts)}  {case.alert.accounts:>7,} accounts  "
        f"{visible(case.last.alert_id):<24} {visible(about)}: {visible(case.alert.summary)}"
    )


def label_line(label: Label) -> str:
    """One thing somebody said on one line."""
    subject = ", ".join(f"{field} {visible(value)}" for field, value in sorted(label.subject.items()))
    verdict = f" as {label.verdict.replace('_', ' ')}" if label.verdict else ""
    until = f", until {moment(label.expires)}" if label.expires is not None else ""
    reason = f": {visible(label.reason)}" if label.reason else ""
    limits = ""
    if label.limits is not None:
        given = {"requests": label.limits.requests_24h, "reasoning": label.limits.reasoning_24h}
        given["networks"] = label.limits.networks_day
        said = [f"{name} {value:,}" for name, value in given.items() if value is not None]
        if label.limits.requests_times is not None:
            said.append(f"{label.limits.requests_times:g} times its own busiest day")
        limits = " with " + ", ".join(said)
    return f"{moment(label.ts)}  {label.kind}{verdict} {subject}{limits}, by {visible(label.who)}{until}{reason}"


def allowed_line(label: Label, hits: Mapping[str, int] | None) -> str:
    """One entry of the allowlist, with what it left out where a worker said so."""
    count = "" if hits is None or label.family != "allow" else f"  {hits[entry_digest(label.key)]:,} requests left out"
    return label_line(label) + count


def alert_page(case: Case, members: Sequence[str]) -> list[str]:
    """All of a case that a person on call wants first."""
    alert = case.alert
    lines = [case_line(case), ""]
    if case.acknowledged is not None and case.status == "acknowledged":
        lines.append(f"Acknowledged by {visible(case.acknowledged.who)} at {moment(case.acknowledged.ts)}.")
    for verdict, where in ((case.verdict, ""), (case.verdict_before, " (an earlier alert of this cluster)")):
        if verdict is not None and verdict.verdict is not None:
            words = verdict.verdict.replace("_", " ")
            lines.append(f"Judged {words} by {visible(verdict.who)}{where}: {visible(verdict.reason)}")
    lines.append(f"Score {alert.score:g} by rule {visible(alert.rule)}, version {visible(alert.rule_version)}:")
    for item in sorted([*alert.evidence, *alert.counter_evidence], key=lambda item: -item.weight):
        lines.append(f"  {item.weight:+5.1f}  {visible(item.name):<22} {visible(item.text)}")
    lines += [
        f"  {attribute.kind} {visible(attribute.value)} shared by {attribute.accounts:,}"
        for attribute in alert.attributes
    ]
    if members:
        more = f" and {len(members) - MEMBERS_SHOWN:,} more" if len(members) > MEMBERS_SHOWN else ""
        lines.append(f"Named now: {', '.join(visible(name) for name in members[:MEMBERS_SHOWN])}{more}.")
    lines += ["", "History:"]
    lines += [
        f"  {moment(said.ts)}  {said.status:<8} {said.severity:<8} {said.accounts:,} accounts, score {said.score:g}"
        for said in case.statements
    ]
    lines += [f"  {label_line(label)}" for label in case.labels]
    return [*lines, f"What to do: {visible(alert.runbook_url)}"]


def stats_page(records: Sequence[RuleRecord]) -> list[str]:
    """Precision per rule as a table, with what it speaks for."""
    lines = []
    for record in records:
        judged = record.confirmed + record.false_positive + record.benign_automation
        lines.append(
            f"{visible(record.rule):<20} {record.alerts:>6,} alerts, {judged:,} judged: "
            f"{record.confirmed:,} confirmed, {record.false_positive:,} false positive, "
            f"{record.benign_automation:,} benign automation"
        )
        if record.precision is not None and record.precision_low is not None and record.precision_high is not None:
            bounds = f"{record.precision_low:.0%} to {record.precision_high:.0%}"
            lines.append(f"{'':<20} precision {record.precision:.0%} (95 % sure: {bounds})")
        if record.suggested_score is not None:
            lines.append(
                f"{'':<20} from score {record.suggested_score:g} on {PRECISION_WANTED:.0%} were confirmed; that keeps "
                f"{record.kept:,} of {record.confirmed:,}"
            )
        elif judged < VERDICTS_MIN:
            lines.append(f"{'':<20} no threshold is suggested from fewer than {VERDICTS_MIN} verdicts")
    return lines or ["No alert."]
