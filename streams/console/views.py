"""What pages show of cases, accounts and rules: sentences and rows made from the desk, ready to be written out.

What lives here: reading the desk for people. What does not: the desk's decisions (``models.desk``) and HTML
(``templates``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from models.alert import SEVERITIES, Action, Alert, Evidence, Signal, rank
from models.cases import Case, Statement
from models.labels import Label
from streams.console import charts
from streams.console.words import clock, plural, span, visible
from streams.desk import DeskHost

PAGE_ROWS = 25
ACTIONS: tuple[Action, ...] = ("block", "challenge", "throttle", "observe", "allow")
SHOWS = {"open": "To do", "closed": "Done", "shadow": "Shadow", "all": "All"}
VERDICTS = {
    "confirmed": "a real campaign",
    "false_positive": "a false alarm",
    "benign_automation": "honest automation",
}
MODES = {
    "off": "The rule is off: nothing acts on this.",
    "shadow": "The rule is in shadow: everything is computed, and the limiter is told nothing.",
    "alert": "The rule alerts only: a person decides, and no request is slowed by it.",
    "enforce": "The rule is enforced: the limiter acts on these until they expire.",
}
DID = {
    "acknowledge": "Acknowledged",
    "close": "Closed",
    "reopen": "Opened again",
    "silence": "Silenced",
    "unsilence": "Silence ended",
    "allow": "Allowed",
    "disallow": "No longer allowed",
    "undo": "All accounts let go",
    "redo": "Limiter acts again",
    "profile": "Given limits of its own",
    "unprofile": "Limits of its own removed",
}
SAID = {"open": "Alert", "update": "Update", "resolved": "Over by itself"}


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a history."""

    kind: str
    time: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Pages:
    """Where one is in a long list; ``before`` and ``after`` are addresses or None."""

    at: int
    last: int
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class Row:
    """One alert in a list."""

    case: Case
    alert: Alert
    name: str
    link: str
    opened: int
    age: str
    spark: Markup
    silenced: bool
    verdict: str


def address(path: str, **query: str) -> str:
    """A link of ours: everything after the question mark is quoted."""
    pairs = [f"{name}={quote(value, safe='', errors='replace')}" for name, value in query.items() if value]
    return path + ("?" + "&".join(pairs) if pairs else "")


def runbook_link(place: str, docs_url: str) -> str:
    """Where a runbook can be read; empty where that is no address, as in a repository nobody serves."""
    if place.startswith(("https://", "http://")):
        return place
    return f"{docs_url}/{place}" if docs_url and place.startswith("docs/") else ""


def case_link(dedup_key: str) -> str:
    """The page of a case."""
    return address("/case", key=dedup_key)


def shadow_link(dedup_key: str) -> str:
    """The page of what a rule in the shadow would have said."""
    return address("/shadow", key=dedup_key)


def account_link(account_id: str) -> str:
    """The page of an account."""
    return address("/account", id=account_id)


def name_of(alert: Alert) -> str:
    """What an alert is about."""
    return alert.cluster_id or alert.account_id or alert.dedup_key


