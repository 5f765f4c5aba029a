"""What must hold after a fault: every record accounted for, and everything that left the pipeline that of no fault.

What lives here: reading what was written, whole and in its order, and comparing it. What does not: feeding (``trial``).
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import redis
from aiokafka import TopicPartition

from models.alert import Signal
from streams.config import load
from streams.redis_keys import signal_key
from streams.redis_signals import hash_fields
from streams.snapshots import Snapshots
from streams.stages import ObserveStage, factory
from streams.statelog import LogReader, last_mark, read_plan
from tests.system.deployment import Message, System

OUTCOMES = ("accepted", "rejected", "duplicate", "late")
Place = tuple[int, int]
"""Partition and offset of a request."""


SHOWN = 3


@dataclass(frozen=True, slots=True)
class Outcome:
    """All that was decided, whole: what was said under each key, in its order; the empty text clears an account."""

    alerts: dict[str, list[str]]
    signals: dict[str, list[str]]

    @property
    def standing(self) -> dict[str, str]:
        """The signal that each account is left with."""
        return {account: said[-1] for account, said in self.signals.items() if said[-1]}

    @property
    def size(self) -> int:
        return sum(map(len, (*self.alerts.values(), *self.signals.values())))

    def unlike(self, expected: Outcome) -> str:
        """What was said under the first few keys that differ from what was ``expected``."""
        pairs = ((self.alerts, expected.alerts), (self.signals, expected.signals))
        keys = [(mine, other, key) for mine, other in pairs for key in mine | other if mine.get(key) != other.get(key)]
        lines = [f"{len(keys)} keys differ"]
        for mine, other, key in keys[:SHOWN]:
            lines += [f"{key}: expected {other.get(key, [])}", f"{key}: found {mine.get(key, [])}"]
        return "\n".join(lines)


def _keyed(messages: Iterable[Message], tenant: str) -> dict[str, list[str]]:
    """By key; deployments differ in the name of their tenant alone, which is left out."""
    said = defaultdict(list)
    for key, value in messages:
        said[key.decode().replace(tenant, "tenant")].append((value or b"").decode().replace(tenant, "tenant"))
    return dict(said)


async def outcome_of(system: System) -> Outcome:
    """What the topics hold: their whole logs, so also what was said in the middle of a fault."""
    alerts, signals = system.topics.alerts, system.topics.signals
    tenant = system.prefix
    return Outcome(_keyed(await system.messages(alerts), tenant), _keyed(await system.messages(signals), tenant))


def outcome_of_files(alerts: Path, signals: Path, tenant: str) -> Outcome:
    """What a replay wrote, in the form of the topics."""
    said = [(json.loads(line)["dedup_key"].encode(), line) for line in alerts.read_bytes().splitlines()]
    told = []
    for line in signals.read_bytes().splitlines():
        signal = json.loads(line)
        told.append((signal["account_id"].encode(), None if signal.get("tombstone") else line))
    return Outcome(_keyed(said, tenant), _keyed(told, tenant))


async def check_rejects(system: System, bad: dict[Place, str]) -> None:
    """Each bad record was named once, where it is; no other was."""
    said = [json.loads(value or b"") for _, value in await system.messages(system.topics.rejects)]
    assert Counter(one["reason"] for one in said) == Counter(bad.values())
    placed = [((one["partition"], one["offset"]), one["reason"]) for one in said if one["offset"] >= 0]
    assert len(set(placed)) == len(placed), "a record was rejected twice"
    assert all(bad.get(place) == reason for place, reason in placed), "a good record was rejected"


async def check_commits(system: System, *, previous: bool = True) -> int:
    """At every partition's last two snapshots: read = accepted + rejected + duplicate + late + waiting.

    What is committed is what a successor starts from, whoever lives: so this holds also in the middle of a fault.

    Args:
        system: the deployment.
        previous: check also the last but one, which may be of another version.

    Returns:
        the number of snapshots checked.
    """
    reader = LogReader({"bootstrap_servers": system.bootstrap})
    await reader.start()
    settings = load(system.env)
    spec = factory(settings, system.topics)[0]
    checked = 0
    try:
        for number in range(await reader.partitions(spec.input_topic)):
            where = TopicPartition(spec.state_topic, number)
            end = await reader.end(where)
            mark = await last_mark(reader, where, end - 1) if end else None
            places = {mark.snapshot_at, mark.previous_at if previous else -1} - {-1} if mark else ()
            for at in places:
                plan = await read_plan(reader, where, end, at)
                assert plan.problem is None, plan.problem
                stage = spec.make(number, 1)
                assert isinstance(stage, ObserveStage)
                await Snapshots(settings.engine, number=0, partitions=1, now_s=0.0).restore(
                    reader, where, stage, plan, alive=lambda: None
                )
                counted = sum(count for (outcome, _), count in stage.counts().items() if outcome in OUTCOMES)
                assert counted + stage.observe.held == plan.offset, f"partition {number}"
                checked += 1
    finally:
        await reader.stop()
    return checked


def in_redis(system: System) -> dict[str, dict[str, str]]:
    """The hash of every account of this deployment."""
    client = redis.Redis.from_url(system.env["DISTILWATCH_REDIS_URL"], socket_timeout=5, decode_responses=True)
    try:
        prefix = signal_key(system.prefix, "")
        names = list(client.scan_iter(match=f"{prefix}*", count=1_000))
        pipe = client.pipeline(transaction=False)
        for name in names:
            pipe.hgetall(name)
        return {name.removeprefix(prefix): fields for name, fields in zip(names, pipe.execute(), strict=True)}
    finally:
        client.close()


def hashes_of(outcome: Outcome) -> dict[str, dict[str, str]]:
    """What limiters must read after it."""
    standing = outcome.standing.items()
    return {account: hash_fields(msgspec.json.decode(said, type=Signal)) for account, said in standing}
