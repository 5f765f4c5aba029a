"""One input partition: its stage, its transactional producer, and the one order in which it commits.

What lives here: folding batches, the transaction, the snapshot schedule, recovery. What does not: the consumer and
the group (``engine``). The transactional id belongs to the partition, so a new owner fences the old one.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from models import reasons
from models.errors import WireError
from models.event import Reject
from models.wire import pack
from streams.checkpoint import BARRIER, NOWHERE, VERSION, Mark, Plan, mark_record, next_mark
from streams.config import EngineSettings
from streams.control import ControlLog
from streams.metrics import Metrics
from streams.outside import Outside
from streams.snapshots import Snapshots, Taken
from streams.stage import Controlled, Output, Record, Stage, StageSpec
from streams.statelog import LogReader, RecoveryError, last_mark, read_plan

log = logging.getLogger("distilwatch.engine")

BATCH_BYTES = 768 * 1024
"""Under the broker's default record-batch limit of 1 MiB, and above our largest envelope of 512 KiB."""
REQUEST_BYTES = 8 << 20
TRANSACTION_MS = 60_000
CLOSE_S = 10.0
PLACE_FRAMES = 5
PATIENCE_PART = 0.1
"""Of the time between snapshots, how long one that is due waits for a commit with nothing to say."""
REBUILD_RECORDS = 5_000
"""Records between two ``advance`` calls when the state is rebuilt without marks."""


class PoisonError(Exception):
    """The stage raised. Carries offsets and the place in the code; the stage's own message may hold prompt text."""

    def __init__(self, first: int, last: int, place: str) -> None:
        super().__init__(f"records {first} to {last} raised {place}")
        self.first, self.last = first, last


@dataclass(frozen=True, slots=True)
class Host:
    """What all partitions of one engine share."""

    spec: StageSpec
    settings: EngineSettings
    clients: Mapping[str, Any]
    producer_prefix: str
    rejects_topic: str
    reject_key: bytes
    metrics: Metrics
    partitions: int
    control: ControlLog
    outside: Outside
    alive: Callable[[], None]  # called while a recovery makes progress
    aside: Callable[[Callable[[], Any]], Awaitable[Any]]  # runs what would hold the loop for long


@dataclass(slots=True)
class Quarantine:
    """Offsets left out of the fold, and up to which offset records go in one by one to find the next such."""

    skips: set[int] = field(default_factory=set)
    careful_until: int = 0


