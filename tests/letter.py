"""A small letter campaign as JSON lines, made once a run, with a canary in every place that may hold text.

What lives here: the lines and who is in the campaign. The canary must never leave the process: tests search for it.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

import msgspec

from streams.simulator.scenarios import scenario_of
from streams.simulator.simulation import Options, Simulation

CANARY = "zebrafinch7719quartz"
SECRET = "a secret of the tests, long enough"


@dataclass(frozen=True, slots=True)
class Letter:
    """Events in time order, one JSON object each, and the accounts of the campaign among them."""

    lines: list[bytes]
    accounts: list[str]  # of each line
    members: frozenset[str]

    def halves(self) -> tuple[bytes, bytes]:
        """The file cut in two."""
        cut = len(self.lines) // 2
        return b"\n".join(self.lines[:cut]) + b"\n", b"\n".join(self.lines[cut:]) + b"\n"

    def file(self) -> bytes:
        """All lines as one file."""
        return b"\n".join(self.lines) + b"\n"


@functools.cache
def letter(seed: int = 3, days: float = 1.5) -> Letter:
    """About 100 accounts in a fleet of some hundreds, 1.5 days."""
    scenario = replace(scenario_of("letter", 0.004), benign_ratio=4.0)
    simulation = Simulation(scenario, Options(seed=seed, scale=0.004, days=days))
    lines, accounts = [], []
    for part in simulation.slices():
        for row in part.rows():
            accounts.append(row.account_id)
            lines.append(msgspec.json.encode(_marked(msgspec.to_builtins(row), len(lines))))
    truth = simulation.truth()
    return Letter(lines, accounts, frozenset(truth.campaigns[0].accounts))


def _marked(event: dict[str, object], number: int) -> dict[str, object]:
    """The event with the canary as a word of its prompt and system text (in some) and in unknown fields (in all)."""
    if number % 20 == 0:
        event["prompt"] = f"{event['prompt']} {CANARY}"
    if number % 20 == 1:
        event["system"] = f"{CANARY} {event.get('system', '')}"
    return event | {"note": {"text": CANARY}, "metadata": [CANARY]}
