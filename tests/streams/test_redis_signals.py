"""The projection of signals on a real Redis: newest wins, lifetimes, removal, loss and return of Redis."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
import redis
from aiokafka import AIOKafkaProducer

from models.alert import Signal
from models.budget import ClusterBudget
from models.joiners import EARLY_MS
from streams.config import load
from streams.metrics import Metrics
from streams.redis_keys import changes_key, cluster_key, index_key, signal_key
from streams.redis_signals import Projection, is_newer, lifetime_ms
from streams.topics import Topics, create
from tests.servers import RedisServer

LIFE_MS = 600_000


def make_signal(account: str, seq: int, *, ts: int = 1_000_000, cluster: str | None = "c1") -> Signal:
    return Signal(
        account_id=account,
        cluster_id=cluster,
        action="throttle",
        multiplier=0.1,
        score=4.5,
        rule="campaign",
        alert_id="a1",
        mode="enforce",
        ts=ts,
        expires=ts + LIFE_MS,
        seq=seq,
    )


def test_a_lifetime_counts_from_publication_or_ends_by_the_wall() -> None:
    signal = make_signal("x", 1, ts=5_000)
    assert lifetime_ms(signal, published_ms=10**12, now_ms=10**12 + 1_000, mode="event") == LIFE_MS - 1_000
    assert lifetime_ms(signal, published_ms=10**12, now_ms=10**12 - 50, mode="event") == LIFE_MS
    assert lifetime_ms(signal, published_ms=10**12, now_ms=10**12, mode="wall") < 0
    assert lifetime_ms(signal, published_ms=0, now_ms=6_000, mode="wall") == LIFE_MS - 1_000


def test_an_early_lifetime_does_not_count_from_the_evaluation_behind_it() -> None:
    request_ms, evaluated_ms, wall = 9_000_000, 2_000_000, 10**12
    signal = msgspec.structs.replace(make_signal("x", 0, ts=evaluated_ms), expires=request_ms + EARLY_MS)
    assert lifetime_ms(signal, published_ms=wall, now_ms=wall + 1_000, mode="event", early=True) == EARLY_MS - 1_000
    assert lifetime_ms(signal, published_ms=0, now_ms=request_ms, mode="wall", early=True) == EARLY_MS


def test_newer_is_by_time_then_number() -> None:
    signal = make_signal("x", 7, ts=1_000)
    assert is_newer(signal, [None, None, None])
    assert is_newer(signal, [b"1000", b"6", b"1.0"])
    assert not is_newer(signal, [b"1000", b"7", b"0.1"])
    assert is_newer(signal, [b"1000", b"7", b"0.05"])  # the mildest of one decision
    assert not is_newer(signal, [b"1001", b"1", b"0.1"])
    assert is_newer(signal, [b"rubbish", b"1", b"0.1"])


class Topic:
    """One signals topic and the settings of a projection of it."""

    def __init__(self, kafka: str, url: str, prefix: str) -> None:
        self.clients = {"bootstrap_servers": kafka}
        self.topics = Topics(prefix)
        self._environment = {
            "DISTILWATCH_BROKERS": kafka,
            "REDIS_URL": url,
            "DISTILWATCH_TOPIC_PREFIX": prefix,
            "DISTILWATCH_GROUP": prefix,
            "DISTILWATCH_TENANT": prefix,
            "DISTILWATCH_SESSION_MS": "6000",
        }
        self.settings = load(self._environment)

    async def write(self, *signals: Signal | str, early: bool = False) -> None:
        """Produce signals; a plain account id is a tombstone."""
        to = self.topics.early if early else self.topics.signals
        async with AIOKafkaProducer(**self.clients) as producer:
            for item in signals:
                account = item if isinstance(item, str) else item.account_id
                value = None if isinstance(item, str) else msgspec.json.encode(item)
                await producer.send_and_wait(to, value, key=account.encode())

    @asynccontextmanager
    async def projected(self, slot: int = 0) -> AsyncIterator[Projection]:
        projection = Projection(load(self._environment | {"DISTILWATCH_SLOT": str(slot)}), Metrics())
        task = asyncio.create_task(projection.run())
        try:
            yield projection
        finally:
            projection.stop()
            await asyncio.wait_for(task, 20)


async def until(condition: Callable[[], bool], what: str, timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.05)


@pytest.mark.servers
async def test_signals_live_in_redis_until_they_end_or_are_removed(
    kafka: str, redis_url: str, request: pytest.FixtureRequest
) -> None:
    topic = Topic(kafka, redis_url, f"r{id(request)}")
    await create(topic.clients, topic.topics.catalogue(), partitions=2)
    held = redis.Redis.from_url(redis_url, decode_responses=True)
    tenant = topic.settings.tenant
    await topic.write(
        make_signal("a", 1), make_signal("a", 3), make_signal("a", 2), make_signal("b", 4), make_signal("gone", 5)
    )
    async with topic.projected() as projection:
        await until(lambda: held.exists(signal_key(tenant, "gone")) == 1 and not projection.pending, "projection")
        assert held.hget(signal_key(tenant, "a"), "seq") == "2"  # the log's last word while Redis was empty
        await topic.write(make_signal("a", 1), make_signal("b", 9), "gone")
        await until(lambda: held.hget(signal_key(tenant, "b"), "seq") == "9", "the newer signal")
        await until(lambda: not held.exists(signal_key(tenant, "gone")), "the removal")
        assert held.hget(signal_key(tenant, "a"), "seq") == "2"
        assert 0 < held.pttl(signal_key(tenant, "b")) <= LIFE_MS
        assert set(held.hgetall(signal_key(tenant, "b"))) == set(msgspec.structs.asdict(make_signal("b", 9)))
        record = held.hgetall(cluster_key(tenant, "c1"))
        assert set(record) == set(ClusterBudget.__struct_fields__)
        assert (record["cluster_id"], record["budget_per_minute"], record["seq"]) == ("c1", "6.0", "9")
        assert sorted(held.zrange(index_key(tenant), 0, -1)) == ["a", "b"]
        assert held.zscore(index_key(tenant), "b") > time.time() * 1000
        told = [entry["account_id"] for _, entry in held.xrange(changes_key(tenant))]
        assert sorted(told[-2:]) == ["b", "gone"]  # two partitions: the log promises no order between them
        await until(lambda: not projection.down_reason, "the state up")


@pytest.mark.servers
async def test_an_early_signal_fills_an_empty_place_only(
    kafka: str, redis_url: str, request: pytest.FixtureRequest
) -> None:
    topic = Topic(kafka, redis_url, f"e{id(request)}")
    await create(topic.clients, topic.topics.catalogue(), partitions=2)
    held = redis.Redis.from_url(redis_url, decode_responses=True)
    tenant = topic.settings.tenant

    def seq(account: str) -> str | None:
        found = held.hget(signal_key(tenant, account), "seq")
        return None if found is None else str(found)

    early_ts = 2_000_000  # of a later evaluation than the one that had named "known"
    await topic.write(make_signal("known", 5))
    async with topic.projected() as projection:
        await until(lambda: seq("known") == "5", "what an evaluation said")
        joined = [
            msgspec.structs.replace(make_signal(name, 0, ts=early_ts), expires=early_ts + 3_600_000 + EARLY_MS)
            for name in ("known", "joins", "named", "let-go", "last")
        ]
        await topic.write(*joined, early=True)
        await until(lambda: seq("last") == "0" and seq("joins") == "0" and not projection.pending, "early signals")
        assert seq("known") == "5"
        assert 0 < held.pttl(signal_key(tenant, "joins")) <= EARLY_MS
        assert not held.exists(cluster_key(tenant, "c1")) or held.hget(cluster_key(tenant, "c1"), "seq") == "5"
        # The very evaluation that the early ones rest on goes over them.
        await topic.write(make_signal("named", early_ts, ts=early_ts))
        await until(lambda: seq("named") == str(early_ts), "the evaluation")
        await topic.write("known", "named", "let-go", early=True)
        await until(lambda: seq("let-go") is None and not projection.pending, "the end of an early signal")
        assert (seq("known"), seq("named"), seq("joins")) == ("5", str(early_ts), "0")
        await topic.write("joins")
        await until(lambda: seq("joins") is None, "the removal by an evaluation")


@pytest.mark.servers
async def test_redis_may_die_and_come_back_empty(kafka: str, tmp_path: Path) -> None:
    server = RedisServer(tmp_path)
    server.start()
    try:
        topic = Topic(kafka, server.url, f"k{id(server)}")
        await create(topic.clients, topic.topics.catalogue(), partitions=1)
        await topic.write(make_signal("before", 1))
        key = signal_key(topic.settings.tenant, "before")
        async with topic.projected() as projection:
            held = redis.Redis.from_url(server.url, socket_timeout=1)
            await until(lambda: held.exists(key) == 1, "the first signal")
            server.kill()
            await topic.write(make_signal("during", 2))
            await until(lambda: bool(projection.down_reason), "the state down")
            await until(lambda: projection.pending > 0, "a waiting signal")
            server.start()
            held = redis.Redis.from_url(server.url, socket_timeout=1)
            await until(lambda: held.exists(signal_key(topic.settings.tenant, "during")) == 1, "the waiting signal")
            await until(lambda: held.exists(key) == 1, "the signal that Redis had lost")
            await until(lambda: not projection.down_reason, "the state up")
    finally:
        server.stop()


@pytest.mark.servers
async def test_what_an_emptied_redis_lost_is_written_again_by_every_owner(
    kafka: str, redis_url: str, request: pytest.FixtureRequest
) -> None:
    topic = Topic(kafka, redis_url, f"o{id(request)}")
    await create(topic.clients, topic.topics.catalogue(), partitions=4)
    held = redis.Redis.from_url(redis_url, decode_responses=True)
    tenant = topic.settings.tenant
    names = [f"account-{number}" for number in range(32)]
    keys = [signal_key(tenant, name) for name in names]
    await topic.write(*(make_signal(name, 1) for name in names))
    async with topic.projected() as one, topic.projected(slot=1) as other:
        await until(lambda: all(len(each._consumer.assignment()) == 4 for each in (one, other)), "partitions for both")
        await until(lambda: held.exists(*keys) == len(keys), "all signals")
        for _ in range(2):  # the second time both have filled it before
            held.delete(*held.keys(f"*{{{tenant}}}*"))
            await until(lambda: held.exists(*keys) == len(keys), "all that Redis had lost")
