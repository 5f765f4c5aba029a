"""Budgets in a real Redis: the script is the model, processes share a bucket, and its death changes no sum."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections import Counter
from pathlib import Path

import pytest
import redis.asyncio as redis

from models.budget import TokenBucket, milli_of
from streams.limiter.ledger import TAKE, Bucket, Ledger, bucket_key
from streams.redis_keys import cluster_key
from tests.servers import RedisServer

pytestmark = pytest.mark.servers

PATIENT_MS = 5_000
"""Longer than a loaded machine takes; the tests of time-outs have their own."""


def ledger(url: str, tenant: str, counts: Counter[str], timeout_ms: int = PATIENT_MS) -> Ledger:
    client = redis.Redis.from_url(url, socket_timeout=timeout_ms / 1000, socket_connect_timeout=1, retry=None)
    return Ledger(client, tenant, timeout_ms, lambda source: counts.update([source]))


@pytest.mark.parametrize("per_minute", [0, 0.001, 6, 61.7, 3_000, 9_999_999])
async def test_the_script_is_the_bucket_of_the_model(redis_url: str, per_minute: float) -> None:
    draw, now = random.Random(3), 1_700_000_000_000
    client = redis.Redis.from_url(redis_url)
    script = client.register_script(TAKE)
    keys = [f"test:{uuid.uuid4().hex}", "test:no-record"]
    bucket = TokenBucket(milli_of(per_minute), now)
    for _ in range(200):
        now += draw.choice([0, 1, 7, 500, 20_000, -300])
        wanted = draw.choice([1, 1, 2, 40, 5_000])
        granted, wait_ms, milli = await script(keys=keys, args=[wanted, milli_of(per_minute), now])
        assert (granted, wait_ms) == bucket.take(wanted, now)
        assert milli == bucket.milli
    assert await client.pttl(keys[0]) > 0
    await client.aclose()


async def test_the_record_of_the_cluster_sets_the_rate(redis_url: str) -> None:
    client = redis.Redis.from_url(redis_url)
    script, keys = client.register_script(TAKE), [f"test:{uuid.uuid4().hex}" for _ in range(2)]
    await client.hset(keys[1], mapping={"budget_per_minute": "61.7"})
    assert (await script(keys=keys, args=[1, 5, 1_000]))[2] == 61_700
    for rubbish in ("", "much", "-1", "nan", "1e300"):
        await client.hset(keys[1], mapping={"budget_per_minute": rubbish})
        assert (await script(keys=keys, args=[1, 5, 1_000]))[2] == 5
    await client.aclose()


async def passes(one: Ledger, bucket: Bucket) -> bool:
    spent = one.spend(bucket, 1)
    return await one.draw(bucket, 1) if spent is None else spent


async def test_25_000_accounts_over_three_limiters_draw_from_one_bucket(redis_url: str) -> None:
    tenant, counts = f"t{uuid.uuid4().hex[:10]}", Counter[str]()
    limiters = [ledger(redis_url, tenant, counts) for _ in range(3)]
    bucket = Bucket("cluster:c", cluster_key(tenant, "c"), 1_200)
    started = time.monotonic()
    answers = []
    for account in range(25_000):
        answers.append(await passes(limiters[account % 3], bucket))
        if account % 500 == 0:
            await asyncio.sleep(0.01)
    seconds = time.monotonic() - started
    assert 100 <= sum(answers) <= 100 + 20 * (seconds + 1)  # a full bucket, and what came in since
    assert counts["redis"] < 2_000  # an empty bucket is asked now and then, not by every account


async def test_those_who_wait_ask_together(redis_url: str) -> None:
    counts = Counter[str]()
    one = ledger(redis_url, f"t{uuid.uuid4().hex[:10]}", counts)
    bucket = Bucket("cluster:c", "test:no-record", 120)
    answers = await asyncio.gather(*(passes(one, bucket) for _ in range(500)))
    assert 1 <= sum(answers) <= 10
    assert counts["redis"] <= 12


async def test_without_redis_each_limiter_gives_its_part(tmp_path: Path) -> None:
    server = RedisServer(tmp_path)
    server.start()
    counts = Counter[str]()
    try:
        limiters = [ledger(server.url, "t", counts, timeout_ms=200) for _ in range(4)]
        for _ in range(2):
            for one in limiters:
                await one.beat()
        assert [one.limiters for one in limiters] == [4] * 4
        bucket = Bucket("cluster:c", cluster_key("t", "c"), 2_400)
        for one in limiters:
            await passes(one, bucket)
        server.kill()
        for one in limiters:  # let what is still on lease end
            for lease in one._leases.values():
                lease.ends_ms = lease.closed_until_ms = 0
        started, passed = time.monotonic(), 0
        while time.monotonic() - started < 2:
            passed += sum([await passes(one, bucket) for one in limiters])
            await asyncio.sleep(0.005)
        seconds = time.monotonic() - started
        assert 10 <= passed <= 40 * (seconds + 0.5)
        assert counts["error"] >= 3
        assert counts["local"] > 0
        assert all(one.breaker.is_open for one in limiters)
    finally:
        server.stop()


async def test_a_redis_that_hangs_is_not_waited_for(tmp_path: Path) -> None:
    import signal

    server = RedisServer(tmp_path)
    server.start()
    counts = Counter[str]()
    try:
        one = ledger(server.url, "t", counts, timeout_ms=4)
        server.signal(signal.SIGSTOP)
        for number in range(20):
            await one.draw(Bucket(f"account:{number}", "t", 60), 1)
        assert counts["timeout"] == 3  # then the circuit is open
        assert counts["local"] == 20
    finally:
        server.stop()


def test_keys_of_a_tenant_lie_in_one_slot() -> None:
    assert bucket_key("acme", "cluster:c") == "distilwatch:v1:budget:{acme}:cluster:c"
