"""Kafka to alerts: events a second of one worker core, beside a Faust agent that does the plain composition.

What lives here: a real broker, real worker processes, their CPU time and the gates. What does not: the traffic
(``traffic``) and what the agent does per event with a prompt (``plain``). Both are the process as it would run in
production; each is first given events to warm up on, and only CPU time spent after that counts. A rate is events per
CPU second of the worker: what a core gives that it has to itself, whatever the broker and the producer take beside it.

The peer is the composition that comes to mind first, from its libraries' own defaults: a Faust agent over ``Record``s,
a datasketch ``MinHash`` of 128 permutations and ``MinHashLSH`` an event, and a tumbling ``Table`` of requests an
account, because the product judges accounts by windows. The same agent with 64 permutations is shown for reference,
and so are Quix Streams and Bytewax (``kafka_peers``) with the same work per event.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from pathlib import Path

import msgspec
from aiokafka import AIOKafkaProducer

from bench.figures import Figure, report
from bench.kafka_peers import NAMES as PEERS
from bench.kafka_peers import python as peers_python
from bench.plain import DEFAULT, OURS, PlainIndex
from bench.traffic import ROOT, letter
from streams.topics import Topics, TopicSpec, create
from tests.servers import KafkaServer, Missing, free_port

PER_CORE = 45_000
TIMES = 40
TWO_WORKERS = 1.7
EVENTS = 200_000
WARM_EVENTS = 20_000
PEER_EVENTS = 3_000
PEER_WARM_EVENTS = 300
PARTITIONS = 2
SECRET = "bench-secret-0123456789"
TIMEOUT_S = 240.0
SCRAPE_S = 1.0
"""Between two looks at the worker's metrics: an answer is 10 ms of its CPU, and a scraper asks every 15 s."""
PEER_WINDOW = timedelta(hours=1)
PEER_KEPT = timedelta(days=1)
_BATCH_BYTES = 900_000
_TICKS = os.sysconf("SC_CLK_TCK")


class _Key(msgspec.Struct):
    account_id: str


def cpu_s(pid: int) -> float:
    """CPU seconds of a process so far, all threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def memory_most(pid: int | str = "self") -> int:
    """The most bytes a process has had in memory so far."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) << 10


async def produce(bootstrap: str, topic: str, lines: Sequence[bytes], partitions: int) -> None:
    """Send ``lines`` in order, by account, in whole batches."""
    read = msgspec.json.Decoder(_Key)
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, max_batch_size=1 << 20, linger_ms=5) as producer:
        builders = [producer.create_batch() for _ in range(partitions)]
        sizes = [0] * partitions
        sent = []

        async def flush(partition: int) -> None:
            sent.append(await producer.send_batch(builders[partition], topic, partition=partition))
            builders[partition], sizes[partition] = producer.create_batch(), 0

        for line in lines:
            account = read.decode(line).account_id.encode()
            partition = int(account[:8], 16) % partitions
            if sizes[partition] + len(line) + 100 > _BATCH_BYTES:
                await flush(partition)
            builders[partition].append(key=account, value=line, timestamp=int(time.time() * 1000))
            sizes[partition] += len(line) + 100
        for partition in range(partitions):
            await flush(partition)
        await asyncio.gather(*sent)


def until(condition: Callable[[], bool], process: subprocess.Popen[bytes], what: str, every_s: float = 0.1) -> None:
    """Poll a condition of a live process."""
    end = time.monotonic() + TIMEOUT_S
    while not condition():
        if process.poll() is not None or time.monotonic() > end:
            raise RuntimeError(f"waited in vain for {what}; the process {'ended' if process.poll() else 'runs'}")
        time.sleep(every_s)


