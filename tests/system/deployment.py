"""A deployment as in production: topics of its own, real workers with a health port and a Redis tenant, and its truth.

What lives here: feeding it, asking it, and what it must have decided. What does not: the faults and the tests.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from tests.letter import SECRET, letter
from tests.servers import ROOT, free_port
from tests.streams.workers import Fleet

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
        self.lines, self.accounts = letter().lines, letter().accounts
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
        return subprocess.run(command, cwd=ROOT, env=self.env, capture_output=True, timeout=300, check=False)

    async def feed(self, first: int = 0, end: int | None = None) -> None:
        """The letter, or its requests from ``first`` to before ``end``, into the requests topic."""
        await self.send(zip(self.accounts[first:end], self.lines[first:end], strict=True))

    async def send(self, requests: Iterable[tuple[str, bytes]]) -> None:
        """Requests, each with its account, into their topic."""
        async with AIOKafkaProducer(bootstrap_servers=self.bootstrap, linger_ms=20) as producer:
            for account, line in requests:
                await producer.send(self.topics.requests, line, key=account.encode())

    def fetch(self, path: str) -> str:
        """A page of the health port; empty while nobody listens or it says no."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=20) as answer:
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
        (self.folder / "events.jsonl").write_bytes(b"\n".join(self.lines) + b"\n")
        names = {name: str(self.folder / name) for name in ("events.jsonl", "alerts", "signals")}
        done = self.run(
            "replay", names["events.jsonl"], "--alerts", names["alerts"], "--signals", names["signals"], "--quiet"
        )
        assert done.returncode == 0, done.stderr
        alerts = [json.loads(line)["alert_id"] for line in (self.folder / "alerts").read_text().splitlines()]
        return Decided(sorted(alerts), sorted((self.folder / "signals").read_text().splitlines()))
