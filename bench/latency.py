"""Event to signal in Redis for who joins a known campaign, and event to cluster alert, at a stated rate over Kafka.

What lives here: the schedule, a real broker, Redis and worker, and the two stopwatches. What does not: the traffic of
a fleet (``traffic``). Requests are sent when the schedule says, whatever has come back by then, and both stopwatches
start at the moment a request was *meant* to be sent: a worker or a producer that falls behind is seen as latency.

Three parts on one worker. A campaign becomes known from a file as fast as it goes. Then the letter begins at its full
pace inside its fleet, at the stated rate, until it is told of: an alert's evidence is in once every partition has been
sent a request that closes the evaluation's slice. Last, stamped with the time of day, requests of the fleet and among
them new accounts that work through the known campaign's templates; the stream of changes in Redis says when each was
named, and its signal which request completed its evidence.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import redis
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from bench.figures import Figure, report
from bench.kafka import PARTITIONS, Worker, take, until
from bench.traffic import letter
from models.admission import watermark_of
from models.joiners import EARLY_MS
from streams.redis_keys import changes_key, signal_key
from streams.simulator.scenarios import scenario_of
from streams.simulator.simulation import Options, Simulation
from tests.servers import KafkaServer, Missing, RedisServer

RATE = 10_000
P50_MS, P99_MS, ALERT_MS = 120, 300, 2_000
TENANT = "default"
KNOWN_SCALE, KNOWN_DAYS, KNOWN_SEED = 0.02, 0.9, 7
HELD_BACK = 4_000
"""Events of the known campaign sent once it is known: whatever is compiled or loaded then is not measured."""
PACE_H = 0.75
LIVE_S = 20.0
JOINERS = 500
JOINER_EVENTS = 30
TICK_S = 0.005
DRAIN_S = 120.0
IDLE_MS = "600000"
"""A pause between the parts is not the end of the stream, which would be evaluated too, with evidence long in."""
_BATCH_BYTES = 900_000
_ACCOUNT = re.compile(rb'"account_id":"([^"]+)"')
_STAMP = re.compile(rb'"ts":(\d+)')
_TIMES = re.compile(rb'"(ts|account_created)":(\d+)')


class Plan:
    """What to send: the n-th line is meant to go out ``n / rate`` seconds after the start."""

    def __init__(self, lines: list[bytes]) -> None:
        self.lines = lines
        self.accounts = [account_of(line) for line in lines]
        self.places = [int.from_bytes(account[-4:], "big") % PARTITIONS for account in self.accounts]


def account_of(line: bytes) -> bytes:
    """Whose request a line is."""
    found = _ACCOUNT.search(line)
    return found[1] if found else b""


def stamp_of(line: bytes) -> int:
    """Its event time in ms."""
    found = _STAMP.search(line)
    return int(found[1]) if found else 0


def moved(line: bytes, shift_ms: int) -> bytes:
    """The request ``shift_ms`` later, of an account as old as it was."""
    return _TIMES.sub(lambda found: b'"%b":%d' % (found[1], int(found[2]) + shift_ms), line)


def known_campaign() -> tuple[list[bytes], list[bytes]]:
    """A fleet of 14,500 accounts with a campaign in it since noon, and what the campaign sent."""
    simulation = Simulation(scenario_of("letter", KNOWN_SCALE), Options(seed=KNOWN_SEED, days=KNOWN_DAYS))
    lines = [line for part in simulation.slices() for line in part.lines().splitlines()]
    members = {account.encode() for account in simulation.truth().campaigns[0].accounts}
    return lines, [line for line in lines if account_of(line) in members]


def joining(harvest: Sequence[bytes]) -> list[bytes]:
    """New accounts that each send some of the campaign's requests, in turns."""
    found = []
    for number in range(JOINER_EVENTS):
        for joiner in range(JOINERS):
            at = number * JOINERS + joiner
            event = msgspec.json.decode(harvest[(at * 7_919) % len(harvest)])
            event |= {"account_id": f"joiner-{joiner:04d}", "event_id": f"joined-{at}"}
            event.pop("org_id", None)
            found.append(msgspec.json.encode(event))
    return found


