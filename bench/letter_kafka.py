"""A day of the letter over real Kafka with two workers: one broker, one producer and the workers on this machine.

What lives here: feeding the day hour by hour, and reading what the workers decided. What does not: the traffic
(``letter_pool``), the processes (``kafka``) and the marks (``letter``). The producer waits after each hour until the
workers have caught up, so the broker's disk holds the day and no more is ever in flight than an hour.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

from bench.kafka import Worker, start_workers, take, total
from bench.letter_pool import Pool
from models.alert import Alert, Signal
from models.announce import Decisions
from streams.topics import count_partitions
from tests.servers import KafkaServer


def run(source: Pool, plan: list[tuple[int, int]], count: int) -> tuple[dict[str, Any], Decisions]:
    """Feed the plan to ``count`` workers; what it took, and all they decided."""
    with tempfile.TemporaryDirectory(prefix="bench-letter-") as name:
        folder = Path(name)
        server = KafkaServer(folder / "kafka")
        server.start()
        try:
            workers = start_workers(server.bootstrap, folder, count)
            try:
                spent = _feed(workers, source, plan)
                decisions = asyncio.run(_read(server.bootstrap, workers[0]))
            finally:
                for worker in workers:
                    worker.stop()
        finally:
            server.stop()
    return spent, decisions


def _feed(workers: list[Worker], source: Pool, plan: list[tuple[int, int]]) -> dict[str, Any]:
    events, whole, cpu = 0, source.total(plan), [0.0] * len(workers)
    started = time.monotonic()
    for lines in _hours(source, plan):
        events += len(lines)
        _, spent = take(workers, lines, events)
        cpu = [before + more for before, more in zip(cpu, spent, strict=True)]
        rate = events / (time.monotonic() - started)
        alerts = total(workers, "distilwatch_output_records_total", workers[0].topics.alerts) or 0.0
        sys.stderr.write(
            f"letter: {events:,} of {whole:,} events ({events / whole:.1%}), {rate:,.0f}/s, "
            f"{(whole - events) / rate / 60:.1f} min left, {sum(worker.memory() for worker in workers) >> 20:,} MB in "
            f"{len(workers)} workers, {alerts:.0f} alerts\n"
        )
    wall = time.monotonic() - started
    return {"events": events, "wall": wall, "cpu": cpu, "bytes": max(worker.memory() for worker in workers)}


def _hours(source: Pool, plan: list[tuple[int, int]]) -> Iterator[list[bytes]]:
    for hour in plan:
        yield [line for batch in source.batches([hour]) for line in batch.records]


async def _read(bootstrap: str, worker: Worker) -> Decisions:
    """Everything in the topics of alerts and signals, in order."""
    decisions = Decisions()
    alerts, signals = msgspec.json.Decoder(Alert), msgspec.json.Decoder(Signal)
    topics = [worker.topics.alerts, worker.topics.signals]
    counts = await count_partitions({"bootstrap_servers": bootstrap}, topics)
    async with AIOKafkaConsumer(bootstrap_servers=bootstrap, isolation_level="read_committed") as consumer:
        for topic in topics:
            places = [TopicPartition(topic, number) for number in range(counts[topic])]
            consumer.assign(places)
            await consumer.seek_to_beginning(*places)
            ends = await consumer.end_offsets(places)
            while any([await consumer.position(place) < ends[place] for place in places]):
                for records in (await consumer.getmany(timeout_ms=500)).values():
                    if topic == worker.topics.alerts:
                        decisions.alerts += [alerts.decode(record.value) for record in records]
                    else:
                        decisions.signals += [
                            (record.key.decode(), signals.decode(record.value) if record.value else None)
                            for record in records
                        ]
    return decisions