class Worker:
    """``distilwatch worker`` as a process, seen through its metrics."""

    def __init__(
        self, bootstrap: str, folder: Path, prefix: str = "", slot: int = 0, settings: Mapping[str, str] | None = None
    ) -> None:
        """Start it; ``settings`` go over those of the bench."""
        self.bootstrap = bootstrap
        self.prefix = prefix or f"b{uuid.uuid4().hex[:8]}"
        self.topics = Topics(self.prefix)
        self.port = free_port()
        env = {name: value for name, value in os.environ.items() if not name.startswith("DISTILWATCH_")}
        env |= {
            "REDIS_URL": "",
            "DISTILWATCH_BROKERS": bootstrap,
            "DISTILWATCH_TOPIC_PREFIX": self.prefix,
            "DISTILWATCH_GROUP": self.prefix,
            "DISTILWATCH_SLOT": str(slot),
            "DISTILWATCH_PARTITIONS": str(PARTITIONS),
            "DISTILWATCH_SECRET": SECRET,
            "DISTILWATCH_STATE_DIR": str(folder / f"state-{self.prefix}-{slot}"),
            "DISTILWATCH_HTTP_PORT": str(self.port),
            **(settings or {}),
        }
        command = [sys.executable, "-m", "streams", "worker"]
        self.log = folder / f"worker-{slot}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=log, stderr=log)

    def metric(self, name: str, labels: str = "") -> float | None:
        """The sum of a metric over all series whose labels hold ``labels``; None while the worker does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as answer:
                text = answer.read().decode()
        except OSError:
            return None
        found = re.findall(rf"^{name}\{{([^}}]*)\}} (\S+)$", text, re.MULTILINE)
        return sum(float(value) for series, value in found if labels in series)

    def memory(self) -> int:
        """The most bytes the process has had in memory."""
        return memory_most(self.process.pid)

    def stop(self) -> None:
        """End the process."""
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@dataclass(frozen=True, slots=True)
class Taken:
    """What it took some workers to take events."""

    events: int
    wall: float
    cpu: list[float]  # of each worker
    alerts: float

    @property
    def per_core_s(self) -> float:
        """Events by the second where every worker has a core to itself: the busiest one is waited for."""
        return self.events / max(self.cpu)


def start_workers(bootstrap: str, folder: Path, count: int) -> list[Worker]:
    """Worker processes that share the partitions, ready for events."""
    workers: list[Worker] = []
    try:
        for slot in range(count):
            workers.append(Worker(bootstrap, folder, workers[0].prefix if workers else "", slot))
            process, metric = workers[-1].process, workers[-1].metric
            until(lambda metric=metric: bool(metric("distilwatch_restores_total")), process, "a worker")  # type: ignore[misc]
    except BaseException:
        for worker in workers:
            worker.stop()
        raise
    return workers


def run_workers(bootstrap: str, folder: Path, lines: Sequence[bytes], count: int = 1) -> Taken:
    """Feed ``lines`` to ``count`` workers."""
    workers = start_workers(bootstrap, folder, count)
    try:
        take(workers, lines[:WARM_EVENTS], WARM_EVENTS)
        wall, cpu = take(workers, lines[WARM_EVENTS:], len(lines))
        alerts = total(workers, "distilwatch_output_records_total", workers[0].topics.alerts) or 0.0
    finally:
        for worker in workers:
            worker.stop()
    return Taken(len(lines) - WARM_EVENTS, wall, cpu, alerts)


def total(workers: Sequence[Worker], name: str, labels: str = "") -> float | None:
    """A metric summed over workers; None while one of them does not answer."""
    found = [worker.metric(name, labels) for worker in workers]
    return None if None in found else sum(value or 0.0 for value in found)


def take(workers: Sequence[Worker], lines: Sequence[bytes], until_events: int) -> tuple[float, list[float]]:
    """Feed ``lines`` and wait until so many events went through all stages; wall and CPU seconds spent."""
    first = workers[0]
    wall, cpu = time.monotonic(), [cpu_s(worker.process.pid) for worker in workers]
    asyncio.run(produce(first.bootstrap, first.topics.requests, lines, PARTITIONS))
    seen = "distilwatch_observe_events_total"
    try:
        until(lambda: total(workers, seen) == until_events, first.process, f"{until_events:,} events", SCRAPE_S)
    except RuntimeError as reason:
        said = [line for worker in workers for line in worker.log.read_text().splitlines() if "ERROR" in line]
        raise RuntimeError("\n".join([str(reason), *said])) from None
    quiet = 0
    while quiet < 2:  # what follows Observe comes some checkpoints later
        quiet = quiet + 1 if total(workers, "distilwatch_input_lag_records") == 0 else 0
        time.sleep(SCRAPE_S)
    spent = [cpu_s(worker.process.pid) - before for worker, before in zip(workers, cpu, strict=True)]
    return time.monotonic() - wall, spent


def run_peer(bootstrap: str, folder: Path, lines: Sequence[bytes], name: str, permutations: int = DEFAULT) -> float:
    """Events per CPU second of a peer: ``faust``, or one of ``kafka_peers``."""
    topic = f"p{uuid.uuid4().hex[:8]}"
    specs = [TopicSpec(topic, 1), TopicSpec(f"{topic}-plain-accounts-changelog", 1, {"cleanup.policy": "compact"})]
    asyncio.run(create({"bootstrap_servers": bootstrap}, specs, partitions=1))
    seen = folder / f"{topic}.count"
    program = [sys.executable, "-m", "bench.kafka", "--child"]
    if name in PEERS:
        program = [peers_python(), "-m", "bench.kafka_peers", name]
    with (folder / f"{topic}.log").open("wb") as log:
        command = [*program, bootstrap, topic, str(seen), str(permutations)]
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
    try:
        asyncio.run(produce(bootstrap, topic, lines[:PEER_WARM_EVENTS], 1))
        until(lambda: _count(seen) >= PEER_WARM_EVENTS, process, name)
        cpu = cpu_s(process.pid)
        asyncio.run(produce(bootstrap, topic, lines[PEER_WARM_EVENTS:], 1))
        until(lambda: _count(seen) >= len(lines), process, name)
        cpu = cpu_s(process.pid) - cpu
    finally:
        process.kill()
        process.wait()
    return (len(lines) - PEER_WARM_EVENTS) / cpu


def _count(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def plain_agent(bootstrap: str, topic: str, seen: str, permutations: str) -> None:
    """The peer: a Faust agent over typed records, a sketch and an index entry an event, and windows of accounts."""
    import faust

    class Request(faust.Record, serializer="json"):  # type: ignore[misc]
        event_id: str
        ts: int
        account_id: str
        model: str
        prompt: str

    folder = tempfile.mkdtemp(prefix="plain-")
    app = faust.App(topic, broker=f"kafka://{bootstrap}", datadir=folder, web_enabled=False, topic_disable_leader=True)
    accounts = app.Table("plain-accounts", default=int, partitions=1).tumbling(PEER_WINDOW, expires=PEER_KEPT)
    index = PlainIndex(int(permutations))
    marks = open(seen, "ab", buffering=0)  # noqa: SIM115  one byte an event, for as long as the process lives

    @app.agent(app.topic(topic, value_type=Request))
    async def watch(stream: faust.Stream[Request]) -> None:
        async for event in stream:
            index.add(event.event_id, event.account_id, event.prompt)
            accounts[event.account_id] += 1
            marks.write(b".")

    faust.Worker(app, loglevel="warning").execute_from_commandline()


def figures() -> list[Figure]:
    """All rates on one broker."""
    with letter().path.open("rb") as file:
        lines = [line.rstrip() for line in islice(file, EVENTS)]
    few = lines[:PEER_EVENTS]
    with tempfile.TemporaryDirectory(prefix="bench-kafka-") as name:
        folder = Path(name)
        server = KafkaServer(folder / "kafka")
        server.start()
        try:
            one, two = (run_workers(server.bootstrap, folder, lines, count) for count in (1, 2))
            plain, same = (run_peer(server.bootstrap, folder, few, "faust", count) for count in (DEFAULT, OURS))
            others = {peer: run_peer(server.bootstrap, folder, few, peer) for peer in PEERS}
        finally:
            server.stop()
    rate = one.per_core_s
    setting = (
        f"{one.events:,} events after {WARM_EVENTS:,} to warm up, {PARTITIONS} partitions, "
        f"{1e6 / rate:.1f} us of CPU an event; wall {one.events / one.wall:,.0f}/s with broker and producer beside "
        f"it; {one.alerts:.0f} alerts"
    )
    shared = (
        f"the busier of two workers spent {max(two.cpu):.1f} s and the other {min(two.cpu):.1f} s of CPU, one alone "
        f"{one.cpu[0]:.1f} s: the ratio where each has a core to itself; wall {two.events / two.wall:,.0f}/s, "
        f"{one.wall / two.wall:.2f} times one, with broker and producer on the same {os.cpu_count()} cores"
    )
    peer = f"Faust agent, Record, tumbling Table, MinHash, LSH: {plain:,.0f}/s ({same:,.0f}/s with {OURS} permutations)"
    peer += "".join(f"; {name} {found:,.0f}/s" for name, found in others.items())
    return [
        Figure("Kafka to alerts, worker core", rate, "events/s", PER_CORE, peer=peer, setting=setting),
        Figure("Kafka to alerts, two workers over one", two.per_core_s / rate, "times", TWO_WORKERS, setting=shared),
        Figure("Kafka to alerts over the plain composition", rate / plain, "times", TIMES),
    ]


def main(arguments: list[str] | None = None) -> int:
    """Print the figures; 1 below a mark, or where no broker can be had."""
    parser = argparse.ArgumentParser(prog="python -m bench.kafka", description=__doc__.splitlines()[0])
    parser.add_argument("--child", nargs=4, metavar=("BROKER", "TOPIC", "FILE", "COUNT"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child:
        plain_agent(*options.child)
        return 0
    try:
        return report(figures())
    except Missing as reason:
        print(f"BREACH kafka: {reason}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
