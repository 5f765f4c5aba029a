"""Alerts, signals and labels for tests of the desk."""

from __future__ import annotations

from itertools import count
from typing import Any

from models.alert import Alert, Signal
from models.labels import Kind, Label

DAY = 1_772_409_600_000
HOUR = 3_600_000
_numbers = count()


def campaign(cluster: str = "c-1", number: int = 0, **more: Any) -> Alert:
    """Statement ``number`` of an episode of a cluster: 0 opens it."""
    episode = more.pop("episode", 1)
    facts = {
        "alert_id": f"a-{cluster}-{episode}" + (f".{number}" if number else ""),
        "dedup_key": f"distilwatch:default:campaign:{cluster}:{episode}",
        "status": "update" if number else "open",
        "severity": "medium",
        "mode": "enforce",
        "rule": "campaign",
        "rule_version": "1",
        "cluster_id": cluster,
        "ts": DAY + number * HOUR,
        "first_seen": DAY - HOUR,
        "last_seen": DAY,
        "score": 9.0,
        "accounts": 50 + number,
        "requests": 500,
        "window": "24h",
        "members_sample": [],
        "evidence": [],
        "counter_evidence": [],
        "templates": [],
        "attributes": [],
        "atlas": [],
        "summary": f"{cluster} works together.",
        "runbook_url": "docs/runbook.md#campaign",
    }
    return Alert(**(facts | more))


def ended(cluster: str = "c-1", number: int = 9, **more: Any) -> Alert:
    """The end of an episode."""
    return campaign(cluster, number, status="resolved", severity="info", **more)


def of_account(account: str, **more: Any) -> Alert:
    """An alert of an account rule."""
    return campaign(
        account,
        **{
            "alert_id": f"a-{account}",
            "dedup_key": f"distilwatch:default:account_volume:{account}:1",
            "rule": "account_volume",
            "cluster_id": None,
            "account_id": account,
            "severity": "low",
            "accounts": 1,
        }
        | more,
    )


def signal(account: str, cluster: str | None = "c-1", ts: int = DAY) -> Signal:
    """A signal of an account named with a cluster."""
    return Signal(
        account_id=account,
        cluster_id=cluster,
        action="throttle",
        multiplier=0.25,
        score=9.0,
        rule="campaign",
        alert_id="a",
        mode="enforce",
        ts=ts,
        expires=ts + 6 * HOUR,
        seq=ts,
    )


def label(kind: Kind, subject: str | dict[str, str] = "c-1", **more: Any) -> Label:
    """Something a person says; a text as subject is a cluster whose first case is meant."""
    named = {"dedup_key": f"distilwatch:default:campaign:{subject}:1"} if isinstance(subject, str) else subject
    facts: dict[str, Any] = {"action_id": f"l-{next(_numbers)}", "ts": DAY, "who": "kim", "reason": "checked"}
    return Label(kind=kind, subject=named, **(facts | more))
