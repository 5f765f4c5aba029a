"""The honest fleet: its populations, their sizes, set-up, habits and ways of speaking.

What lives here: the table of populations and building them for a number of accounts. What does not: how sessions or
texts are drawn. Populations with a cap come in several independent groups (several libraries, several classes) as
the fleet grows.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from streams.simulator.accounts import Accounts, Profile, enrol
from streams.simulator.composers import Framed, ItemList, People, Product, Viral
from streams.simulator.groups import Composer, Group, Habits
from streams.simulator.text import Library

Make = Callable[[Library, int, np.random.Generator], Composer]
"""Builds the composer of a group of so many accounts."""


@dataclass(frozen=True, slots=True)
class Population:
    """One kind of honest account: ``share`` of the fleet, in groups of ``group_min`` to ``group_max``."""

    name: str
    share: float
    habits: Habits
    make: Make
    profile: Profile = Profile()
    group_min: int = 1
    group_max: int = 1_000_000
    window_hours: float = 0.0  # > 0: each group is active for so long, at a time of its own

    @property
    def events_per_day(self) -> float:
        """Mean events of an account a day over a run of two days."""
        mean = self.habits.events_per_day * math.exp(self.habits.spread**2 / 2)
        return mean * (min(1.0, self.window_hours / 48) if self.window_hours else 1.0)


def _framed(kind: str, count: int, own: int = 1, share: float = 1.0, first_turns: bool = False) -> Make:
    def make(library: Library, size: int, rng: np.random.Generator) -> Composer:
        templates = library.shared(rng, kind, count)
        return Framed(library, templates, size, rng, own=own, share=share, first_turns=first_turns)

    return make


def _viral(count: int, uses_max: int) -> Make:
    def make(library: Library, size: int, rng: np.random.Generator) -> Composer:
        items = library.items(rng, np.zeros(200, np.int64)) if uses_max > 1 else None
        return Viral(library, library.shared(rng, "viral", count), size, rng, uses_max=uses_max, items=items)

    return make


def _product(count: int, tools: bool, coded: float) -> Make:
    def make(library: Library, size: int, rng: np.random.Generator) -> Composer:
        return Product(library, library.systems_of(rng, count), size, rng, tools=tools, coded=coded)

    return make


def _people(pasted: float = 0.08, coded: float = 0.12) -> Make:
    return lambda library, size, rng: People(library, size, rng, pasted=pasted, coded=coded)


def _harness(library: Library, size: int, rng: np.random.Generator) -> Composer:
    prompts = library.shared(rng, "harness", 1).fill(rng, np.zeros(300, np.int64), library.items)
    return ItemList(prompts)


_SINGLE = Habits(turns=1.0, follow_up=0.0)
_BATCH = replace(_SINGLE, events_per_day=30, spread=0.3, daily=0.2, steady=True)

POPULATIONS: tuple[Population, ...] = (
    Population("people", 0.575, Habits(), _people()),
    Population("people_long", 0.07, Habits(events_per_day=3), _people(pasted=0.7)),
    Population("agent_multi", 0.08, Habits(events_per_day=9, turns=8, gap_s=25, follow_up=0.9), _product(8, True, 0.6)),
    Population("agent_single", 0.04, Habits(events_per_day=8, turns=3, follow_up=0.0), _framed("library", 4)),
    Population("viral", 0.05, Habits(events_per_day=3), _viral(12, 1)),
    Population("viral_heavy", 0.02, Habits(events_per_day=4), _viral(5, 8)),
    Population(
        "framework", 0.02, replace(_SINGLE, events_per_day=6, spread=1.2, turns=2), _framed("library", 2, own=2, share=0.9),
        Profile(signup_share=0.0), group_max=250,
    ),
    Population(
        "framework_machine", 0.02, replace(_SINGLE, events_per_day=6, spread=1.2, daily=0.0),
        _framed("library", 2, own=2, share=0.9), Profile(signup_share=0.0), group_max=250,
    ),
    Population(
        "gateway", 0.025, Habits(events_per_day=6, spread=0.8, follow_up=0.3, turns=2), _framed("gateway", 1),
        Profile(payment_fan=1_000_000, one_network=True, one_client=True), group_max=500,
    ),
    Population(
        "hackathon", 0.02, Habits(events_per_day=72, spread=0.6, turns=4, follow_up=0.4), _framed("starter", 1, share=0.8),
        Profile(age_days=(-0.2, 3)), group_min=30, group_max=300, window_hours=4,
    ),
    Population(
        "classroom", 0.02, Habits(events_per_day=40, spread=0.5, turns=3, follow_up=0.5), _framed("exercise", 5, own=5, share=0.8),
        Profile(age_days=(0, 60), one_network=True, education=True), group_min=20, group_max=120, window_hours=3,
    ),
    Population(
        "harness", 0.003, replace(_SINGLE, events_per_day=120, spread=0.5, turns=120, gap_s=3, daily=0.2), _harness,
        group_min=10, group_max=40, window_hours=30,
    ),
    Population(
        "enterprise", 0.01, _BATCH, _framed("batch", 6, own=3), Profile(one_org=True, payment_fan=1_000_000, one_client=True),
        group_min=20, group_max=150,
    ),
    Population("support", 0.006, replace(_BATCH, events_per_day=40, daily=0.6), _framed("macro", 6, own=6), group_min=12, group_max=60),
    Population("review", 0.006, replace(_SINGLE, events_per_day=15, spread=1.0, turns=2), _framed("review", 2), group_max=80),
    Population("synthetic_team", 0.002, replace(_BATCH, events_per_day=80), _framed("batch", 12, own=6), Profile(one_org=True), 8, 30),
    Population("retry_storm", 0.004, Habits(events_per_day=4, retry_share=0.3), _people()),
    Population("cron", 0.009, replace(_SINGLE, events_per_day=20, spread=0.4, on_the_hour=True, daily=0), _framed("cron", 400)),
    Population("reseller", 0.002, Habits(events_per_day=150, spread=0.5, turns=2), _framed("resale", 1), group_max=60),
    Population("nat", 0.018, Habits(), _people(), Profile(one_network=True), group_min=30, group_max=300),
)  # fmt: skip


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
    cohort = enrol(rng, size, population.profile, days=days)
    habits = population.habits
    if population.window_hours:
        hours = population.window_hours
        start = float(rng.uniform(0, max(1.0, days * 24 - hours)))
        habits = replace(habits, window_h=(start, start + hours))
    composer = population.make(library, size, rng)
    return Group(population.name, first, cohort.created, habits=habits, composer=composer, rng=rng), cohort
