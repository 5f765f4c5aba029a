"""Overrides from the file to the alert: by tenant, plan and organisation, over the command that people run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from streams.cli import main

START = 1_772_409_600_000
RULES = """name: shop
rules: [{id: account_volume, correlation: {condition: {gte: 20}}}]
overrides:
  - tenant: staging
    mode: shadow
  - tenant: quiet
    rules: [{id: account_volume, mode: "off"}]
  - plan: enterprise
    rules: [{id: account_volume, correlation: {condition: {gte: 35}}}]
  - plan: free
    rules: [{id: account_volume, correlation: {condition: {gte: 5}}}]
  - org: acme
    rules: [{id: account_volume, correlation: {condition: {gte: 1000}}}]
"""
CUSTOMERS = {
    "none": (30, {}),
    "pro": (30, {"plan": "pro"}),
    "free": (6, {"plan": "free"}),
    "below": (30, {"plan": "enterprise"}),
    "above": (40, {"plan": "enterprise"}),
    "ours": (40, {"plan": "free", "org_id": "acme"}),
}


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "rules.yaml").write_text(RULES)
    lines = []
    for name, (count, more) in CUSTOMERS.items():
        for at in range(count):
            event = {"event_id": f"{name}-{at}", "ts": START + 1_000 * at, "account_id": name, "model": "m"}
            lines.append(json.dumps(event | {"prompt": f"question {at} of {name}"} | more))
    (tmp_path / "events.jsonl").write_text("\n".join(lines) + "\n")
    return tmp_path


def told(files: Path, monkeypatch: pytest.MonkeyPatch, tenant: str) -> tuple[dict[str, float], dict[str, float]]:
    """The limit at which each account was told of, to people and in the shadow."""
    monkeypatch.setenv("DISTILWATCH_TENANT", tenant)
    names = {name: str(files / name) for name in ("events.jsonl", "rules.yaml", "alerts", "shadow")}
    words = ["--rules", names["rules.yaml"], "--alerts", names["alerts"], "--shadow", names["shadow"], "--quiet"]
    assert main(["replay", names["events.jsonl"], *words]) == 0
    found = []
    for name in ("alerts", "shadow"):
        alerts = [json.loads(line) for line in (files / name).read_text().splitlines()]
        assert all(alert["rule_version"].startswith("shop/1@") for alert in alerts)
        found.append({alert["account_id"]: alert["evidence"][0]["baseline"] for alert in alerts})
    return found[0], found[1]


LIMITS = {"none": 20, "pro": 20, "free": 5, "above": 35}
"""Who goes beyond which limit: those of the plan, and the organisation's before them."""


@pytest.mark.parametrize(
    ("tenant", "people", "shadow"), [("default", LIMITS, {}), ("staging", {}, LIMITS), ("quiet", {}, {})]
)
def test_each_override_reaches_the_alert(files, monkeypatch, tenant, people, shadow):
    assert told(files, monkeypatch, tenant) == (people, shadow)
