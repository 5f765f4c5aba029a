"""The micro-batch engine: one consumer group per stage, one transactional owner per partition.

What lives here: polling, rebalances, the checkpoint rhythm, poison. What does not: how one partition commits and
comes back (``partition``). Any error that is not understood ends the process, and the next one starts from the last
commit; that is the only recovery path, so it is the tested one.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress

from aiokafka import ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError

from models import reasons
from models.errors import DistilwatchError
from streams.assignor import Assignor, Share
from streams.config import Settings, client_options
from streams.control import ControlLog
from streams.metrics import Metrics
from streams.outside import Outside
from streams.partition import Host, Partition, PoisonError, Quarantine, place_of
from streams.stage import Allowing, Observed, StageSpec
from streams.topics import Topics

log = logging.getLogger("distilwatch.engine")

POLL_MS = 50
REVOKE_S = 5.0
"""How long a rebalance may wait for the last commit; what is not committed by then the next owner does again."""
STOP_S = 10.0
OUTPUT_BYTES_MAX = 16 << 20
"""Outputs kept for one transaction; beyond it the transaction comes early."""
HURRY_S = 0.025
"""Between two commits of what does not wait for a checkpoint: a commit is some 10 ms of CPU and 20 ms of waiting."""
SOON_PART = 0.25
"""Of the time between two checkpoints, the least that a stage which follows another waits: so that several workers
whose commits do not fall together cost it few more commits than one."""
MEASURE_S = 1.0
GONE_S = 5.0
FRESH_POLL_S = 5.0
"""An idle partition must have heard from its broker this recently: the broker's silence is not the input's."""


OUTSIDE = Outside()


class EngineError(DistilwatchError):
    """The engine cannot go on correctly in this process."""


class Engine(ConsumerRebalanceListener):  # type: ignore[misc]
    """Runs one stage over the partitions that the group gives to this process."""

    def __init__(
        self,
        spec: StageSpec,
        settings: Settings,
        metrics: Metrics,
        control: ControlLog,
        outside: Outside = OUTSIDE,
        shares: Sequence[Share] = (),
    ) -> None:
        self.spec = spec
        self.outside = outside
        self.live: dict[TopicPartition, Partition] = {}
        self.last_poll = outside.now_s()
        self.joined = False
        self._settings = settings
        self._metrics = metrics
        self._control = control
        self._pending: set[TopicPartition] = set()
        self._quarantines: dict[TopicPartition, Quarantine] = {}
        self._last_input: dict[TopicPartition, float] = {}
        self._heard: dict[TopicPartition, tuple[int | None, float]] = {}  # the client's last stamp, and since when
        self._poisoned_at = -math.inf
        self._commit_due = 0.0
        self._soon_due = 0.0
        self._hurry_due = 0.0
        self._measure_due = 0.0
        self._looked_in_vain = 0
        self._lock = asyncio.Lock()
        self._opening: asyncio.Task[Partition] | None = None
        self._fatal: BaseException | None = None
        self._stopping = asyncio.Event()
        kafka, clients = settings.kafka, client_options(settings.kafka)
        self._reader = outside.reader(clients)
        self._consumer = outside.consumer(
            **clients,
            group_id=f"{kafka.group}-{spec.name}",
            group_instance_id=f"{kafka.group}-{spec.name}-{kafka.slot}",
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="none",
            session_timeout_ms=kafka.session_ms,
            heartbeat_interval_ms=max(200, kafka.session_ms // 5),
            max_partition_fetch_bytes=4 << 20,
            partition_assignment_strategy=(Assignor(shares, kafka.slot),),
        )

    @property
    def ready(self) -> bool:
        """All assigned partitions are live."""
        return self.joined and not self._pending

    @property
    def broker_silence_s(self) -> float:
        """How long no partition has heard from the broker; 0 while there is none that could."""
        return min((silence for where in self.live if (silence := self._silence_s(where)) is not None), default=0.0)

    def _silence_s(self, where: TopicPartition) -> float | None:
        """How long ago the broker last answered for a partition; None where it never has.

        The client stamps answers with the time of day, which may be set back: so a stamp also ages by our own clock.
        """
        stamp: int | None = self._consumer.last_poll_timestamp(where)
        if stamp is None:
            return None
        now = self.outside.now_s()
        known, since = self._heard.get(where, (None, now))
        if stamp != known:
            if now - since > FRESH_POLL_S:
                # What was written meanwhile is still to come, however empty this late answer is.
                self._last_input[where] = now
            self._heard[where] = stamp, now
            since = now
        return max(now - since, self.outside.wall_s() - stamp / 1000)

    @property
    def restart_work(self) -> tuple[int, int]:
        """Bytes that a recovery of all live partitions would read now, and records that it would fold again."""
        live = self.live.values()
        return sum(each.snapshots.state_bytes for each in live), sum(each.replay_records for each in live)

    @property
    def poison_age_s(self) -> float:
        """Seconds since a record was last set aside."""
        return self.outside.now_s() - self._poisoned_at

    async def run(self) -> None:
        """Work until ``stop``; then commit what is done and return.

        Raises:
            EngineError: this process may not go on; it should exit non-zero at once.
        """
        await self._reader.start()
        try:
            await self._start_consumer()
            while not self._stopping.is_set():
                await self._turn()
            await asyncio.wait_for(self._release(), STOP_S)
        except (KafkaError, DistilwatchError, PoisonError, TimeoutError) as error:
            raise EngineError(f"{self.spec.name}: {type(error).__name__}: {error}") from error
        except Exception as error:
            # A stage raised outside a record; its message may quote one, so only the place is told.
            raise EngineError(f"{self.spec.name}: {place_of(error)}") from None
        finally:
            await self._disconnect()

    def stop(self) -> None:
        """Ask ``run`` to end cleanly; a recovery under way is given up."""
        self._stopping.set()
        self._pending.clear()
        if self._opening is not None:
            self._opening.cancel()

    async def _start_consumer(self) -> None:
        topic = self.spec.input_topic
        count, states = await self._reader.partitions(topic), await self._reader.partitions(self.spec.state_topic)
        if not count or count != states:
            raise EngineError(f"{topic} has {count} partitions, {self.spec.state_topic} {states}: create topics first")
        kafka = self._settings.kafka
        secret = self._settings.secret
        self._host = Host(
            spec=self.spec,
            settings=self._settings.engine,
            clients=client_options(kafka),
            producer_prefix=f"{kafka.prefix}.{kafka.group}.{self.spec.name}",
            rejects_topic=Topics(kafka.prefix).rejects,
            reject_key=secret.reveal().encode()[:64] if secret else b"",
            metrics=self._metrics,
            partitions=count,
            control=self._control,
            outside=self.outside,
            alive=self._came_round,
            aside=self.outside.aside(),
        )
        await self._control.load(self._reader)
        await self._consumer.start()
        self._consumer.subscribe([topic], listener=self)

    async def _disconnect(self) -> None:
        with suppress(TimeoutError):  # one that hangs ends with the process
            for partition in self.live.values():
                await partition.close()
        await self._consumer.stop()
        await self._reader.stop()

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Only note them: a recovery here would hold back the heartbeats of the group."""
        for where in assigned:
            # A position must exist before the first poll; the real one comes with the recovery.
            self._consumer.seek(where, 0)
            self._consumer.pause(where)
            self._pending.add(where)
        self.joined = True

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Commit within a bound and let go. Errors here are swallowed by the client, so they are kept for the loop."""
        self.joined = False
        self._pending.clear()
        if self._opening is not None:
            self._opening.cancel()
        try:
            await asyncio.wait_for(self._release(), REVOKE_S)
        except Exception as error:
            self._fatal = error

    async def _release(self) -> None:
        """Commit all partitions and give them up; a rebalance and the end of the process may both come to it."""
        async with self._lock:
            if self._fatal is None:
                await self._commit(partition for partition in self.live.values() if partition.changed)
            for partition in self.live.values():
                await partition.close()
            self.live.clear()

    async def _turn(self) -> None:
        """One round: bring one partition back, take one batch, commit when it is time."""
        if self._pending:
            await self._open_next(min(self._pending))
        batches = await self._consumer.getmany(timeout_ms=POLL_MS, max_records=self._settings.engine.batch_records)
        self._came_round()
        async with self._lock:
            if self._fatal is not None:
                raise self._fatal
            for where, records in batches.items():
                await self._take(where, records)
            await self._commit_when_due(drained=not batches)
            if self.last_poll >= self._measure_due:
                self._measure_due = self.last_poll + MEASURE_S
                self._check_input()
                await self._measure()

    def _check_input(self) -> None:
        """An input that was deleted looks like silence to its consumer; one just started may forget it."""
        there = self._consumer.partitions_for_topic(self.spec.input_topic)
        self._looked_in_vain = 0 if there or not self.joined else self._looked_in_vain + 1
        if self._looked_in_vain * MEASURE_S >= GONE_S:
            # A static member that comes back in time is given what it had, which is nothing, and a topic made anew
            # would have no reader: so this one leaves the group, which the client does for members without a name.
            self._consumer._coordinator._group_instance_id = None
            raise EngineError(f"{self.spec.input_topic} is gone: was it deleted?")

    def _came_round(self) -> None:
        self.last_poll = self.outside.now_s()

    async def _open_next(self, where: TopicPartition) -> None:
        partition = Partition(self._host, where.partition, self._quarantines.setdefault(where, Quarantine()))
        self._opening = asyncio.create_task(self._opened(partition))
        try:
            await self._opening
        except asyncio.CancelledError:
            await partition.close()
            if where in self._pending:  # not a rebalance: this task itself is to end
                raise
            return
        finally:
            self._opening = None
        if where not in self._pending:  # revoked in the moment between
            await partition.close()
            return
        self._pending.discard(where)
        self._go_live(where, partition)

    async def _opened(self, partition: Partition) -> Partition:
        await partition.open(self._reader)
        return partition

    def _go_live(self, where: TopicPartition, partition: Partition) -> None:
        self._consumer.seek(where, partition.offset)
        self._consumer.resume(where)
        self.live[where] = partition
        self._last_input[where] = self.outside.now_s()

    async def _take(self, where: TopicPartition, records: list[object]) -> None:
        partition = self.live.get(where)
        if partition is None or not records:
            return
        self._last_input[where] = self.outside.now_s()
        self._metrics.input_records.labels(self.spec.name).inc(len(records))
        try:
            partition.fold(records)
        except PoisonError as error:
            await self._recover(where, partition, error)

    async def _recover(self, where: TopicPartition, partition: Partition, error: PoisonError) -> None:
        """Come back from the last commit, find the one record that raises, and go on without it.

        The stage that raised may have taken half a batch, so it is thrown away. The second try goes record by record;
        a record that raises alone is left out of the fold from then on, and its place goes to the rejects topic.
        """
        log.error("%s/%d: %s", where.topic, where.partition, error)
        quarantine = self._quarantines[where]
        if error.first == error.last:
            quarantine.skips.add(error.first)
            self._poisoned_at = self.outside.now_s()
            self._metrics.poison_records.labels(self.spec.name).inc()
        quarantine.careful_until = max(quarantine.careful_until, error.last + 1)
        self._consumer.pause(where)
        del self.live[where]
        await partition.close()
        again = Partition(self._host, where.partition, quarantine)
        await again.open(self._reader)
        self._go_live(where, again)

    async def _commit_when_due(self, *, drained: bool) -> None:
        now = self.outside.now_s()
        changed = [partition for partition in self.live.values() if partition.changed or partition.has_news]
        large = any(partition.output_bytes > OUTPUT_BYTES_MAX for partition in changed)
        # What a stage follows comes in whole commits: once all of one is there, nothing more is due for a while.
        soon = drained and self.spec.follows and now >= self._soon_due
        if changed and (large or soon or now >= self._commit_due):
            await self._commit(changed)
        elif hurried := [partition for partition in changed if partition.hurried and now >= self._hurry_due]:
            await self._write(hurried)
        elif not changed:
            self._commit_due = now + self._settings.engine.checkpoint_ms / 1000
        live = list(self.live.items())
        silent = [partition for where, partition in live if await self._fell_silent(where, partition)]
        await asyncio.gather(*(partition.commit(idle=True) for partition in silent))

    async def _fell_silent(self, where: TopicPartition, partition: Partition) -> bool:
        """Whether all there is of a partition was folded long ago, as far as its broker knows now."""
        if partition.idle or not self._has_waited(where):
            return False
        silence, end = self._silence_s(where), self._consumer.last_stable_offset(where)
        # An answer after a long silence begins the wait anew, also where a commit held us up when it came; and what
        # came then may lie in the client still, so the place reached is compared with the end.
        if silence is None or end is None or silence >= FRESH_POLL_S or not self._has_waited(where):
            return False
        return bool(await self._consumer.position(where) >= end)

    def _has_waited(self, where: TopicPartition) -> bool:
        return self.outside.now_s() - self._last_input[where] >= self._settings.engine.idle_ms / 1000

    async def _commit(self, partitions: Iterable[Partition]) -> None:
        await self._write(partitions)
        now, beat_s = self.outside.now_s(), self._settings.engine.checkpoint_ms / 1000
        self._commit_due, self._soon_due = now + beat_s, now + beat_s * SOON_PART

    async def _write(self, partitions: Iterable[Partition]) -> None:
        started = self.outside.now_s()
        await asyncio.gather(*(partition.commit() for partition in partitions))
        self._metrics.checkpoint_seconds.labels(self.spec.name).observe(self.outside.now_s() - started)
        self._hurry_due = self.outside.now_s() + HURRY_S

    async def _measure(self) -> None:
        for where, partition in self.live.items():
            self._silence_s(where)  # so that its stamp ages from when it was given
            labels = (self.spec.name, str(where.partition))
            self._metrics.snapshot_age.labels(*labels).set(self.outside.now_s() - partition.snapshot_at)
            self._metrics.snapshot_state_bytes.labels(*labels).set(partition.snapshots.state_bytes)
            self._metrics.replay_records.labels(*labels).set(partition.replay_records)
            end = self._consumer.last_stable_offset(where)
            if end is not None:
                # The position is past the markers of transactions, which are no records that could lag.
                position = await self._consumer.position(where)
                self._metrics.lag_records.labels(*labels).set(max(0, end - position))
            if isinstance(partition.stage, Observed):
                watermark_ms = partition.stage.watermark_ms
                self._metrics.watermark_ms.labels(*labels).set(watermark_ms)
                self._metrics.watermark_age.labels(*labels).set(self.outside.wall_s() - watermark_ms / 1000)

    def hits(self) -> Counter[str]:
        """What the allowlist left out in the live partitions, by the key of the entry."""
        total: Counter[str] = Counter()
        for partition in self.live.values():
            if isinstance(partition.stage, Allowing):
                total.update(dict(partition.stage.orders.hits))  # at once: a step aside may count meanwhile
        return total

    def counts(self) -> dict[tuple[str, str], int]:
        """The stages' own event counts, summed over the live partitions."""
        total: dict[tuple[str, str], int] = {}
        for partition in self.live.values():
            if isinstance(partition.stage, Observed):
                for key, value in partition.stage.counts().items():
                    total[key] = total.get(key, 0) + value
            if partition.quarantine.skips:
                key = ("rejected", reasons.POISON)
                total[key] = total.get(key, 0) + len(partition.quarantine.skips)
        return total
