"""Alerts of campaigns as a STIX 2.1 bundle of indicators, for sharing with others.

What lives here: the mapping, a pure function. What does not: reading and writing (``command``). What is shared are
networks and keyed digests of templates, never a text and never an account: accounts mean nothing to others and are
customers' to us. Digests mean something only to those who sketch under the same secret.
"""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Iterable
from typing import Any

from models.alert import Alert
from streams.export.atlas import SOURCE, TECHNIQUES, technique_url

NAMESPACE = uuid.UUID("6f1d6c0e-8c0e-5d57-9d5a-0f3b6f0c9a11")
TLP_AMBER = "marking-definition--f88d31f6-486f-44da-b317-01333bde0b82"
VALID_MS = 28 * 86_400_000
"""As long as a campaign is remembered that is not seen any more."""
NETWORK_CONFIDENCE = 30
"""Honest customers share networks too."""
TEMPLATE_CONFIDENCE = 80


def bundle(alerts: Iterable[Alert]) -> dict[str, Any]:
    """One bundle of all campaigns, each as its newest statement says; the same alerts give the same bundle."""
    newest: dict[str, Alert] = {}
    for alert in alerts:
        if alert.cluster_id and alert.status != "resolved":
            known = newest.get(alert.cluster_id)
            newest[alert.cluster_id] = alert if known is None or alert.ts >= known.ts else known
    campaigns = [newest[cluster_id] for cluster_id in sorted(newest)]
    objects: dict[str, dict[str, Any]] = {}
    if campaigns:
        first = min(alert.first_seen for alert in campaigns)
        author = _object("identity", "distilwatch", first, name="distilwatch", identity_class="system")
        objects[author["id"]] = author
        for alert in campaigns:
            for item in _campaign(alert, author["id"]):
                objects.setdefault(item["id"], item)
    key = "".join(sorted(objects))
    head = {"type": "bundle", "id": f"bundle--{uuid.uuid5(NAMESPACE, key)}"}
    return head | ({"objects": list(objects.values())} if objects else {})  # a list of none is not allowed


def _campaign(alert: Alert, author: str) -> list[dict[str, Any]]:
    common = {"created_by_ref": author, "object_marking_refs": [TLP_AMBER]}
    campaign = _object(
        "campaign",
        alert.cluster_id or "",
        alert.ts,
        name=f"Model distillation {alert.cluster_id}",
        description=alert.summary,
        first_seen=_stamp(alert.first_seen),
        last_seen=_stamp(max(alert.last_seen, alert.first_seen + 1)),
        **common,
    )
    found = [campaign]
    for uid in alert.atlas:
        about = {"source_name": SOURCE, "external_id": uid, "url": technique_url(uid)}
        pattern = _object("attack-pattern", uid, alert.ts, name=TECHNIQUES.get(uid, uid), external_references=[about])
        found += [pattern, _related(campaign, "uses", pattern, alert.ts, common)]
    for name, pattern_text, confidence in _patterns(alert):
        indicator = _object(
            "indicator",
            f"{alert.cluster_id} {pattern_text}",
            alert.ts,
            name=name,
            indicator_types=["anomalous-activity"],
            pattern=pattern_text,
            pattern_type="stix",
            pattern_version="2.1",
            valid_from=_stamp(alert.first_seen),
            valid_until=_stamp(alert.last_seen + VALID_MS),
            confidence=confidence,
            **common,
        )
        found += [indicator, _related(indicator, "indicates", campaign, alert.ts, common)]
    return found


def _patterns(alert: Alert) -> list[tuple[str, str, int]]:
    """Name, pattern and confidence of everything that may be shared."""
    found = []
    for template in alert.templates:
        tests = " OR ".join(f"x-distilwatch-template:digest = '{digest}'" for digest in template.digests)
        if tests:
            found.append((f"Prompt template of about {template.length} words", f"[{tests}]", TEMPLATE_CONFIDENCE))
    for item in alert.attributes:
        if item.kind == "network" and "/" in item.value:
            kind = "ipv6-addr" if ":" in item.value else "ipv4-addr"
            pattern = f"[{kind}:value ISSUBSET '{item.value}']"
            found.append((f"Network of {item.accounts} accounts", pattern, NETWORK_CONFIDENCE))
    return found


def _related(
    source: dict[str, Any], kind: str, target: dict[str, Any], ts: int, common: dict[str, Any]
) -> dict[str, Any]:
    key = f"{source['id']} {kind} {target['id']}"
    ends = {"relationship_type": kind, "source_ref": source["id"], "target_ref": target["id"]}
    return _object("relationship", key, ts, **ends, **common)


def _object(kind: str, key: str, ts: int, **fields: Any) -> dict[str, Any]:
    head = {"type": kind, "spec_version": "2.1", "id": f"{kind}--{uuid.uuid5(NAMESPACE, f'{kind} {key}')}"}
    return head | {"created": _stamp(ts), "modified": _stamp(ts)} | fields


def _stamp(ms: int) -> str:
    return datetime.datetime.fromtimestamp(ms / 1000, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{ms % 1000:03d}Z"
