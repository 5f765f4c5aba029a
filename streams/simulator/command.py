"""``distilwatch simulate``: a scenario's events to a file, stdout or a topic, and its truth to a file.

What lives here: arguments, outputs, progress. What does not: the traffic. The truth goes to its own file only;
progress and the closing line go to stderr, so that events may go to stdout.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gzip
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import msgspec
import zstandard
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from models.errors import ConfigError
from streams.progress import Progress
from streams.simulator.corpus import CorpusLibrary
from streams.simulator.scenarios import SCENARIOS
from streams.simulator.simulation import Options, Simulation
from streams.simulator.slices import Slice
from streams.topics import Topics

_SENDS_MAX = 5_000
"""Unconfirmed sends; what waits on the broker must not grow with the run."""


@dataclass(frozen=True, slots=True)
class Request:
    """What to simulate and where to put it; exactly one of ``out`` and ``brokers`` is given."""

    scenario: str
    out: str | None = None
    truth: str | None = None
    members: str | None = None
    corpus: str | None = None
    families: tuple[str, ...] = ()
    scale: float = 1.0
    seed: int = 1
    days: float | None = None
    brokers: str | None = None
    topic: str | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments; their names are those of ``Request``."""
    parser.add_argument("scenario", metavar="SCENARIO", help=f"one of: {', '.join(SCENARIOS)}")
    parser.add_argument("--out", metavar="FILE", help="events as JSON lines; .gz and .zst compress; - is stdout")
    parser.add_argument("--truth", metavar="FILE", help="who belongs to which campaign, as JSON")
    parser.add_argument("--members", metavar="FILE", help="every account's population or campaign, as JSON lines")
    parser.add_argument("--corpus", metavar="DIR", help="draw texts from a corpus folder instead of the grammar")
    parser.add_argument("--families", metavar="A,B", default="", help="template families that campaigns may use")
    parser.add_argument("--scale", type=float, default=1.0, metavar="X", help="multiplies all accounts (default 1)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="same seed, same events (default 1)")
    parser.add_argument(
        "--days", type=float, metavar="D", help="length of the run; long scenarios take 2 below scale 1"
    )
    parser.add_argument("--brokers", metavar="HOST:PORT", help="send to Kafka, keyed by account, instead of a file")
    parser.add_argument("--topic", metavar="NAME", help=f"topic for --brokers (default {Topics().requests})")


def request_of(arguments: argparse.Namespace) -> Request:
    """The request that parsed arguments make.

    Raises:
        ConfigError: no output or two, or numbers out of range.
    """
    values: dict[str, Any] = {name: getattr(arguments, name) for name in Request.__dataclass_fields__}
    values["families"] = tuple(part.strip() for part in arguments.families.split(",") if part.strip())
    request = Request(**values)
    if (request.out is None) == (request.brokers is None):
        raise ConfigError("give either --out FILE or --brokers HOST:PORT")
    if request.seed < 0:
        raise ConfigError(f"--seed must not be negative, not {request.seed}")
    if request.days is not None and not 0 < request.days <= 400:
        raise ConfigError(f"--days must be above 0 and at most 400, not {request.days}")
    return request


def simulation_of(request: Request) -> Simulation:
    """The run asked for, not started.

    Raises:
        ConfigError: unknown scenario or family, bad scale, or an unreadable corpus.
    """
    options = Options(seed=request.seed, scale=request.scale, days=request.days, families=request.families)
    library = CorpusLibrary(request.seed, request.corpus) if request.corpus else None
    return Simulation(request.scenario, options, library=library)


def run(request: Request) -> int:
    """Simulate as asked; returns the exit code.

    Raises:
        ConfigError: the request cannot be met.
        BrokenPipeError: whoever read the output has enough; ``main`` ends quietly then.
    """
    simulation = simulation_of(request)
    report = _Report(simulation)
    if request.brokers is not None:
        asyncio.run(_produce(simulation, request, report))
    else:
        _write(simulation, request.out or "-", report)
    if request.truth is not None:
        _written(request.truth, simulation.truth().encode())
    if request.members is not None:
        lines = ({"account_id": name, "population": population} for name, population in simulation.members())
        _written(request.members, msgspec.json.Encoder().encode_lines(lines))
    report.close()
    return 0


def _write(simulation: Simulation, out: str, report: _Report) -> None:
    with _opened(out) as file:
        for part in simulation.slices():
            file.write(part.lines())
            report(part)


async def _produce(simulation: Simulation, request: Request, report: _Report) -> None:
    producer = AIOKafkaProducer(
        bootstrap_servers=request.brokers, linger_ms=20, max_batch_size=1 << 18, acks="all", enable_idempotence=True
    )
    topic = request.topic or Topics().requests
    try:
        await producer.start()
    except KafkaError as error:
        await producer.stop()
        raise ConfigError(f"cannot reach Kafka at {request.brokers}: {error}; check --brokers") from error
    try:
        if topic not in (await producer.client.fetch_all_metadata()).topics():
            raise ConfigError(f"there is no topic {topic} at {request.brokers}; create it: distilwatch topics create")
        for part in simulation.slices():
            await _send(producer, topic, part)
            report(part)
    finally:
        await producer.stop()


async def _send(producer: AIOKafkaProducer, topic: str, part: Slice) -> None:
    encoder = msgspec.json.Encoder()
    waiting = []
    for line in part.rows():
        waiting.append(await producer.send(topic, encoder.encode(line), line.account_id.encode(), timestamp_ms=line.ts))
        if len(waiting) >= _SENDS_MAX:
            await asyncio.gather(*waiting)
            waiting.clear()
    await asyncio.gather(*waiting)


@contextlib.contextmanager
def _opened(out: str) -> Iterator[IO[bytes]]:
    """``out`` for writing; compressed by its name, with no time stamp inside so that equal runs give equal files."""
    if out == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    try:
        raw = open(out, "wb")  # noqa: SIM115  closed below
    except OSError as error:
        raise ConfigError(f"cannot write {out}: {error.strerror or error}; check the path") from error
    with raw:
        wrap: Callable[[], Any] = contextlib.nullcontext
        if out.endswith(".gz"):
            wrap = lambda: gzip.GzipFile(filename="", mode="wb", fileobj=raw, compresslevel=1, mtime=0)  # noqa: E731
        elif out.endswith(".zst"):
            wrap = lambda: zstandard.ZstdCompressor(level=3).stream_writer(raw, closefd=False)  # noqa: E731
        with wrap() as packed:
            yield packed or raw


def _written(path: str, data: bytes) -> None:
    try:
        Path(path).write_bytes(data)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror or error}; check the path") from error


class _Report:
    """Progress on stderr by simulated time, and the closing line."""

    def __init__(self, simulation: Simulation) -> None:
        self._events = 0
        self._start = simulation.start
        self._began = time.monotonic()
        self._progress = Progress(simulation.end - simulation.start)
        note = simulation.note()
        if note:
            sys.stderr.write(f"simulate: {note}\n")

    def __call__(self, part: Slice) -> None:
        """Count a slice."""
        self._events += len(part)
        self._progress.update(self._events, part.end - self._start, part.end)

    def close(self) -> None:
        """Clear the progress line and say how much it was."""
        self._progress.finish()
        rate = self._events / max(1e-6, time.monotonic() - self._began)
        sys.stderr.write(f"simulate: {self._events:,} events, {rate:,.0f}/s\n")
