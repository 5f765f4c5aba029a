"""The topics and their records as an AsyncAPI 3.0 document, made from the catalogue and the types themselves.

What lives here: the document. What does not: topics (``topics``) or the forms of records (``models``). What only
operators exchange among themselves is binary and named as such.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import msgspec

from models.alert import Alert, Signal
from models.event import Reject
from models.labels import Label
from models.request import Request
from streams.topics import Topics, TopicSpec

REFERENCE = "#/components/schemas/{name}"
TYPES = (Request, Alert, Signal, Reject, Label)
BINDING = {"bindingVersion": "0.5.0"}
NUMBERS = ("retention.ms", "delete.retention.ms", "max.message.bytes")


def document() -> dict[str, Any]:
    """The whole document, for the usual prefix."""
    topics = Topics()
    _, schemas = msgspec.json.schema_components(TYPES, ref_template=REFERENCE)
    records = _records(topics)
    specs = {spec.name: spec for spec in topics.catalogue()}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "distilwatch",
            "version": version("distilwatch"),
            "description": "Request events in, alerts and signals out. Read with isolation.level=read_committed.",
        },
        "defaultContentType": "application/json",
        "channels": {_name(name): _channel(spec, records.get(name)) for name, spec in specs.items()},
        "operations": _operations(topics),
        "components": {"schemas": schemas},
    }


def _records(topics: Topics) -> dict[str, tuple[str, type, str]]:
    """Of each topic that others read or write: its key, the type of its records, and what they are."""
    return {
        topics.requests: (
            "account id",
            Request,
            "A request event in canonical form; others are recognised.",
        ),
        topics.alerts: ("dedup_key", Alert, "One statement about a campaign or an account."),
        topics.shadow: ("dedup_key", Alert, "An alert of a rule in the shadow: nobody is told."),
        topics.signals: ("account id", Signal, "What a limiter is told; an empty record clears the account."),
        topics.early: (
            "account id",
            Signal,
            "The same of an account that joins a known campaign, before an evaluation: may come again, ends by itself.",
        ),
        topics.rejects: ("none", Reject, "A record that could not be read: why and where, never what."),
        topics.labels: ("subject of the action", Label, "What a person said about an alert, a cluster or an account."),
    }


def _name(topic: str) -> str:
    return topic.split(".")[1]


def _channel(spec: TopicSpec, record: tuple[str, type, str] | None) -> dict[str, Any]:
    binding: dict[str, Any] = {
        "topic": spec.name,
        "topicConfiguration": _configuration(spec),
        "bindingVersion": "0.5.0",
    }
    if isinstance(spec.partitions, int):
        binding["partitions"] = spec.partitions
    message: dict[str, Any]
    if record is not None:
        key, type_, text = record
        message = {
            "name": type_.__name__,
            "summary": text,
            "contentType": "application/json",
            "payload": {"$ref": REFERENCE.format(name=type_.__name__)},
            "bindings": {"kafka": {"key": {"type": "string", "description": key}} | BINDING},
        }
    elif spec.name.endswith(".rules.v1"):
        text = "A rules file as published with `distilwatch rules publish`, keyed by tenant."
        message = {"name": "Rules", "summary": text, "contentType": "application/octet-stream", "payload": {}}
    else:
        text = "Among operators only: its form may change with any version."
        message = {"name": "Binary", "summary": text, "contentType": "application/octet-stream", "payload": {}}
    return {"address": spec.name, "messages": {message["name"]: message}, "bindings": {"kafka": binding}}


def _configuration(spec: TopicSpec) -> dict[str, Any]:
    """The part of a topic's configuration that the binding has words for."""
    found: dict[str, Any] = {"cleanup.policy": spec.config["cleanup.policy"].split(",")}
    return found | {name: int(spec.config[name]) for name in NUMBERS if name in spec.config}


def _operations(topics: Topics) -> dict[str, Any]:
    """From where distilwatch stands: what it receives from others and what it sends to them."""
    receives = (topics.requests, topics.labels, topics.rules)
    sends = (topics.alerts, topics.shadow, topics.signals, topics.early, topics.rejects)
    found = {}
    for action, names in (("receive", receives), ("send", sends)):
        for name in names:
            found[f"{action}-{_name(name)}"] = {
                "action": action,
                "channel": {"$ref": f"#/channels/{_name(name)}"},
            }
    return found
