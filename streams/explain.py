"""The command ``explain``: a verdict derived again from what was kept, for an alert, a cluster or an account.

What lives here: finding what is meant in feeds or in a kept state, and words for a terminal. What does not: the
derivation (``models/explain``). Feeds hold what alerts and signals say; a state also holds each account's own requests.
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

import msgspec
import numpy as np

from models.alert import Alert, Signal
from models.cases import Case
from models.columns import EventColumns
from models.explain import Explanation, Naming, Part, explain_alert, explain_cluster, naming_of
from models.hashing import KeyedHash
from models.labels import Label
from models.pipeline import Pipeline
from models.rules import Rules
from models.strings import Strings
from streams.desk import DeskHost, RefusedError
from streams.desk_command import SettingsOf, add_feeds, say, with_host
from streams.desk_pages import label_line
from streams.embedded import load_state
from streams.summary import moment, visible


class Answer(msgspec.Struct, kw_only=True):
    """What is known of the one who was asked for; parts that the source cannot give are empty."""

    name: str
    kind: str
    verdict: Explanation | None = None
    signal: Signal | None = None
    naming: list[Naming] = []
    templates: list[str] = []
    account_rules: list[Explanation] = []
    allowed: Label | None = None
    release: list[str] = []


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``explain``."""
    parser.add_argument("name", metavar="NAME", help="an alert id, dedup key, cluster id or account id")
    add_feeds(parser)
    parser.add_argument(
        "--state", type=Path, metavar="DIR", help="look into what replay --state kept, in place of feeds"
    )


def run(parsed: argparse.Namespace, settings: SettingsOf) -> int:
    """Explain from the feeds."""

    async def work(host: DeskHost) -> int:
        answer = from_feeds(host, parsed.name)
        return say(parsed, answer, page(answer))

    return asyncio.run(with_host(parsed, settings, work))


def run_on_state(parsed: argparse.Namespace, secret: bytes, tenant: str, rules: Rules) -> int:
    """Explain from a kept state."""
    pipeline = Pipeline(secret, tenant=tenant, rules=rules)
    if not load_state(parsed.state, pipeline):
        raise RefusedError(f"{parsed.state} holds no state; `distilwatch replay FILE --state DIR` keeps one")
    answer = from_state(pipeline, KeyedHash(secret), parsed.name)
    return say(parsed, answer, page(answer))


def from_feeds(host: DeskHost, name: str) -> Answer:
    """What alerts, signals and labels say; raises RefusedError where the name is not known."""
    case = host.case(name)
    if case is not None:
        return Answer(name=name, kind="alert", verdict=_of_case(case, name), templates=_templates(case.alert))
    account = host.account(name)
    if account.signal is None and not account.cases and account.allowed is None:
        raise RefusedError(
            f"nothing is known of {visible(name)}; name an alert, a cluster or an account that has a signal"
        )
    cases = [host.desk.cases[key] for key in account.cases]
    cluster = next((case for case in cases if case.alert.cluster_id is not None), None)
    return Answer(
        name=name,
        kind="account",
        verdict=None if cluster is None else _of_case(cluster, cluster.last.alert_id),
        signal=account.signal,
        templates=[] if cluster is None else _templates(cluster.alert),
        account_rules=[explain_alert(case.alert) for case in cases if case.alert.account_id == name],
        allowed=account.allowed,
        release=_release(name, account.signal, account.allowed),
    )


def _of_case(case: Case, name: str) -> Explanation:
    found = explain_alert(case.alert)
    if name not in (case.dedup_key, case.alert.cluster_id, case.alert.alert_id):
        found.notes.append(
            f"Of the newest statement with evidence, {case.alert.alert_id}: a case keeps that of no other."
        )
    return found


def _templates(alert: Alert) -> list[str]:
    return [template.digests[0] for template in alert.templates if template.digests]


def _release(name: str, signal: Signal | None, allowed: Label | None) -> list[str]:
    if allowed is not None:
        return [f"It is on the allowlist: {label_line(allowed)}"]
    if signal is None:
        return []
    ways = [f"By itself at {moment(signal.expires)} of event time, unless it goes on and the signal is renewed."]
    if signal.cluster_id is not None:
        ways += [
            "When the cluster has been quiet for its cool-down.",
            f"With its whole cluster: `distilwatch alerts undo {visible(signal.cluster_id)}`.",
            "When fewer of its requests are under the cluster's templates: a kept state (--state) says how many.",
        ]
    return [*ways, f"For good: `distilwatch allow add --account {visible(name)}`."]


