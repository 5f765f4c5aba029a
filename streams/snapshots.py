"""The snapshots of one partition: when one is due, how it is written, and what a restart would have to do.

What lives here: the schedule, the parts held, and the sizes. What does not: the transaction around it (``partition``)
and the records (``checkpoint``, ``parts``).

Taking a snapshot is work of the processor alone and for tens of megabytes takes a tenth of a second or more: all of
it, to the last checksum, is done in ``taken``, which may run in another thread, so that ``send`` only sends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aiokafka import TopicPartition

from models.errors import WireError
from models.slices import Cut
from streams.checkpoint import Chunks, Plan, chunked, snapshot_records
from streams.config import EngineSettings
from streams.parts import Part, Parts, part_records
from streams.stage import Sliced, Stage
from streams.statelog import LogReader, part_keys, read_parts


@dataclass(frozen=True, slots=True)
class Fresh:
    """A part that has to be written."""

    id: str
    size: int
    records: list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Taken:
    """A snapshot ready to be sent: the names of all its parts, those to write, and the rest."""

    names: list[str]
    fresh: dict[str, Fresh]
    rest: Chunks


class Snapshots:
    """What has been written of a partition's state, and when the next snapshot is due."""

    def __init__(self, settings: EngineSettings, *, number: int, partitions: int, now_s: float) -> None:
        self.parts = Parts()
        self.written_bytes = 0  # by the last snapshot
        self.state_bytes = 0  # that a recovery reads
        self.offset = 0  # at which the last snapshot or recovery was
        self._settings = settings
        self._partitions = partitions
        self._sent = Parts()
        # Partitions take their first snapshot at different times, so that their pauses do not add up.
        self.due_s = now_s + settings.snapshot_s * (number % partitions + 1) / partitions

    def taken(self, stage: Stage, generation: int) -> Taken:
        """The stage's state as records; touches nothing else, so any thread may run it while the stage rests."""
        cut = stage.cut() if isinstance(stage, Sliced) else Cut(stage.snapshot(), [], {})
        due = self.parts.due(cut, generation)
        fresh = {name: Fresh(part, len(data), part_records(part, data)) for name, (part, data) in due.items()}
        return Taken(cut.names, fresh, chunked(cut.rest, generation))

    async def send(self, producer: Any, where: TopicPartition, taken: Taken, *, offset: int, idle: bool) -> int:
        """Write a snapshot: new parts, the keys of old ones nobody needs, the rest; gives the offset of the rest."""
        written = {}
        for name, fresh in taken.fresh.items():
            records = [await self._send(producer, where, key, value) for key, value in fresh.records]
            places = [sent.offset for sent in await asyncio.gather(*records)]
            written[name] = Part(name, fresh.id, fresh.size, places[0], places[-1])
        for key in self.parts.stale:
            await self._send(producer, where, key.encode(), None)
        self._sent = self.parts.next(taken.names, written)
        records = [
            await self._send(producer, where, key, value)
            for key, value in snapshot_records(taken.rest, offset=offset, idle=idle, parts=self._sent)
        ]
        first: int = (await records[0]).offset
        self.written_bytes = taken.rest.size + sum(part.size for part in written.values())
        return first

    async def _send(self, producer: Any, where: TopicPartition, key: bytes, value: bytes | None) -> Any:
        return await producer.send(where.topic, key=key, value=value, partition=where.partition)

    def committed(self, taken: Taken, offset: int, now_s: float) -> None:
        """The transaction of ``send`` is done; a snapshot that wrote more lets the next one wait for longer."""
        self.parts, self.offset = self._sent, offset
        self.state_bytes = taken.rest.size + self.parts.size
        spent_s = self.written_bytes * self._partitions / self._settings.snapshot_bytes_per_s
        self.due_s = now_s + max(self._settings.snapshot_s, spent_s)

    async def restore(
        self, reader: LogReader, where: TopicPartition, stage: Stage, plan: Plan, *, alive: Callable[[], None]
    ) -> None:
        """Bring a fresh stage to the plan's snapshot; ``alive`` is called while that makes progress.

        Raises:
            WireError: a part or the rest cannot be read; other errors where the stage meets bytes it did not foresee.
        """
        if plan.snapshot is None:
            return
        self.state_bytes = len(plan.snapshot)
        if plan.parts is None:
            stage.restore(plan.snapshot)
            return
        parts: Mapping[str, bytes] = await read_parts(reader, where, plan.parts, alive)
        if isinstance(stage, Sliced):
            stage.join(plan.snapshot, parts)
        elif parts:
            raise WireError("the snapshot has parts, which this stage does not know")
        else:
            stage.restore(plan.snapshot)
        self.parts = plan.parts
        self.state_bytes += self.parts.size

    async def disown(self, reader: LogReader, where: TopicPartition, barrier: int) -> None:
        """After a refused snapshot: whatever parts are in the log and not ours go with the next one."""
        ours = {key for part in self.parts.held for key in part.keys}
        self.parts.stale = sorted(
            key.decode() for key in await part_keys(reader, where, barrier) if key.decode() not in ours
        )

    def forget(self) -> None:
        """Nothing that was written is of use."""
        self.parts, self.state_bytes, self.due_s = Parts(), 0, 0.0
