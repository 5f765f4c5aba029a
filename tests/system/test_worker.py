"""The worker as it runs in production, on real Kafka and Redis: it decides what a replay of the same events decides."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from streams.redis_signals import cluster_key, signal_key
from tests.letter import CANARY, SECRET, letter
from tests.servers import ROOT, free_port
from tests.streams.workers import Fleet

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]

PARTITIONS = 3
IDLE_MS = 6_000
"""Longer than the engine trusts its broker's silence for, so that a slow machine does not end the stream early."""
Message = tuple[bytes, bytes | None]


@dataclass(frozen=True, slots=True)
class Decided:
    """What came out: alert ids, and one line per signal."""

    alerts: list[str]
    signals: list[str]

    @property
    def accounts(self) -> set[str]:
        return {json.loads(signal)["account_id"] for signal in self.signals}


class System(Fleet):
    """Real workers on topics of their own, with a health port and a Redis tenant."""

    def __init__(self, bootstrap: str, folder: Path, redis_url: str) -> None:
        super().__init__(bootstrap, folder)
        self.port = free_port()
        self.command = [sys.executable, "-m", "streams", "worker"]
        self.env |= {
            "DISTILWATCH_SECRET": SECRET,
            "DISTILWATCH_TENANT": self.prefix,
            "DISTILWATCH_REDIS_URL": redis_url,
            "DISTILWATCH_PARTITIONS": str(PARTITIONS),
            "DISTILWATCH_HTTP_PORT": str(self.port),
            "DISTILWATCH_IDLE_MS": str(IDLE_MS),
        }

    def run(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        """Another command under the same settings."""
        command = [sys.executable, "-m", "streams", *arguments]
        return subprocess.run(command, cwd=ROOT, env=self.env, capture_output=True, timeout=60, check=False)

    async def feed(self) -> None:
        """The letter into the requests topic, by account."""
        found = letter()
        async with AIOKafkaProducer(bootstrap_servers=self.bootstrap, linger_ms=20) as producer:
            for account, line in zip(found.accounts, found.lines, strict=True):
                await producer.send(self.topics.requests, line, key=account.encode())

    def fetch(self, path: str) -> str:
        """A page of the health port; empty while nobody listens or it says no."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return str(answer.read().decode())
        except OSError:
            return ""

    async def until(self, condition, what: str, timeout_s: float = 120.0) -> None:  # type: ignore[no-untyped-def]
        """Poll a condition; fails with the end of the workers' log."""
        for _ in range(int(timeout_s / 0.1)):
            if await asyncio.to_thread(condition):
                return
            await asyncio.sleep(0.1)
        pytest.fail(f"waited for {what}: {self.logged()[-3000:]}")

    def counted(self, metric: str, **labels: str) -> float:
        """The sum of a metric over the series with these labels, as the worker reports it now."""
        total = 0.0
        for line in self.fetch("/metrics").splitlines():
            found = re.fullmatch(r"(\w+)\{(.*)\} (\S+)", line)
            if found and found[1] == metric and all(f'{name}="{value}"' in found[2] for name, value in labels.items()):
                total += float(found[3])
        return total

    def seen(self) -> float:
        return self.counted("distilwatch_input_records_total", stage="observe")

    async def messages(self, topic: str, level: str = "read_committed") -> list[Message]:
        """Everything a topic holds."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.bootstrap, isolation_level=level, auto_offset_reset="earliest"
        )
        await consumer.start()
        found: list[Message] = []
        try:
            places = [TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic) or ())]
            if not places:
                await consumer._client.force_metadata_update()
                places = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
            consumer.assign(places)
            ends = await consumer.end_offsets(places)
            while any([await consumer.position(place) < ends[place] for place in places]):
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    found += [(record.key or b"", record.value) for record in records]
        finally:
            await consumer.stop()
        return found

    async def decided(self) -> Decided:
        alerts = [json.loads(value or b"")["alert_id"] for _, value in await self.messages(self.topics.alerts)]
        signals = [(value or key).decode() for key, value in await self.messages(self.topics.signals)]
        return Decided(sorted(alerts), sorted(signals))

    async def settled(self, expected: Decided) -> Decided:
        """What was decided once it is all there and nothing more has come for a while."""
        for _ in range(60):
            found = await self.decided()
            if set(found.alerts) >= set(expected.alerts) and len(found.signals) >= len(expected.signals):
                break
            await asyncio.sleep(1)
        await asyncio.sleep(2)
        return await self.decided()

    def replayed(self) -> Decided:
        """What the command `replay` decides on the same events under the same settings."""
        (self.folder / "events.jsonl").write_bytes(letter().file())
        names = {name: str(self.folder / name) for name in ("events.jsonl", "alerts", "signals")}
        done = self.run(
            "replay", names["events.jsonl"], "--alerts", names["alerts"], "--signals", names["signals"], "--quiet"
        )
        assert done.returncode == 0, done.stderr
        alerts = [json.loads(line)["alert_id"] for line in (self.folder / "alerts").read_text().splitlines()]
        return Decided(sorted(alerts), sorted((self.folder / "signals").read_text().splitlines()))


@pytest.fixture
def system(kafka: str, redis_url: str, tmp_path: Path) -> Iterator[System]:
    system = System(kafka, tmp_path, redis_url)
    created = system.run("topics", "create")
    assert created.returncode == 0, created.stderr
    yield system
    system.close()


def held_in_redis(url: str, prefix: str) -> dict[str, tuple[dict[str, str], int]]:
    """Every hash of the tenant with its time to live in ms."""
    with redis.Redis.from_url(url, decode_responses=True) as client:
        names = [name for name in client.scan_iter(f"*{prefix}*") if client.type(name) == "hash"]
        return {name: (client.hgetall(name), client.pttl(name)) for name in names}


async def test_the_worker_decides_as_the_replay_and_leaks_nothing(system: System, redis_url: str) -> None:
    assert b"exists" in system.run("topics", "list").stdout
    expected = system.replayed()
    assert expected.alerts
    await system.feed()
    system.start()
    found = await system.settled(expected)
    assert found == expected, system.logged()[-3000:]
    assert system.counted("distilwatch_observe_events_total", outcome="accepted") == len(letter().lines)
    assert '"status":"ok"' in system.fetch("/-/ready")

    await system.until(lambda: len(held_in_redis(redis_url, system.prefix)) > len(expected.accounts), "Redis")
    held = held_in_redis(redis_url, system.prefix)
    clusters = {json.loads(line)["cluster_id"] for line in expected.signals}
    names = {signal_key(system.prefix, account) for account in expected.accounts}
    names |= {cluster_key(system.prefix, cluster) for cluster in clusters}
    assert set(held) == names
    for fields, ttl_ms in held.values():
        assert fields["action"] in ("throttle", "challenge")
        assert 0 < ttl_ms <= int(fields["expires"]) - int(fields["ts"])

    searched = [system.logged(), system.fetch("/metrics"), system.fetch("/-/ready"), repr(held)]
    for spec in system.topics.catalogue():
        if spec.name not in (system.topics.requests, system.topics.labels, system.topics.rules):
            messages = await system.messages(spec.name, "read_uncommitted")
            assert messages or spec.name == system.topics.rejects, spec.name
            searched.append(repr(messages))
    assert not any(CANARY in text for text in searched)


async def test_kill_9_half_way_changes_nothing(system: System) -> None:
    expected = system.replayed()
    await system.feed()
    slow = {"DISTILWATCH_BATCH_RECORDS": "300"}
    first = system.start(**slow)
    await system.until(lambda: system.seen() > 0.3 * len(letter().lines), "a third of the input")
    first.send_signal(signal.SIGKILL)
    first.wait(20)
    before = await system.decided()
    assert before != expected, "the kill came too late to prove anything"
    second = system.start(**slow)
    await system.until(lambda: system.seen() > 0.2 * len(letter().lines), "half of the rest")
    second.send_signal(signal.SIGKILL)
    second.wait(20)
    system.start()
    assert await system.settled(expected) == expected, system.logged()[-3000:]


async def test_broken_records_are_rejected_where_they_are_and_stop_nothing(system: System) -> None:
    lines = letter().lines[:40]
    bad = [
        b"{",
        b"",
        b'{"event_id": "\xff"}',
        CANARY.encode(),
        json.dumps(json.loads(lines[0]) | {"ts": 4_000_000_000_000}).encode(),
    ]
    await system.produce([*lines[:20], *bad, *lines[20:]])
    process = system.start()
    await system.until(lambda: system.counted("distilwatch_observe_events_total") == 45, "all to be counted")
    found = []
    for _ in range(100):  # counted at once, written with the next commit
        found = [json.loads(value or b"") for _, value in await system.messages(system.topics.rejects)]
        if len(found) >= len(bad):
            break
    assert [(reject["offset"], reject["reason"]) for reject in found] == [
        (20, "malformed_json"),
        (21, "empty_record"),
        (22, "not_utf8"),
        (23, "malformed_json"),
        (24, "time_future"),
    ]
    assert {(reject["topic"], reject["partition"]) for reject in found} == {(system.topics.requests, 0)}
    assert CANARY not in repr(found) + system.logged()
    process.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(process.wait, 30) == 0, system.logged()[-3000:]
