"""Redis that is dead, paused, emptied, full or read-only: detection goes on, health says so, and it is filled again."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

import pytest
import redis

from tests.faults.trial import Trial
from tests.servers import RedisServer

pytestmark = [pytest.mark.servers, pytest.mark.faults, pytest.mark.timeout(600)]
Make = Callable[..., Trial]
DIRTY = {
    "killed": lambda store, client: store.kill(),
    "paused": lambda store, client: store.signal(signal.SIGSTOP),
    "read-only": lambda store, client: client.replicaof("127.0.0.1", 1),
    "full": lambda store, client: client.config_set("maxmemory", "1"),
}


def mend(store: RedisServer, client: redis.Redis, fault: str) -> None:
    if fault == "killed":
        store.start()
    elif fault == "paused":
        store.signal(signal.SIGCONT)
    elif fault == "read-only":
        client.replicaof("NO", "ONE")
    else:
        client.config_set("maxmemory", "0")


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param("killed", marks=pytest.mark.row("12", "Redis dead: detection goes on, filled again")),
        pytest.param("paused", marks=pytest.mark.row("13", "Redis paused: no call holds anything up")),
        pytest.param("read-only", marks=pytest.mark.row("15a", "Redis read-only: down, not empty")),
        pytest.param("full", marks=pytest.mark.row("15b", "Redis out of memory: down, not empty")),
    ],
)
async def test_redis_away(kafka: str, store: RedisServer, trial_on: Make, fault: str) -> None:
    trial = trial_on(kafka, store.url)
    client = redis.Redis.from_url(store.url, socket_timeout=2)
    client.config_set("maxmemory-policy", "noeviction")
    trial.up("0")
    await trial.feed_for(3, upto=0.2)
    await trial.until(lambda: trial.component("redis").get("state") == "ok", "Redis")
    DIRTY[fault](store, client)
    await trial.feed_for(3)
    await trial.until(lambda: trial.component("redis").get("state") == "degraded", "health to say so")
    said = trial.component("redis")
    assert said["since"]
    await trial.judge()  # nothing waited for Redis
    assert trial.component("redis")["since"] == said["since"], "one outage, one beginning"
    assert trial.sum_of("distilwatch_redis_up") == 0
    assert trial.sum_of("distilwatch_redis_pending_signals") > 0
    assert trial.slots["0"].process.poll() is None
    mend(store, client, fault)
    await trial.projected()
    await trial.fresh()


@pytest.mark.row("14", "Redis emptied: filled from the topic, nothing alerted again")
async def test_redis_emptied(kafka: str, store: RedisServer, trial_on: Make) -> None:
    trial = trial_on(kafka, store.url)
    trial.up("0")
    await trial.feed_for(3)
    await trial.judge()
    await trial.projected()
    redis.Redis.from_url(store.url, socket_timeout=2).flushall()
    await trial.projected()
    await asyncio.sleep(3)
    await trial.judge()
    await trial.fresh()
