"""An alert as a Detection Finding of OCSF 1.8.0 (class 2004).

What lives here: the mapping, a pure function. What does not: reading and writing (``command``).
"""

from __future__ import annotations

from typing import Any

from models.alert import Alert, Evidence, Severity, Status
from streams.export.atlas import TECHNIQUES, technique_url
from streams.sinks.bodies import tenant_of

VERSION = "1.8.0"
CLASS = 2004
ACTIVITY: dict[Status, tuple[int, str]] = {"open": (1, "Create"), "update": (2, "Update"), "resolved": (3, "Close")}
SEVERITY: dict[Severity, tuple[int, str]] = {
    "info": (1, "Informational"),
    "low": (2, "Low"),
    "medium": (3, "Medium"),
    "high": (4, "High"),
    "critical": (5, "Critical"),
}
NEW, RESOLVED = (1, "New"), (4, "Resolved")
BEHAVIORAL = (2, "Behavioral")
SUBNET, OTHER = 12, 99


def finding(alert: Alert, *, product_version: str) -> dict[str, Any]:
    """The finding; a shadow alert and an end are no alert in the sense of ``is_alert``."""
    activity, severity = ACTIVITY[alert.status], SEVERITY[alert.severity]
    status = RESOLVED if alert.status == "resolved" else NEW
    found: dict[str, Any] = {
        "class_uid": CLASS,
        "class_name": "Detection Finding",
        "category_uid": 2,
        "category_name": "Findings",
        "activity_id": activity[0],
        "activity_name": activity[1],
        "type_uid": CLASS * 100 + activity[0],
        "type_name": f"Detection Finding: {activity[1]}",
        "severity_id": severity[0],
        "severity": severity[1],
        "status_id": status[0],
        "status": status[1],
        "time": alert.ts,
        "start_time": alert.first_seen,
        "end_time": max(alert.last_seen, alert.first_seen),
        "count": max(alert.requests, 1),
        "message": alert.summary,
        "is_alert": alert.mode in ("alert", "enforce") and alert.status != "resolved",
        "metadata": {
            "version": VERSION,
            "uid": alert.alert_id,
            "correlation_uid": alert.dedup_key,
            "tenant_uid": tenant_of(alert),
            "product": {"name": "distilwatch", "vendor_name": "distilwatch", "version": product_version},
        },
        "finding_info": _info(alert),
        "observables": _observables(alert),
        "unmapped": {"score": alert.score, "accounts": alert.accounts, "mode": alert.mode, "window": alert.window},
    }
    if analyses := _analyses(alert):
        found["anomaly_analyses"] = analyses
    if alert.templates:
        shown = [{"digests": template.digests, "length": template.length} for template in alert.templates]
        found["evidences"] = [{"name": "templates", "data": shown}]
    return found


def _info(alert: Alert) -> dict[str, Any]:
    subject = alert.cluster_id or alert.account_id or ""
    return {
        "uid": alert.dedup_key,
        "title": f"{alert.rule} {subject}".strip(),
        "desc": alert.summary,
        "analytic": {
            "uid": alert.rule,
            "name": alert.rule,
            "type_id": BEHAVIORAL[0],
            "type": BEHAVIORAL[1],
            "version": alert.rule_version,
        },
        "attacks": [_attack(uid) for uid in alert.atlas],
        "first_seen_time": alert.first_seen,
        "last_seen_time": alert.last_seen,
        "created_time": alert.ts,
        "src_url": alert.runbook_url,
    }


def _attack(uid: str) -> dict[str, Any]:
    """A technique, or a technique with the one below it."""
    entry = {"uid": uid, "name": TECHNIQUES.get(uid, uid), "src_url": technique_url(uid)}
    above = uid.rpartition(".")[0]
    if above.count(".") < 1:
        return {"technique": entry}
    return {"technique": {"uid": above, "name": TECHNIQUES.get(above, above)}, "sub_technique": entry}


def _observables(alert: Alert) -> list[dict[str, Any]]:
    """Accounts of the sample, and the networks that several share; everything else is a digest."""
    accounts = [alert.account_id] if alert.account_id else alert.members_sample
    found: list[dict[str, Any]] = [
        {"name": "account", "type_id": OTHER, "type": "account", "value": account_id} for account_id in accounts
    ]
    for item in alert.attributes:
        type_id, type_ = (SUBNET, "Subnet") if item.kind == "network" else (OTHER, f"{item.kind} digest")
        found.append({"name": item.kind, "type_id": type_id, "type": type_, "value": item.value})
    return found


def _analyses(alert: Alert) -> list[dict[str, Any]]:
    readings = [*alert.evidence, *alert.counter_evidence]
    if not readings:
        return []
    return [
        {
            "analysis_targets": [{"name": alert.cluster_id or alert.account_id or alert.dedup_key}],
            "anomalies": [_observed(item, item.value) | {"observed_pattern": item.text} for item in readings],
            "baselines": [_observed(item, item.baseline) for item in readings],
        }
    ]


def _observed(item: Evidence, value: float) -> dict[str, Any]:
    return {
        "observation_parameter": item.name,
        "observation_type": item.unit or "value",
        "observations": [{"value": f"{value:g}"}],
    }
