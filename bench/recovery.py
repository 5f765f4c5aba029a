"""Recovery: from kill -9 to processing again, with the state of a million accounts, on a real broker.

What lives here: a worker that has met so many accounts and goes on under load, kills of it, and what the time after
each went into. What does not: whether decisions survive (``tests/faults``). *Processing again* is: all stages have
their partitions and are ready, and Observe and Fan-in have committed output since. The supervisor that starts the
process again is the bench itself, at once.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from bench.figures import Figure, report
from bench.kafka import PARTITIONS, Worker, cpu_s, produce, until
from tests.servers import KafkaServer, Missing

ACCOUNTS = 1_000_000
MARK_S = 10.0
KILLS = 3
PER_SECOND = 1_000
"""Of the load that goes on while the worker is killed and comes back."""
WORDS = 12
FEED = 20_000
STEP = 50_000
LOG_CHARACTERS = 4_000
AHEAD_S = 0.2
POLL_S = 0.05
STAGES = ("observe", "fanin", "campaigns")


def requests(accounts: int, *, seed: int = 1) -> Iterator[bytes]:
    """A request of every account and then of them at random, with texts of their own, a millisecond apart till now."""
    dice = random.Random(seed)
    words = [f"{dice.getrandbits(40):x}" for _ in range(50_000)]
    stamp, number = int(time.time() * 1000) - accounts, 0
    while True:
        who = number if number < accounts else dice.randrange(accounts)
        account = f"{who * 2_654_435_761 % (1 << 32):08x}"
        prompt = " ".join(dice.choices(words, k=WORDS))
        stamp = stamp + 1 if number < accounts else int(time.time() * 1000)
        yield (
            f'{{"event_id":"r-{number}","ts":{stamp},"account_id":"{account}","model":"m","prompt":"{prompt}"}}'
        ).encode()
        number += 1


class Load(threading.Thread):
    """Requests at an even pace until told to end."""

    def __init__(self, worker: Worker, lines: Iterator[bytes]) -> None:
        super().__init__(daemon=True)
        self._worker, self._lines = worker, lines
        self.ending = threading.Event()

    def run(self) -> None:
        """Send."""
        topic = self._worker.topics.requests
        while not self.ending.wait(AHEAD_S):
            some = list(islice(self._lines, int(PER_SECOND * AHEAD_S)))
            asyncio.run(produce(self._worker.bootstrap, topic, some, PARTITIONS))


@dataclass(frozen=True, slots=True)
class Recovery:
    """One kill: the seconds until it was made good, what they went into, and what there was to do."""

    total_s: float
    cpu_s: float  # of the new process
    started_s: float  # until it answered
    restores_s: dict[str, float]  # of the slowest partition of each stage
    state_bytes: float
    replay_records: float

    @property
    def dominant(self) -> str:
        """The longest part of it, in words."""
        parts = {"start of the process": self.started_s}
        parts |= {f"restore of {name}": spent for name, spent in self.restores_s.items()}
        name = max(parts, key=lambda part: parts[part])
        return f"{name}, {parts[name]:.1f} s"


def is_ready(worker: Worker) -> bool:
    """Whether the worker says that all its stages work."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{worker.port}/-/ready", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def processes(worker: Worker) -> bool:
    """Whether it has its partitions and Observe and Fan-in have committed something new."""
    said = [worker.metric("distilwatch_output_records_total", f'stage="{stage}"') for stage in STAGES[:2]]
    return all(said) and is_ready(worker)


def kill(worker: Worker, folder: Path) -> tuple[Worker, Recovery]:
    """Kill the worker, start the next one and wait for it to process."""
    state = worker.metric("distilwatch_snapshot_state_bytes") or 0.0
    replay = worker.metric("distilwatch_replay_records") or 0.0
    worker.process.kill()
    worker.process.wait()
    begun = time.monotonic()
    after = Worker(worker.bootstrap, folder, worker.prefix)
    until(lambda: after.metric("distilwatch_last_poll_age_seconds") is not None, after.process, "its port", POLL_S)
    started_s = time.monotonic() - begun
    until(lambda: processes(after), after.process, "processing", POLL_S)
    total_s, spent_s = time.monotonic() - begun, cpu_s(after.process.pid)
    spent = {stage: after.metric("distilwatch_restore_seconds", f'stage="{stage}"') or 0.0 for stage in STAGES}
    return after, Recovery(total_s, spent_s, started_s, spent, state, replay)


