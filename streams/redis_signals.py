"""Signals in Redis: a projection of the signals topic that limiters read with one call.

What lives here: reading the topic, when a signal is newer, how long it lives. What does not: deciding signals.
The topic is compacted and read from its start on every assignment, so Redis may be lost at any time. Writes follow
the engine's commit through the topic itself; a Redis that is down therefore never holds up the engine.

Besides the hash of each account there are the record of each cluster with its budget, an index of all accounts by the
end of their signals, and a stream that names every account whose hash has just changed, for limiters that follow.

Early signals have a topic of their own. They fill a place that is empty, and only their own removal takes them away:
what an evaluation said goes before them, and what it says next over them.

Newer means a higher (ts, seq, multiplier): of the signals that one decision gives a cluster, the mildest sets its
budget, whatever order they come in. It is decided by WATCH, read, MULTI: optimistic, so that the worker's Redis user
needs neither scripting nor functions, and two owners during a rebalance still cannot put an old signal over a new one.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec
import redis.asyncio as redis
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import IllegalStateError
from redis.exceptions import RedisError, WatchError

from models.alert import Signal
from models.budget import budget_of
from models.joiners import EARLY_MS
from streams.clock import wall_ms
from streams.config import Settings, client_options
from streams.metrics import Metrics
from streams.redis_keys import changes_key, cluster_key, index_key, signal_key
from streams.topics import Topics

log = logging.getLogger("distilwatch.redis")

BATCH_KEYS = 256
"""Keys per optimistic transaction: three round trips share their cost, and a conflict repeats little."""
PENDING_MAX = 1_000_000
"""Latest signals kept while Redis is away (about 500 B each); beyond it reading the topic waits instead."""
BACKOFF_S = (0.2, 5.0)
LIVENESS_S = 2.0
EARLY_SEQ = b"0"
OPEN_AFTER = 3
"""Failures in a row after which the projection calls Redis down; from then on it only probes."""


CHANGES_MAX = 100_000
"""Entries of the stream of changes, some 100 B each: four clusters as large as the letter's, cleared at once."""


class Write(NamedTuple):
    """The latest that is known about one key: a signal and when it was published, or (None) its removal.

    ``account_id`` is None for the record of a cluster.
    """

    signal: Signal | None
    published_ms: int
    account_id: str | None
    early: bool = False

    def fits(self, stored: Sequence[bytes | None]) -> bool:
        """Whether it may take the place of the stored (ts, seq, multiplier): an early one only that of its like."""
        if self.early:
            empty = stored[0] is None
            return empty if self.signal is not None else not empty and stored[1] == EARLY_SEQ
        return self.signal is None or is_newer(self.signal, stored)


def lifetime_ms(signal: Signal, published_ms: int, now_ms: int, mode: str, *, early: bool = False) -> int:
    """How long the signal may stay in Redis from now on, in milliseconds; not positive when it has ended.

    "wall" ends it when the wall clock passes ``expires``. "event" gives it the time it had left when it was decided,
    counted in real time from its publication: the same for a live stream, and sensible for a replayed one. The ``ts``
    of an early one is that of the evaluation behind it; it was decided at the request, ``EARLY_MS`` before its end.
    """
    if mode == "wall":
        return signal.expires - now_ms
    whole = EARLY_MS if early else signal.expires - signal.ts
    return whole - max(0, now_ms - published_ms)


def _order(signal: Signal) -> tuple[int, int, float]:
    return (signal.ts, signal.seq, signal.multiplier)


def hash_fields(record: msgspec.Struct) -> dict[str, str]:
    """Every field as text; a missing one is the empty text, so that an old value never stays behind."""
    return {name: "" if value is None else str(value) for name, value in msgspec.structs.asdict(record).items()}


def is_newer(signal: Signal, stored: Sequence[bytes | None]) -> bool:
    """Whether the signal goes over the stored (ts, seq, multiplier); unreadable values never stand in the way."""
    try:
        ts, seq, multiplier = (float(value or b"-1") for value in stored)
    except ValueError:
        return True
    return _order(signal) > (ts, seq, multiplier)


