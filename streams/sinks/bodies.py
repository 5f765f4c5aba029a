"""What each kind of receiver is sent about a notification: pure functions from it to JSON values.

What lives here: Alertmanager v2, PagerDuty Events v2 and CloudEvents 1.0 (Slack has a module of its own). What does
not: sending. Nothing here can hold text of a prompt: an alert has none. Ids of accounts come from outside, so every
text is cut, and letters that no person can see are taken out.
"""

from __future__ import annotations

import datetime
import hashlib
import hmac
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from models.alert import Alert, Evidence, Severity
from models.cases import Notification

HOLD_MS = 21_600_000
"""Alertmanager takes an alert for over this long after its last repeat: longer than a restart of ours takes, and short
enough that one whose end was never told does not stand for days."""
FLOOD_MS = 3_600_000
EVIDENCE_SHOWN = 5
DEDUP_KEY_MAX = 255
PAGERDUTY_SEVERITY: dict[Severity, str] = {
    "critical": "critical",
    "high": "error",
    "medium": "warning",
    "low": "info",
    "info": "info",
}
SIGNATURE = "Distilwatch-Signature"


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """Where links in notifications lead; empty where there is no such place."""

    console_url: str = ""
    docs_url: str = ""

    def case(self, notice: Notification) -> str:
        """The page of the case."""
        if not self.console_url:
            return ""
        return f"{self.console_url}/alerts/{quote(notice.case.dedup_key, safe='')}" if notice.case else self.console_url

    def runbook(self, alert: Alert) -> str:
        """The section of the runbook, as a whole address where the pages have one."""
        return f"{self.docs_url}/{alert.runbook_url}" if self.docs_url else alert.runbook_url


def cut(text: str, most: int) -> str:
    """The text in at most so many characters, without any that cannot be seen."""
    shown = "".join(letter if letter.isprintable() else " " for letter in text)
    return shown if len(shown) <= most else shown[: most - 1] + "…"


def stamp(ms: int) -> str:
    """A time as RFC 3339 in UTC."""
    return datetime.datetime.fromtimestamp(ms / 1000, datetime.UTC).isoformat(timespec="milliseconds")


def key_of(notice: Notification) -> str:
    """What the receiver joins notifications by: the dedup key, or one for all summaries."""
    key = notice.case.dedup_key if notice.case else "distilwatch:flood"
    return key if len(key) <= DEDUP_KEY_MAX else hashlib.sha256(key.encode()).hexdigest()


def subject_of(alert: Alert) -> str:
    """What an alert is about, in words: the cluster or the account."""
    return f"cluster {alert.cluster_id}" if alert.cluster_id else f"account {alert.account_id}"


def evidence_lines(items: list[Evidence], most: int = EVIDENCE_SHOWN) -> list[str]:
    """The heaviest readings, each as a line with its points."""
    heaviest = sorted(items, key=lambda item: -abs(item.weight))[:most]
    return [f"{item.weight:+g}: {cut(item.text, 300)}" for item in heaviest]


def alertmanager(
    notice: Notification, links: Links, *, now_ms: int, before: Notification | None = None
) -> list[dict[str, Any]]:
    """The body of ``POST /api/v2/alerts``.

    Alertmanager knows an alert by all its labels, severity among them. So where ``before``, what it was last sent of
    this case, had another severity, that one is ended in the same post, and an end has the labels of what it ends.
    """
    if notice.case is None:
        return [_flood(notice, links, now_ms)]
    if notice.kind == "resolved":
        return [_standing(before or notice, links, now_ms, ends_ms=now_ms)]
    found = [_standing(notice, links, now_ms, ends_ms=now_ms + HOLD_MS)]
    if before is not None and before.severity != notice.severity:
        found.append(_standing(before, links, now_ms, ends_ms=now_ms))
    return found


def _standing(notice: Notification, links: Links, now_ms: int, *, ends_ms: int) -> dict[str, Any]:
    assert notice.case is not None  # noqa: S101  a summary takes another way
    alert = notice.case.alert
    labels = {
        "alertname": "Distilwatch" + "".join(word.capitalize() for word in alert.rule.split("_")),
        "severity": notice.severity,
        "rule": alert.rule,
        "mode": alert.mode,
        "dedup_key": key_of(notice),
    }
    if alert.cluster_id:
        labels["cluster_id"] = alert.cluster_id
    annotations = {
        "summary": cut(notice.text, 1_000),
        "description": "\n".join(evidence_lines(alert.evidence) + evidence_lines(alert.counter_evidence)),
        "subject": cut(subject_of(alert), 300),
        "accounts": str(alert.accounts),
        "requests": str(alert.requests),
        "score": f"{alert.score:g}",
        "runbook_url": links.runbook(alert),
    }
    started_ms = min(notice.case.statements[0].ts, ends_ms - 1, now_ms - 1)  # an event may be stamped ahead of us
    return _posted(labels, annotations, links.case(notice), (started_ms, ends_ms))


