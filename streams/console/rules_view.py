"""What pages show of rules and of the allowlist: rows and sentences, ready to be written out.

What lives here: reading rules, cases and labels for people. What does not: cases themselves (``views``), and HTML
(``templates``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from models.alert import Alert
from models.cases import Case
from models.labels import Label, entry_digest
from models.precision import precision
from models.rules import RULE_IDS
from streams.console.roles import needed
from streams.console.views import VERDICTS, account_link
from streams.console.words import count, plural
from streams.console.writer import InForce, now_ms
from streams.rules_compare import Subject, pair, subjects

SOON_MS = 7 * 86_400_000
PAIRED_MAX = 200
"""Campaigns are paired by what they share, each with each: for more than so many only their numbers are told."""
KINDS = {"account_id": "account", "org_id": "organisation", "api_key_id": "API key", "template": "template"}
NOTES = {
    "shadow": "Nobody is told of it any more, and what it had told the limiter is cleared; alerts go to the shadow.",
    "off": "It finds nothing any more; what it had told the limiter is cleared.",
    "alert": "People are told. The limiter acts on nothing it finds.",
    "enforce": "People are told, and the limiter acts on what it finds.",
}


def rules(cases: Iterable[Case], shadow: Iterable[Case], given: InForce | None) -> list[dict[str, Any]]:
    """Each rule: how far it may go, its alerts, how people judged them, and the score that these verdicts speak for."""
    known = list(cases)
    found: dict[str, Counter[str]] = {rule: Counter() for rule in (RULE_IDS if given else ())}
    for case in known:
        numbers = found.setdefault(case.alert.rule, Counter())
        numbers["alerts"] += 1
        numbers["open"] += case.live
        if case.verdict is not None and case.verdict.verdict:
            numbers[case.verdict.verdict] += 1
    apart = Counter(case.alert.rule for case in shadow)
    suggested = {record.rule: record.suggested_score for record in precision(known)}
    rows = []
    for rule, numbers in found.items():
        score = suggested.get(rule)
        modes = _modes(given, rule)
        rows.append(
            {
                "rule": rule,
                "precision": _part(numbers),
                "shadow": apart[rule],
                "suggested": "" if score is None else score,
            }
            | modes
            | {name: numbers[name] for name in ("alerts", "open", *VERDICTS)}
        )
    return rows


def _modes(given: InForce | None, rule: str) -> dict[str, Any]:
    known = next((name for name in RULE_IDS if name == rule), None)
    if given is None or known is None:
        return {"known": False, "mode": "not known here", "own": ""}
    return {"known": True, "mode": given.rules.mode_of(known, given.ceiling), "own": given.rules.rule(known).mode}


def _part(numbers: Counter[str]) -> str:
    """The part of judged alerts that were real."""
    judged = sum(numbers[name] for name in VERDICTS)
    return f"{100 * numbers['confirmed'] / judged:.0f} % of {count(judged)}" if judged else "not judged yet"


def paragraphs(lines: Iterable[str]) -> list[tuple[str, list[str]]]:
    """Indented lines under the line they explain."""
    found: list[tuple[str, list[str]]] = []
    for line in lines:
        if line.startswith(" ") and found:
            found[-1][1].append(line.strip())
        else:
            found.append((line, []))
    return found


def changed(row: Mapping[str, Any]) -> dict[str, str]:
    """One value before and after, and what that means where it is a mode."""
    name, after = str(row["name"]), row["to"]
    note = NOTES.get(str(after), "") if name.rpartition(".")[2] == "mode" else ""
    return {"name": name, "before": _shown(row["from"]), "after": _shown(after), "note": note}


def _shown(value: Any) -> str:
    if value is None:
        return "not set"
    if isinstance(value, list):
        return "; ".join(_shown(item) for item in value) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_shown(item)}" for key, item in value.items())
    return str(value)


def shadow_against_live(live: Iterable[Case], shadow: Iterable[Case]) -> list[str]:
    """What the rules in the shadow say beside those in force, a sentence for each rule that is in the shadow."""
    told, apart = [_alerts(cases) for cases in (live, shadow)]
    lines = []
    for rule, tried in sorted(apart.items()):
        mine = told.get(rule, [])
        name = rule.replace("_", " ")
        if max(len(mine), len(tried)) > PAIRED_MAX and rule == "campaign":
            lines.append(f"{name}: {plural(len(tried), 'alert')} in the shadow, {count(len(mine))} told to people.")
            continue
        both, added, lost = _against(rule, mine, tried)
        lines.append(
            f"{name}: of {plural(len(tried), 'alert')} in the shadow {count(both)} were also told to people; in force "
            f"it would add {count(added)}, and {count(lost)} that people were told of would not come."
        )
    return lines


def _alerts(cases: Iterable[Case]) -> dict[str, list[Alert]]:
    found: dict[str, list[Alert]] = {}
    for case in cases:
        found.setdefault(case.alert.rule, []).append(case.alert)
    return found


def _against(rule: str, live: list[Alert], tried: list[Alert]) -> tuple[int, int, int]:
    """How many subjects both speak of, only the one tried, only the one in force."""
    old, new = subjects(live), subjects(tried)
    if rule == "campaign":
        paired = pair(old, new)
        return len(paired.both), len(paired.added), len(paired.lost)
    mine, other = _names(old), _names(new)
    return len(mine & other), len(other - mine), len(mine - other)


def _names(found: list[Subject]) -> set[str]:
    return {item.subject for item in found}


def entries(labels: Iterable[Label], hits: Mapping[str, int] | None) -> list[dict[str, Any]]:
    """Entries of the allowlist or profiles in force, those that end first in front."""
    now = now_ms()
    known = [label for label in labels if not label.takes_back and not label.ended(now)]
    rows = []
    for label in sorted(known, key=lambda label: (label.expires or 1 << 62, label.key)):
        ((field, name),) = label.subject.items()
        met = "" if hits is None else count(hits.get(entry_digest(label.key), 0))
        soon = label.expires is not None and label.expires - now < SOON_MS
        rows.append(
            {"label": label, "kind": KINDS[field], "name": name, "hits": met, "soon": soon}
            | {"link": account_link(name) if field == "account_id" else "", "need": needed("disallow", label.subject)}
            | {"limits": _limits(label)}
        )
    return rows


def _limits(label: Label) -> str:
    """Where the account rules of a bulk user trip."""
    limits = label.limits
    if limits is None:
        return ""
    said = []
    if limits.requests_24h is not None:
        said.append(f"{count(limits.requests_24h)} requests a day")
    if limits.requests_times is not None:
        said.append(f"{limits.requests_times:g} times its own busiest day of the week before")
    if limits.reasoning_24h is not None:
        said.append(f"{count(limits.reasoning_24h)} requests a day that ask for reasoning")
    if limits.networks_day is not None:
        said.append(f"{limits.networks_day} of 61 network buckets a day")
    return "; ".join(said)
