"""The table of honest populations: who they are, how many, how they behave, what they say.

What lives here: the populations. What does not: building a fleet of them (``fleet``). Each is there because it
looks like a campaign in some way, people apart; shares are of accounts.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from streams.simulator.accounts import RELEASE_H, Profile
from streams.simulator.composers import Framed, ItemList, People, Product, Viral
from streams.simulator.groups import Composer, Habits
from streams.simulator.text import Library

Make = Callable[[Library, int, np.random.Generator], Composer]
"""Builds the composer of a group of so many accounts."""
_USUAL = Profile()
FIRM_ACCOUNTS = 6


@dataclass(frozen=True, slots=True)
class Population:
    """One kind of honest account: ``share`` of the fleet, in groups of ``group_min`` to ``group_max``."""

    name: str
    share: float
    habits: Habits
    make: Make
    profile: Profile = _USUAL
    group_min: int = 1
    group_max: int = 1_000_000
    window_hours: float = 0.0  # > 0: each group is active for so long, at a time of its own
    begins_h: float | None = None  # that time, where it is the same for all groups

    @property
    def events_per_day(self) -> float:
        """Mean events of an account a day over a run of two days."""
        mean = self.habits.events_per_day * math.exp(self.habits.spread**2 / 2)
        return mean * (min(1.0, self.window_hours / 48) if self.window_hours else 1.0)


def _framed(kind: str, count: int, *, own: int = 1, share: float = 1.0) -> Make:
    def make(library: Library, size: int, rng: np.random.Generator) -> Composer:
        templates = library.shared(rng, kind, count)
        return Framed(library, templates, rng.integers(count, size=(size, own)), rng, share=share)

    return make


def _firms(kind: str, count: int) -> Make:
    """Firms of a few accounts each, whose templates are much alike but not the same."""

    def make(library: Library, size: int, rng: np.random.Generator) -> Composer:
        firms = math.ceil(size / FIRM_ACCOUNTS)
        templates = library.shared(rng, kind, count).variants(rng, firms, library.grammar.words, share=0.1)
        firm = np.arange(size) // FIRM_ACCOUNTS
        return Framed(library, templates, firm[:, None] * count + np.arange(count), rng)

    return make


def _viral(count: int, uses_max: int) -> Make:
    def make(library: Library, size: int, rng: np.random.Generator) -> Composer:
        items = library.asks(rng, np.zeros(200, np.int64)) if uses_max > 1 else None
        return Viral(library, library.shared(rng, "viral", count), size, rng, uses_max=uses_max, items=items)

    return make


def _product(count: int, *, tools: bool, coded: float) -> Make:
    def make(library: Library, size: int, rng: np.random.Generator) -> Composer:
        return Product(library, library.systems_of(rng, count), size, rng, tools=tools, coded=coded)

    return make


def _people(*, pasted: float = 0.08, coded: float = 0.12) -> Make:
    return lambda library, size, rng: People(library, size, rng, pasted=pasted, coded=coded)


def _harness(library: Library, size: int, rng: np.random.Generator) -> Composer:
    return ItemList(library.exam(rng, 300))


_SINGLE = Habits(turns=1.0, follow_up=0.0)
_BATCH = replace(_SINGLE, events_per_day=30, spread=0.3, daily=0.2, steady=True)
_ONE_BILL = 1_000_000
_LIBRARY_USE = replace(_SINGLE, events_per_day=6, spread=1.2, turns=2)
_LIBRARY_HANDS = 640  # of one library: at 100,000 accounts its default prompts are in more than 500

POPULATIONS: tuple[Population, ...] = (
    Population("people", 0.563, Habits(), _people()),
    Population("people_long", 0.07, Habits(events_per_day=3), _people(pasted=0.7)),
    Population(
        "agent_multi",
        0.08,
        Habits(events_per_day=9, turns=8, gap_s=25, follow_up=0.9),
        _product(8, tools=True, coded=0.6),
    ),
    Population("agent_single", 0.04, Habits(events_per_day=8, turns=3, follow_up=0.0), _framed("library", 4)),
    Population("viral", 0.05, Habits(events_per_day=3), _viral(12, 1), group_max=3000),
    Population("viral_heavy", 0.02, Habits(events_per_day=4), _viral(5, 8), group_max=1500),
    Population(
        "framework",
        0.02,
        _LIBRARY_USE,
        _framed("library", 2, own=2, share=0.9),
        Profile(signup_share=0.0),
        group_max=_LIBRARY_HANDS,
    ),
    Population(
        "framework_machine",
        0.02,
        replace(_LIBRARY_USE, turns=1, daily=0.0, machine=True),
        _framed("library", 2, own=2, share=0.9),
        Profile(signup_share=0.0),
        group_max=_LIBRARY_HANDS,
    ),
    Population(
        "gateway",
        0.025,
        Habits(events_per_day=6, spread=0.8, follow_up=0.3, turns=2),
        _framed("gateway", 1),
        Profile(payment_fan=_ONE_BILL, one_network=True, one_client=True),
        group_max=500,
    ),
    Population(
        "hackathon",
        0.02,
        Habits(events_per_day=72, spread=0.6, turns=4, follow_up=0.4),
        _framed("starter", 1, share=0.8),
        Profile(age_days=(0.0, 3.0)),
        group_min=30,
        group_max=300,
        window_hours=4,
    ),
    Population(
        "classroom",
        0.02,
        Habits(events_per_day=40, spread=0.5, turns=3, follow_up=0.5),
        _framed("exercise", 5, own=5, share=0.8),
        Profile(age_days=(0.0, 60.0), one_network=True, education=True),
        group_min=20,
        group_max=120,
        window_hours=3,
    ),
    Population(
        "harness",
        0.003,
        replace(_SINGLE, events_per_day=120, spread=0.5, turns=120, gap_s=3, daily=0.2),
        _harness,
        group_min=10,
        group_max=40,
        window_hours=30,
    ),
    Population(
        "enterprise",
        0.01,
        _BATCH,
        _framed("batch", 6, own=3),
        Profile(org_fan=_ONE_BILL, payment_fan=_ONE_BILL, one_client=True),
        group_min=20,
        group_max=150,
    ),
    Population(
        "support",
        0.006,
        replace(_BATCH, events_per_day=40, daily=0.6),
        _firms("macro", 6),
        Profile(org_fan=FIRM_ACCOUNTS, payment_fan=FIRM_ACCOUNTS, network_fan=FIRM_ACCOUNTS, in_order=True),
        group_min=30,
        group_max=60,
    ),
    Population(
        "review", 0.006, replace(_SINGLE, events_per_day=15, spread=1.0, turns=2), _framed("review", 2), group_max=80
    ),
    Population(
        "synthetic_team",
        0.002,
        replace(_BATCH, events_per_day=80),
        _framed("batch", 12, own=6),
        Profile(org_fan=_ONE_BILL),
        group_min=8,
        group_max=30,
    ),
    Population("retry_storm", 0.004, Habits(events_per_day=4, retry_share=0.3), _people()),
    Population(
        "cron",
        0.009,
        replace(_SINGLE, events_per_day=20, spread=0.4, on_the_hour=True, daily=0),
        _framed("cron", 400),
    ),
    Population("reseller", 0.002, Habits(events_per_day=150, spread=0.5, turns=2), _framed("resale", 1), group_max=60),
    Population(
        "rush",
        0.012,
        Habits(events_per_day=16, spread=0.8, turns=3, follow_up=0.4, newest=0.9),
        _viral(6, 6),
        Profile(age_days=(0.0, 0.3)),
        group_max=1500,
        window_hours=48,
        begins_h=RELEASE_H,
    ),
    Population("nat", 0.018, Habits(), _people(), Profile(one_network=True), group_min=30, group_max=300),
)