def _flood(notice: Notification, links: Links, now_ms: int) -> dict[str, Any]:
    labels = {"alertname": "DistilwatchFlood", "severity": notice.severity, "dedup_key": key_of(notice)}
    return _posted(labels, {"summary": cut(notice.text, 1_000)}, links.case(notice), (now_ms - 1, now_ms + FLOOD_MS))


def _posted(labels: dict[str, str], annotations: dict[str, str], link: str, when: tuple[int, int]) -> dict[str, Any]:
    alert: dict[str, Any] = {
        "labels": labels,
        "annotations": annotations,
        "startsAt": stamp(when[0]),
        "endsAt": stamp(when[1]),
    }
    return alert | ({"generatorURL": link} if link else {})


def pagerduty(notice: Notification, links: Links, *, routing_key: str) -> dict[str, Any]:
    """The body of ``POST /v2/enqueue``."""
    event: dict[str, Any] = {
        "routing_key": routing_key,
        "event_action": "resolve" if notice.kind == "resolved" else "trigger",
        "dedup_key": key_of(notice),
    }
    if notice.kind == "resolved":
        return event
    payload: dict[str, Any] = {
        "summary": cut(notice.text, 1_024),
        "source": "distilwatch",
        "severity": PAGERDUTY_SEVERITY[notice.severity],
        "timestamp": stamp(notice.at_ms),
    }
    hrefs = [(links.case(notice), "Open in the console")]
    if notice.case is not None:
        alert = notice.case.alert
        payload |= {"component": cut(subject_of(alert), 255), "group": tenant_of(alert), "class": alert.rule}
        payload["custom_details"] = {
            "accounts": alert.accounts,
            "requests": alert.requests,
            "score": alert.score,
            "mode": alert.mode,
            "first_seen": stamp(alert.first_seen),
            "evidence": evidence_lines(alert.evidence),
            "counter_evidence": evidence_lines(alert.counter_evidence),
            "members_sample": [cut(account_id, 128) for account_id in alert.members_sample[:20]],
        }
        hrefs.append((links.runbook(alert), "Runbook"))
    event |= {"client": "distilwatch", "payload": payload}
    if links.console_url:
        event["client_url"] = links.case(notice)
    shown = [{"href": href, "text": text} for href, text in hrefs if href.startswith(("https://", "http://"))]
    return event | ({"links": shown} if shown else {})


def tenant_of(alert: Alert) -> str:
    """The tenant, which is the second part of every dedup key."""
    return [*alert.dedup_key.split(":"), "default"][1]


def cloudevent(notice: Notification, links: Links) -> dict[str, Any]:
    """A notification as a CloudEvent; the alert is whole, the case is its state without its history."""
    event: dict[str, Any] = {
        "specversion": "1.0",
        "id": notice.notification_id,
        "source": "/distilwatch/" + (tenant_of(notice.case.alert) if notice.case else "default"),
        "type": f"io.distilwatch.notification.{notice.kind}.v1",
        "time": stamp(notice.at_ms),
        "datacontenttype": "application/json",
    }
    data: dict[str, Any] = {
        "kind": notice.kind,
        "why": notice.why.value,
        "text": notice.text,
        "severity": notice.severity,
        "held": notice.held,
        "url": links.case(notice) or None,
    }
    if notice.case is not None:
        case = notice.case
        event["subject"] = quote(subject_of(case.alert).replace(" ", "/", 1), safe="/")
        data |= {
            "dedup_key": case.dedup_key,
            "status": case.status,
            "severity_most": case.severity_most,
            "accounts_most": case.accounts_most,
            "verdict": case.verdict.verdict if case.verdict else None,
            "alert": case.alert,
        }
    return event | {"data": data}


def signature(secret: str, body: bytes, now_s: int) -> str:
    """The value of the signature header: the time, and HMAC-SHA256 of ``time.body`` in hexadecimal.

    The time is signed, so that a receiver can refuse what was recorded and is sent again later.
    """
    signed = hmac.new(secret.encode(), f"{now_s}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={now_s},v1={signed}"
