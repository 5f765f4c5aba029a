"""JSON lines to alerts through the embedded host, on one core and on two, beside the plain composition.

What lives here: the run, the stage clocks and the gate. What does not: the traffic (``traffic``) and the peer
(``plain``). Each run is a process of its own, pinned to its cores before anything is loaded. Compiling, or loading
compiled code, is done on the first events with another pipeline and is not in the figures. The one-core figure is
events per second of CPU time, which is the wall rate of a core that nobody else uses; the two-core figure is wall time.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from bench.figures import Figure, report
from bench.plain import DEFAULT, OURS, seconds_per_event
from bench.traffic import ROOT, Traffic, letter

ONE_CORE = 80_000
TWO_CORES = 120_000
SECRET = b"bench-secret-0123456789"
WARM_EVENTS = 8_000
PEER_EVENTS = 1_500
PEER_WARM_EVENTS = 200


class Clocks:
    """CPU seconds by stage, taken around calls in whatever thread makes them."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def around(self, stage: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """``call`` with its time added to ``stage``."""
        self.seconds.setdefault(stage, 0.0)

        def timed(*arguments: Any, **options: Any) -> Any:
            started = time.thread_time()
            try:
                return call(*arguments, **options)
            finally:
                self.seconds[stage] += time.thread_time() - started

        return timed

    def watch(self, owner: object, stage: str, *names: str) -> None:
        """Put a clock around methods of ``owner``."""
        for name in names:
            setattr(owner, name, self.around(stage, getattr(owner, name)))


OnBatch = Callable[[Any, Any], None]
"""Sees the host and what a batch decided."""


def run(
    batches: Iterable[Any],
    *,
    threads: bool,
    events_max: int = 0,
    clocks: Clocks | None = None,
    on_batch: OnBatch | None = None,
) -> dict[str, Any]:
    """Run batches of records, all or the first, through a fresh pipeline."""
    from models.decode import Decoder
    from models.hashing import KeyedHash
    from models.pipeline import Pipeline
    from streams.embedded import FOLDED_AHEAD, EmbeddedHost, Outputs, ahead, fold, prepare

    clocks, pipeline, decoder = clocks or Clocks(), Pipeline(SECRET), Decoder(KeyedHash(SECRET))
    clocks.watch(decoder, "decode", "decode")
    clocks.watch(pipeline, "sketch", "prepare")
    clocks.watch(pipeline.observe, "observe", "process", "finish")
    clocks.watch(pipeline.fanin, "fan-in", "process", "advance")
    clocks.watch(pipeline.campaigns, "campaigns", "learn", "process", "advance", "finish")
    host = EmbeddedHost(pipeline, Outputs(None, None))
    wall, cpu = time.monotonic(), time.process_time()
    prepared = prepare(batches, decoder, pipeline)
    folded = fold(ahead(prepared) if threads else prepared, pipeline)
    for item in ahead(folded, FOLDED_AHEAD) if threads else folded:
        decisions = host.feed(*item)
        if on_batch is not None:
            on_batch(host, decisions)
        if events_max and host.totals.read >= events_max:
            break
    decisions = host.finish()
    wall, cpu = time.monotonic() - wall, time.process_time() - cpu
    if on_batch is not None:
        on_batch(host, decisions)
    return {
        "events": host.totals.read,
        "wall": wall,
        "cpu": cpu,
        "stages": clocks.seconds,
        "evaluations": pipeline.campaigns.evaluations,
        "covered": len(pipeline.campaigns.covered),
        "alerts": len(host.totals.alerts),
    }


def child(path: Path, cores: int) -> None:
    """One pinned run; its result as JSON on standard output."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    from streams.records import RecordFile

    run(RecordFile(str(path)).batches(), threads=cores > 1, events_max=WARM_EVENTS)
    print(json.dumps(run(RecordFile(str(path)).batches(), threads=cores > 1)))


def measured(traffic: Traffic, cores: int) -> dict[str, Any]:
    """The result of a child process on ``cores`` cores."""
    command = [sys.executable, "-m", "bench.throughput", "--child", str(cores), str(traffic.path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def stages(result: dict[str, Any]) -> str:
    """CPU per event by stage, in microseconds."""
    events = result["events"]
    other = result["cpu"] - sum(result["stages"].values())
    parts = {**result["stages"], "rest": other}
    return ", ".join(f"{name} {seconds / events * 1e6:.1f}" for name, seconds in parts.items())


def figures() -> list[Figure]:
    """Run on one core and on two."""
    traffic = letter()
    print(f"throughput: {traffic}; warm-up on {WARM_EVENTS:,} events excluded")
    plain_s, same_s = (
        seconds_per_event(_lines(traffic.path, PEER_EVENTS), permutations=count, warm=PEER_WARM_EVENTS)
        for count in (DEFAULT, OURS)
    )
    peer = f"plain composition {1 / plain_s:,.0f}/s ({1 / same_s:,.0f}/s with {OURS} permutations)"
    found = []
    for cores, mark in ((1, ONE_CORE), (2, TWO_CORES)):
        if cores > len(os.sched_getaffinity(0)):
            print("throughput: only one core here, so nothing is said of two")
            continue
        result = measured(traffic, cores)
        rate = result["events"] / (result["cpu"] if cores == 1 else result["wall"])
        evaluation_ms = 1000 * result["stages"]["campaigns"] / max(result["evaluations"], 1)
        setting = (
            f"wall {result['events'] / result['wall']:,.0f}/s, CPU {result['cpu'] / result['events'] * 1e6:.1f} us "
            f"an event: {stages(result)}; {result['evaluations']} evaluations of {evaluation_ms:.0f} ms, "
            f"{result['covered']:,} covered requests, {result['alerts']} alerts"
        )
        name = f"JSON lines to alerts, {'one core (CPU time)' if cores == 1 else 'two cores (wall)'}"
        found.append(Figure(name, rate, "events/s", mark, peer=f"{peer}: {rate * plain_s:.0f} x", setting=setting))
    return found


def _lines(path: Path, count: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from islice(file, count)


def main(arguments: list[str] | None = None) -> int:
    """Print the figures; 1 below a mark."""
    parser = argparse.ArgumentParser(prog="python -m bench.throughput", description=__doc__.splitlines()[0])
    parser.add_argument("--child", nargs=2, metavar=("CORES", "FILE"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child:
        child(Path(options.child[1]), int(options.child[0]))
        return 0
    return report(figures())


if __name__ == "__main__":
    sys.exit(main())