def live_lines(fleet: Sequence[bytes], joiners: Sequence[bytes], count: int) -> list[bytes]:
    """The fleet's requests with those of joiners spread evenly among them."""
    every = max(2, count // len(joiners))
    waiting, crowd = iter(joiners), iter(fleet)
    return [(next(waiting, None) if at % every == 0 else None) or next(crowd) for at in range(count)]


async def send(bootstrap: str, topic: str, plan: Plan, rate: int, start_s: float) -> None:
    """Send every line when it is due by the wall clock, however long others take."""
    places = plan.places
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, max_batch_size=1 << 20, linger_ms=0) as producer:
        waiting: list[asyncio.Future[Any]] = []
        done = 0
        while done < len(plan.lines):
            due = min(len(plan.lines), int((time.time() - start_s) * rate))
            if due <= done:
                await asyncio.sleep(TICK_S)
                continue
            builders = [producer.create_batch() for _ in range(PARTITIONS)]
            sizes = [0] * PARTITIONS
            while done < due and max(sizes) < _BATCH_BYTES:
                place = places[done]
                builders[place].append(key=plan.accounts[done], value=plan.lines[done], timestamp=None)
                sizes[place] += len(plan.lines[done]) + 100
                done += 1
            for place, builder in enumerate(builders):
                if sizes[place]:
                    waiting.append(await producer.send_batch(builder, topic, partition=place))
            await asyncio.sleep(0)
        await asyncio.gather(*waiting)


async def alerts_seen(bootstrap: str, topic: str, found: list[tuple[float, dict[str, Any]]]) -> None:
    """Note every alert with the moment it could be read; ends when cancelled."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, isolation_level="read_committed")
    await consumer.start()
    try:
        consumer.assign([TopicPartition(topic, 0)])
        await consumer.seek_to_end()
        while True:
            for records in (await consumer.getmany(timeout_ms=100)).values():
                found += [(time.time(), msgspec.json.decode(record.value)) for record in records]
    finally:
        await consumer.stop()


async def drained(worker: Worker) -> None:
    """Wait until the worker has come to the end of every topic: one that fell behind is late, not silent."""
    quiet, ends = 0, time.monotonic() + DRAIN_S
    while quiet < 3 and time.monotonic() < ends:
        await asyncio.sleep(1.0)
        lag = await asyncio.to_thread(worker.metric, "distilwatch_input_lag_records")
        quiet = quiet + 1 if lag == 0 else 0


async def paced(worker: Worker, plan: Plan, rate: int) -> tuple[float, list[tuple[float, dict[str, Any]]]]:
    """Send a plan while watching for alerts; when it began, and the alerts."""
    found: list[tuple[float, dict[str, Any]]] = []
    watching = asyncio.create_task(alerts_seen(worker.bootstrap, worker.topics.alerts, found))
    await asyncio.sleep(1.0)
    start_s = time.time()
    await send(worker.bootstrap, worker.topics.requests, plan, rate, start_s)
    await drained(worker)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    return start_s, found


def closed_at_s(plan: Plan, rate: int, moment_ms: int) -> float | None:
    """Seconds after the start at which every partition was meant to have been sent what closes ``moment_ms``."""
    closed = [None] * PARTITIONS  # type: list[float | None]
    for at, (line, place) in enumerate(zip(plan.lines, plan.places, strict=True)):
        if closed[place] is None and watermark_of(stamp_of(line)) >= moment_ms:
            closed[place] = at / rate
    return None if None in closed else max(one for one in closed if one is not None)


def alert_latencies(
    plan: Plan, rate: int, start_s: float, alerts: Sequence[tuple[float, dict[str, Any]]]
) -> list[float]:
    """Milliseconds from the evidence of each alert to the alert."""
    found = []
    for seen_s, alert in alerts:
        closed_s = closed_at_s(plan, rate, alert["ts"])
        if alert["rule"] == "campaign" and closed_s is not None and closed_s > 0:
            found.append(1000 * (seen_s - start_s - closed_s))
    return found


def joined_latencies(client: Any) -> list[float]:
    """Milliseconds from the request that completed each joiner's evidence to its hash in Redis."""
    named: dict[str, int] = {}
    for entry, fields in client.xrange(changes_key(TENANT)):
        named.setdefault(fields["account_id"], int(entry.split("-")[0]))
    found = []
    for account, seen_ms in named.items():
        if account.startswith("joiner-"):
            expires, seq = client.hmget(signal_key(TENANT, account), "expires", "seq")
            if seq == "0":
                found.append(float(seen_ms - (int(expires) - EARLY_MS)))
    return found