def paged(items: Sequence[Any], at: int, path: str, **query: str) -> tuple[Sequence[Any], Pages]:
    """One page of a list, and the way to its neighbours; ``path`` may name a place of the page behind ``#``."""
    path, _, place = path.partition("#")
    last = max(1, -(-len(items) // PAGE_ROWS))
    at = min(max(1, at), last)

    def to(number: int) -> str | None:
        return address(path, **query, at=str(number)) + ("#" + place if place else "") if 1 <= number <= last else None

    return items[(at - 1) * PAGE_ROWS : at * PAGE_ROWS], Pages(at, last, to(at - 1), to(at + 1))


def shown(cases: Iterable[Case], show: str) -> list[Case]:
    """The cases of one tab: what wants somebody, what is over, what only shadow rules said."""
    tests: dict[str, Callable[[Case], bool]] = {
        "open": lambda case: case.live and case.alert.mode not in ("shadow", "off"),
        "closed": lambda case: not case.live and case.alert.mode not in ("shadow", "off"),
        "shadow": lambda case: case.alert.mode in ("shadow", "off"),
        "all": lambda case: True,
    }
    return [case for case in cases if tests[show](case)]


def urgency(case: Case) -> tuple[int, int, int, str]:
    """The order of the list: what nobody has taken first, then the worst, then the newest."""
    order = {"open": 0, "acknowledged": 1, "resolved": 2, "closed": 3}
    return order[case.status], -rank(case.alert.severity), -case.statements[0].ts, case.dedup_key


def matching(cases: Iterable[Case], query: str, severity: str) -> list[Case]:
    """The cases that hold the words and have the severity asked for."""
    words = query.casefold().split()
    return [
        case
        for case in cases
        if (not severity or case.alert.severity == severity) and all(word in _words(case) for word in words)
    ]


def _words(case: Case) -> str:
    alert = case.alert
    parts = (alert.summary, alert.cluster_id, alert.account_id, alert.rule, case.dedup_key, alert.alert_id)
    return " ".join([*filter(None, parts), *alert.members_sample]).casefold()


def row_of(case: Case, desk: DeskHost, now_ms: int, *, shadow: bool = False) -> Row:
    """A case as a line of a list."""
    opened = case.statements[0].ts
    return Row(
        case=case,
        alert=case.alert,
        name=name_of(case.alert),
        link=shadow_link(case.dedup_key) if shadow else case_link(case.dedup_key),
        opened=opened,
        age=f"{span(desk.desk.clock_ms - opened)} ago",
        spark=charts.spark([said.accounts for said in case.statements]),
        silenced=desk.desk.silenced_by(case, now_ms) is not None,
        verdict=VERDICTS.get((case.verdict and case.verdict.verdict) or "", ""),
    )


def severities(cases: Iterable[Case]) -> list[tuple[str, int]]:
    """How many cases of each severity, the worst first."""
    found = Counter(case.alert.severity for case in cases)
    return [(severity, found[severity]) for severity in reversed(SEVERITIES)]


def standing(case: Case, silence: Label | None) -> str:
    """Where a case stands, in one or two sentences."""
    verdict = case.verdict or case.verdict_before
    if case.status == "closed" and verdict is not None:
        text = f"Closed by {verdict.who} as {VERDICTS.get(verdict.verdict or '', 'done')}: {verdict.reason}"
        return text if case.verdict else f"{text} (said of an earlier alert of the same accounts)"
    if case.status == "acknowledged" and case.acknowledged is not None:
        text = f"{case.acknowledged.who} is on it since {clock(case.acknowledged.ts)} UTC."
    elif case.status == "resolved":
        text = "It has stopped by itself. Nobody has said yet whether it was real: close it with a verdict."
    else:
        text = "Nobody is on it yet." if case.acknowledged is None else "It grew after it was acknowledged: look again."
    return f"{text} Silenced by {silence.who}: {silence.reason}" if silence else text


def weighed(alert: Alert) -> tuple[list[Evidence], float]:
    """The evidence for an alert, the heaviest first, and the largest number of points either way."""
    ordered = sorted(alert.evidence, key=lambda item: -item.weight)
    return ordered, max([1.0, *(abs(item.weight) for item in [*ordered, *alert.counter_evidence])])


def history(case: Case, more: Iterable[Label]) -> list[Line]:
    """What the detector said and people did, the newest first.

    The detector speaks in event time and people in wall time, so what was done stands behind the statement it was
    done about and not where its clock would put it.
    """
    places = {said.alert_id: at for at, said in enumerate(case.statements)}
    lines: list[tuple[tuple[int, int, int], Line]] = []
    for at, said in enumerate(case.statements):
        before = case.statements[at - 1] if at else None
        lines.append(((at, 0, said.ts), _said(said, before)))
    for label in [*case.labels, *more]:
        at = places.get(label.seen.alert_id, len(places)) if label.seen else len(places)
        lines.append(((at, 1, label.ts), did(label)))
    return [line for _, line in sorted(lines, key=lambda item: item[0], reverse=True)]


def _said(said: Statement, before: Statement | None) -> Line:
    title = f"{SAID[said.status]}, {said.severity}"
    if before is not None and rank(said.severity) > rank(before.severity):
        title = f"Worse: {before.severity} is now {said.severity}"
    text = f"{plural(said.accounts, 'account')}, {plural(said.requests, 'request')}"
    return Line("said", clock(said.ts), title, text)


def did(label: Label) -> Line:
    """What a person did, as a line."""
    verdict = f" as {VERDICTS[label.verdict]}" if label.verdict in VERDICTS else ""
    until = f" until {clock(label.expires)}" if label.expires else ""
    return Line("done", clock(label.ts), f"{DID[label.kind]}{verdict} by {label.who}{until}", label.reason)


def growth(case: Case) -> Markup:
    """The members and requests of a case over time, with what was said and done."""
    said = case.statements
    first = min(case.alert.first_seen, said[0].ts)
    marks = [(item.ts, SAID[item.status].lower()) for item in said if item.status != "update"]
    marks += [(b.ts, b.severity) for a, b in pairwise(said) if rank(b.severity) > rank(a.severity)]
    accounts = [(first, 0), *((item.ts, item.accounts) for item in said)]
    requests = [(first, 0), *((item.ts, item.requests) for item in said)]
    last = max(said[-1].ts, case.alert.last_seen)
    return charts.growth(accounts, requests, marks, first=first, last=last + max(60_000, (last - first) // 20))


def attributes(alert: Alert) -> Markup:
    """The groups of accounts that share something, as a graph."""
    groups: dict[str, list[tuple[str, int]]] = {}
    for item in sorted(alert.attributes, key=lambda item: -item.accounts):
        groups.setdefault(item.kind, []).append((item.value, item.accounts))
    return charts.attributes(alert.accounts, list(groups.items())[:6])


def members(signals: Iterable[Signal | None]) -> list[dict[str, Any]]:
    """Named accounts as rows."""
    return [
        {
            "account_id": signal.account_id,
            "link": account_link(signal.account_id),
            "action": signal.action,
            "left": left(signal),
            "ts": signal.ts,
            "expires": signal.expires,
        }
        for signal in signals
        if signal is not None
    ]


def left(signal: Signal) -> str:
    """How much of its limit an account keeps."""
    return f"{100 * signal.multiplier:.3g} %"


def actions(signals: Iterable[Signal | None]) -> list[tuple[str, int]]:
    """What the limiter was told, and of how many accounts."""
    found = Counter(signal.action for signal in signals if signal is not None)
    return [(action, found[action]) for action in ACTIONS if found[action]]


def told(case: Case, *, sinks: bool) -> str:
    """Whether somebody was told, and why or why not."""
    if not sinks:
        return "this console has no sinks: it tells nobody"
    why = case.why.value.removeprefix("held_").replace("_", " ")
    if case.told is None:
        return f"nobody was told: {why}"
    return f"last told {clock(case.told.at_ms)} ({case.told.kind}); since then: {why}"


def account_standing(signal: Signal | None, allowed: Label | None, clock_ms: int) -> str:
    """How an account stands, in a sentence."""
    if allowed is not None:
        return f"Allowed by {visible(allowed.who)}: the limiter leaves it alone."
    if signal is None:
        return "Nothing is held against this account."
    if signal.expires <= clock_ms:
        return f"It was told to the limiter ({signal.action}), and that has ended."
    words = {
        "throttle": f"It is slowed to {left(signal)} of its limit.",
        "challenge": f"It is asked to prove itself, with {left(signal)} of its limit until then.",
        "block": "It is blocked.",
        "observe": "It is watched; its requests pass as usual.",
        "allow": "Its requests pass as usual.",
    }
    return words[signal.action]
