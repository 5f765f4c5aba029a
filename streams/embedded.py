"""The embedded host: one process, the operators wired by calls, input from records, output to files.

What lives here: decoding and sketching ahead in one thread, Observe and Fan-in in another, accounting, output files and
kept state. What does not: detection (``models``) and how input files become records (``records``).
"""

from __future__ import annotations

import os
import queue
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, TypeVar

from models.alert import Alert
from models.announce import Decisions
from models.decode import Decoder
from models.errors import ConfigError, WireError
from models.event import EventBatch
from models.output import encode_alert, signal_line
from models.pipeline import Folded, Pipeline
from models.reasons import BAD_SKETCH
from models.sketch import Sketches
from models.wire import pack, unpack
from streams.records import RecordBatch
from streams.summary import RunSummary
from streams.whole_file import write_whole

T = TypeVar("T")

PREPARED_AHEAD = 12
"""Batches that may wait for Observe: enough to ride out what holds it up, little enough to bound memory."""
FOLDED_AHEAD = 384
"""Batches that may wait for Campaigns, which are far smaller. In a large fleet's night evaluations are what takes the
time, by day it is what comes before them: so many are some hours of it."""
AHEAD_NICE = 10
"""By how much the threads that work ahead give way: three of them share what are often two cores."""
JOIN_S = 1.0
"""How long the end waits for the thread: it may sit in a read of a silent pipe, or in the compiler."""
STATE_FILE = "state.dwb"


@dataclass(slots=True)
class Counted:
    """What there is to count of one batch; the stamps are the least and the greatest, None where it has no event."""

    read: int
    rejected: Counter[str]
    bytes_read: int
    first_ts: int | None
    last_ts: int | None


@dataclass(slots=True)
class Prepared:
    """One batch after the stateless part."""

    events: EventBatch
    sketches: Sketches
    counted: Counted


@dataclass(slots=True)
class Totals:
    """What a run has done so far."""

    read: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    alerts: list[Alert] = field(default_factory=list)
    signals: dict[str, str] = field(default_factory=dict)  # account -> action last said
    first_ts: int | None = None
    last_ts: int | None = None


class Outputs:
    """The files alerts, signals and alerts of rules in the shadow go to; each may be absent."""

    def __init__(self, alerts: str | None, signals: str | None, shadow: str | None = None) -> None:
        self._stack = ExitStack()
        try:
            self._alerts = self._open(alerts)
            self._signals = self._open(signals)
            self._shadow = self._open(shadow)
        except OSError as error:
            raise ConfigError(f"cannot write {error.filename}: {error.strerror}; choose another path") from error

    def _open(self, path: str | None) -> BinaryIO | None:
        return self._stack.enter_context(Path(path).open("wb")) if path else None

    def write(self, decisions: Decisions) -> None:
        """Append decisions, one JSON object a line."""
        for alert in decisions.alerts:
            file = self._shadow if alert.mode == "shadow" else self._alerts
            if file is not None:
                file.write(encode_alert(alert) + b"\n")
        if self._signals is not None:
            self._signals.writelines(signal_line(*item) + b"\n" for item in decisions.signals)

    def close(self) -> None:
        """Flush and close."""
        self._stack.close()


def prepare(batches: Iterable[RecordBatch], decoder: Decoder, pipeline: Pipeline) -> Iterator[Prepared]:
    """The stateless part of the work: records to events and sketches."""
    for batch in batches:
        decoded = decoder.decode(batch.records, batch.origin)
        rejected = Counter(reject.reason for reject in [*decoded.rejects, *batch.rejects])
        read = decoded.read + len(batch.rejects)
        sketched = pipeline.prepare(decoded.batch)
        if len(sketched.bad):
            rejected[BAD_SKETCH] += len(sketched.bad)
        ts = sketched.events.ts
        first, last = (int(ts.min()), int(ts.max())) if len(ts) else (None, None)
        yield Prepared(sketched.events, sketched.sketches, Counted(read, rejected, batch.bytes_read, first, last))


def fold(items: Iterable[Prepared], pipeline: Pipeline) -> Iterator[tuple[Counted, Folded]]:
    """The part of the work before Campaigns, whose evaluations hold up what comes behind them."""
    for item in items:
        yield item.counted, pipeline.fold(item.events, item.sketches)