def from_state(pipeline: Pipeline, keyed: KeyedHash, name: str) -> Answer:
    """What a kept state says; raises RefusedError where the name is not known in it."""
    pipeline.finish()
    campaigns = pipeline.campaigns
    evaluation = campaigns.look()
    judged = [] if evaluation is None else evaluation.judged
    for item in judged:
        campaign = item.campaign
        if campaign is None:
            continue
        alert_id = campaigns.announcer.alert_id(campaign)
        if name == campaign.cluster_id or name.partition(".")[0] == alert_id:
            return Answer(name=name, kind="alert", verdict=explain_cluster(item, campaigns.rules))
    (account,) = EventColumns(keyed).hashes("account_id", Strings.of([name]))
    touched = []
    for item in judged:
        naming = None if evaluation is None else naming_of(int(account), item, evaluation, campaigns)
        if naming is not None:
            touched.append((naming, item))
    known = campaigns.directory.rows(np.array([account], np.uint64))[0] >= 0
    if not touched and not known:
        raise RefusedError(f"nothing is known of {visible(name)} in this state")
    touched.sort(key=lambda pair: (not pair[0].named, -pair[0].requests))
    return Answer(
        name=name,
        kind="account",
        verdict=explain_cluster(touched[0][1], campaigns.rules) if touched else None,
        naming=[naming for naming, _ in touched],
        templates=touched[0][0].templates if touched else [],
        release=[distance(naming) for naming, _ in touched if naming.named],
    )


def distance(naming: Naming) -> str:
    """What would take the account out of the cluster by its own requests."""
    if not naming.templates:
        return (
            f"Of {naming.cluster_id or 'the cluster'}: with another client build, or a day unlike those of the others."
        )
    return (
        f"Of {naming.cluster_id or 'the cluster'}: with fewer than {naming.requests_needed:g} requests under its "
        f"templates (it has {naming.requests:,}), or with less than {naming.share_needed:.0%} of its own requests "
        f"there (it has {naming.share:.0%})."
    )


def _why(naming: Naming) -> str:
    if not naming.templates:  # a relay's: there is none to share
        return f"the {naming.requests:,} requests of its last day are spread as those of the others are."
    return (
        f"{naming.requests:,} requests under its templates (needed {naming.requests_needed:g}), "
        f"{naming.share:.0%} of its own requests (needed {naming.share_needed:.0%})"
        + (", beyond doubt." if naming.beyond_doubt else ".")
    )


def page(answer: Answer) -> list[str]:
    """The answer for a terminal."""
    lines = [f"{answer.kind} {visible(answer.name)}"]
    signal = answer.signal
    if signal is not None:
        lines.append(
            f"It is told: {signal.action}, {signal.multiplier:g} of the usual limit, since {moment(signal.ts)} by rule "
            f"{visible(signal.rule)}"
            + (f", as a member of {visible(signal.cluster_id)}." if signal.cluster_id else ".")
        )
    elif answer.kind == "account" and not answer.naming:
        lines.append("It has no signal.")
    for naming in answer.naming:
        how = "is named" if naming.named else "is not named"
        cluster = visible(naming.cluster_id or "a cluster without a name")
        lines.append(f"It {how} with {cluster} ({naming.reason}): {_why(naming)}")
    for found in (*([answer.verdict] if answer.verdict else ()), *answer.account_rules):
        lines += ["", *_verdict(found)]
    if answer.templates:
        lines += ["", f"Templates: {', '.join(visible(digest) for digest in answer.templates)}"]
    if answer.release:
        lines += ["", "What would release it:", *(f"  {way}" for way in answer.release)]
    return lines


def _verdict(found: Explanation) -> list[str]:
    agrees = "as stated" if found.agrees else f"NOT as stated ({found.score_stated:g}), or a gate is not met"
    lines = [
        f"{visible(found.subject)}, rule {visible(found.rule)} {visible(found.rule_version)}: the evidence adds up to "
        f"{found.score_derived:g} of {found.score_needed:g} needed to open, {agrees}."
    ]
    for gate in found.gates:
        mark = "met" if gate.value >= gate.needed else "below"
        lines.append(f"  {gate.name:<24} {gate.value:>10.4g}  at least {gate.needed:g}: {mark}")
    for part in found.parts:
        lines.append(_part(part))
    if found.closed_without_any_of:
        names = ", ".join(map(visible, found.closed_without_any_of))
        lines.append(f"Without any one of these it had stayed closed: {names}.")
    elif found.fewest:
        names = ", ".join(map(visible, found.fewest))
        lines.append(f"No single reading decided it; without these {len(found.fewest)} it had stayed closed: {names}.")
    return [*lines, *found.notes]


def _part(part: Part) -> str:
    ratio = "" if part.ratio is None else f" ({part.ratio:.3g} times)"
    turn = " - decides" if part.closed_without else ""
    turn = " - decides even halved" if part.closed_halved else turn
    capped = f" [one cap with {', '.join(part.capped_with)}]" if part.capped_with else ""
    against = f"{part.value:.4g} against {part.baseline:.4g} {visible(part.unit)}{ratio}"
    changed = f"{part.score_without:g} without it, {part.score_halved:g} with half{turn}{capped}"
    return f"  {part.weight:+5.1f}  {visible(part.name):<22} {against}; {changed}"
