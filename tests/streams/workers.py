"""Worker processes and topics for the fault tests, and the oracle of what they must have written."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path
from typing import IO, Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from streams.topics import Topics, create
from tests.servers import ROOT


class Fleet:
    """One prefix of topics, and the worker processes that a test starts on it."""

    def __init__(self, bootstrap: str, folder: Path, **env: str) -> None:
        self.bootstrap = bootstrap
        self.folder = folder
        self.prefix = f"t{uuid.uuid4().hex[:10]}"
        self.topics = Topics(self.prefix)
        self.command = [sys.executable, "-m", "tests.streams.toy_worker"]
        self.root = ROOT  # the tree whose code its processes run
        self.processes: list[subprocess.Popen[bytes]] = []
        self.log: IO[bytes] = (folder / "workers.log").open("ab")
        self.env = {
            "DISTILWATCH_BROKERS": bootstrap,
            "DISTILWATCH_TOPIC_PREFIX": self.prefix,
            "DISTILWATCH_GROUP": self.prefix,
            "DISTILWATCH_STATE_DIR": str(folder),
            "DISTILWATCH_HTTP_PORT": "-1",
            "DISTILWATCH_CREATE_TOPICS": "false",
            "DISTILWATCH_CHECKPOINT_MS": "100",
            "DISTILWATCH_SNAPSHOT_S": "1",
            "DISTILWATCH_SNAPSHOT_BYTES_PER_S": "100000000",
            "DISTILWATCH_SESSION_MS": "6000",
        } | env

    async def create(self, partitions: int = 1) -> None:
        await create({"bootstrap_servers": self.bootstrap}, self.topics.catalogue(), partitions=partitions)

    def start(self, slot: str = "0", **env: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            self.command,
            cwd=self.root,
            env={**os.environ, "REDIS_URL": "", **self.env, "DISTILWATCH_SLOT": slot, **env},
            stdout=self.log,
            stderr=self.log,
        )
        self.processes.append(process)
        return process

    def alive(self) -> bool:
        return any(process.poll() is None for process in self.processes)

    def close(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait(20)
        self.log.close()

    def logged(self) -> str:
        return (self.folder / "workers.log").read_text(errors="replace")

    async def produce(self, values: list[bytes], topic: str = "", key: bytes | None = None, **options: Any) -> None:
        async with AIOKafkaProducer(bootstrap_servers=self.bootstrap, **options) as producer:
            for value in values:
                sent = await producer.send(topic or self.topics.requests, value, key=key, partition=0)
            await sent  # the last of one partition; the others are before it

    async def rows(self, until: int, timeout_s: float = 40.0) -> list[str]:
        """Committed rows, as soon as ``until`` of them are there (or what there is after the timeout)."""
        rows: list[str] = []
        for value in await self.values(
            self.topics.alerts, enough=lambda found: _row_count(found) >= until, timeout_s=timeout_s
        ):
            rows += json.loads(value)
        return rows

    async def values(self, topic: str, *, enough, timeout_s: float = 20.0) -> list[bytes]:  # type: ignore[no-untyped-def]
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.bootstrap, isolation_level="read_committed", auto_offset_reset="earliest"
        )
        await consumer.start()
        found: list[bytes] = []
        try:
            consumer.assign([TopicPartition(topic, 0)])
            quiet = 0
            for _ in range(int(timeout_s / 0.2)):
                batches = await consumer.getmany(timeout_ms=200)
                found += [record.value for records in batches.values() for record in records]
                quiet = 0 if batches else quiet + 1
                if enough(found) or (quiet > 10 and not self.alive()):
                    break
        finally:
            await consumer.stop()
        return found


def _row_count(values: list[bytes]) -> int:
    return sum(len(json.loads(value)) for value in values)
