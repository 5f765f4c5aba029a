"""Recovery of one partition against a state topic with damaged snapshots, on a real broker."""

from __future__ import annotations

import asyncio
import threading
import uuid
from dataclasses import replace

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition

from streams import checkpoint
from streams.config import load
from streams.control import ControlLog
from streams.metrics import Metrics
from streams.outside import Outside
from streams.partition import Host, Partition, Quarantine
from streams.parts import Part, Parts
from streams.stage import Output, Record, StageSpec
from streams.statelog import LogReader, RecoveryError, last_mark, part_keys
from streams.topics import Topics, create
from tests.simulation.toy import Split
from tests.streams.toy_worker import CountWords

pytestmark = pytest.mark.servers


class Slow(CountWords):
    """A stage whose ``step`` ends only once somebody else has come round, or in vain."""

    def __init__(self, out_topic: str, step: str) -> None:
        super().__init__(out_topic)
        self.step = step
        self.begun, self.free = threading.Event(), threading.Event()
        self.freed = False

    def advance(self) -> list[Output]:
        self._wait("advance")
        return super().advance()

    def snapshot(self) -> bytes:
        self._wait("snapshot")
        return super().snapshot()

    def _wait(self, step: str) -> None:
        if step == self.step:
            self.begun.set()
            self.freed = self.free.wait(10)


class Bench:
    """One partition's topics and host, without a consumer group."""

    def __init__(self, bootstrap: str, sliced: bool = False) -> None:
        self.clients = {"bootstrap_servers": bootstrap}
        self.topics = Topics(f"t{uuid.uuid4().hex[:10]}")
        spec = StageSpec(
            "toy",
            self.topics.requests,
            self.topics.observe_state,
            lambda n, of: Split(self.topics, 0, 1) if sliced else CountWords(self.topics.alerts),
        )
        outside = Outside()
        self.host = Host(
            spec=spec,
            settings=load({"DISTILWATCH_SNAPSHOT_S": "600"}).engine,
            clients=self.clients,
            producer_prefix=self.topics.requests,
            rejects_topic=self.topics.rejects,
            reject_key=b"",
            metrics=Metrics(),
            partitions=1,
            control=ControlLog(),
            outside=outside,
            alive=lambda: None,
            aside=outside.aside(),
        )
        self.reader = LogReader(self.clients)
        self.state = TopicPartition(self.topics.observe_state, 0)
        self.input = TopicPartition(self.topics.requests, 0)

    async def start(self) -> None:
        await create(self.clients, self.topics.catalogue(), partitions=1)
        await self.reader.start()

    async def feed(self, values: list[bytes]) -> None:
        async with AIOKafkaProducer(**self.clients) as producer:
            for value in values:
                await producer.send(self.topics.requests, value, partition=0)
            await producer.flush()

    async def opened(self) -> Partition:
        partition = Partition(self.host, 0, Quarantine())
        await partition.open(self.reader)
        return partition

    async def step(self, partition: Partition, stop: int, *, snapshot: bool) -> None:
        """Fold up to an offset and commit."""
        async for batch in self.reader.read(self.input, partition.offset, stop):
            partition.fold(batch)
        if snapshot:
            partition.snapshots.due_s = 0.0
        await partition.commit()

    async def damage(self, count: int, parts: Parts | None = None) -> None:
        """Append ``count`` snapshots whose bytes do not fit their checksums, with marks that point to them.

        With ``parts`` the snapshots themselves are whole, and these are parts that they name.
        """
        at = TopicPartition(self.state.topic, 0)
        async with AIOKafkaProducer(**self.clients) as producer:
            for _ in range(count):
                mark = await last_mark(self.reader, at, await self.reader.end(at) - 1)
                assert mark is not None
                places = []
                for key, value in checkpoint.snapshot_records(
                    checkpoint.chunked(b"{}", mark.newest + 1), offset=mark.offset, idle=False, parts=parts
                ):
                    torn = value[:-1] + b"?" if parts is None else value
                    places.append((await producer.send_and_wait(at.topic, torn, key=key, partition=0)).offset)
                mark = checkpoint.next_mark(mark, offset=mark.offset, idle=False, skips=(), snapshot_at=places[0])
                key, value = checkpoint.mark_record(mark)
                await producer.send_and_wait(at.topic, value, key=key, partition=0)
                await producer.send_and_wait(at.topic, b"", key=b"barrier", partition=0)

    def restored_from(self) -> set[str]:
        samples = next(iter(self.host.metrics.restores.collect())).samples
        return {s.labels["source"] for s in samples if s.name.endswith("_total") and s.value}


