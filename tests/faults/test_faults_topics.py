"""Topics that vanish, refuse or forget: nothing is acknowledged that was not written, and what was lost is counted."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError

from tests.servers import free_port, wait_for
from tests.streams.test_engine import chained, ended, oracle, scrape, words
from tests.streams.workers import Fleet

pytestmark = [pytest.mark.servers, pytest.mark.faults, pytest.mark.timeout(300)]


@pytest.fixture
def fleet(kafka: str, tmp_path: Path) -> Iterator[Fleet]:
    fleet = Fleet(kafka, tmp_path)
    yield fleet
    fleet.close()


async def configure(fleet: Fleet, topic: str, **config: str) -> None:
    """Set a topic's options; names with ``_`` for the dot."""
    admin = AIOKafkaAdminClient(bootstrap_servers=fleet.bootstrap)
    await admin.start()
    try:
        named = {name.replace("_", "."): value for name, value in config.items()}
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs=named)])
    finally:
        await admin.close()


async def exited(process: subprocess.Popen[bytes]) -> None:
    assert await ended(process, 120) != 0


@pytest.mark.row("8", "input topic deleted and made anew: never taken for the old one")
async def test_the_input_is_deleted(fleet: Fleet) -> None:
    await fleet.create()
    await fleet.produce(words(0, 50))
    process = fleet.start()
    await fleet.rows(until=50)
    admin = AIOKafkaAdminClient(bootstrap_servers=fleet.bootstrap)
    await admin.start()
    await admin.delete_topics([fleet.topics.requests])
    await exited(process)
    assert "is gone" in fleet.logged()
    await asyncio.sleep(2)
    await admin.close()
    await fleet.create()
    await fleet.produce(words(0, 10))
    await exited(fleet.start())
    said = fleet.logged().count("recreated")
    assert said
    await fleet.produce(words(100, 90))  # beyond the old progress: as long, but not the same
    await exited(fleet.start())
    assert fleet.logged().count("recreated") > said
    assert await fleet.rows(until=51, timeout_s=3) == oracle(words(0, 50))


@pytest.mark.row("9", "output refused: nothing acknowledged, all made up")
async def test_the_output_is_refused(fleet: Fleet) -> None:
    await fleet.create()
    fed = words(0, 50)
    await fleet.produce(fed)
    process = fleet.start()
    await fleet.rows(until=50)
    await configure(fleet, fleet.topics.alerts, max_message_bytes="120")
    fed += words(50, 50)
    await fleet.produce(fed[50:])
    await exited(process)
    await exited(fleet.start())
    assert await fleet.rows(until=51, timeout_s=3) == oracle(fed[:50])
    await configure(fleet, fleet.topics.alerts, max_message_bytes="1000000")
    fleet.start()
    rows = await fleet.rows(until=100)
    assert chained(rows)
    assert rows == oracle(fed)


@pytest.mark.row("10", "retention overtook us: the gap is counted, the rest is read")
async def test_retention_overtakes(fleet: Fleet) -> None:
    await fleet.create()
    await fleet.produce(words(0, 50))
    process = fleet.start()
    await fleet.rows(until=50)
    process.kill()
    process.wait(20)
    await fleet.produce(words(50, 50))
    admin = AIOKafkaAdminClient(bootstrap_servers=fleet.bootstrap)
    await admin.start()
    await admin.delete_records({TopicPartition(fleet.topics.requests, 0): RecordsToDelete(before_offset=80)})
    await admin.close()
    port = free_port()
    fleet.start(DISTILWATCH_HTTP_PORT=str(port))
    rows = await fleet.rows(until=70)
    assert chained(rows[:50])
    assert [row.split("@")[1].split()[0] for row in rows] == [str(at) for at in (*range(50), *range(80, 100))]
    counted = re.search(r'distilwatch_input_gap_records_total\{stage="toy"\} ([\d.]+)', scrape(port, "/metrics")[1])
    # At least what was never read, and also what was read after the last snapshot and cannot be folded again.
    assert counted is not None
    assert 30 <= float(counted[1]) <= 80
    assert "offsets were removed" in fleet.logged()


@pytest.mark.row("26", "the rejects topic refuses: the poisoned record is not passed over")
async def test_the_rejects_are_refused(fleet: Fleet) -> None:
    await fleet.create()
    await configure(fleet, fleet.topics.rejects, max_message_bytes="80")
    fed = [*words(0, 20), b"poison:canary", *words(21, 20)]
    await fleet.produce(fed)
    await exited(fleet.start())
    assert await fleet.rows(until=41, timeout_s=3) == oracle(fed)[: len(await fleet.rows(until=41, timeout_s=3))]
    assert await fleet.values(fleet.topics.rejects, enough=bool, timeout_s=3) == []
    await configure(fleet, fleet.topics.rejects, max_message_bytes="1000000")
    fleet.start()
    assert await fleet.rows(until=40) == oracle(fed)
    rejects = await fleet.values(fleet.topics.rejects, enough=bool)
    assert [(json.loads(value)["reason"], json.loads(value)["offset"]) for value in rejects] == [("poison", 20)]


@pytest.mark.row("28", "compression bomb: a broker that expands batches refuses it")
async def test_a_bomb_is_refused_by_the_broker(fleet: Fleet) -> None:
    await fleet.create()
    await configure(fleet, fleet.topics.requests, compression_type="uncompressed")
    async with AIOKafkaProducer(
        bootstrap_servers=fleet.bootstrap, compression_type="gzip", max_batch_size=64 << 20, max_request_size=64 << 20
    ) as producer:
        batch = producer.create_batch()
        for _ in range(40):
            batch.append(key=None, value=bytes(900_000), timestamp=None)
        with pytest.raises(KafkaError):
            await (await producer.send_batch(batch, fleet.topics.requests, partition=0))
    await fleet.produce(words(0, 10), compression_type="gzip")
    fleet.start()
    assert await fleet.rows(until=10) == oracle(words(0, 10))


@pytest.mark.row("23", "one silent partition holds nobody up, and 2 where it speaks again")
async def test_silence_is_said_once(fleet: Fleet) -> None:
    await fleet.create()
    port = free_port()
    await fleet.produce(words(0, 10))
    fleet.start(DISTILWATCH_IDLE_MS="700", DISTILWATCH_HTTP_PORT=str(port))
    rows = await fleet.rows(until=11)
    await asyncio.sleep(3)
    assert await fleet.rows(until=12, timeout_s=2) == rows
    await asyncio.to_thread(wait_for, lambda: scrape(port, "/-/ready")[0] == 200, "readiness")
    await fleet.produce(words(10, 5))
    texts = [row.split(" ")[0] for row in await fleet.rows(until=17)]
    assert texts.count("idle") == 2
