"""Labels on a real deployment: what a person says holds in the topics and in Redis, over kill -9, and to the end."""

from __future__ import annotations

import asyncio
import json
import signal
from typing import Any

import pytest
import redis

from streams.config import load
from streams.desk import DeskHost, FeedNames, new_label
from streams.redis_signals import signal_key
from tests.letter import letter
from tests.system.deployment import System

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]


async def told(system: System) -> dict[str, bool]:
    """Whether each account that was ever told of is named by its last record."""
    return {key.decode(): value is not None for key, value in await system.messages(system.topics.signals)}


async def named(system: System) -> set[str]:
    return {account for account, holds in (await told(system)).items() if holds}


async def settle(system: System, condition: Any, what: str) -> None:
    for _ in range(200):
        if condition(await told(system)):
            return
        await asyncio.sleep(0.5)
    pytest.fail(f"waited for {what}: {system.logged()[-3000:]}")


async def test_what_people_say_holds_on_topics_in_redis_and_over_kill_9(system: System, redis_url: str) -> None:
    half = len(letter().lines) // 2
    await system.feed(0, half)
    first = system.start()
    await settle(system, lambda known: sum(known.values()) > 30, "the campaign to be named")
    chosen = min(await named(system))
    key = signal_key(system.prefix, chosen)
    host = DeskHost(FeedNames(kafka=load(system.env).kafka).open())
    await host.start()
    (case,) = [case for case in host.cases() if case.alert.cluster_id]
    cluster = str(case.alert.cluster_id)
    await host.act(new_label("acknowledge", {"dedup_key": case.dedup_key}, who="kim"))
    await host.act(new_label("allow", {"account_id": chosen}, who="kim", reason="ours"))
    await settle(system, lambda known: not known[chosen], "the tombstone of the allowed account")
    with redis.Redis.from_url(redis_url) as client:
        await system.until(lambda: not client.exists(key), "Redis to forget the allowed account")
        first.send_signal(signal.SIGKILL)
        first.wait(20)
        system.start()
        await system.feed(half, len(letter().lines))

        (system.folder / "labels").write_bytes(
            b"".join((value or b"") + b"\n" for _, value in await system.messages(system.topics.labels))
        )
        expected = await asyncio.to_thread(replayed, system)
        assert expected <= letter().members - {chosen}
        await settle(
            system, lambda known: {who for who, holds in known.items() if holds} == expected, "the same accounts"
        )
        assert not client.exists(key)
        await system.until(lambda: set(host.members(cluster)) == expected, "the desk to know the members")
        seen_again = host.case(cluster)
        assert seen_again is not None
        assert seen_again.acknowledged is not None
        assert seen_again.acknowledged.who == "kim"
        assert host.account(chosen).allowed is not None
        assert system.counted("distilwatch_campaigns_events_total", outcome="allowed") > 0
        await host.stop()

        undone = await asyncio.to_thread(system.run, "alerts", "undo", cluster, "--who", "kim", "--reason", "honest")
        assert undone.returncode == 0, undone.stderr
        await settle(system, lambda known: not any(known.values()), "every signal of the cluster to be cleared")
        await system.until(
            lambda: not list(client.scan_iter(f"*signal:{{{system.prefix}}}*")), "Redis to forget them all"
        )


def replayed(system: System) -> set[str]:
    """The accounts that a replay of everything names in the end under the same labels."""
    (system.folder / "events.jsonl").write_bytes(letter().file())
    names = {name: str(system.folder / name) for name in ("events.jsonl", "labels", "signals")}
    done = system.run(
        "replay", names["events.jsonl"], "--labels", names["labels"], "--signals", names["signals"], "--quiet"
    )
    assert done.returncode == 0, done.stderr
    last = {}
    for line in (system.folder / "signals").read_text().splitlines():
        said = json.loads(line)
        last[said["account_id"]] = "tombstone" not in said
    return {account for account, holds in last.items() if holds}
