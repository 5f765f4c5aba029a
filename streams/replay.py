"""The command ``replay``: files or stdin through the embedded host, as fast as they can be read or at their own pace.

What lives here: the run of one or more files. What does not: words at the end (``summary``).
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from models.alert import Mode
from models.decode import Decoder
from models.errors import ConfigError, DistilwatchError
from models.hashing import KeyedHash
from models.labels import read_label
from models.pipeline import Pipeline
from models.rules import Rules
from streams.embedded import FOLDED_AHEAD, Counted, EmbeddedHost, Outputs, ahead, fold, load_state, prepare, save_state
from streams.progress import Progress
from streams.records import RecordBatch, RecordFile
from streams.summary import RunSummary, summarise


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayOptions:
    """What to read and where to write; ``speed`` is event seconds per second, 0 as fast as possible."""

    files: list[str]
    secret: bytes
    alerts: str | None = None
    signals: str | None = None
    shadow: str | None = None
    rules: Rules | None = None  # as shipped
    format: str = "auto"
    state: str | None = None
    labels: str | None = None
    speed: float = 0.0
    tenant: str = "default"
    mode: Mode = "enforce"
    quiet: bool = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what to read, where to write, and how fast."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="JSON lines, .gz or .zst; a folder; - is stdin")
    parser.add_argument("--alerts", metavar="OUT", help="write every alert, one JSON object a line")
    parser.add_argument("--signals", metavar="OUT", help="write every signal to the limiter, one JSON object a line")
    parser.add_argument("--shadow", metavar="OUT", help="write every alert of rules in the shadow, one object a line")
    parser.add_argument("--rules", metavar="FILE", help="a rules file (default: DISTILWATCH_RULES, else as shipped)")
    parser.add_argument("--format", default="auto", metavar="F", help="auto, canonical, litellm, otel or glasswally")
    parser.add_argument("--state", metavar="DIR", help="keep the state here, and continue from what is kept")
    parser.add_argument("--labels", metavar="FILE", help="take what people said (alerts, allow) into account")
    parser.add_argument("--speed", type=_speed, default=0.0, metavar="N|max", help="event seconds a second (max)")
    parser.add_argument("--quiet", action="store_true", help="no progress on stderr")


def _speed(text: str) -> float:
    value = 0.0 if text == "max" else float(text)
    if text != "max" and not 0 < value < float("inf"):
        raise ValueError(text)
    return value


def open_files(paths: list[str]) -> list[RecordFile]:
    """Open every file before the first is read: a wrong name stops the run at once. A folder means its files."""
    names: list[str] = []
    for path in paths:
        folder = Path(path)
        names += sorted(str(item) for item in folder.rglob("*") if item.is_file()) if folder.is_dir() else [path]
    return [RecordFile(name) for name in names]


def batches_of(files: list[RecordFile]) -> Iterator[RecordBatch]:
    """All batches; the bytes read count on from file to file."""
    before = 0
    for file in files:
        last = 0
        for batch in file.batches():
            last = batch.bytes_read
            yield RecordBatch(batch.records, batch.origin, batch.rejects, before + last)
        before += last


def _pace(counted: Counted, speed: float, start: tuple[float, int] | None) -> tuple[float, int] | None:
    """Wait until event time has earned this batch at ``speed``."""
    newest = counted.last_ts
    if not speed or newest is None:
        return start
    if start is None:
        return time.monotonic(), newest
    ahead_s = (newest - start[1]) / 1000 / speed - (time.monotonic() - start[0])
    if ahead_s > 0:
        time.sleep(ahead_s)
    return start


def _labels(path: Path) -> list[bytes]:
    """The records of a file of labels, in its order."""
    try:
        lines = [line for line in path.read_bytes().splitlines() if line.strip()]
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}; --labels names what --actions wrote") from error
    bad = sum(read_label(line) is None for line in lines)
    if bad:
        raise ConfigError(
            f"{bad} of {len(lines)} lines of {path} are no labels; `distilwatch alerts --help` writes them"
        )
    return lines


class StateUnkeptError(DistilwatchError):
    """All was decided and written, but the state for the next run was not; ``summary`` is that of this run."""

    def __init__(self, folder: str, error: OSError, summary: RunSummary) -> None:
        super().__init__(
            f"the state was not kept in {folder}: {error.strerror}; the one before stands: "
            "make room, and replay the same files again"
        )
        self.summary = summary


def replay(options: ReplayOptions) -> RunSummary:
    """Run the files through a pipeline; returns what people are told at the end.

    Raises:
        StateUnkeptError: after everything else was done.
    """
    pipeline = Pipeline(options.secret, tenant=options.tenant, mode=options.mode, rules=options.rules)
    if options.state:
        load_state(Path(options.state), pipeline)
    held = pipeline.observe.held
    files = open_files(options.files)
    sizes = [file.size for file in files]
    total = None if None in sizes else sum(size or 0 for size in sizes)
    progress = Progress(total)
    decoder = Decoder(KeyedHash(options.secret), options.format)  # before outputs are opened: it may refuse
    outputs = Outputs(options.alerts, options.signals, options.shadow)
    host = EmbeddedHost(pipeline, outputs)
    # Rows that waited in the kept state come to an end in this run, so this run has them to account for.
    host.totals.read = held
    start: tuple[float, int] | None = None
    unkept: OSError | None = None
    try:
        if options.labels:
            host.order(_labels(Path(options.labels)))
        prepared = ahead(prepare(batches_of(files), decoder, pipeline))
        for counted, folded in ahead(fold(prepared, pipeline), FOLDED_AHEAD):
            start = _pace(counted, options.speed, start)
            host.feed(counted, folded)
            if not options.quiet:
                progress.update(host.totals.read, counted.bytes_read, host.totals.last_ts)
        if options.state:
            try:
                save_state(Path(options.state), pipeline)
            except OSError as error:
                unkept = error
        host.finish()
    finally:
        progress.finish()
        outputs.close()
    if options.state and unkept is not None:
        raise StateUnkeptError(options.state, unkept, host.summary())
    return host.summary()


def run(options: ReplayOptions, *, output: str = "human") -> int:
    """Replay and tell the story on standard output, or give its figures and alerts as one JSON object."""
    unkept: StateUnkeptError | None = None
    try:
        result = replay(options)
    except StateUnkeptError as error:
        result, unkept = error.summary, error
    if output == "json":
        sys.stdout.write(msgspec.json.encode(result).decode() + "\n")
    else:
        sys.stdout.write(summarise(result, width=shutil.get_terminal_size().columns, colour=sys.stdout.isatty()))
    if unkept is not None:
        raise unkept
    return 0
