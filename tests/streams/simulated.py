"""Simulated runs that several test modules look at."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from typing import Any

from streams.simulator.campaign import Knobs
from streams.simulator.scenarios import Scenario
from streams.simulator.simulation import Options, Simulation

Lines = list[dict[str, Any]]


def lines_of(run: Simulation) -> Lines:
    """All events of a run, decoded."""
    return [json.loads(line) for part in run.slices() for line in part.lines().splitlines()]


def of_campaign(run: Simulation, lines: Lines, number: int = 0) -> Lines:
    """The events of one campaign's accounts."""
    members = set(run.truth().campaigns[number].accounts)
    return [line for line in lines if line["account_id"] in members]


@cache
def alone(**knobs: Any) -> tuple[Simulation, Lines]:
    """One campaign of 40 accounts with ``knobs``, beside the least fleet there is, for a day and a half."""
    scenario = Scenario(
        "alone", "", (replace(Knobs(accounts=40, templates=8, start_h=6.0), **knobs),), benign_accounts=60
    )
    run = Simulation(scenario, Options(days=1.5))
    return run, lines_of(run)


@cache
def two() -> tuple[Simulation, Lines]:
    run = Simulation("two", Options(scale=0.1, days=1.0, seed=5))
    return run, lines_of(run)
