"""Alerts and signals: the two contracts that leave the system.

What lives here: their shape. What does not: when one is due (``verdict``, ``campaigns``).
"""

from __future__ import annotations

from typing import Literal

import msgspec

Status = Literal["open", "update", "resolved"]
Severity = Literal["info", "low", "medium", "high", "critical"]
Mode = Literal["off", "shadow", "alert", "enforce"]
Action = Literal["allow", "observe", "throttle", "challenge", "block"]
SEVERITIES: tuple[Severity, ...] = ("info", "low", "medium", "high", "critical")


class Evidence(msgspec.Struct, frozen=True):
    """One reason for or against, with what it was measured against and how much it weighed."""

    name: str
    value: float
    baseline: float
    unit: str
    weight: float
    text: str


class Template(msgspec.Struct, frozen=True):
    """A shared template by keyed digests only; ``skeleton`` is its redacted shape, never its words."""

    digests: list[str]
    length: int
    skeleton: str
    accounts: int
    requests: int
    first_seen: int


class Attribute(msgspec.Struct, frozen=True):
    """Something several members have in common, as a network or a keyed digest."""

    kind: str
    value: str
    accounts: int


class Gate(msgspec.Struct, frozen=True):
    """A bound that a cluster had to meet to be a campaign: ``value`` had to be at least ``needed``."""

    name: str
    value: float
    needed: float


class Alert(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=False):
    """One statement about one campaign or one account; times are event time in ms since the epoch."""

    alert_id: str
    dedup_key: str
    status: Status
    severity: Severity
    mode: Mode
    rule: str
    rule_version: str
    cluster_id: str | None = None
    account_id: str | None = None
    ts: int
    first_seen: int
    last_seen: int
    score: float
    accounts: int
    requests: int
    window: str
    members_sample: list[str]
    evidence: list[Evidence]
    counter_evidence: list[Evidence]
    templates: list[Template]
    attributes: list[Attribute]
    atlas: list[str]
    summary: str
    runbook_url: str
    gates: list[Gate] = []


class Signal(msgspec.Struct, frozen=True, kw_only=True):
    """What the limiter should do with one account until ``expires``."""

    account_id: str
    cluster_id: str | None
    action: Action
    multiplier: float
    score: float
    rule: str
    alert_id: str | None
    mode: Mode
    ts: int
    expires: int
    seq: int


def rank(severity: Severity) -> int:
    """Severities as numbers, the worst highest."""
    return SEVERITIES.index(severity)


def more_severe(one: Severity, other: Severity) -> bool:
    """Whether ``one`` is worse than ``other``."""
    return rank(one) > rank(other)