def quantile(values: Sequence[float], part: float) -> float:
    """The value that ``part`` of them do not exceed; infinite where there are none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else float("inf")


def make_known(worker: Worker, lines: list[bytes]) -> None:
    """Feed the file and wait until Observe has heard of its campaign."""
    take([worker], lines[:-HELD_BACK], len(lines) - HELD_BACK)
    heard = "distilwatch_control_records_total"
    until(lambda: bool(worker.metric(heard, worker.topics.campaigns)), worker.process, "a known campaign")
    take([worker], lines[-HELD_BACK:], len(lines))


def measure(worker: Worker, client: Any, rate: int) -> list[Figure]:
    """All three parts; the worker is up."""
    known, harvest = known_campaign()
    traffic = letter()
    first, live = int(PACE_H * 3600 * traffic.per_second), int(rate * LIVE_S)
    with traffic.path.open("rb") as file:
        fleet = [line.rstrip() for line in islice(file, first + live)]
    shift_ms = int((time.time() + 60) * 1000) - stamp_of(fleet[first - 1])
    before_ms = stamp_of(fleet[0]) + shift_ms - 1_000 - stamp_of(known[-1])
    make_known(worker, [moved(line, before_ms) for line in known])
    plan = Plan([moved(line, shift_ms) for line in fleet[:first]])
    start_s, alerts = asyncio.run(paced(worker, plan, rate))
    told = alert_latencies(plan, rate, start_s, alerts)
    named = asyncio.run(joined(worker, client, live_lines(fleet[first:], joining(harvest), live), rate))
    setting = f"{rate:,} events/s, one worker, {PARTITIONS} partitions, from when it was meant to be sent; "
    signals = f"{setting}{len(named)} of {JOINERS} accounts that join, in {LIVE_S:.0f} s stamped with the time of day"
    statements = (
        f"{len(told)} statements over {PACE_H * 60:.0f} minutes of event time in {len(plan.lines) / rate:.0f} s"
    )
    return [
        Figure("event to signal in Redis, half", quantile(named, 0.5), "ms", P50_MS, most=True, setting=signals),
        Figure("event to signal in Redis, 99 %", quantile(named, 0.99), "ms", P99_MS, most=True),
        Figure("accounts that join named at once", len(named) / JOINERS, "of all", 0.95),
        Figure(
            "evidence to cluster alert, slowest", max(told, default=float("inf")), "ms", ALERT_MS, most=True,
            setting=setting + statements,
        ),
    ]  # fmt: skip


async def joined(worker: Worker, client: Any, lines: list[bytes], rate: int) -> list[float]:
    """Send requests stamped with when they are due; latencies of the accounts that join among them."""
    start_s = time.time() + len(lines) / 40_000 + 1.0
    plan = Plan([moved(line, int(1000 * (start_s + at / rate)) - stamp_of(line)) for at, line in enumerate(lines)])
    await asyncio.sleep(max(0.0, start_s - time.time()))
    await send(worker.bootstrap, worker.topics.requests, plan, rate, start_s)
    await drained(worker)
    return joined_latencies(client)


def figures(rate: int) -> list[Figure]:
    """Start the servers and the worker, and measure."""
    with tempfile.TemporaryDirectory(prefix="bench-latency-") as name:
        folder = Path(name)
        broker, store = KafkaServer(folder / "kafka"), RedisServer(folder / "redis")
        try:
            broker.start()
            store.start()
            worker = Worker(broker.bootstrap, folder, settings={"REDIS_URL": store.url, "DISTILWATCH_IDLE_MS": IDLE_MS})
            try:
                until(lambda: bool(worker.metric("distilwatch_restores_total")), worker.process, "the worker")
                return measure(worker, redis.Redis.from_url(store.url, decode_responses=True), rate)
            finally:
                worker.stop()
        finally:
            store.stop()
            broker.stop()


def main(arguments: list[str] | None = None) -> int:
    """Print the figures; 1 where a mark is missed, or where no server can be had."""
    parser = argparse.ArgumentParser(prog="python -m bench.latency", description=__doc__.splitlines()[0])
    parser.add_argument("--rate", type=int, default=RATE, help="events a second (default %(default)s)")
    options = parser.parse_args(arguments)
    try:
        return report(figures(options.rate))
    except Missing as reason:
        print(f"BREACH latency: {reason}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