def recoveries(bootstrap: str, folder: Path, accounts: int) -> list[Recovery]:
    """Fill a worker with accounts and kill it under load, each time some seconds further from its last snapshot."""
    lines = requests(accounts)
    worker = Worker(bootstrap, folder)
    load = Load(worker, lines)
    found = []
    try:
        until(lambda: bool(worker.metric("distilwatch_restores_total")), worker.process, "the worker")
        for first in range(0, accounts, FEED):
            some = list(islice(lines, min(FEED, accounts - first)))
            asyncio.run(produce(bootstrap, worker.topics.requests, some, PARTITIONS))
        load.start()
        for number in range(KILLS):
            settle(worker, accounts if number == 0 else 0)
            time.sleep(5.0 * number)
            worker, recovery = kill(worker, folder)
            found.append(recovery)
    except RuntimeError as error:
        log = (folder / "worker-0.log").read_text(errors="replace")
        raise RuntimeError(f"{error}; the end of its log:\n{log[-LOG_CHARACTERS:]}") from error
    finally:
        load.ending.set()
        worker.stop()
    return found


def settle(worker: Worker, events: int) -> None:
    """Wait until the worker has taken so many events, keeps up, and has a snapshot of all partitions after that."""
    seen = "distilwatch_observe_events_total"
    for part in range(STEP, events + 1, STEP):
        until(lambda part=part: (worker.metric(seen) or 0) >= part, worker.process, f"{part:,} events", 1.0)  # type: ignore[misc]
    until(lambda: (worker.metric("distilwatch_input_lag_records") or 0) < PER_SECOND, worker.process, "the rest", 1.0)
    before = time.monotonic()

    def fresh() -> bool:
        ages = [worker.metric("distilwatch_snapshot_age_seconds", f'stage="{stage}"') for stage in STAGES]
        parts = (PARTITIONS, PARTITIONS, 1)
        return all(
            age is not None and age / count < time.monotonic() - before for age, count in zip(ages, parts, strict=True)
        )

    until(fresh, worker.process, "snapshots of all partitions", 1.0)


def figures(accounts: int) -> list[Figure]:
    """Kill a worker some times; the slowest recovery is the figure."""
    with tempfile.TemporaryDirectory(prefix="bench-recovery-") as name:
        server = KafkaServer(Path(name))
        server.start()
        try:
            found = recoveries(f"127.0.0.1:{server.port}", Path(name), accounts)
        finally:
            server.stop()
    worst = max(found, key=lambda recovery: recovery.total_s)
    each = "; ".join(
        f"{one.total_s:.1f} s (CPU {one.cpu_s:.1f}; process {one.started_s:.1f}, "
        + ", ".join(f"{stage} {spent:.1f}" for stage, spent in one.restores_s.items())
        + f"; read {one.state_bytes / 1e6:,.0f} MB, folded {one.replay_records:,.0f} again)"
        for one in found
    )
    return [
        Figure(
            "kill -9 to processing again",
            worst.total_s,
            "s",
            MARK_S,
            most=True,
            setting=f"{accounts:,} accounts, {PARTITIONS} partitions, one worker, one broker on the same machine, "
            f"{PER_SECOND:,} requests/s going on; the slowest of {len(found)}; most of it: {worst.dominant}; {each}",
        )
    ]


def main(arguments: list[str] | None = None) -> int:
    """Print the figure; 1 above the mark, 2 without a broker to be had."""
    parser = argparse.ArgumentParser(prog="python -m bench.recovery", description=__doc__.splitlines()[0])
    parser.add_argument("--accounts", type=int, default=ACCOUNTS, help="default: %(default)s, which the mark is for")
    options = parser.parse_args(arguments)
    try:
        return report(figures(options.accounts))
    except Missing as missing:
        sys.stderr.write(f"bench: {missing}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main())
