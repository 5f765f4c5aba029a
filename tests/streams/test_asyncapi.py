"""The AsyncAPI document is that of the code, and real records are what it says."""

from __future__ import annotations

import json
import re
from typing import Any

import jsonschema
import msgspec
import pytest

from models.canary import CanaryMark
from models.decode import Decoder, Origin
from models.hashing import KeyedHash
from models.output import encode_alert, encode_signal
from models.pipeline import Pipeline
from streams.asyncapi import document
from streams.selftest.canary import Canary
from streams.selftest.embedded import SPAN_MS, START_MS, STEP_MS
from streams.topics import Topics
from tests.models.desk_records import label
from tests.streams.test_cli import run

DOCUMENT: dict[str, Any] = msgspec.to_builtins(document())


def test_the_command_writes_it_without_brokers() -> None:
    done = run("topics", "asyncapi", DISTILWATCH_BROKERS="127.0.0.1:9")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == DOCUMENT
    assert DOCUMENT["asyncapi"] == "3.0.0"


def test_every_topic_is_a_channel_and_every_reference_leads_somewhere() -> None:
    specs = {spec.name: spec for spec in Topics().catalogue()}
    assert {channel["address"] for channel in DOCUMENT["channels"].values()} == set(specs)
    for channel in DOCUMENT["channels"].values():
        kept = channel["bindings"]["kafka"]["topicConfiguration"]
        assert kept["cleanup.policy"] == [specs[channel["address"]].config["cleanup.policy"]]
    for reference in re.findall(r'"\$ref": ?"#/([^"]+)"', json.dumps(DOCUMENT)):
        found: Any = DOCUMENT
        for part in reference.split("/"):
            found = found[part]
        assert found


def valid(name: str, record: bytes | None) -> None:
    schema = {"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]}
    jsonschema.validate(json.loads(record or b"null"), schema)


def test_real_records_are_of_their_schemas() -> None:
    keyed, secret = KeyedHash(b"a secret of sixteen bytes"), b"a secret of sixteen bytes"
    canary, decoder, pipeline = Canary("a", CanaryMark(keyed)), Decoder(keyed), Pipeline(secret)
    seen = {"Request": 0, "Alert": 0, "Signal": 0}
    for now_ms in range(START_MS, START_MS + SPAN_MS, STEP_MS):
        records = [record for _, _, record in canary.requests(now_ms, now_ms + STEP_MS)]
        prepared = pipeline.prepare(decoder.decode(records, Origin("t", 0, 0)).batch)
        decided = pipeline.process(prepared.events, prepared.sketches)
        signals = [encode_signal(signal) for _, signal in decided.signals]
        for name, lines in (
            ("Request", records[:2]),
            ("Alert", map(encode_alert, decided.alerts)),
            ("Signal", signals),
        ):
            for line in lines:
                valid(name, line)
                seen[name] += 1
    assert all(seen.values()), seen
    (reject,) = decoder.decode([b"no json"], Origin("t", 0, 0)).rejects
    valid("Reject", msgspec.json.encode(reject))
    valid("Label", msgspec.json.encode(label("acknowledge")))


@pytest.mark.parametrize(("name", "record"), [("Alert", b'{"alert_id": 7}'), ("Signal", b"{}"), ("Label", b"[]")])
def test_what_is_no_record_is_refused(name: str, record: bytes) -> None:
    with pytest.raises(jsonschema.ValidationError):
        valid(name, record)
