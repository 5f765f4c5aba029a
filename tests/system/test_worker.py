"""The worker as it runs in production, on real Kafka and Redis: it decides what a replay of the same events decides."""

from __future__ import annotations

import asyncio
import json
import signal

import pytest
import redis

from streams.redis_keys import cluster_key, signal_key
from tests.letter import CANARY, letter
from tests.system.deployment import System

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]


def held_in_redis(url: str, prefix: str) -> dict[str, tuple[dict[str, str], int]]:
    """Every hash of the tenant with its time to live in ms."""
    with redis.Redis.from_url(url, decode_responses=True) as client:
        names = [name for name in client.scan_iter(f"*{prefix}*") if client.type(name) == "hash"]
        return {name: (client.hgetall(name), client.pttl(name)) for name in names}


async def test_the_worker_decides_as_the_replay_and_leaks_nothing(system: System, redis_url: str) -> None:
    assert b"exists" in system.run("topics", "list").stdout
    expected = system.replayed()
    assert expected.alerts
    await system.feed()
    system.start()
    found = await system.settled(expected)
    assert found == expected, system.logged()[-3000:]
    assert system.counted("distilwatch_observe_events_total", outcome="accepted") == len(letter().lines)
    assert '"status":"ok"' in system.fetch("/-/ready")

    await system.until(lambda: len(held_in_redis(redis_url, system.prefix)) > len(expected.accounts), "Redis")
    held = held_in_redis(redis_url, system.prefix)
    clusters = {json.loads(line)["cluster_id"] for line in expected.signals}
    names = {signal_key(system.prefix, account) for account in expected.accounts}
    names |= {cluster_key(system.prefix, cluster) for cluster in clusters}
    assert set(held) == names
    for fields, ttl_ms in held.values():
        assert fields["action"] in ("throttle", "challenge")
        assert 0 < ttl_ms <= int(fields["expires"]) - int(fields["ts"])

    searched = [system.logged(), system.fetch("/metrics"), system.fetch("/-/ready"), repr(held)]
    for spec in system.topics.catalogue():
        if spec.name not in (system.topics.requests, system.topics.labels, system.topics.rules):
            messages = await system.messages(spec.name, "read_uncommitted")
            empty = (system.topics.rejects, system.topics.shadow, system.topics.early)
            assert messages or spec.name in empty, spec.name
            searched.append(repr(messages))
    assert not any(CANARY in text for text in searched)


async def test_broken_records_are_rejected_where_they_are_and_stop_nothing(system: System) -> None:
    lines = letter().lines[:40]
    bad = [
        b"{",
        b"",
        b'{"event_id": "\xff"}',
        CANARY.encode(),
        json.dumps(json.loads(lines[0]) | {"ts": 4_000_000_000_000}).encode(),
    ]
    await system.produce([*lines[:20], *bad, *lines[20:]])
    process = system.start()
    await system.until(lambda: system.counted("distilwatch_observe_events_total") == 45, "all to be counted")
    found = []
    for _ in range(100):  # counted at once, written with the next commit
        found = [json.loads(value or b"") for _, value in await system.messages(system.topics.rejects)]
        if len(found) >= len(bad):
            break
    assert [(reject["offset"], reject["reason"]) for reject in found] == [
        (20, "malformed_json"),
        (21, "empty_record"),
        (22, "not_utf8"),
        (23, "malformed_json"),
        (24, "time_future"),
    ]
    assert {(reject["topic"], reject["partition"]) for reject in found} == {(system.topics.requests, 0)}
    assert CANARY not in repr(found) + system.logged()
    process.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(process.wait, 30) == 0, system.logged()[-3000:]
