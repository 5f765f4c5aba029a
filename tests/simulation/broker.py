"""A broker in memory: logs with transactions and fencing, consumer groups, and clients that die, pause and lag.

What lives here: what the engine may rely on, no kinder than Kafka: an open transaction holds back its readers, a new
owner of a transactional id aborts the old one's, a commit may take effect and its answer be lost, a member that is
silent beyond the session loses its partitions without being told. What does not: the faults' schedule (``world``).
"""

from __future__ import annotations

import asyncio
import random
import zlib
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from aiokafka import TopicPartition
from aiokafka.errors import IllegalStateError, ProducerFenced

SESSION_S = 0.6
OPEN, COMMITTED, ABORTED, MARKER = "open", "committed", "aborted", "marker"


class Process:
    """One worker process as the broker sees it: every call of its clients passes ``gate``."""

    def __init__(self, loop: asyncio.AbstractEventLoop, dice: random.Random) -> None:
        self.dead = False
        self.paused_until = 0.0
        self.clock_off_s = 0.0  # its clock on the wall against that of the others
        self._loop = loop
        self._dice = dice

    def wall_s(self) -> float:
        """The time of day as this process is told it."""
        return self._loop.time() + self.clock_off_s

    @property
    def paused(self) -> bool:
        return self._loop.time() < self.paused_until

    @property
    def answers(self) -> bool:
        return not (self.dead or self.paused)

    async def gate(self) -> None:
        """Time passes; a paused process goes on later, a killed one never."""
        await asyncio.sleep(self._dice.expovariate(1000))
        while self.paused:
            await asyncio.sleep(self.paused_until - self._loop.time() + 0.001)
        if self.dead:
            await asyncio.Event().wait()


@dataclass(slots=True)
class Entry:
    """One offset of a log; ``state`` is shared by all entries of a transaction."""

    key: bytes | None
    value: bytes | None
    stamp: int
    state: list[str]
    partition: int


@dataclass(slots=True, eq=False)
class Member:
    """One consumer of a group."""

    consumer: Consumer


class Broker:
    """Logs, transactional ids and groups."""

    def __init__(self, loop: asyncio.AbstractEventLoop, dice: random.Random, partitions: dict[str, int]) -> None:
        self.loop = loop
        self.dice = dice
        self.partitions = partitions
        self.logs: dict[TopicPartition, list[Entry]] = defaultdict(list)
        self.epochs: dict[str, int] = defaultdict(int)
        self.open: dict[str, list[TopicPartition]] = {}
        self.states: dict[str, list[str]] = {}
        self.groups: dict[str, Group] = {}

    def append(self, where: TopicPartition, key: bytes | None, value: bytes | None, state: list[str]) -> int:
        self.logs[where].append(Entry(key, value, int(self.loop.time() * 1000), state, where.partition))
        return len(self.logs[where]) - 1

    def stable(self, where: TopicPartition) -> int:
        """The last stable offset: the first of any open transaction, else the end."""
        log = self.logs[where]
        return next((at for at, entry in enumerate(log) if entry.state[0] == OPEN), len(log))

    def finish(self, transactional_id: str, state: str) -> None:
        """Commit or abort what is open, with a marker in each partition as Kafka writes it."""
        self.states.pop(transactional_id, [""])[0] = state
        for where in self.open.pop(transactional_id, []):
            self.append(where, None, None, [MARKER])

    def place(self, topic: str, key: bytes | None, partition: int | None) -> TopicPartition:
        count = self.partitions[topic]
        return TopicPartition(topic, zlib.crc32(key or b"") % count if partition is None else partition)

    def committed(self, topic: str) -> list[Entry]:
        """Everything a reader of committed records gets."""
        places = [TopicPartition(topic, number) for number in range(self.partitions[topic])]
        return [entry for place in places for entry in self.logs[place] if entry.state[0] == COMMITTED]

    def group(self, name: str) -> Group:
        return self.groups.setdefault(name, Group(self))


