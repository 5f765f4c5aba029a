"""The Kafka bench's other peers, Quix Streams and Bytewax: the plain composition in the idiom of each.

What lives here: the two programs, and the environment they run in. What does not: feeding and timing them (``kafka``).
Per event each does what the Faust agent does: it reads JSON, makes a datasketch ``MinHash``, queries and fills a
``MinHashLSH``, and counts the account's requests in tumbling windows of an hour, kept as the library keeps them by
default. Their pins are not ours, so they have an environment of their own in ``.cache``, made on first use. This file
is also what runs in it, so nothing of ours is imported on top but ``plain``.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bench.plain import PlainIndex

NAMES = ("quix", "bytewax")
PINS = ("quixstreams==3.28.1", "bytewax==0.21.1", "confluent-kafka==2.12.2", "datasketch==2.0.0")
ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".cache" / "bench" / "peers-quix-3.28.1-bytewax-0.21.1"
WINDOW = timedelta(hours=1)
LATE = timedelta(minutes=2)


def python() -> str:
    """The interpreter of the peers' environment; a whole environment or none.

    Raises:
        RuntimeError: it cannot be installed; the message holds what pip said.
    """
    found = FOLDER / "bin" / "python"
    if not found.exists():
        sys.stderr.write(f"bench: installing {', '.join(PINS)} into {FOLDER.relative_to(ROOT)}\n")
        FOLDER.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, "-m", "venv", str(FOLDER)], check=True)
        done = subprocess.run(
            [str(found), "-m", "pip", "install", "-q", *PINS], capture_output=True, text=True, check=False
        )
        if done.returncode:
            found.unlink()
            raise RuntimeError(f"pip could not install {', '.join(PINS)}: {done.stderr[-500:]}")
    return str(found)


class Work:
    """What each event costs beside the window, and a byte in a file for each, for as long as the process lives."""

    def __init__(self, seen: str, permutations: int) -> None:
        self._index = PlainIndex(permutations)
        self._marks = Path(seen).open("ab", buffering=0)  # noqa: SIM115

    def add(self, event: dict[str, Any]) -> None:
        """Sketch and index one event."""
        self._index.add(event["event_id"], event["account_id"], event["prompt"])

    def mark(self) -> None:
        """One event is through."""
        self._marks.write(b".")


def quix(bootstrap: str, topic: str, work: Work) -> None:
    """A dataframe over the topic, keyed by account as it is, with a count in a tumbling window."""
    from quixstreams import Application

    def through(value: dict[str, Any]) -> None:
        work.mark()

    app = Application(
        broker_address=bootstrap,
        consumer_group=topic,
        auto_offset_reset="earliest",
        state_dir=tempfile.mkdtemp(prefix="quix-"),
        loglevel="WARNING",
    )
    frame = app.dataframe(
        app.topic(topic, value_deserializer="json", timestamp_extractor=lambda value, *_: value["ts"])
    )
    frame = frame.update(work.add).tumbling_window(WINDOW, grace_ms=LATE).count().current()
    frame.update(through)
    app.run()


def bytewax(bootstrap: str, topic: str, work: Work) -> None:
    """A dataflow on one worker: parse, index, count by account in a window of event time."""
    import bytewax.operators as op
    import bytewax.operators.windowing as windows
    from bytewax._bytewax import cli_main
    from bytewax.connectors.kafka import KafkaSource
    from bytewax.connectors.stdio import StdOutSink
    from bytewax.dataflow import Dataflow

    def parsed(message: Any) -> dict[str, Any]:
        event: dict[str, Any] = json.loads(message.value)
        work.add(event)
        return event

    def through(step: str, item: Any) -> None:
        work.mark()

    flow = Dataflow("plain")
    events = op.map("parse", op.input("in", flow, KafkaSource([bootstrap], [topic])), parsed)
    clock = windows.EventClock(lambda event: datetime.fromtimestamp(event["ts"] / 1000, UTC), LATE)
    hours = windows.TumblingWindower(length=WINDOW, align_to=datetime(2020, 1, 1, tzinfo=UTC))
    counted = windows.count_window("count", events, clock, hours, lambda event: event["account_id"])
    op.inspect("through", events, through)
    op.output("out", op.map("line", counted.down, str), StdOutSink())
    cli_main(flow)


def main() -> None:
    """Run the peer named on the command line."""
    name, bootstrap, topic, seen, permutations = sys.argv[1:]
    {"quix": quix, "bytewax": bytewax}[name](bootstrap, topic, Work(seen, int(permutations)))


if __name__ == "__main__":
    main()
