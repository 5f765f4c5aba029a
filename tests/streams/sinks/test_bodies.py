"""Bodies keep to what the receivers publish of their forms, whatever an alert holds."""

from __future__ import annotations

import copy
import hashlib
import hmac
import re
from typing import Any

import jsonschema
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slack_sdk.models.blocks import Block

from models.cases import Notification
from streams.sinks import slack
from streams.sinks.bodies import Links, alertmanager, cloudevent, pagerduty, signature
from tests.models.desk_records import DAY, HOUR
from tests.streams.sinks.notices import flood, story

LINKS = Links(console_url="https://watch.example.net", docs_url="https://docs.example.net/v1")
KEY = "0123456789abcdef0123456789abcdef"
LABEL_SET = {"type": "object", "additionalProperties": {"type": "string"}}
ALERTMANAGER = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["labels"],
        "additionalProperties": False,
        "properties": {
            "labels": LABEL_SET | {"required": ["alertname"]},
            "annotations": LABEL_SET,
            "startsAt": {"type": "string", "format": "date-time"},
            "endsAt": {"type": "string", "format": "date-time"},
            "generatorURL": {"type": "string", "format": "uri"},
        },
    },
}
PAGERDUTY = {
    "type": "object",
    "required": ["routing_key", "event_action"],
    "additionalProperties": False,
    "properties": {
        "routing_key": {"type": "string", "minLength": 32, "maxLength": 32},
        "event_action": {"enum": ["trigger", "acknowledge", "resolve"]},
        "dedup_key": {"type": "string", "maxLength": 255},
        "client": {"type": "string"},
        "client_url": {"type": "string", "format": "uri"},
        "links": {
            "type": "array",
            "items": {"type": "object", "required": ["href"], "properties": {"href": {"pattern": "^https?://"}}},
        },
        "payload": {
            "type": "object",
            "required": ["summary", "source", "severity"],
            "additionalProperties": False,
            "properties": {
                "summary": {"type": "string", "maxLength": 1024},
                "source": {"type": "string"},
                "severity": {"enum": ["critical", "error", "warning", "info"]},
                "timestamp": {"type": "string", "format": "date-time"},
                "component": {"type": "string"},
                "group": {"type": "string"},
                "class": {"type": "string"},
                "custom_details": {"type": "object"},
            },
        },
    },
    "if": {"properties": {"event_action": {"const": "trigger"}}},
    "then": {"required": ["payload", "dedup_key"]},
    "else": {"required": ["dedup_key"]},
}
CLOUDEVENT = {
    "type": "object",
    "required": ["id", "source", "specversion", "type"],
    "properties": {
        "id": {"type": "string", "minLength": 1},
        "source": {"type": "string", "format": "uri-reference", "minLength": 1},
        "specversion": {"const": "1.0"},
        "type": {"type": "string", "minLength": 1},
        "datacontenttype": {"type": "string", "minLength": 1},
        "subject": {"type": "string", "minLength": 1},
        "time": {"type": "string", "format": "date-time"},
        "data": {"type": ["object", "string", "number", "array", "boolean", "null"]},
    },
    "propertyNames": {"pattern": "^[a-z0-9]+$"},
}
"""What the specification of CloudEvents publishes for its JSON form, and its rule for names."""

NASTY = ["<!channel>", "<https://evil.example|click>", "&amp;", "`*_~", "\u202eabc\x00\x1b[31m", "x" * 100_000, ""]


def valid(schema: dict[str, Any], body: object) -> Any:
    """The body as a receiver reads it, after it was held against the schema."""
    read = msgspec.json.decode(msgspec.json.encode(body))
    jsonschema.validate(read, schema, format_checker=jsonschema.FormatChecker())
    return read


def every() -> list[Notification]:
    return [*story(), flood()]


def with_texts(text: str) -> list[Notification]:
    """The story with a text from outside wherever one may come in."""
    return story(summary=text, members_sample=[text], cluster_id=text or None, account_id=text or "someone")


@pytest.mark.parametrize("notice", every(), ids=lambda notice: notice.kind)
@pytest.mark.parametrize("links", [LINKS, Links()], ids=["with pages", "without"])
def test_every_body_is_valid(notice: Notification, links: Links) -> None:
    valid(ALERTMANAGER, alertmanager(notice, links, now_ms=DAY + HOUR))
    valid(PAGERDUTY, pagerduty(notice, links, routing_key=KEY))
    valid(CLOUDEVENT, cloudevent(notice, links))
    slack_valid(slack.message(notice, links))