def _step_back() -> None:
    """Give way to the thread that decides, as work ahead of it is of no use before its turn."""
    if sys.platform == "linux":  # elsewhere only processes have a priority
        own = os.getpriority(os.PRIO_PROCESS, os.getpid())  # a thread ahead of one that has given way gives way no more
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), own + AHEAD_NICE)


def ahead(items: Iterator[T], steps: int = PREPARED_AHEAD) -> Iterator[T]:
    """The same items, made in a thread of their own a few steps ahead; an error there is raised here."""
    line: queue.Queue[T | BaseException | None] = queue.Queue(steps)
    stopped = threading.Event()

    def put(item: T | BaseException | None) -> None:
        while not stopped.is_set():
            try:
                line.put(item, timeout=0.2)
            except queue.Full:
                continue
            return

    def work() -> None:
        _step_back()
        try:
            for item in items:
                put(item)
                if stopped.is_set():
                    return
            put(None)
        except BaseException as error:  # handed to the consumer, which raises it
            put(error)

    thread = threading.Thread(target=work, name="ahead", daemon=True)
    thread.start()
    try:
        while (item := line.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stopped.set()
        thread.join(JOIN_S)


class EmbeddedHost:
    """Runs a pipeline over prepared batches and accounts for every record."""

    def __init__(self, pipeline: Pipeline, outputs: Outputs) -> None:
        self.pipeline = pipeline
        self.totals = Totals()
        self._outputs = outputs
        self._started = time.monotonic()

    def feed(self, counted: Counted, folded: Folded) -> Decisions:
        """Take one batch through Campaigns and write what was decided."""
        self.totals.read += counted.read
        self.totals.rejected += counted.rejected
        if counted.first_ts is not None and counted.last_ts is not None:
            self.totals.first_ts = min(counted.first_ts, self.totals.first_ts or counted.first_ts)
            self.totals.last_ts = max(counted.last_ts, self.totals.last_ts or counted.last_ts)
        return self._write(self.pipeline.decide(folded))

    def order(self, labels: Iterable[bytes]) -> None:
        """Take labels, which hold from here on, and write what they clear."""
        for value in labels:
            self._write(self.pipeline.order("", value))

    def finish(self) -> Decisions:
        """The input has ended for now: let everything held come to a verdict."""
        return self._write(self.pipeline.finish())

    def _write(self, decisions: Decisions) -> Decisions:
        beside = self.pipeline.campaigns.rules.shadow is not None  # told of the same campaigns a second time
        self.totals.alerts.extend(alert for alert in decisions.alerts if not (beside and alert.mode == "shadow"))
        for account_id, signal in decisions.signals:
            self.totals.signals[account_id] = signal.action if signal else "allow"
        self._outputs.write(decisions)
        return decisions

    def summary(self) -> RunSummary:
        """The run as people are told of it."""
        counts, totals = self.pipeline.counts, self.totals
        rejected = Counter(totals.rejected)
        rejected.update(counts.rejected)
        return RunSummary(
            read=totals.read,
            accepted=counts.accepted,
            duplicate=counts.duplicate,
            late=counts.late,
            rejected=dict(rejected),
            alerts=totals.alerts,
            signals=dict(Counter(totals.signals.values())),
            accounts=len(self.pipeline.campaigns.directory),
            first_ts=totals.first_ts,
            last_ts=totals.last_ts,
            wall_s=time.monotonic() - self._started,
            allowed=dict(self.pipeline.hits),
        )


def save_state(folder: Path, pipeline: Pipeline) -> None:
    """Write the pipeline's state so that it is either the old or the new one, whatever happens."""
    write_whole(folder / STATE_FILE, pack("embedded", 1, {"pipeline": pipeline.snapshot()}, {}))


def load_state(folder: Path, pipeline: Pipeline) -> bool:
    """Continue from a kept state; False where there is none.

    Raises:
        ConfigError: there is one and it cannot be read; the message says why and what to do.
    """
    path = folder / STATE_FILE
    if not path.exists():
        return False
    try:
        meta, _ = unpack(path.read_bytes(), "embedded", 1)
        pipeline.restore(meta["pipeline"])
    except (WireError, OSError) as error:
        raise ConfigError(f"{path} cannot be continued: {error}; move it away to start afresh") from error
    return True
