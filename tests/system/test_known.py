"""Accounts that join a known campaign, on real Kafka and Redis: named at once, and the same whatever is killed."""

from __future__ import annotations

import asyncio
import functools
import json
import re
import signal

import pytest
import redis

from models.account_rules import AccountRules
from models.decode import Decoder, Origin
from models.hashing import KeyedHash
from models.observe import Observe
from models.output import encode_signal
from models.sketch import Sketcher
from models.sketching import sketch_events
from streams.redis_keys import signal_key
from tests.letter import SECRET, letter
from tests.system.deployment import PARTITIONS, System

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]

JOINERS = 24
REQUESTS = 24
PRESENT = 14
"""Of them before the first kill: about as many as an account must send; some are named before it and some after."""


@functools.cache
def newest() -> int:
    return max(json.loads(line)["ts"] for line in letter().lines)


def closers() -> list[tuple[str, bytes]]:
    """A request in every partition at the newest time, so that nothing later moves a watermark."""
    line = json.loads(letter().lines[0])
    line |= {"ts": newest(), "prompt": "good night"}
    return [
        (f"closer-{at}", json.dumps(line | {"account_id": f"closer-{at}", "event_id": f"closer-{at}"}).encode())
        for at in range(20 * PARTITIONS)
    ]


def joining() -> list[tuple[str, bytes]]:
    """Accounts nobody has seen that work through the campaign's templates, in turns, in one moment."""
    found = letter()
    harvest = [line for line, name in zip(found.lines, found.accounts, strict=True) if name in found.members]
    lines = []
    for number in range(REQUESTS):
        for joiner in range(JOINERS):
            at = number * JOINERS + joiner
            line = json.loads(harvest[-1 - 7 * at % len(harvest)])
            line.pop("org_id", None)
            line |= {"account_id": f"joiner-{joiner}", "event_id": f"joined-{at}", "ts": newest()}
            lines.append((f"joiner-{joiner}", json.dumps(line).encode()))
    return lines


def expected(records: dict[str, bytes]) -> list[tuple[bytes, bytes | None]]:
    """What one Observe says early of the joiners that learns of these campaigns before they come."""
    secret = SECRET.encode()
    keyed, sketcher = KeyedHash(secret), Sketcher(secret)
    observe, decoder = Observe(AccountRules(keyed)), Decoder(keyed)
    early = []
    for lines in ([*letter().lines, *(line for _, line in closers())], [line for _, line in joining()]):
        sketched = sketch_events(sketcher, decoder.decode(lines, Origin("t", 0, 0)).batch)
        early += observe.process(sketched.events, sketched.sketches).decisions.early
        for cluster_id, value in records.items():
            observe.know(cluster_id, value)
    return sorted((account.encode(), encode_signal(said)) for account, said in early)


async def early_of_joiners(system: System) -> list[tuple[bytes, bytes | None]]:
    return sorted(item for item in await system.messages(system.topics.early) if item[0].startswith(b"joiner"))


def caught_up(system: System) -> bool:
    """Whether verdicts take all that was read into account, and every partition knows what they say."""
    seen: dict[str, list[float]] = {stage: [] for stage in ("observe", "campaigns")}
    for line in system.fetch("/metrics").splitlines():
        found = re.fullmatch(r'distilwatch_watermark_timestamp_ms\{.*stage="(observe|campaigns)".*\} (\S+)', line)
        if found:
            seen[found[1]].append(float(found[2]))
    known = system.counted("distilwatch_control_records_total", topic=system.topics.campaigns)
    return (
        known > 0
        and len(seen["observe"]) == PARTITIONS
        and {*seen["campaigns"], *seen["observe"]} == {float((newest() - 120_000) // 10_000 * 10_000)}
    )


async def test_who_joins_is_named_at_once_and_once_whatever_is_killed(system: System, redis_url: str) -> None:
    # Nothing may fall idle between the parts: an evaluation of what it has would publish the campaign anew.
    slow = {"DISTILWATCH_BATCH_RECORDS": "100", "DISTILWATCH_IDLE_MS": "200000"}
    first = system.start(**slow | {"DISTILWATCH_BATCH_RECORDS": "5000"})
    await system.send(list(zip(letter().accounts, letter().lines, strict=True)) + closers())
    await system.until(lambda: caught_up(system), "the campaign to be known")
    await asyncio.sleep(2)  # some checkpoints: every partition has taken what is known
    prefix = f"{system.prefix}:"
    held = {name.decode().removeprefix(prefix): value for name, value in await system.messages(system.topics.campaigns)}
    records = {name: value for name, value in held.items() if value is not None}
    wanted = expected(records)
    assert len(wanted) > JOINERS / 2
    assert all(json.loads(value or b"")["action"] == "throttle" for _, value in wanted)

    lines, cut = joining(), PRESENT * JOINERS
    await system.send(lines[:cut])
    first.send_signal(signal.SIGKILL)
    first.wait(20)
    second = system.start(**slow)
    await system.send(lines[cut : cut + 3 * JOINERS])
    for _ in range(300):
        if await early_of_joiners(system):
            break
    second.send_signal(signal.SIGKILL)
    second.wait(20)
    await system.send(lines[cut + 3 * JOINERS :])
    system.start(**slow)
    for _ in range(60):
        if len(await early_of_joiners(system)) >= len(wanted):
            break
        await asyncio.sleep(1)
    await asyncio.sleep(2)
    assert await early_of_joiners(system) == wanted, system.logged()[-3000:]

    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        names = {account.decode() for account, _ in wanted}

        def projected() -> bool:
            return all(client.hget(signal_key(system.prefix, name), "seq") == "0" for name in names)

        await system.until(projected, "Redis")
        assert not any(client.exists(signal_key(system.prefix, f"closer-{at}")) for at in range(20 * PARTITIONS))