@pytest.mark.row("17", "unreadable snapshots: refused, the same state by another way")
@pytest.mark.parametrize(("damaged", "source"), [(0, "snapshot"), (1, "previous"), (2, "earliest")])
async def test_a_refused_snapshot_gives_the_same_state_by_another_way(kafka: str, damaged: int, source: str) -> None:
    bench = Bench(kafka)
    await bench.start()
    values = [b"w%d:" % (number % 5) for number in range(100)]
    await bench.feed(values)
    first = await bench.opened()
    for stop, snapshot in ((20, False), (40, True), (60, False), (80, True), (90, False)):
        await bench.step(first, stop, snapshot=snapshot)
    await first.close()
    await bench.damage(damaged)
    second = await bench.opened()
    expected = CountWords("none")
    expected.process([Record(value, offset, 0) for offset, value in enumerate(values[:90])])
    assert isinstance(second.stage, CountWords)
    assert second.offset == 90
    assert second.stage.digest == expected.digest
    assert second.stage.words == expected.words
    assert source in bench.restored_from()
    await bench.step(second, 100, snapshot=False)
    await second.close()
    third = await bench.opened()
    assert third.offset == 100
    await third.close()
    await bench.reader.stop()


@pytest.mark.parametrize(("damaged", "source"), [(0, "snapshot"), (1, "previous"), (2, "earliest")])
async def test_a_snapshot_with_a_part_missing_is_refused_and_leaves_nothing_behind(
    kafka: str, damaged: int, source: str
) -> None:
    bench = Bench(kafka, sliced=True)
    await bench.start()
    await bench.feed([b"w%d" % number for number in range(120)])
    first = await bench.opened()
    for stop in (20, 40, 60, 80):
        await bench.step(first, stop, snapshot=True)
    await bench.step(first, 90, snapshot=False)
    assert (first.replay_records, len(first.snapshots.parts.held)) == (10, 4)
    await first.close()
    await bench.damage(damaged, Parts([Part("seen/9", "9-0-00", 5, 0, 0)]))
    second = await bench.opened()
    assert source in bench.restored_from()
    assert isinstance(second.stage, Split)
    assert list(second.stage.state["seen"]) == [f"w{number}" for number in range(90)]
    assert isinstance(first.stage, Split)
    if source != "earliest":  # where commits fell is part of it, and known only to the marks after a snapshot
        assert second.stage.state == first.stage.state
    for stop in (100, 110, 120):
        await bench.step(second, stop, snapshot=True)
    await second.close()
    third = await bench.opened()  # has read past its barrier, so what was committed before is stable
    end = await bench.reader.end(bench.state)
    needed = {key.encode() for key in third.snapshots.parts.stale}
    needed |= {key.encode() for part in third.snapshots.parts.held for key in part.keys}
    assert await part_keys(bench.reader, bench.state, end) == needed
    assert isinstance(third.stage, Split)
    assert len(third.stage.state["seen"]) == 120
    await third.close()
    await bench.reader.stop()


async def test_an_input_that_lost_records_is_not_taken_for_the_old_one(kafka: str) -> None:
    bench = Bench(kafka)
    await bench.start()
    await bench.feed([b"w:"] * 5)
    first = await bench.opened()
    await bench.step(first, 5, snapshot=False)
    await first.close()
    other = Bench(kafka)
    await other.start()
    await other.feed([b"w:"] * 2)
    swapped = StageSpec("toy", other.topics.requests, bench.topics.observe_state, bench.host.spec.make)
    bench.host = Host(**{name: getattr(bench.host, name) for name in Host.__slots__} | {"spec": swapped})
    with pytest.raises(RecoveryError, match="recreated"):
        await bench.opened()
    await bench.reader.stop()
    await other.reader.stop()


@pytest.mark.parametrize(("step", "follows"), [("advance", True), ("snapshot", True), ("snapshot", False)])
async def test_an_evaluation_and_a_snapshot_leave_the_loop_to_others(kafka: str, step: str, follows: bool) -> None:
    bench = Bench(kafka)
    await bench.start()
    stage = Slow(bench.topics.alerts, step)
    bench.host = replace(bench.host, spec=replace(bench.host.spec, follows=follows))
    await bench.feed([b"w:"])
    partition = await bench.opened()
    partition.stage = stage
    working = asyncio.create_task(bench.step(partition, 1, snapshot=True))
    while not stage.begun.is_set():
        await asyncio.sleep(0.01)
    stage.free.set()
    await working
    assert stage.freed, "nobody came round while it worked"
    await partition.close()
    again = await bench.opened()
    assert isinstance(again.stage, CountWords)
    assert again.stage.digest == stage.digest
    await again.close()
    await bench.reader.stop()


@pytest.mark.parametrize("follows", [True, False])
async def test_a_snapshot_waits_for_a_commit_with_nothing_to_say(kafka: str, follows: bool) -> None:
    bench = Bench(kafka)
    await bench.start()
    bench.host = replace(bench.host, spec=replace(bench.host.spec, follows=follows))
    await bench.feed([b"w:"])
    partition = await bench.opened()
    partition.snapshots.due_s = bench.host.outside.now_s()
    await bench.step(partition, 1, snapshot=False)
    assert bool(partition.snapshots.written_bytes) is not follows
    await partition.commit()
    assert partition.snapshots.written_bytes
    await partition.close()
    await bench.reader.stop()
