"""The desk: alerts and what people say about them, folded into cases, and who is told of what.

What lives here: taking records in, in any interleaving of the feeds, and deciding at a moment which notifications are
due. What does not: what a case is (``cases``), the form of labels (``labels``), feeds and sending (``streams``).

Records only change what is known. ``due`` then compares each case with what was last sent about it, so a desk that
reads everything again from the beginning sends nothing twice, and one that was away sends what is true now.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from models.alert import Alert, Severity, Signal, more_severe, rank
from models.cases import (
    DOUBLED,
    LABELS_SHOWN_MAX,
    STATEMENTS_MAX,
    Case,
    Notification,
    Told,
    Why,
    statement_of,
    status_of,
)
from models.errors import WireError
from models.labels import FAMILY_NAMES, Label, label_key, problem
from models.members import Members

HOUR_MS = 3_600_000
VERSION = 1
IDS_MAX = 100_000
EARLY_MAX = 10_000


@dataclass(frozen=True, slots=True)
class DeskLimits:
    """Bounds of a desk; times in ms."""

    cases: int = 5_000  # some 20 kB each with their evidence
    labels: int = 100_000
    update_ms: int = 1_800_000  # an update that is no escalation waits this long after the last notification
    notifications_hour: int = 20  # a person can look at one in three minutes
    account_case_ms: int = 24 * HOUR_MS  # an account rule states no end: its case ends by event time


class DeskState(msgspec.Struct):
    """Everything a desk must keep over a restart."""

    version: int
    cases: list[Case]
    labels: list[Label]
    ids: list[str]
    early: dict[str, list[Label]]
    clock_ms: int
    sent_ms: list[int]
    flood_ms: int
    flood_severity: Severity
    dropped: int


class Desk:
    """Cases by ``dedup_key``. Pure: time comes in as ``now_ms``, and nothing depends on when records arrive."""

    def __init__(self, limits: DeskLimits | None = None) -> None:
        self.limits = limits or DeskLimits()
        self.cases: dict[str, Case] = {}
        self.labels: dict[str, dict[str, Label]] = {family: {} for family in FAMILY_NAMES}  # the newest of each key
        self.members = Members()
        self.dropped = 0
        self.clock_ms = 0  # event time: the newest stamp of any feed
        self._ids: dict[str, None] = {}
        self._early: dict[str, list[Label]] = {}  # said of cases whose alerts have not been read yet
        self._sent_ms: list[int] = []
        self._flood_ms = -HOUR_MS
        self._flood_severity: Severity = "info"

    def take_alert(self, alert: Alert) -> Case | None:
        """Take one statement of the detector; the case where it said something new, else None."""
        self.clock_ms = max(self.clock_ms, alert.ts)
        said = statement_of(alert)
        case = self.cases.get(alert.dedup_key)
        if case is not None and said.order <= case.last.order:
            return None
        if case is None:
            case = self._opened(alert)
        else:
            case.last = said
            case.statements = [*case.statements, said][-STATEMENTS_MAX:]
        if alert.status != "resolved":
            case.alert = alert
            case.severity_most = max(case.severity_most, alert.severity, key=rank)
            case.accounts_most = max(case.accounts_most, alert.accounts)
        self._refresh(case)
        self._bound()
        return case

    def _opened(self, alert: Alert) -> Case:
        said = statement_of(alert)
        case = Case(
            dedup_key=alert.dedup_key,
            alert=alert,
            last=said,
            statements=[said],
            severity_most=alert.severity,
            accounts_most=alert.accounts,
        )
        self.cases[alert.dedup_key] = case
        for label in self._early.pop(alert.dedup_key, ()):
            self._apply(case, label)
        return case

    def take_signal(self, account_id: str, signal: Signal | None) -> None:
        """Take what the limiter is told of an account; None clears it."""
        self.members.take(account_id, signal)
        self.clock_ms = max(self.clock_ms, self.members.newest_ms)

    def take_label(self, label: Label) -> list[Case]:
        """Take what a person said; the cases it changed. One that came before, or makes no sense, changes none."""
        if label.action_id in self._ids or problem(label) is not None:
            return []
        _put(self._ids, label.action_id, None, IDS_MAX)
        _put(self.labels[label.family], label.key, label, self.limits.labels)
        dedup_key = label.subject.get("dedup_key")
        if dedup_key is None or label.family == "silence":
            return []
        case = self.cases.get(dedup_key)
        if case is None:
            _put(self._early, dedup_key, [*self._early.get(dedup_key, ()), label][-LABELS_SHOWN_MAX:], EARLY_MAX)
            return []
        self._apply(case, label)
        cluster_id = case.alert.cluster_id
        same = [known for known in self.cases.values() if cluster_id and known.alert.cluster_id == cluster_id]
        for known in same or [case]:
            self._refresh(known)
        return same or [case]

    def _apply(self, case: Case, label: Label) -> None:
        """Note in its case what was said about it."""
        if label.seen is None:
            label = msgspec.structs.replace(label, seen=case.seen)
        case.labels = [*case.labels, label][-LABELS_SHOWN_MAX:]
        if label.kind == "acknowledge":
            case.acknowledged = label
        elif label.kind == "close":
            case.verdict, case.reopened = label, False
        elif label.kind == "reopen":
            case.verdict = case.acknowledged = None
            case.reopened = True

    def _refresh(self, case: Case) -> None:
        case.verdict_before = self._verdict_before(case)
        case.status = status_of(case, ended=self._ended(case))

    def _verdict_before(self, case: Case) -> Label | None:
        """What was last said of other cases of this cluster, where that was that it is no campaign."""
        cluster_id, found = case.alert.cluster_id, None
        if cluster_id is None or case.reopened:
            return None
        for label in self.labels["verdict"].values():
            about = label.seen.cluster_id if label.seen else None
            if about == cluster_id and label.subject["dedup_key"] != case.dedup_key:
                found = label
        return found if found is not None and found.verdict not in (None, "confirmed") else None

    def _ended(self, case: Case) -> bool:
        if case.last.status == "resolved":
            return True
        return case.alert.cluster_id is None and self.clock_ms - case.last.ts >= self.limits.account_case_ms

    def _bound(self) -> None:
        """Drop what is over first, the longest over first; then the least severe."""
        while len(self.cases) > self.limits.cases:
            chosen = min(
                self.cases.values(),
                key=lambda case: (
                    case.live,
                    rank(case.severity_most) if case.live else 0,
                    case.last.ts,
                    case.dedup_key,
                ),
            )
            del self.cases[chosen.dedup_key]
            self.dropped += 1

    def knows(self, action_id: str) -> bool:
        """Whether a label has been taken."""
        return action_id in self._ids

    def in_force(self, family: str, subject: dict[str, str], now_ms: int) -> Label | None:
        """What holds for exactly this subject now: the newest of its family, unless that took it back or has ended."""
        label = self.labels[family].get(label_key(family, subject))
        return None if label is None or label.takes_back or label.ended(now_ms) else label

    def refusal(self, label: Label) -> str | None:
        """Why a label would have no effect, in words; None where it would have one."""
        wrong = problem(label)
        if wrong is not None or "dedup_key" not in label.subject:
            return wrong
        case = self.cases.get(label.subject["dedup_key"])
        if case is None:
            return f"no alert has the dedup_key {label.subject['dedup_key']}"
        if label.kind == "acknowledge" and case.status != "open":
            return f"the alert is {case.status}, and only an open one can be acknowledged"
        if label.kind == "close" and case.verdict is not None and case.status == "closed":
            return f"the alert is closed as {case.verdict.verdict} already; reopen it first"
        if label.kind == "reopen" and case.status not in ("closed", "acknowledged"):
            return f"the alert is {case.status}; only a closed or acknowledged one can be reopened"
        return None

    def silences(self, now_ms: int) -> list[Label]:
        """The silences in force."""
        known = self.labels["silence"].values()
        return [label for label in known if label.kind == "silence" and not label.ended(now_ms)]

    def silenced_by(self, case: Case, now_ms: int) -> Label | None:
        """The silence that holds back notifications of a case."""
        facts = {
            "dedup_key": case.dedup_key,
            "cluster_id": case.alert.cluster_id,
            "rule": case.alert.rule,
            "severity": case.alert.severity,
            "account_id": case.alert.account_id,
        }
        for label in self.silences(now_ms):
            if all(facts[name] == value for name, value in label.subject.items()):
                return label
        return None

    def due(self, now_ms: int) -> list[Notification]:
        """What is to be sent now, the most severe first; the desk holds it for sent from here on."""
        self._sent_ms = [at_ms for at_ms in self._sent_ms if now_ms - at_ms < HOUR_MS]
        for case in self.cases.values():
            if case.alert.cluster_id is None:
                self._refresh(case)  # ends by time alone
        open_clusters = {case.alert.cluster_id for case in self.cases.values() if case.live or case.goes_on}
        found: list[Notification] = []
        held: list[Case] = []
        for case in sorted(self.cases.values(), key=_urgency):
            why = self._why(case, open_clusters, now_ms)
            if why.kind in ("firing", "update") and len(self._sent_ms) >= self.limits.notifications_hour:
                why = Why.FLOOD
                held.append(case)
            case.why = why
            if why.kind is not None:
                found.append(self._tell(case, why, now_ms))
        return found + self._summary(held, now_ms)

    def _why(self, case: Case, open_clusters: set[str | None], now_ms: int) -> Why:
        """The reason to tell somebody of a case now, or not to."""
        told = case.told
        if not case.live:
            if told is None or told.kind == "resolved":
                return Why.NOT_TOLD if told is None else Why.NOTHING_NEW
            return Why.RESOLVED if case.status == "resolved" else Why.CLOSED
        if case.alert.mode in ("shadow", "off"):
            return Why.SHADOW
        if self.silenced_by(case, now_ms) is not None:
            return Why.SILENCED
        if case.status == "acknowledged":
            return Why.ACKNOWLEDGED
        account_id = case.alert.account_id
        if account_id is not None and (self.members.cluster_of(account_id) or "") in open_clusters:
            return Why.CLUSTER_OPEN
        if told is None or told.kind == "resolved":
            return Why.FIRST if told is None else Why.AGAIN
        return self._why_again(case, told, now_ms)

    def _why_again(self, case: Case, told: Told, now_ms: int) -> Why:
        """The reason to tell more of a case that somebody was told of."""
        if more_severe(case.alert.severity, told.severity):
            return Why.SEVERITY_RAISED
        if case.alert.accounts >= DOUBLED * max(told.accounts, 1):
            return Why.ACCOUNTS_DOUBLED
        if case.last.alert_id == told.alert_id:
            return Why.NOTHING_NEW
        return Why.TOO_SOON if now_ms - told.at_ms < self.limits.update_ms else Why.CHANGED

    def _tell(self, case: Case, why: Why, now_ms: int) -> Notification:
        kind = why.kind or "update"
        if kind != "resolved":  # ends are as many as beginnings, and one that is held back leaves a page standing
            self._sent_ms.append(now_ms)
        case.told = Told(
            "resolved" if kind == "resolved" else "firing",
            case.last.alert_id,
            case.alert.severity,
            case.alert.accounts,
            now_ms,
        )
        last = case.labels[-1].action_id if case.labels else "-"
        return Notification(
            notification_id=f"{kind}:{case.last.alert_id}:{last}",
            kind=kind,
            why=why,
            at_ms=now_ms,
            text=_text(case, why),
            severity=case.alert.severity,
            case=msgspec.structs.replace(case),
        )

    def _summary(self, held: list[Case], now_ms: int) -> list[Notification]:
        """One word an hour about what the cap holds back, and another only where it has become more severe."""
        if not held:
            return []
        worst = max((case.alert.severity for case in held), key=rank)
        if now_ms - self._flood_ms < HOUR_MS and not more_severe(worst, self._flood_severity):
            return []
        self._flood_ms, self._flood_severity = now_ms, worst
        cap = self.limits.notifications_hour
        text = (
            f"{len(held):,} more alerts wait, the worst of them {worst}: {cap} notifications were sent within an hour, "
            "which is the cap. They follow as the hour passes; look at the list."
        )
        summary = Notification(
            notification_id=f"summary:{now_ms}",
            kind="summary",
            why=Why.FLOOD_SUMMARY,
            at_ms=now_ms,
            text=text,
            severity=worst,
            held=len(held),
        )
        return [summary]

    def snapshot(self) -> bytes:
        """All that must outlive a restart; members come back from their feed."""
        state = DeskState(
            VERSION,
            list(self.cases.values()),
            [label for family in self.labels.values() for label in family.values()],
            list(self._ids),
            self._early,
            self.clock_ms,
            self._sent_ms,
            self._flood_ms,
            self._flood_severity,
            self.dropped,
        )
        return msgspec.json.encode(state)

    def restore(self, data: bytes) -> None:
        """Take over a snapshot; raises WireError where it cannot be read."""
        try:
            state = msgspec.json.decode(data, type=DeskState)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise WireError(f"no state of a desk: {error}") from error
        if state.version != VERSION:
            raise WireError(f"state of a desk in version {state.version}; this one reads {VERSION}")
        self.cases = {case.dedup_key: case for case in state.cases}
        for label in state.labels:
            self.labels[label.family][label.key] = label
        self._early = state.early
        self._ids = dict.fromkeys(state.ids)
        self.clock_ms, self.dropped = state.clock_ms, state.dropped
        self._sent_ms, self._flood_ms, self._flood_severity = state.sent_ms, state.flood_ms, state.flood_severity


def read_alert(record: bytes | Mapping[str, Any]) -> Alert | None:
    """The alert in a record; None where it is none, which callers count. Unknown fields are newer than this code."""
    try:
        return _ALERT.decode(record) if isinstance(record, bytes) else msgspec.convert(record, Alert)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


_ALERT = msgspec.json.Decoder(Alert)


def _put(table: dict[str, Any], key: str, value: Any, most: int) -> None:
    """Set ``key`` as the newest of ``table``; beyond ``most`` the oldest goes."""
    table.pop(key, None)
    table[key] = value
    if len(table) > most:
        del table[next(iter(table))]


def _urgency(case: Case) -> tuple[int, int, str]:
    """The order in which cases are told: the worst first, among equals the oldest."""
    return -rank(case.alert.severity), case.statements[0].ts, case.dedup_key


def _text(case: Case, why: Why) -> str:
    """One sentence for the subject line."""
    if why is Why.CLOSED:
        verdict = case.verdict or case.verdict_before
        return f"Closed as {(verdict.verdict or '').replace('_', ' ')} by {verdict.who}." if verdict else "Closed."
    if why is Why.RESOLVED:
        return f"Over: {case.alert.summary}"
    return case.alert.summary