def slack_valid(body: dict[str, Any]) -> None:
    """Held against the limits that Slack's own library knows, and against those of a whole message."""
    assert body["text"]
    assert 1 <= len(body["blocks"]) <= 50
    for block in body["blocks"]:
        parsed = Block.parse(copy.deepcopy(block))
        assert parsed is not None
        assert parsed.to_dict()["type"] == block["type"]
    assert len(msgspec.json.encode(body["blocks"])) < 13_000


@pytest.mark.parametrize("text", NASTY, ids=repr)
def test_texts_from_outside_break_no_body(text: str) -> None:
    for notice in with_texts(text):
        valid(ALERTMANAGER, alertmanager(notice, LINKS, now_ms=DAY + HOUR))
        assert len(msgspec.json.encode(valid(PAGERDUTY, pagerduty(notice, LINKS, routing_key=KEY)))) < 20_000
        valid(CLOUDEVENT, cloudevent(notice, LINKS))
        slack_valid(slack.message(notice, LINKS))


@given(text=st.text(max_size=400))
@settings(max_examples=60, deadline=None)
def test_no_text_from_outside_rings_a_channel(text: str) -> None:
    for notice in with_texts(f"{text}<!channel>{text}"):
        body = slack.message(notice, Links())
        told = [block["text"]["text"] for block in body["blocks"] if block["type"] == "section" and "text" in block]
        for shown in [body["text"], *told]:
            assert "<" not in shown
            assert not re.search(r"&(?!amp;|lt;|gt;)", shown)


def test_an_alert_is_one_alert_for_its_whole_life() -> None:
    fired, grown, over = story()
    (first,) = alertmanager(fired, LINKS, now_ms=DAY)
    now, ended = alertmanager(grown, LINKS, now_ms=DAY + HOUR, before=fired)
    assert ended["labels"] == first["labels"]
    assert ended["endsAt"] < now["endsAt"]
    assert now["labels"] == first["labels"] | {"severity": "critical"}
    (last,) = alertmanager(over, LINKS, now_ms=DAY + 2 * HOUR, before=grown)
    assert last["labels"] == now["labels"]
    assert last["startsAt"] < last["endsAt"]


def test_an_alert_stamped_ahead_of_us_starts_before_it_ends() -> None:
    for notice in story():
        for alert in alertmanager(notice, LINKS, now_ms=DAY - HOUR):
            assert alert["startsAt"] < alert["endsAt"]


def test_pagerduty_joins_by_the_dedup_key() -> None:
    events = [pagerduty(notice, LINKS, routing_key=KEY) for notice in story()]
    assert [event["event_action"] for event in events] == ["trigger", "trigger", "resolve"]
    assert len({event["dedup_key"] for event in events}) == 1
    assert [event["payload"]["severity"] for event in events[:2]] == ["warning", "critical"]
    assert events[0]["links"][0]["href"].startswith("https://watch.example.net/alerts/distilwatch%3Adefault")
    assert events[0]["links"][1]["href"] == "https://docs.example.net/v1/docs/runbook.md#campaign"


def test_a_long_dedup_key_is_shortened_to_one_of_its_own() -> None:
    keys = {pagerduty(story("c" * 300 + end)[0], LINKS, routing_key=KEY)["dedup_key"] for end in "ab"}
    assert len(keys) == 2
    assert all(len(key) <= 255 for key in keys)


def test_a_cloudevent_carries_the_alert_and_its_state() -> None:
    event = valid(CLOUDEVENT, cloudevent(story()[2], LINKS))
    assert event["type"] == "io.distilwatch.notification.resolved.v1"
    assert event["subject"] == "cluster/c-1"
    assert event["data"]["status"] == "resolved"
    assert event["data"]["alert"]["evidence"][0]["name"] == "shared_payment"
    assert len({cloudevent(notice, LINKS)["id"] for notice in every()}) == 4


def test_a_signature_is_checked_as_documented() -> None:
    body = b'{"id":"1"}'
    value = signature("shared", body, 1_772_409_600)
    time, given_ = (part.partition("=")[2] for part in value.split(","))
    assert given_ == hmac.new(b"shared", f"{time}.".encode() + body, hashlib.sha256).hexdigest()
    assert signature("shared", body, 1_772_409_601) != value
