"""The catalogue of Kafka topics, and their creation.

What lives here: names, partitions, clean-up and retention of every topic the system touches. What does not: what the
records mean. Creating is idempotent: what exists stays as it is, and what differs from the catalogue is reported.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
_TOPIC_EXISTS = 36  # the broker's error code, met when another worker creates at the same moment
_BROKER_STAMP = {"message.timestamp.type": "LogAppendTime"}
"""Producers' clocks do not decide retention, and event stamps are clamped against the broker's clock."""
_COMPACT = {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.1"}
_STATE = _COMPACT | {"segment.bytes": str(64 << 20), "segment.ms": "600000", "delete.retention.ms": "3600000"}
"""Small segments: only closed ones are compacted, and a restore reads what is not."""


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """One topic: ``partitions`` is a count, or the name of the topic whose count it must share (None: the setting)."""

    name: str
    partitions: int | str | None
    config: Mapping[str, str] = field(default_factory=dict)


def _kept(days: float, **more: str) -> dict[str, str]:
    limits = {"cleanup.policy": "delete", "retention.ms": str(int(days * DAY_MS))}
    return limits | _BROKER_STAMP | {name.replace("_", "."): value for name, value in more.items()}


class Topics:
    """The catalogue under one prefix; attributes are full topic names."""

    def __init__(self, prefix: str = "distilwatch") -> None:
        self.requests = f"{prefix}.requests.v1"
        self.sightings = f"{prefix}.sightings.v1"
        self.hubs = f"{prefix}.hubs.v1"
        self.alerts = f"{prefix}.alerts.v1"
        self.shadow = f"{prefix}.shadow.v1"
        self.signals = f"{prefix}.signals.v1"
        self.early = f"{prefix}.early.v1"
        self.rejects = f"{prefix}.rejects.v1"
        self.labels = f"{prefix}.labels.v1"
        self.rules = f"{prefix}.rules.v1"
        self.campaigns = f"{prefix}.campaigns.v1"
        self.observe_state = f"{prefix}.observe-state.v1"
        self.fanin_state = f"{prefix}.fanin-state.v1"
        self.campaigns_state = f"{prefix}.campaigns-state.v1"

    def catalogue(self) -> list[TopicSpec]:
        """Every topic, inputs before the state topics that copy their partition count."""
        return [
            TopicSpec(self.requests, None, _kept(7)),
            TopicSpec(self.sightings, None, _kept(2, max_message_bytes="2097152")),
            TopicSpec(self.hubs, 1, _kept(7, max_message_bytes="2097152")),
            TopicSpec(self.alerts, 1, _kept(90)),
            TopicSpec(self.shadow, 1, _kept(90)),
            TopicSpec(self.signals, None, _COMPACT | {"delete.retention.ms": str(DAY_MS)}),
            TopicSpec(self.early, None, _kept(1)),
            TopicSpec(self.rejects, 1, _kept(14)),
            TopicSpec(self.labels, 1, _COMPACT),
            TopicSpec(self.rules, 1, _COMPACT),
            TopicSpec(self.campaigns, 1, _COMPACT),
            TopicSpec(self.observe_state, self.requests, _STATE),
            TopicSpec(self.fanin_state, self.sightings, _STATE),
            TopicSpec(self.campaigns_state, self.hubs, _STATE),
        ]


class TopicReport(msgspec.Struct, frozen=True):
    """What ``create`` or ``describe`` found for one topic; ``differences`` are left to the operator."""

    name: str
    state: Literal["created", "exists", "differs", "missing"]
    partitions: int
    differences: list[str]


async def create(
    clients: Mapping[str, Any],
    specs: list[TopicSpec],
    *,
    partitions: int = 4,
    replication: int = 1,
) -> list[TopicReport]:
    """Create the missing topics and compare the others with the catalogue.

    Args:
        clients: connection arguments of ``config.client_options``.
        specs: the catalogue (or a part of it; a topic that shares another's count comes after it).
        partitions: count for topics that scale out; an existing input's own count goes before it.
        replication: copies of each partition; from 3 up, writes need two of them in sync.
    """
    admin = AIOKafkaAdminClient(**clients)
    await admin.start()
    try:
        found = await _partition_counts(admin, specs)
        wanted = _wanted(specs, found, partitions)
        durable = {"min.insync.replicas": "2"} if replication >= 3 else {}
        new = [
            NewTopic(spec.name, wanted[spec.name], replication, topic_configs=dict(spec.config) | durable)
            for spec in specs
            if spec.name not in found
        ]
        await _create_new(admin, new)
        actual = await _configs(admin, [spec.name for spec in specs if spec.name in found])
        return [_report(spec, wanted[spec.name], found.get(spec.name), actual.get(spec.name, {})) for spec in specs]
    finally:
        await admin.close()


async def count_partitions(clients: Mapping[str, Any], names: list[str]) -> dict[str, int]:
    """Partitions of each of the topics that exist."""
    admin = AIOKafkaAdminClient(**clients)
    await admin.start()
    try:
        described = await admin.describe_topics(names)
    finally:
        await admin.close()
    return {topic["topic"]: len(topic["partitions"]) for topic in described if topic["error_code"] == 0}


async def describe(clients: Mapping[str, Any], specs: list[TopicSpec], *, partitions: int = 4) -> list[TopicReport]:
    """Compare the topics with the catalogue and change nothing; arguments as for ``create``."""
    admin = AIOKafkaAdminClient(**clients)
    await admin.start()
    try:
        found = await _partition_counts(admin, specs)
        wanted = _wanted(specs, found, partitions)
        actual = await _configs(admin, [spec.name for spec in specs if spec.name in found])
    finally:
        await admin.close()
    return [
        _report(spec, wanted[spec.name], found[spec.name], actual.get(spec.name, {}))
        if spec.name in found
        else TopicReport(spec.name, "missing", wanted[spec.name], [])
        for spec in specs
    ]


def _wanted(specs: list[TopicSpec], found: Mapping[str, int], partitions: int) -> dict[str, int]:
    """Partition count per topic; a shared count follows what the other topic has, not what it should have."""
    wanted: dict[str, int] = {}
    for spec in specs:
        if isinstance(spec.partitions, str):
            wanted[spec.name] = found.get(spec.partitions, wanted.get(spec.partitions, partitions))
        else:
            wanted[spec.name] = spec.partitions or partitions
    return wanted


async def _partition_counts(admin: AIOKafkaAdminClient, specs: list[TopicSpec]) -> dict[str, int]:
    names = set(await admin.list_topics()) & {spec.name for spec in specs}
    described = await admin.describe_topics(sorted(names)) if names else []
    return {topic["topic"]: len(topic["partitions"]) for topic in described if topic["error_code"] == 0}


async def _create_new(admin: AIOKafkaAdminClient, new: list[NewTopic]) -> None:
    if not new:
        return
    response = await admin.create_topics(new)
    for name, code, *rest in response.topic_errors:
        if code not in (0, _TOPIC_EXISTS):
            raise ConnectionError(f"the broker did not create {name}: error {code} {rest[0] if rest else ''}")
    # Metadata of a new topic reaches every broker a moment after the answer; clients that start now would miss it.
    names = {topic.name for topic in new}
    for _ in range(100):
        if names <= set(await admin.list_topics()):
            return
        await asyncio.sleep(0.05)


async def _configs(admin: AIOKafkaAdminClient, names: list[str]) -> dict[str, dict[str, str]]:
    if not names:
        return {}
    responses = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name) for name in names])
    result: dict[str, dict[str, str]] = {}
    for response in responses:
        for resource in response.resources:
            _, _, _, name, entries = resource[:5]
            result[name] = {entry[0]: entry[1] for entry in entries}
    return result


def _report(spec: TopicSpec, wanted: int, found: int | None, actual: Mapping[str, str]) -> TopicReport:
    if found is None:
        return TopicReport(spec.name, "created", wanted, [])
    differences = []
    if isinstance(spec.partitions, str | int) and found != wanted:
        differences.append(f"partitions: has {found}, needs {wanted}")
    for name, value in spec.config.items():
        if actual.get(name) != value:
            differences.append(f"{name}: has {actual.get(name)}, catalogue says {value}")
    return TopicReport(spec.name, "differs" if differences else "exists", found, differences)
