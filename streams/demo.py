"""The command ``demo``: two simulated days of a fleet with a scaled letter campaign, found live on a local console.

What lives here: the run, its pace and the story in the terminal. What does not: traffic (``simulator``), detection
(``models``), the pages (``console``). Nothing leaves this machine, and nothing but this process is needed.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass

from models.announce import Decisions
from models.event import EventBatch
from models.hashing import KeyedHash
from models.pipeline import Pipeline
from streams.console.embedded import LocalConsole
from streams.console.views import case_link
from streams.simulator.simulation import Options, Simulation
from streams.simulator.slices import to_events
from streams.simulator.truth import Truth
from streams.watch import Watch, clock

SECONDS = 45.0
"""Time the two days take in the console, so that a person can watch; without a terminal they run at full speed."""
PAUSE_END_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions:
    """What the demo runs; ``once`` ends it by itself."""

    secret: bytes
    once: bool
    port: int = 0
    seed: int = 1
    scale: float = 0.02
    days: float = 2.0
    seconds: float = SECONDS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``distilwatch demo``."""
    parser.add_argument("--once", action="store_true", help="end when the story does; the default without a terminal")
    parser.add_argument("--port", type=int, default=0, help="port of the console on 127.0.0.1 (default: a free one)")
    parser.add_argument("--seed", type=int, default=1, help="another seed, other accounts and texts (default 1)")
    parser.add_argument(
        "--scale", type=float, default=0.02, help="size against the letter's 25,000 accounts (default 0.02)"
    )
    parser.add_argument(
        "--seconds", type=float, default=SECONDS, help="time the two days take on a terminal (default 45)"
    )


def run(options: DemoOptions) -> int:
    """Run the demo; 0 where the campaign was found, 1 where it was not."""
    console = LocalConsole(port=options.port)
    console.start()
    try:
        _say(f"Console: {console.url}   (Ctrl-C ends)" if not options.once else f"Console while it runs: {console.url}")
        pipeline = Pipeline(options.secret)
        watch = Watch(pipeline)
        found = _play(options, console, watch, pipeline)
        if not options.once:
            _say("Your turn: open the alert in the console, read why, and close it with a verdict. Ctrl-C ends.")
            _wait(console, watch, pipeline)
    finally:
        console.stop()
    return 0 if found else 1


def _play(options: DemoOptions, console: LocalConsole, watch: Watch, pipeline: Pipeline) -> bool:
    simulation = Simulation("letter", Options(seed=options.seed, scale=options.scale, days=options.days))
    keyed = KeyedHash(options.secret)
    console.publish(watch.fleet())
    members = sum(knobs.accounts for knobs in simulation.scenario.campaigns)
    _say(
        f"{len(simulation.accounts):,} simulated accounts over {options.days:g} days: people, agent products,\n"
        f"gateways, classrooms and others, and among them {members:,} accounts of one campaign that begins at noon\n"
        "of the first day and sends about 25 requests a day each. The detector is not told."
    )
    pace = 0.0 if options.once else options.seconds * 1000 / (options.days * 86_400_000)
    started, first_ms = time.monotonic(), None
    for part in simulation.slices():
        events = to_events(part, keyed)
        if not len(events):
            continue
        first_ms = int(events.ts[0]) if first_ms is None else first_ms
        ahead_s = (int(events.ts[-1]) - first_ms) * pace / 1000 - (time.monotonic() - started)
        _take(console, watch, events, pipeline.process(events, pipeline.sketch(events)))
        _obey(console, watch, pipeline)
        console.publish(watch.fleet())
        if ahead_s > 0:
            time.sleep(ahead_s)
    _take(console, watch, EventBatch.empty(), pipeline.finish())
    return _tell_end(console, watch, simulation.truth(), pipeline)


def _take(console: LocalConsole, watch: Watch, events: EventBatch, decisions: Decisions) -> None:
    """Pass on one batch and what was decided, to the console and to the terminal."""
    told_before = watch.first_alert is not None
    console.tell(decisions.alerts, decisions.signals)
    for line in watch.note(events, decisions):
        _say(line)
        if watch.first_alert is not None and not told_before:
            told_before = True
            _say(f"                  why: {console.url.rstrip('/')}{case_link(watch.first_alert.dedup_key)}")


def _obey(console: LocalConsole, watch: Watch, pipeline: Pipeline) -> None:
    """Let what people did in the console act in the detector."""
    for label in console.said():
        _take(console, watch, EventBatch.empty(), pipeline.order("", label))


def _tell_end(console: LocalConsole, watch: Watch, truth: Truth, pipeline: Pipeline) -> bool:
    """Hold what was found against what the simulator knows."""
    campaign = truth.campaigns[0]
    named = watch.named()
    real = {member.account_id for member in campaign.members if member.requests + member.cover >= 3}
    alert = watch.first_alert
    innocent = len(named - set(campaign.accounts))
    if alert is None:
        text = "The simulator knows of one campaign; it was not found."
    else:
        text = (
            f"The simulator knows: {len(real):,} accounts worked together from {clock(campaign.start)}. "
            f"Alerted {(alert.ts - campaign.start) / 60_000:.0f} minutes later; {len(named & real):,} of them named, "
            f"and {innocent:,} of {truth.benign_accounts:,} others."
        )
    console.publish(watch.fleet(note=text, done=True))
    time.sleep(PAUSE_END_S)
    counts = pipeline.counts
    _say(f"{counts.accepted:,} requests read. {text}")
    return alert is not None


def _wait(console: LocalConsole, watch: Watch, pipeline: Pipeline) -> None:
    try:
        while True:
            _obey(console, watch, pipeline)
            for verdict in console.verdicts():
                _say(f"Your verdict: {verdict}")
            time.sleep(PAUSE_END_S)
    except KeyboardInterrupt:
        sys.stdout.write("\n")


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