class Partition:
    """The owner of one input partition, from ``open`` to ``close``."""

    def __init__(self, host: Host, number: int, quarantine: Quarantine) -> None:
        self.host = host
        self.number = number
        self.input = TopicPartition(host.spec.input_topic, number)
        self.state = TopicPartition(host.spec.state_topic, number)
        self.quarantine = quarantine
        self.stage: Stage = host.spec.make(number, host.partitions)
        self.offset = 0
        self.outputs: list[Output] = []
        self.output_bytes = 0
        self.hurried = False
        self.changed = False
        self.idle = False
        self.snapshot_at = host.outside.now_s()  # a recovery has just brought the state here
        self._mark: Mark | None = None
        self._last: tuple[int, bytes] | None = None  # offset and digest of the record that was read last
        self.snapshots = Snapshots(host.settings, number=number, partitions=host.partitions, now_s=host.outside.now_s())
        self._producer = host.outside.producer(
            **host.clients,
            transactional_id=f"{host.producer_prefix}-{number}",
            transaction_timeout_ms=TRANSACTION_MS,
            max_batch_size=BATCH_BYTES,
            max_request_size=REQUEST_BYTES,
        )

    async def open(self, reader: LogReader) -> None:
        """Fence the old owner, load the last snapshot, replay silently to the last mark; then the stage is live.

        Raises:
            RecoveryError: the past cannot be read.
            PoisonError: the stage raised on a record that it had taken before.
        """
        started = self.host.outside.now_s()
        await self._producer.start()  # takes the transactional id: the old owner's transaction is aborted
        barrier = await self._write_barrier()
        self._mark = mark = await last_mark(reader, self.state, barrier, self.host.alive)
        beginning = await reader.beginning(self.input)
        source = "fresh"
        if mark is None:
            self.offset = beginning
        elif not await self._is_known(reader, mark, beginning):
            # Never reset silently: this input is another one than that we have counted so far.
            raise RecoveryError(f"{self.input.topic}/{self.number} is not what we have read: was it recreated?")
        else:
            self.quarantine.skips.update(mark.skips)
            source, plan = await self._plan(reader, mark, barrier)
            await self._replay(reader, plan, mark, beginning)
        if mark is None or self.has_news:
            # Rules that exist are in force before the next record, and the first mark says where the fold begins.
            await self.commit()
        labels = (self.host.spec.name, str(self.number))
        self.host.metrics.restores.labels(self.host.spec.name, source).inc()
        self.host.metrics.restore_seconds.labels(*labels).set(self.host.outside.now_s() - started)

    async def _is_known(self, reader: LogReader, mark: Mark, beginning: int) -> bool:
        """Whether the input reaches to our progress and still holds the record that we read last, unless removed."""
        if mark.offset > await reader.end(self.input):
            return False
        self._last = mark.last
        if mark.last is None or mark.last[0] < beginning:
            return True
        at, digest = mark.last
        found = [record async for batch in reader.read(self.input, at, at + 1) for record in batch]
        return [_digest(record) for record in found] == [digest]

    async def _write_barrier(self) -> int:
        """The offset below which everything in the state topic is ours to read and final."""
        async with self._transaction():
            sent = await self._producer.send(
                self.state.topic, key=BARRIER, value=pack("barrier", VERSION, {}, {}), partition=self.number
            )
            barrier = (await sent).offset
        return int(barrier)

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[None]:
        """A transaction, which after an error stays open: the next owner's start aborts it.

        The client's own context aborts it at once, and where an answer was lost it waits for that for ever.
        """
        await self._producer.begin_transaction()
        yield
        await self._producer.commit_transaction()

    async def _plan(self, reader: LogReader, mark: Mark, barrier: int) -> tuple[str, Plan]:
        """The first usable way back: newest snapshot, the one before, the input from its beginning."""
        for source, at in (("snapshot", mark.snapshot_at), ("previous", mark.previous_at)):
            if source == "previous" and mark.snapshot_at == NOWHERE:
                break
            plan = await read_plan(reader, self.state, barrier, at, self.host.alive)
            problem = plan.problem or await self._restore_problem(reader, plan)
            if problem is None and source == "previous":
                await self.snapshots.disown(reader, self.state, barrier)
            if problem is None:
                return (source if at != NOWHERE else "marks"), plan
            log.warning("%s/%d: %s snapshot refused: %s", self.state.topic, self.number, source, problem)
        # No marks to repeat: outputs keep their content, only where envelopes were cut may differ.
        self.snapshots.forget()
        await self.snapshots.disown(reader, self.state, barrier)
        self._mark = msgspec.structs.replace(mark, control_next={})
        self.stage = self.host.spec.make(self.number, self.host.partitions)
        return "earliest", Plan(None, None, [], mark.idle)

    async def _restore_problem(self, reader: LogReader, plan: Plan) -> str | None:
        """Restore a fresh stage; the reason where the stage refuses, which an older snapshot may satisfy."""
        self.stage = self.host.spec.make(self.number, self.host.partitions)
        try:
            await self.snapshots.restore(reader, self.state, self.stage, plan, alive=self.host.alive)
        except WireError as error:
            return str(error)
        except (RecoveryError, KafkaError):
            raise
        except Exception as error:  # A stage may meet bytes that its checks did not foresee.
            return place_of(error)
        return None

    async def _replay(self, reader: LogReader, plan: Plan, mark: Mark, beginning: int) -> None:
        """Fold again what was folded since the snapshot, at the same marks, and drop the outputs."""
        first = plan.marks[0].offset if plan.marks else mark.offset
        self.offset = min(beginning, first) if plan.offset is None else plan.offset
        self.snapshots.offset = self.offset
        self.idle = plan.idle
        self._skip_gap(beginning)
        for step in plan.marks:
            await self._replay_until(reader, step.offset)
            self._take_controls(step.controls)
            await self._advanced(idle=step.idle and not self.idle)
            self.idle = step.idle
        if not plan.marks and plan.snapshot is None:
            await self._replay_until(reader, mark.offset, advance_every=REBUILD_RECORDS)
            await self._advanced(idle=mark.idle)
        self.idle = mark.idle

    async def _advanced(self, *, idle: bool, due_for_s: float = -1.0) -> tuple[list[Output], Taken | None]:
        """``idle`` where asked for, ``advance``, and the snapshot where one has been due for so long.

        An evaluation or a snapshot takes tenths of a second, which the loop does not have: requests of other
        partitions wait there. So it runs aside, and only what is short runs here.
        """
        follows = self.host.spec.follows

        def step() -> tuple[list[Output], Taken | None]:
            outputs = [*(self.stage.idle() if idle else ()), *self.stage.advance()]
            # A snapshot would hold back what the same transaction says: an alert goes before it.
            patient = due_for_s < self.host.settings.snapshot_s * PATIENCE_PART
            if due_for_s < 0 or ((outputs or self.outputs) and follows and patient):
                return outputs, None
            return outputs, self.snapshots.taken(self.stage, 1 if self._mark is None else self._mark.newest + 1)

        done: tuple[list[Output], Taken | None]
        done = await self.host.aside(step) if follows or due_for_s >= 0 else step()
        return done

    def _skip_gap(self, beginning: int) -> None:
        """Go on where retention has left records; what it removed before we read it is counted, and loud."""
        if beginning > self.offset:
            lost = beginning - self.offset
            log.error("%s/%d: %d offsets were removed before they were read", self.input.topic, self.number, lost)
            self.host.metrics.gap_records.labels(self.host.spec.name).inc(lost)
            self.offset = beginning

    async def _replay_until(self, reader: LogReader, offset: int, advance_every: int = 0) -> None:
        seen = 0
        async for batch in reader.read(self.input, self.offset, offset):
            self.fold(batch, silent=True)
            seen += len(batch)
            if advance_every and seen >= advance_every:
                seen = 0
                await self._advanced(idle=False)
            self.host.alive()
            await asyncio.sleep(0)  # heartbeats and other partitions get their turn
        self.host.metrics.replayed_records.labels(self.host.spec.name).inc(max(0, offset - self.offset))
        self.offset = max(self.offset, offset)

    def fold(self, records: Sequence[Any], *, silent: bool = False) -> None:
        """Put consumed records through the stage and keep its outputs for the next transaction.

        Raises:
            PoisonError: the stage raised; this object's stage must then not be used any more.
        """
        if not records:
            return
        alone = records[0].offset < self.quarantine.careful_until
        for group in ([record] for record in records) if alone else (records,):
            self._fold_group(group, silent)
        self._last = records[-1].offset, _digest(records[-1])
        self.changed = True
        self.idle = False

    def _fold_group(self, records: Sequence[Any], silent: bool) -> None:
        skips = self.quarantine.skips
        taken = [Record(r.value or b"", r.offset, r.timestamp) for r in records if not skips or r.offset not in skips]
        first, last = records[0].offset, records[-1].offset
        try:
            outputs = self.stage.process(taken) if taken else []
        except Exception as error:
            # The message and the chain are cut off: they may quote the record.
            raise PoisonError(first, last, place_of(error)) from None
        if not silent:
            self.emit(outputs)
            self.emit([self._reject(r) for r in records if skips and r.offset in skips])
        self.offset = last + 1

    def _reject(self, record: Any) -> Output:
        value = record.value or b""
        digest = hashlib.blake2b(value, digest_size=8, key=self.host.reject_key).hexdigest()
        reject = Reject(reasons.POISON, self.input.topic, self.number, record.offset, digest, len(value))
        return Output(self.host.rejects_topic, None, None, msgspec.json.encode(reject))

    def emit(self, outputs: Sequence[Output]) -> None:
        """Keep outputs for the next transaction."""
        self.outputs.extend(outputs)
        self.output_bytes += sum(len(output.value or b"") for output in outputs)
        hurried = self.host.spec.hurried_topic
        self.hurried = self.hurried or bool(hurried and any(output.topic == hurried for output in outputs))

    async def commit(self, *, idle: bool = False) -> None:
        """Write outputs, progress and, when due, a snapshot in one transaction.

        The order: control records, ``idle``, ``advance``: the snapshot and the mark describe the state after them.
        Snapshot chunks before outputs, because an open transaction holds back readers of every topic it has written.
        The mark last: its position in the log says that all before it belongs to it. Nothing of this object changes
        until the commit is confirmed; after any error the owner ends, and the next one starts from the last mark.
        """
        controls, control_next = self._new_controls()
        self.emit(self._take_controls(controls))
        outputs, taken = await self._advanced(idle=idle, due_for_s=self.host.outside.now_s() - self.snapshots.due_s)
        self.emit(outputs)
        idle = idle or self.idle
        async with self._transaction():
            at = None
            if taken is not None:
                at = await self.snapshots.send(self._producer, self.state, taken, offset=self.offset, idle=idle)
            skips = tuple(sorted(self.quarantine.skips))
            mark = next_mark(self._mark, offset=self.offset, idle=idle, skips=skips, snapshot_at=at)
            mark = msgspec.structs.replace(mark, controls=controls, control_next=control_next, last=self._last)
            pending = [
                await self._producer.send(o.topic, value=o.value, key=o.key, partition=o.partition)
                for o in self.outputs
            ]
            key, value = mark_record(mark)
            pending.append(await self._producer.send(self.state.topic, key=key, value=value, partition=self.number))
            await asyncio.gather(*pending)
        self._committed(mark, taken)

    @property
    def has_news(self) -> bool:
        """Whether control records wait for the next commit."""
        seen = self._mark.control_next if self._mark else {}
        return isinstance(self.stage, Controlled) and self.host.control.news(seen)

    def _new_controls(self) -> tuple[tuple[tuple[str, bytes, bytes], ...], dict[str, int]]:
        seen = self._mark.control_next if self._mark else {}
        if not self.has_news:
            return (), seen
        records, after = self.host.control.since(seen)
        return tuple((record.topic, record.key, record.value) for record in records), after

    def _take_controls(self, controls: Sequence[tuple[str, bytes, bytes]]) -> list[Output]:
        outputs: list[Output] = []
        if isinstance(self.stage, Controlled):
            for topic, key, value in controls:
                try:
                    outputs += self.stage.control(topic, key, value)
                except Exception as error:  # One bad rule must not stop detection; a replay fails the same way.
                    log.error("%s: a record of %s was refused: %s", self.host.spec.name, topic, place_of(error))
                    self.host.metrics.control_refused.labels(self.host.spec.name, topic).inc()
        return outputs

    def _committed(self, mark: Mark, taken: Taken | None) -> None:
        metrics, name = self.host.metrics, self.host.spec.name
        counts: dict[str, int] = {}
        for output in self.outputs:
            counts[output.topic] = counts.get(output.topic, 0) + 1
        for topic, count in counts.items():
            metrics.output_records.labels(name, topic).inc(count)
        self.outputs, self.output_bytes, self.hurried = [], 0, False
        self._mark, self.idle, self.changed = mark, mark.idle, False
        if taken is not None:
            self.snapshot_at = self.host.outside.now_s()
            self.snapshots.committed(taken, self.offset, self.snapshot_at)
            metrics.snapshot_bytes.labels(name, str(self.number)).set(self.snapshots.written_bytes)

    @property
    def replay_records(self) -> int:
        """Records that would be folded again if the process died now."""
        return max(0, self.offset - self.snapshots.offset)

    async def close(self) -> None:
        """Give up the producer; an open transaction is left to the next owner, who aborts it.

        Raises:
            TimeoutError: the client does not end; the process has to.
        """
        await asyncio.wait_for(self._producer.stop(), CLOSE_S)


def _digest(record: Any) -> bytes:
    """What tells a record from another at the same offset; unkeyed, so of its stamp and size and not of its text."""
    return hashlib.blake2b(f"{record.timestamp} {len(record.value or b'')}".encode(), digest_size=8).digest()


def place_of(error: BaseException) -> str:
    """Type of an exception and the lines that led to it, without its message."""
    frames = traceback.extract_tb(error.__traceback__)[-PLACE_FRAMES:]
    lines = " > ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames)
    return f"{type(error).__name__} at {lines or '?'}"
