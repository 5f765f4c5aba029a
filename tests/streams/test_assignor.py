"""Who owns which partitions: each has one owner, whoever asks, and no worker has much more to do than another."""

from __future__ import annotations

import asyncio
import uuid

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from hypothesis import given
from hypothesis import strategies as st

from streams.assignor import Assignor, Share, dealt
from streams.topics import TopicSpec, create

SHARES = [Share("requests", 2, 0.55), Share("sightings", 2, 0.2), Share("hubs", 1, 0.25)]


@given(
    st.lists(st.tuples(st.integers(0, 40), st.sampled_from([0.1, 0.2, 0.25, 0.55, 1.0])), min_size=1, max_size=4),
    st.lists(st.text("ab0123", min_size=1, max_size=4), min_size=1, max_size=9, unique=True),
)
def test_every_partition_has_one_owner_and_loads_differ_by_one_piece(
    sizes: list[tuple[int, float]], slots: list[str]
) -> None:
    shares = [Share(f"t{at}", count, weight) for at, (count, weight) in enumerate(sizes)]
    owners = dealt(shares, slots)
    assert set(owners) == {(share.topic, partition) for share in shares for partition in range(share.partitions)}
    assert owners == dealt(shares[::-1], slots[::-1])
    pieces = {share.topic: share.piece for share in shares}
    loads = dict.fromkeys(slots, 0.0)
    for (topic, _), slot in owners.items():
        loads[slot] += pieces[topic]
    largest = max((share.piece for share in shares if share.partitions), default=0.0)
    assert max(loads.values()) - min(loads.values()) <= largest + 1e-6


def test_who_has_campaigns_has_less_of_the_rest() -> None:
    owners = dealt(SHARES, ["1", "0"])
    assert owners["hubs", 0] == "0"
    assert {owners["requests", 0], owners["requests", 1]} == {"0", "1"}
    assert [owners["sightings", 0], owners["sightings", 1]] == ["1", "1"]


async def joined(kafka: str, topic: str, group: str, slot: str | None) -> AIOKafkaConsumer:
    """A member of the group; without a slot one as they were before there were shares."""
    strategy = RoundRobinPartitionAssignor if slot is None else Assignor(SHARES, slot)
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=kafka,
        group_id=group,
        enable_auto_commit=False,
        session_timeout_ms=6_000,
        heartbeat_interval_ms=200,
        partition_assignment_strategy=(strategy,),
    )
    await consumer.start()
    return consumer


async def settled(consumers: list[AIOKafkaConsumer], wanted: list[int]) -> None:
    """Wait until the members own so many partitions each."""
    for _ in range(200):
        await asyncio.gather(*(consumer.getmany(timeout_ms=50) for consumer in consumers))
        if [len(consumer.assignment()) for consumer in consumers] == wanted:
            return
    raise AssertionError([consumer.assignment() for consumer in consumers])


@pytest.mark.servers
async def test_a_group_on_a_broker_follows_it_and_takes_members_that_do_not_know_it(kafka: str) -> None:
    topic, group = "sightings", f"g{uuid.uuid4().hex[:8]}"
    await create({"bootstrap_servers": kafka}, [TopicSpec(topic, 2)], partitions=2)
    first, second = [await joined(kafka, topic, group, slot) for slot in ("0", "1")]
    await settled([first, second], [0, 2])  # the first has Campaigns, in a group of its own
    await second.stop()
    old = await joined(kafka, topic, group, None)
    await settled([first, old], [0, 2])
    await first.stop()
    await settled([old], [2])
    new = await joined(kafka, topic, group, "1")
    await settled([old, new], [1, 1])  # the old one leads
    await old.stop()
    await settled([new], [2])
    await new.stop()
