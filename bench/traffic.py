"""The traffic of the benches: hours of the letter's fleet at its full pace, made once and kept in ``.cache/bench``.

What lives here: the choice of traffic and the cached file. What does not: the simulator and any stopwatch. A run starts
at midnight, when the fleet is at 0.6 of its mean pace, so the letter is taken ``SCALE`` times: the rate in event time
is then the letter's daily mean of 81 events a second, and accounts and keys are as many as in the real fleet.
"""

from __future__ import annotations

import json
import sys
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

from streams.simulator.scenarios import scenario_of
from streams.simulator.simulation import Options, Simulation

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".cache" / "bench"
START_H = 0.25  # the campaign starts a quarter of an hour in: a short run has little past
SCALE = 1.65
SLICE_MS = 600_000


class Coarse(Simulation):
    """The same traffic in slices of ten minutes: with so many accounts each slice has a fixed cost of a second."""

    @property
    def slice_ms(self) -> int:
        """Ten minutes, whatever the scenario."""
        return SLICE_MS


@dataclass(frozen=True, slots=True)
class Traffic:
    """One file of canonical events, and what it holds."""

    path: Path
    events: int
    characters: float  # mean of the prompts
    bytes: float  # mean of the lines
    per_second: float  # events per second of event time

    def __str__(self) -> str:
        return (
            f"{self.events:,} events, {self.per_second:.0f}/s in event time, "
            f"prompts {self.characters:.0f} characters and records {self.bytes:.0f} bytes on average"
        )


def letter(*, hours: float = 2.4, seed: int = 1) -> Traffic:
    """The first ``hours`` of the letter's campaign in its fleet, from the cache where it has them."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"letter-{hours:g}h-{seed}-{version():08x}.jsonl"
    for old in FOLDER.glob(f"letter-{hours:g}h-{seed}-*"):
        if old.stem != path.stem:
            old.unlink()
    described = path.with_suffix(".json")
    if not described.exists():
        sys.stderr.write(f"bench: simulating {hours:g} hours of traffic into {path.relative_to(ROOT)}\n")
        described.write_text(json.dumps(_write(path, hours, seed)))
    return Traffic(path, **json.loads(described.read_text()))


def _write(path: Path, hours: float, seed: int) -> dict[str, float]:
    whole = scenario_of("letter", SCALE)
    early = tuple(replace(knobs, start_h=START_H) for knobs in whole.campaigns)
    simulation = Coarse(replace(whole, campaigns=early), Options(seed=seed, days=hours / 24))
    events = characters = size = 0
    first = last = None
    with path.open("wb") as file:
        for part in simulation.slices():
            lines = part.lines()
            size += file.write(lines)
            events += len(part)
            characters += sum(len(row.prompt) for row in part.rows())
            first, last = part.start if first is None else first, part.end
    seconds = ((last or 0) - (first or 0)) / 1000
    return {
        "events": events,
        "characters": characters / events,
        "bytes": size / events,
        "per_second": events / seconds,
    }


def version() -> int:
    """Of the simulator's text: other code, other traffic."""
    return zlib.crc32(b"".join(path.read_bytes() for path in sorted((ROOT / "streams/simulator").glob("*.py"))))
