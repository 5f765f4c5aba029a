"""Topics on a real broker: created once, left alone after, differences told."""

from __future__ import annotations

import asyncio
import uuid

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from streams.topics import Topics, create

pytestmark = pytest.mark.servers


async def test_creating_twice_changes_nothing(kafka: str) -> None:
    specs = Topics(f"t{uuid.uuid4().hex[:8]}").catalogue()
    clients = {"bootstrap_servers": kafka}
    first = await create(clients, specs, partitions=2)
    assert {report.state for report in first} == {"created"}
    second = await create(clients, specs, partitions=2)
    assert {report.state for report in second} == {"exists"}, second
    assert [report.partitions for report in first] == [report.partitions for report in second]


async def test_state_follows_the_partitions_of_an_existing_input_and_differences_are_told(kafka: str) -> None:
    topics = Topics(f"t{uuid.uuid4().hex[:8]}")
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    await admin.create_topics([NewTopic(topics.requests, 3, 1), NewTopic(topics.hubs, 2, 1)])
    while not {topics.requests, topics.hubs} <= set(await admin.list_topics()):
        await asyncio.sleep(0.05)  # the broker answers a moment before it has heard of the topics itself
    await admin.close()
    reports = {r.name: r for r in await create({"bootstrap_servers": kafka}, topics.catalogue(), partitions=2)}
    assert reports[topics.observe_state].partitions == 3
    assert reports[topics.fanin_state].partitions == 2
    assert "partitions: has 2, needs 1" in reports[topics.hubs].differences
    assert any(line.startswith("message.timestamp.type") for line in reports[topics.requests].differences)
    assert reports[topics.alerts].state == "created"