class Group:
    """Eager rebalances over one topic, in the order of the protocol: revoke everywhere, then assign."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.members: list[Member] = []
        self.topic = ""
        self._strangers: list[Member] = []
        self._changed = False
        self._task = broker.loop.create_task(self._coordinate())

    def join(self, member: Member) -> None:
        self.members.append(member)
        self._changed = True

    async def _coordinate(self) -> None:
        silent_since: dict[int, float] = {}
        while True:
            await asyncio.sleep(SESSION_S / 4)
            now = self.broker.loop.time()
            for member in list(self.members):
                if member.consumer.process.answers:
                    silent_since.pop(id(member), None)
                elif now - silent_since.setdefault(id(member), now) > SESSION_S:
                    self.members.remove(member)  # it is not told; when it wakes, it learns so and joins again
                    self._strangers.append(member)
                    self._changed = True
            back = [member for member in self._strangers if member.consumer.process.answers]
            self._strangers = [member for member in self._strangers if member not in back]
            self.members += back
            if self._changed or back:
                self._changed = False
                await self._rebalance()

    async def _rebalance(self) -> None:
        members = list(self.members)
        revoking = {asyncio.create_task(member.consumer.revoke()): member for member in members}
        _, late = await asyncio.wait(revoking, timeout=2 * SESSION_S) if revoking else (set(), set())
        for task in late:
            if revoking[task] in self.members:
                self.members.remove(revoking[task])
                self._strangers.append(revoking[task])
        alive = [member for member in members if member in self.members and member.consumer.process.answers]
        places = [TopicPartition(self.topic, number) for number in range(self.broker.partitions.get(self.topic, 0))]
        shares: dict[int, list[TopicPartition]] = defaultdict(list)
        for place in places if alive else []:
            shares[id(self.broker.dice.choice(alive))].append(place)
        for member in members:
            if member in self.members and member not in alive:  # fell silent in this moment
                self._changed = True
        await asyncio.gather(*(member.consumer.assign_now(shares[id(member)]) for member in alive))

    def leave(self, member: Member) -> None:
        for group in (self.members, self._strangers):
            if member in group:
                group.remove(member)
        self._changed = True


class Consumer:
    """The part of aiokafka's consumer that the engine uses."""

    def __init__(self, broker: Broker, process: Process, options: dict[str, Any]) -> None:
        self.broker = broker
        self.process = process
        self.options = options
        self._group = broker.group(options["group_id"])
        self._member = Member(self)
        self._listener: Any = None
        self._positions: dict[TopicPartition, int] = {}
        self._paused: set[TopicPartition] = set()
        self._moving = False
        self._moves = 0
        self._heard_ms: float | None = None

    async def start(self) -> None:
        await self.process.gate()

    async def stop(self) -> None:
        self._group.leave(self._member)

    def subscribe(self, topics: list[str], listener: Any) -> None:
        self._group.topic, self._listener = topics[0], listener
        self._group.join(self._member)

    async def revoke(self) -> None:
        self._moves += 1
        move = self._moves
        await self.process.gate()
        if move != self._moves:  # it slept through this rebalance and is in a later one
            return
        self._moving = True
        await self._listener.on_partitions_revoked(list(self._positions))
        if move == self._moves:
            self._positions.clear()

    async def assign_now(self, places: list[TopicPartition]) -> None:
        self._positions = dict.fromkeys(places, 0)
        self._paused.clear()
        await self._listener.on_partitions_assigned(places)
        self._moving = False

    def _own(self, where: TopicPartition) -> None:
        if where not in self._positions:
            raise IllegalStateError(f"{where} is not assigned")

    def seek(self, where: TopicPartition, offset: int) -> None:
        self._own(where)
        self._positions[where] = offset

    def pause(self, where: TopicPartition) -> None:
        self._own(where)
        self._paused.add(where)

    def resume(self, where: TopicPartition) -> None:
        self._own(where)
        self._paused.discard(where)

    async def position(self, where: TopicPartition) -> int:
        self._own(where)
        return self._positions[where]

    def partitions_for_topic(self, topic: str) -> range:
        return range(self.broker.partitions[topic])

    def last_stable_offset(self, where: TopicPartition) -> int:
        return self.broker.stable(where)

    def last_poll_timestamp(self, where: TopicPartition) -> float | None:
        return self._heard_ms

    async def getmany(self, *, timeout_ms: int, max_records: int) -> dict[TopicPartition, list[Any]]:
        await self.process.gate()
        self._heard_ms = self.process.wall_s() * 1000
        found: dict[TopicPartition, list[Any]] = {}
        if not self._moving:
            for where in sorted(set(self._positions) - self._paused):
                if records := self._records(where, max_records):
                    found[where] = records
        if not found:
            await asyncio.sleep(timeout_ms / 1000 * self.broker.dice.uniform(0.1, 1.5))
            await self.process.gate()
        return found

    def _records(self, where: TopicPartition, most: int) -> list[Any]:
        start, stop = self._positions[where], self.broker.stable(where)
        stop = min(stop, start + self.broker.dice.randint(1, most))
        self._positions[where] = max(start, stop)
        return records_of(self.broker, where, start, stop)