class Projection(ConsumerRebalanceListener):  # type: ignore[misc]
    """Keeps the hashes in step with the topic until stopped."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self.down_reason = "not connected yet"
        self._settings = settings
        self._topics = Topics(settings.kafka.prefix)
        self._metrics = metrics
        self._pending: dict[str, Write] = {}
        self._failures = 0
        self._caught_up = False
        self._stopping = asyncio.Event()
        self._news = asyncio.Event()
        self._decoder = msgspec.json.Decoder(Signal)
        kafka, url = settings.kafka, settings.redis.url
        self._consumer = AIOKafkaConsumer(
            **client_options(kafka),
            group_id=f"{kafka.group}-redis",
            group_instance_id=f"{kafka.group}-redis-{kafka.slot}",
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            session_timeout_ms=kafka.session_ms,
            heartbeat_interval_ms=max(200, kafka.session_ms // 5),
        )
        timeout_s = settings.redis.timeout_ms / 1000
        self._redis: Any = redis.Redis.from_url(
            url.reveal() if url else "redis://127.0.0.1",
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            retry=None,
        )
        self._sentinel = f"distilwatch:v1:projected:{{{settings.tenant}}}"
        self._filled: bytes | None = None  # the sentinel of the Redis that this projection has written everything to

    @property
    def pending(self) -> int:
        """Keys whose latest signal is not in Redis yet."""
        return len(self._pending)

    async def run(self) -> None:
        """Read and write until ``stop``; failures of Redis are retried for ever, with backoff."""
        await self._consumer.start()
        self._consumer.subscribe([self._topics.signals, self._topics.early], listener=self)
        writer = asyncio.create_task(self._write_loop())
        try:
            while not self._stopping.is_set():
                await self._read()
        finally:
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)
            await self._consumer.stop()
            await self._redis.aclose()

    def stop(self) -> None:
        """Ask ``run`` to end; what is pending comes again from the topic."""
        self._stopping.set()

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Start over: what another owner wrote, or Redis lost, is compared again."""
        for where in assigned:
            self._consumer.seek(where, 0)
        self._caught_up = False

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Nothing to hand over: the next owner reads from the start."""

    async def _read(self) -> None:
        if len(self._pending) >= PENDING_MAX:
            await asyncio.sleep(0.5)
            return
        batches = await self._consumer.getmany(timeout_ms=100, max_records=5_000)
        for records in batches.values():
            for record in records:
                self._note(record)
        self._metrics.redis_pending.set(len(self._pending))
        # Until the log is read to its end, an old removal could hide a newer signal that Redis already holds.
        self._caught_up = all([await self._at_end(where) for where in self._consumer.assignment()])
        if self._pending:
            self._news.set()

    async def _at_end(self, where: TopicPartition) -> bool:
        try:
            end = self._consumer.last_stable_offset(where)
            return end is not None and await self._consumer.position(where) >= end
        except (IllegalStateError, AssertionError):  # taken away by a rebalance in this moment
            return False

    def _note(self, record: Any) -> None:
        """Keep the latest per key; the topic's order within an account is the order of truth."""
        tenant = self._settings.tenant
        account = (record.key or b"").decode("utf-8", "replace")
        key, early = signal_key(tenant, account), record.topic == self._topics.early
        known = self._pending.get(key)
        if early and known is not None and not known.early:
            return
        if record.value is None:
            self._pending[key] = Write(None, record.timestamp, account, early)
            return
        try:
            signal = self._decoder.decode(record.value)
        except msgspec.MsgspecError:
            self._metrics.redis_writes.labels("unreadable").inc()
            return
        self._pending[key] = Write(signal, record.timestamp, account, early)
        if signal.cluster_id and not early:
            self._keep_newest(cluster_key(tenant, signal.cluster_id), signal, record.timestamp)

    def _keep_newest(self, key: str, signal: Signal, published_ms: int) -> None:
        """A cluster's signals come over several partitions in no order of their own."""
        known = self._pending.get(key)
        if known is None or known.signal is None or _order(signal) > _order(known.signal):
            self._pending[key] = Write(signal, published_ms, None)

    async def _write_loop(self) -> None:
        while True:
            try:
                await self._check_liveness()
                while self._pending and (self._caught_up or len(self._pending) >= PENDING_MAX):
                    await self._write_batch()
                if not self._pending:  # a Redis that answers may still refuse writes
                    self._mark_up()
            except (RedisError, OSError, TimeoutError) as error:
                await self._back_off(error)
                continue
            self._news.clear()
            try:
                await asyncio.wait_for(self._news.wait(), LIVENESS_S)
            except TimeoutError:
                continue

    async def _check_liveness(self) -> None:
        """Ask for the sentinel: another than before means an empty Redis or another one, and all is written again.

        Whoever finds none sets one that no other can have set, so that each owner of a part sees that its own is gone.
        """
        if await self._redis.get(self._sentinel) is None:
            await self._redis.set(self._sentinel, secrets.token_hex(8), nx=True)
        found = await self._redis.get(self._sentinel)
        if found == self._filled:
            return
        self._filled = found
        for where in self._consumer.assignment():
            self._consumer.seek(where, 0)
        self._caught_up = False

    async def _write_batch(self) -> None:
        """Write up to ``BATCH_KEYS`` keys; they leave the queue only when Redis has confirmed them."""
        batch = dict(list(self._pending.items())[:BATCH_KEYS])
        keys = list(batch)
        now_ms = wall_ms()
        outcomes = {"written": 0, "removed": 0, "known": 0, "ended": 0}
        async with self._redis.pipeline(transaction=True) as pipe:
            await pipe.watch(*keys)
            stored = await self._stored(keys)
            pipe.multi()
            for key, held in zip(keys, stored, strict=True):
                outcomes[self._plan_write(pipe, key, batch[key], held, now_ms)] += 1
            pipe.zremrangebyscore(index_key(self._settings.tenant), "-inf", now_ms)
            try:
                await pipe.execute()
            except WatchError:
                return  # somebody else wrote one of them: all are compared again
        for outcome, count in outcomes.items():
            self._metrics.redis_writes.labels(outcome).inc(count)
        for key, write in batch.items():
            if self._pending.get(key) is write:
                del self._pending[key]
        self._metrics.redis_pending.set(len(self._pending))

    async def _stored(self, keys: list[str]) -> list[list[bytes | None]]:
        async with self._redis.pipeline(transaction=False) as reads:
            for key in keys:
                reads.hmget(key, "ts", "seq", "multiplier")
            found: list[list[bytes | None]] = await reads.execute()
        return found

    def _plan_write(self, pipe: Any, key: str, write: Write, held: Sequence[bytes | None], now_ms: int) -> str:
        """Queue the commands for one key in the transaction and name the outcome."""
        if not write.fits(held):
            return "known"
        if write.signal is None:
            pipe.delete(key)
            self._plan_notice(pipe, write, 0)
            return "removed"
        ttl = self._settings.redis.ttl
        left_ms = lifetime_ms(write.signal, write.published_ms, now_ms, ttl, early=write.early)
        if left_ms <= 0:
            return "ended"  # what is stored under the key ends by its own lifetime
        if write.account_id is None:
            per_minute = self._settings.limiter.cluster_per_minute
            pipe.hset(key, mapping=hash_fields(budget_of(write.signal, per_minute)))
        else:
            pipe.hset(key, mapping=hash_fields(write.signal))
            self._plan_notice(pipe, write, now_ms + left_ms)
        pipe.pexpire(key, left_ms)
        return "written"

    def _plan_notice(self, pipe: Any, write: Write, ends_ms: int) -> None:
        """Keep the index in step (``ends_ms`` 0 takes the account out) and tell those who follow."""
        index, changes = index_key(self._settings.tenant), changes_key(self._settings.tenant)
        if ends_ms:
            pipe.zadd(index, {write.account_id: ends_ms})
        else:
            pipe.zrem(index, write.account_id)
        pipe.xadd(changes, {"account_id": write.account_id}, maxlen=CHANGES_MAX, approximate=True)

    def _mark_up(self) -> None:
        if self.down_reason:
            log.info("redis is up")
        self.down_reason, self._failures = "", 0
        self._metrics.redis_up.set(1)

    async def _back_off(self, error: BaseException) -> None:
        """Wait longer after each failure, with jitter; say it once, when the circuit opens."""
        self._failures += 1
        if self._failures == OPEN_AFTER:
            log.warning("redis is down (%s): signals wait, detection goes on", type(error).__name__)
        self.down_reason = type(error).__name__
        self._metrics.redis_up.set(0)
        least, most = BACKOFF_S
        await asyncio.sleep(min(most, least * 2 ** min(self._failures, 8)) * random.uniform(0.5, 1.0))  # noqa: S311
