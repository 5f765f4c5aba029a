"""Cases: what people see of one alert from its opening to its verdict.

What lives here: the form of cases and notifications, and a case's status, which follows from what the detector stated
and what people said and from nothing else. What does not: taking records in, and when somebody is told (``desk``).
"""

from __future__ import annotations

import enum
from typing import Literal

import msgspec

from models.alert import Alert, Severity, Status, more_severe
from models.labels import Label, Seen

CaseStatus = Literal["open", "acknowledged", "resolved", "closed"]
NotificationKind = Literal["firing", "update", "resolved", "summary"]
DOUBLED = 2
"""An acknowledgement reaches until there are this many times the accounts it was given for."""
STATEMENTS_MAX = 50
LABELS_SHOWN_MAX = 50


class Why(enum.Enum):
    """Why somebody was told of a case, or why not."""

    FIRST = "first_notification"
    SEVERITY_RAISED = "severity_raised"
    ACCOUNTS_DOUBLED = "accounts_doubled"
    CHANGED = "changed_since_last_notification"
    AGAIN = "open_again"
    RESOLVED = "resolved_by_itself"
    CLOSED = "closed_with_a_verdict"
    FLOOD_SUMMARY = "flood_summary"
    NOTHING_NEW = "held_nothing_new"
    TOO_SOON = "held_updates_are_rate_limited"
    ACKNOWLEDGED = "held_acknowledged"
    SILENCED = "held_silenced"
    CLUSTER_OPEN = "held_its_cluster_is_open"
    SHADOW = "held_shadow_mode"
    NOT_TOLD = "held_ended_before_anyone_was_told"
    FLOOD = "held_by_the_cap_of_an_hour"

    @property
    def kind(self) -> NotificationKind | None:
        """What is sent for this reason; None where nothing is."""
        return _KINDS.get(self)


_KINDS: dict[Why, NotificationKind] = {
    Why.FIRST: "firing",
    Why.AGAIN: "firing",
    Why.SEVERITY_RAISED: "update",
    Why.ACCOUNTS_DOUBLED: "update",
    Why.CHANGED: "update",
    Why.RESOLVED: "resolved",
    Why.CLOSED: "resolved",
    Why.FLOOD_SUMMARY: "summary",
}


class Statement(msgspec.Struct, frozen=True):
    """One statement of the detector about a case, short: the line of its history."""

    alert_id: str
    status: Status
    severity: Severity
    ts: int
    accounts: int
    requests: int
    score: float

    @property
    def order(self) -> tuple[int, int]:
        """Later statements have the higher order; at one time an end comes after what it ends."""
        return self.ts, ("open", "update", "resolved").index(self.status)


class Told(msgspec.Struct, frozen=True):
    """What was last sent about a case."""

    kind: Literal["firing", "resolved"]
    alert_id: str
    severity: Severity
    accounts: int
    at_ms: int


class Case(msgspec.Struct, kw_only=True):
    """One alert with its history: ``alert`` is the newest statement that was no end, ``last`` the newest of all."""

    dedup_key: str
    status: CaseStatus = "open"
    alert: Alert
    last: Statement
    statements: list[Statement]
    severity_most: Severity
    accounts_most: int
    labels: list[Label] = []
    acknowledged: Label | None = None
    verdict: Label | None = None
    verdict_before: Label | None = None
    """Of an earlier case of the same cluster that was no campaign."""
    reopened: bool = False
    told: Told | None = None
    why: Why = Why.NOTHING_NEW

    @property
    def seen(self) -> Seen:
        """How far this case has gone: what an acknowledgement or verdict given now reaches."""
        return Seen(self.last.alert_id, self.severity_most, self.accounts_most, self.alert.cluster_id)

    @property
    def live(self) -> bool:
        """Whether it still wants somebody."""
        return self.status in ("open", "acknowledged")

    @property
    def goes_on(self) -> bool:
        """Whether it was confirmed and has not ended: what its members do is known."""
        confirmed = self.verdict is not None and self.verdict.verdict == "confirmed"
        return self.status == "closed" and confirmed and self.last.status != "resolved"


class Notification(msgspec.Struct, frozen=True, kw_only=True):
    """What a sink sends; repeats after a crash have the same ``notification_id``. A summary has no case."""

    notification_id: str
    kind: NotificationKind
    why: Why
    at_ms: int
    text: str
    severity: Severity
    case: Case | None = None
    held: int = 0
    """Of a summary: how many cases wait."""


def statement_of(alert: Alert) -> Statement:
    """The short form of an alert."""
    return Statement(
        alert.alert_id, alert.status, alert.severity, alert.ts, alert.accounts, alert.requests, alert.score
    )


def status_of(case: Case, *, ended: bool) -> CaseStatus:
    """The status that follows from statements and labels; ``ended`` where the detector or time has ended it.

    A verdict holds while the severity is not above what was judged, an acknowledgement also only until the accounts
    have doubled. An earlier verdict on the same cluster that it is no campaign holds in the same way.
    """
    for verdict in (case.verdict, case.verdict_before):
        if verdict is not None and not _outgrown(case, verdict):
            return "closed"
    if ended:
        return "resolved"
    if case.acknowledged is None or _outgrown(case, case.acknowledged):
        return "open"
    seen = case.acknowledged.seen or Seen()
    return "open" if case.accounts_most >= DOUBLED * max(seen.accounts, 1) else "acknowledged"


def _outgrown(case: Case, label: Label) -> bool:
    return more_severe(case.severity_most, (label.seen or Seen()).severity)
