"""The honest fleet for a number of accounts: groups of each population, and their accounts.

What lives here: sizing and building. What does not: the populations themselves (``populations``). Populations with
a cap come in several independent groups (several libraries, several classes) as the fleet grows.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass, replace

import numpy as np

from streams.simulator.accounts import EPOCH, HOUR_MS, Accounts, enrol
from streams.simulator.groups import Group, Pool
from streams.simulator.populations import POPULATIONS, Population
from streams.simulator.text import Library


@dataclass(frozen=True, slots=True)
class Fleet:
    """Groups of honest accounts in account order, and the accounts themselves."""

    groups: list[Group]
    cohorts: list[Accounts]


def accounts_for(events_per_day: float, populations: tuple[Population, ...] = POPULATIONS) -> int:
    """How many honest accounts send about ``events_per_day`` together."""
    total = sum(population.share for population in populations)
    mean = sum(population.share * population.events_per_day for population in populations) / total
    return max(1, round(events_per_day / mean))


def build(
    library: Library, accounts: int, *, seed: int, days: float, populations: tuple[Population, ...] = POPULATIONS
) -> Fleet:
    """A fleet of about ``accounts`` honest accounts (small populations keep their least group)."""
    total = sum(population.share for population in populations)
    groups: list[Group] = []
    cohorts: list[Accounts] = []
    first = 0
    for population in populations:
        wanted = max(population.group_min, round(accounts * population.share / total))
        count = max(1, math.ceil(wanted / population.group_max))
        for index in range(count):
            size = max(population.group_min, wanted // count)
            rng = np.random.default_rng([seed, zlib.crc32(population.name.encode()), index])
            group, cohort = _group(library, population, first, size, days=days, rng=rng)
            groups.append(group)
            cohorts.append(cohort)
            first += size
    return Fleet(groups, cohorts)


def _group(
    library: Library, population: Population, first: int, size: int, *, days: float, rng: np.random.Generator
) -> tuple[Group, Accounts]:
    habits, start = population.habits, 0.0
    if population.window_hours:
        drawn = float(rng.uniform(0, max(1.0, days * 24 - population.window_hours)))
        start = drawn if population.begins_h is None else population.begins_h
        habits = replace(habits, window_h=(start, start + population.window_hours))
    cohort = enrol(rng, size, population.profile, start=EPOCH + int(start * HOUR_MS), days=days)
    composer = population.make(library, size, rng)
    return Group(population.name, Pool(first, cohort.created), habits=habits, composer=composer, rng=rng), cohort