def records_of(broker: Broker, where: TopicPartition, start: int, stop: int) -> list[Any]:
    """The committed records of some offsets."""
    log = broker.logs[where]
    return [
        SimpleNamespace(offset=at, key=log[at].key, value=log[at].value, timestamp=log[at].stamp)
        for at in range(start, min(stop, len(log)))
        if log[at].state[0] == COMMITTED
    ]


class Producer:
    """The part of aiokafka's transactional producer that a partition uses."""

    def __init__(self, broker: Broker, process: Process, options: dict[str, Any]) -> None:
        self.broker = broker
        self.process = process
        self._id = options["transactional_id"]
        self._epoch = -1

    async def start(self) -> None:
        await self.process.gate()
        self.broker.epochs[self._id] += 1
        self._epoch = self.broker.epochs[self._id]
        self.broker.finish(self._id, ABORTED)

    async def stop(self) -> None:
        """An open transaction stays open, as that of a killed process."""

    def _fence(self) -> None:
        if self.broker.epochs[self._id] != self._epoch:
            raise ProducerFenced

    async def begin_transaction(self) -> None:
        self._fence()
        self.broker.states[self._id] = [OPEN]
        self.broker.open[self._id] = []

    async def commit_transaction(self) -> None:
        await self.process.gate()
        self._fence()
        self.broker.finish(self._id, COMMITTED)
        await self.process.gate()  # a kill here: committed, and nobody was told

    async def send(
        self, topic: str, value: bytes | None = None, key: bytes | None = None, partition: int | None = None
    ) -> asyncio.Future[Any]:
        await self.process.gate()
        self._fence()
        where = self.broker.place(topic, key, partition)
        if where not in self.broker.open[self._id]:
            self.broker.open[self._id].append(where)
        offset = self.broker.append(where, key, value, self.broker.states[self._id])
        sent = self.broker.loop.create_future()
        sent.set_result(SimpleNamespace(offset=offset))
        return sent


class Reader:
    """``streams.statelog.LogReader`` on the logs in memory."""

    def __init__(self, broker: Broker, process: Process) -> None:
        self.broker = broker
        self.process = process

    async def start(self) -> None:
        await self.process.gate()

    async def stop(self) -> None:
        """Nothing to close."""

    async def partitions(self, topic: str) -> int:
        return self.broker.partitions.get(topic, 0)

    async def beginning(self, where: TopicPartition) -> int:
        await self.process.gate()
        return 0

    async def end(self, where: TopicPartition) -> int:
        await self.process.gate()
        return self.broker.stable(where)

    async def read(self, where: TopicPartition, start: int, stop: int) -> AsyncIterator[list[Any]]:
        at = start
        while at < stop:
            await self.process.gate()
            upto = min(stop, at + self.broker.dice.randint(1, 400), self.broker.stable(where))
            if records := records_of(self.broker, where, at, upto):
                yield records
            at = max(at, upto)


def written(broker: Broker, topic: str, records: Iterable[tuple[bytes, bytes]]) -> None:
    """What a producer without transactions writes."""
    for key, value in records:
        broker.append(broker.place(topic, key, None), key, value, [COMMITTED])
