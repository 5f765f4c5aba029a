"""Reading a partition from one offset to another, and finding the way back in the state topic.

What lives here: the IO of recovery. What does not: the form of what is read (``checkpoint``) or what is done with
it (``partition``).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from models.errors import DistilwatchError, WireError
from streams.checkpoint import NOWHERE, Mark, Plan, make_plan, read_mark
from streams.parts import PREFIX, Parts, assembled, runs
from streams.topics import count_partitions

TAIL_RECORDS = (64, 2_048, 65_536)
"""How far back from the end the last mark is sought, before the whole log is read. The first step finds it unless
an aborted snapshot lies at the end."""
STALL_S = 60.0


class RecoveryError(DistilwatchError):
    """The past of a partition cannot be read, so going on would give wrong outputs."""

    retriable = True


class LogReader:
    """A consumer outside every group that reads committed records of one partition at a time."""

    def __init__(self, clients: Mapping[str, Any]) -> None:
        self._clients = dict(clients)
        self._consumer = AIOKafkaConsumer(
            **clients,
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="none",
            max_partition_fetch_bytes=8 << 20,
            fetch_max_wait_ms=20,  # what is read is there already; a long wait would only delay the next read
        )

    async def start(self) -> None:
        """Connect."""
        await self._consumer.start()

    async def stop(self) -> None:
        """Disconnect."""
        await self._consumer.stop()

    async def partitions(self, topic: str) -> int:
        """How many partitions the topic has; 0 when it does not exist."""
        return (await count_partitions(self._clients, [topic])).get(topic, 0)

    async def beginning(self, where: TopicPartition) -> int:
        """The first offset still kept."""
        return int((await self._consumer.beginning_offsets([where]))[where])

    async def end(self, where: TopicPartition) -> int:
        """One past the last stable offset."""
        return int((await self._consumer.end_offsets([where]))[where])

    async def read(self, where: TopicPartition, start: int, stop: int) -> AsyncIterator[list[Any]]:
        """Yield the records of offsets ``start`` to ``stop - 1`` in batches.

        Raises:
            RecoveryError: nothing came for 60 s, or the offsets are no longer there.
        """
        if start >= stop:
            return
        self._consumer.assign([where])
        self._consumer.seek(where, start)
        try:
            async for batch in self._read_assigned(where, stop):
                yield batch
        finally:
            self._consumer.unsubscribe()

    async def _read_assigned(self, where: TopicPartition, stop: int) -> AsyncIterator[list[Any]]:
        quiet_since = asyncio.get_running_loop().time()
        while await self._consumer.position(where) < stop:
            records = (await self._consumer.getmany(where, timeout_ms=200)).get(where, [])
            now = asyncio.get_running_loop().time()
            if records:
                quiet_since = now
                yield [record for record in records if record.offset < stop]
            elif now - quiet_since > STALL_S:
                raise RecoveryError(f"{where.topic}/{where.partition}: nothing readable below offset {stop}")


def _unwatched() -> None:
    """Nobody has to be told that a recovery makes progress."""


async def last_mark(
    reader: LogReader, where: TopicPartition, barrier: int, alive: Callable[[], None] = _unwatched
) -> Mark | None:
    """The last readable mark below the barrier; None where the partition has never committed.

    A mark that cannot be decoded is an error and not passed over: an older one would repeat outputs.
    """
    beginning = await reader.beginning(where)
    for reach in (*TAIL_RECORDS, barrier):
        start = max(beginning, barrier - reach)
        newest: bytes | None = None
        async for batch in reader.read(where, start, barrier + 1):
            alive()
            newest = next((r.value for r in reversed(batch) if (r.key or b"").startswith(b"mark/")), newest)
        if newest is not None:
            return _decoded(newest, where)
        if start == beginning:
            break
    return None


def _decoded(value: bytes, where: TopicPartition) -> Mark:
    try:
        return read_mark(value)
    except WireError as error:
        raise RecoveryError(f"{where.topic}/{where.partition}: the last mark cannot be read: {error}") from error


async def read_parts(
    reader: LogReader, where: TopicPartition, parts: Parts, alive: Callable[[], None]
) -> dict[str, bytes]:
    """The bytes of a snapshot's parts by name; ``alive`` is called whenever some have come.

    Raises:
        WireError: a part is missing or torn.
    """
    records: dict[bytes, bytes] = {}
    for run in runs(parts.held):
        async for batch in reader.read(where, run.start, run.stop):
            records |= {record.key: record.value for record in batch if (record.key or b"").startswith(PREFIX)}
            alive()
    return assembled(parts.held, records)


async def part_keys(reader: LogReader, where: TopicPartition, barrier: int) -> set[bytes]:
    """The keys of all parts that are in the log, needed or not."""
    found: set[bytes] = set()
    async for batch in reader.read(where, await reader.beginning(where), barrier):
        for record in batch:
            if (record.key or b"").startswith(PREFIX):
                (found.add if record.value else found.discard)(record.key)
    return found


async def read_plan(
    reader: LogReader, where: TopicPartition, barrier: int, at: int, alive: Callable[[], None] = _unwatched
) -> Plan:
    """The plan of a recovery from the snapshot at offset ``at``, or from no snapshot where it is ``NOWHERE``."""
    start = await reader.beginning(where) if at == NOWHERE else at
    records: list[tuple[bytes, bytes]] = []
    async for batch in reader.read(where, start, barrier):
        alive()
        records += [(record.key or b"", record.value or b"") for record in batch]
    return make_plan(records, with_snapshot=at != NOWHERE)
