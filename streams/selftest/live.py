"""The self-test on Kafka: requests in as any gateway sends them, alert and signals out as a running worker writes them.

What lives here: the run. What does not: the canary's traffic and why it can name nobody else (``canary``). The canary
goes on, at the pace of the wall clock, until its alert and signals have been seen or time is up: requests stamped ahead
of the clock would make everybody else's late. Only on topics that carry nothing else may its time run faster.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError
from redis.asyncio import Redis
from redis.exceptions import RedisError

from models.alert import Alert, Signal
from models.canary import CanaryMark
from models.errors import ConfigError
from models.hashing import KeyedHash
from streams.clock import wall_ms
from streams.config import Settings, client_options
from streams.redis_keys import signal_key
from streams.selftest.canary import ACCOUNTS, Canary
from streams.selftest.hops import Way, strangers
from streams.topics import Topics, count_partitions

PAST_MS = 5_400_000
"""On topics of its own the canary begins so long ago, and comes up to the clock in some seconds."""
FAST_STEP_MS = 60_000
FAST_REST_S = 0.1
STEP_S = 1.0
OTHERS_MAX = 100_000
SETTLE_S = 20.0
"""Signals and Redis follow an alert within a checkpoint; a busy worker may take a few."""
ALERT_HINT = "is a worker running with this secret, prefix and mode? See its /-/ready and distilwatch_input_lag_records"


@dataclass(slots=True)
class _Seen:
    """What has come out so far."""

    alert: Alert | None = None
    signals: dict[str, Signal] = field(default_factory=dict)
    others: set[tuple[str | None, str]] = field(default_factory=set)


class LiveTest:
    """One run on real brokers; ``isolated`` where nothing else is on the topics."""

    def __init__(self, settings: Settings, way: Way, *, timeout_s: float, isolated: bool) -> None:
        if settings.secret is None:
            raise ConfigError("set DISTILWATCH_SECRET to the worker's: the canary's accounts are marked with it")
        self.settings = settings
        self.way = way
        self.mark = CanaryMark(KeyedHash(settings.secret.reveal().encode()))
        self.canary = Canary(uuid.uuid4().hex[:12], self.mark)
        self._clients = client_options(settings.kafka)
        self._topics = Topics(settings.kafka.prefix)
        self._timeout_s = timeout_s
        self._isolated = isolated
        self._seen = _Seen()

    async def run(self) -> None:
        """Send the canary and follow it; every hop is noted in the way."""
        kafka = self.settings.kafka
        try:
            async with asyncio.timeout(15):
                counts = await count_partitions(self._clients, [self._topics.requests, *self._outputs()])
        except (KafkaError, OSError, TimeoutError) as error:
            self.way.note("brokers", f"{kafka.brokers}: {error or type(error).__name__}", "failed")
            return
        missing = [name for name in (self._topics.requests, *self._outputs()) if not counts.get(name)]
        if missing:
            self.way.note("brokers", f"missing: {', '.join(missing)}; run distilwatch topics create", "failed")
            return
        consumer = AIOKafkaConsumer(**self._clients, isolation_level="read_committed", enable_auto_commit=False)
        producer = AIOKafkaProducer(**self._clients, acks="all", enable_idempotence=True, linger_ms=5)
        await consumer.start()
        try:
            await producer.start()
            await self._prepare(consumer, counts)
            self.way.note("brokers", f"{kafka.brokers} answers, topics are there")
            await self._follow(producer, consumer)
        except (KafkaError, OSError, TimeoutError) as error:
            self.way.note("brokers", f"{kafka.brokers}: {error or type(error).__name__}", "failed")
        finally:
            await producer.stop()
            await consumer.stop()

    def _outputs(self) -> tuple[str, str]:
        return self._topics.alerts, self._topics.signals

    async def _prepare(self, consumer: AIOKafkaConsumer, counts: dict[str, int]) -> None:
        """Stand at the end of the outputs; refuse to hurry where others send."""
        if self._isolated:
            requests = [TopicPartition(self._topics.requests, at) for at in range(counts[self._topics.requests])]
            if any((await consumer.end_offsets(requests)).values()):
                raise ConfigError(
                    f"{self._topics.requests} holds requests: --isolated is for topics of a prefix of its own"
                )
        places = [TopicPartition(name, at) for name in self._outputs() for at in range(counts[name])]
        consumer.assign(places)
        await consumer.seek_to_end(*places)
        for place in places:
            await consumer.position(place)  # now, so that nothing written from here on is missed

    async def _follow(self, producer: AIOKafkaProducer, consumer: AIOKafkaConsumer) -> None:
        now_ms = wall_ms()
        at_ms = now_ms - PAST_MS if self._isolated else now_ms
        ends = time.monotonic() + self._timeout_s
        while self._seen.alert is None and time.monotonic() < ends:
            behind = wall_ms() - at_ms > 2 * FAST_STEP_MS
            until_ms = at_ms + FAST_STEP_MS if behind and self._isolated else wall_ms()
            await self._send(producer, at_ms, until_ms)
            at_ms = until_ms
            await self._read(consumer, FAST_REST_S if behind and self._isolated else STEP_S)
        alert = self._seen.alert
        if alert is None:
            told = f"none within {self._timeout_s:.0f} s and {self.canary.sent} requests: {ALERT_HINT}"
            self.way.note("alert", told, "failed")
            return
        delay_s = max(wall_ms() - alert.ts, 0) / 1000
        self.way.note("alert", f"{alert.cluster_id} [{alert.mode}], {delay_s:.0f} s after it was decided in event time")
        await self._signals(consumer, alert)
        self._apart(alert)
        await self._redis(alert)

    async def _send(self, producer: AIOKafkaProducer, start_ms: int, stop_ms: int) -> None:
        waiting = [
            await producer.send(self._topics.requests, record, account_id.encode(), timestamp_ms=ts)
            for account_id, ts, record in self.canary.requests(start_ms, stop_ms)
        ]
        if waiting:
            first = not any(hop.name == "requests" for hop in self.way.hops)
            await asyncio.gather(*waiting)
            if first:
                self.way.note("requests", f"{ACCOUNTS} accounts of a self-test begin on {self._topics.requests}")

    async def _read(self, consumer: AIOKafkaConsumer, seconds: float) -> None:
        batches = await consumer.getmany(timeout_ms=int(seconds * 1000))
        for place, records in batches.items():
            if place.topic == self._topics.alerts:
                self._note_alerts(record.value for record in records)
            else:
                self._note_signals(records)

    def _note_alerts(self, values: Iterable[bytes | None]) -> None:
        for value in values:
            alert = _read(value, Alert)
            if alert is not None and self._seen.alert is None and alert.status != "resolved" and self._ours(alert):
                self._seen.alert = alert

    def _ours(self, alert: Alert) -> bool:
        """Whether it speaks of this run, with whomever else."""
        return any(account_id in self.canary.accounts for account_id in alert.members_sample)

    def _note_signals(self, records: Iterable[Any]) -> None:
        for record in records:
            signal = _read(record.value, Signal)
            if signal is None:
                continue
            if signal.account_id in self.canary.accounts:
                self._seen.signals[signal.account_id] = signal
            elif len(self._seen.others) < OTHERS_MAX:
                self._seen.others.add((signal.cluster_id, signal.account_id))

    async def _signals(self, consumer: AIOKafkaConsumer, alert: Alert) -> None:
        ends = time.monotonic() + SETTLE_S
        while alert.mode != "shadow" and not self._seen.signals and time.monotonic() < ends:
            await self._read(consumer, STEP_S)
        if alert.mode == "shadow":
            self.way.note("signals", "none leave in mode shadow", "skipped")
        elif self._seen.signals:
            actions = sorted({signal.action for signal in self._seen.signals.values()})
            self.way.note("signals", f"{len(self._seen.signals)} accounts named: {', '.join(actions)}")
        else:
            self.way.note("signals", f"none on {self._topics.signals} within {SETTLE_S:.0f} s of the alert", "failed")

    def _apart(self, alert: Alert) -> None:
        others = {account_id for cluster_id, account_id in self._seen.others if cluster_id == alert.cluster_id}
        others.update(strangers(alert, self.mark))
        if others:
            self.way.note("apart", f"{len(others)} accounts that are not the canary's named with it", "failed")
        else:
            self.way.note("apart", "nobody else is named with the canary")

    async def _redis(self, alert: Alert) -> None:
        url = self.settings.redis.url
        if url is None or alert.mode == "shadow" or not self._seen.signals:
            self.way.note("redis", "no Redis is set" if url is None else "no signal to look for", "skipped")
            return
        key = signal_key(self.settings.tenant, next(iter(self._seen.signals)))
        timeout_s = self.settings.redis.timeout_ms / 1000
        client: Any = Redis.from_url(url.reveal(), socket_timeout=timeout_s, socket_connect_timeout=timeout_s)
        try:
            action, trouble = await _action_of(client, key)
        finally:
            await client.aclose()
        self.way.note("redis", f"a limiter reads {action}" if action else trouble, "ok" if action else "failed")


async def _action_of(client: Any, key: str) -> tuple[str, str]:
    """What a limiter is told under a key, as soon as it is there; else nothing and the reason."""
    ends, trouble = time.monotonic() + SETTLE_S, f"no key {key} within {SETTLE_S:.0f} s"
    while time.monotonic() < ends:
        try:
            (action,) = await client.hmget(key, ["action"])  # what a limiter asks, and all that the worker's user may
            if action:
                return action.decode(), ""
        except (RedisError, OSError) as error:
            trouble = f"Redis does not answer: {type(error).__name__}"
        await asyncio.sleep(0.2)
    return "", trouble


def _read(value: bytes | None, type_: Any) -> Any:
    try:
        return msgspec.json.decode(value, type=type_) if value else None
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None  # of somebody else: not ours to judge
