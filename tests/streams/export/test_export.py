"""Exports are valid in the eyes of others' libraries, say the same each time, and share no text and no account."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
import stix2
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

from models.alert import Alert, Attribute, Template
from models.announce import ATLAS
from streams.export.atlas import TECHNIQUES
from streams.export.ocsf import ACTIVITY, SEVERITY, VERSION, finding
from streams.export.stix import bundle
from tests.models.desk_records import HOUR, campaign, ended, of_account
from tests.streams.sinks.notices import AGAINST, EVIDENCE
from tests.streams.test_cli import run

SCHEMA = OcsfJsonSchemaEmbedded(get_ocsf_schema(version=VERSION)).get_class_schema("detection_finding", [])
WHOLE: dict[str, Any] = {
    "evidence": EVIDENCE,
    "counter_evidence": AGAINST,
    "members_sample": ["account-one", "account-two"],
    "templates": [Template(["4a6f6c91aff2fbdb", "23caba3ad9989d1b"], 165, "7 shared runs", 32, 32, 1_772_400_000_000)],
    "attributes": [
        Attribute("network", "13.89.224.0/24", 6),
        Attribute("network", "2001:db8:7::/48", 3),
        Attribute("payment", "28b3c3720da72abf", 11),
    ],
    "atlas": ATLAS,
}
STORY = [campaign("c-1", **WHOLE), campaign("c-1", 1, **WHOLE), ended("c-1"), campaign("c-2", **WHOLE), of_account("x")]


@pytest.mark.parametrize("alert", [*STORY, campaign(severity="info"), campaign(requests=0)], ids=lambda a: a.alert_id)
def test_a_finding_is_of_the_schema(alert: Alert) -> None:
    jsonschema.validate(json.loads(msgspec.json.encode(finding(alert, product_version="1"))), SCHEMA)


def test_the_schema_refuses_what_is_wrong() -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(finding(STORY[0], product_version="1") | {"severity_id": 77}, SCHEMA)


def test_a_finding_says_what_the_alert_says() -> None:
    opened, grown, over = (finding(alert, product_version="1") for alert in STORY[:3])
    assert [found["type_uid"] for found in (opened, grown, over)] == [200401, 200402, 200403]
    assert [found["is_alert"] for found in (opened, grown, over)] == [True, True, False]
    assert len({found["finding_info"]["uid"] for found in (opened, grown, over)}) == 1
    assert not finding(campaign(mode="shadow"), product_version="1")["is_alert"]
    assert opened["finding_info"]["attacks"][0]["sub_technique"]["name"] == "Extract AI Model"
    assert {item["value"] for item in opened["observables"]} >= {"account-one", "13.89.224.0/24"}
    assert opened["anomaly_analyses"][0]["anomalies"][0]["observation_parameter"] == "shared_payment"


def test_every_status_severity_and_technique_has_its_name() -> None:
    assert set(ACTIVITY) == {"open", "update", "resolved"}
    assert set(SEVERITY) == {"info", "low", "medium", "high", "critical"}
    assert set(ATLAS) <= set(TECHNIQUES)


def test_a_bundle_is_read_by_the_stix_library_with_its_patterns() -> None:
    made = bundle(STORY)
    read = stix2.parse(made, allow_custom=False)
    kinds = [item.type for item in read.objects]
    assert kinds.count("campaign") == 2
    patterns = [item.pattern for item in read.objects if item.type == "indicator"]
    assert "[ipv4-addr:value ISSUBSET '13.89.224.0/24']" in patterns
    assert "[ipv6-addr:value ISSUBSET '2001:db8:7::/48']" in patterns
    assert all(stix2.parse(item, version="2.1") for item in made["objects"])
    known = {item["id"] for item in made["objects"]}
    links = [item for item in made["objects"] if item["type"] == "relationship"]
    assert all({link["source_ref"], link["target_ref"]} <= known for link in links)
    assert len(known) == len(made["objects"])


def test_a_bundle_shares_no_account_and_no_payment_and_is_the_same_again() -> None:
    made = json.dumps(bundle(STORY))
    assert not any(text in made for text in ("account-one", "account-two", "28b3c3720da72abf"))
    assert json.dumps(bundle(reversed(STORY))) == made


def test_a_bundle_holds_the_newest_of_each_campaign_and_none_where_there_is_none() -> None:
    newest = campaign("c-1", 5, summary="newest")
    (found,) = [item for item in bundle([newest, campaign("c-1")])["objects"] if item["type"] == "campaign"]
    assert found["description"] == "newest"
    assert "objects" not in bundle([of_account("x")])
    early = campaign("c-9", first_seen=HOUR, last_seen=HOUR)
    assert stix2.parse(bundle([early]))


def written(path: Path, *more: bytes) -> str:
    path.write_bytes(b"".join([*(msgspec.json.encode(alert) + b"\n" for alert in STORY), *more]))
    return str(path)


def test_the_command_writes_both_forms(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl")
    done = run("export", "--format", "ocsf", path)
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["activity_id"] for line in done.stdout.splitlines()] == [1, 2, 3, 1, 1]
    done = run("export", "--format", "stix", path, "--out", str(tmp_path / "b.json"))
    assert done.returncode == 0
    assert json.loads((tmp_path / "b.json").read_bytes()) == json.loads(json.dumps(bundle(STORY)))


def test_lines_that_are_no_alerts_are_counted_and_not_shown(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", b'{"prompt":"hidden words"}\n', b"\xff\xfe\n", b"x" * 3_000_000, b"\n\n")
    done = run("export", "--format", "ocsf", path)
    assert done.returncode == 1
    assert len(done.stdout.splitlines()) == 5
    assert b"lines are no alerts, the first of them" in done.stderr
    assert b"line 6" in done.stderr
    assert b"hidden" not in done.stdout + done.stderr
    assert run("export", "--format", "stix", str(tmp_path / "none")).returncode == 2
