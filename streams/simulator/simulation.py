"""A run: fleet and campaigns of a scenario, streamed slice by slice in event time, with its truth.

What lives here: wiring groups and campaigns together, merging their events, keeping count. What does not: files and
brokers (``command``). Memory is bounded by the accounts and one slice; the same scenario, seed, scale and days give
the same bytes.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from models.errors import ConfigError
from streams.simulator import fleet
from streams.simulator.accounts import DAY_MS, EPOCH, HOUR_MS, Accounts, Profile, combined, enrol, names
from streams.simulator.campaign import VARIANT_SHARE, Campaign, Knobs, pools_of
from streams.simulator.composers import Framed, People, Viral
from streams.simulator.decoys import Decoys
from streams.simulator.groups import Batch, Group, Habits, Pool, joined
from streams.simulator.populations import POPULATIONS
from streams.simulator.ragged import stacked
from streams.simulator.scenarios import Scenario, scenario_of
from streams.simulator.slices import Slice, Tables
from streams.simulator.templates import Templates
from streams.simulator.text import Library
from streams.simulator.truth import Tally, Truth

SLICE_EVENTS = 160_000
_SLICE_LENGTHS_MS = (HOUR_MS, HOUR_MS // 2, HOUR_MS // 4, HOUR_MS // 12, HOUR_MS // 60)
_COPIED_HABITS = Habits(events_per_day=6, spread=1.2, turns=2, follow_up=0.0)
Stream = Group | Campaign | Decoys


@dataclass(frozen=True, slots=True)
class Options:
    """What a run is made of.

    ``families`` limits what campaigns may draw on, ``without`` leaves honest populations out; both hold kinds back from
    the runs that rules are fitted on.
    """

    seed: int = 1
    scale: float = 1.0
    days: float | None = None
    families: tuple[str, ...] = ()
    without: tuple[str, ...] = ()


class Simulation:
    """One run. ``slices()`` may be consumed once; ``truth()`` is complete after it."""

    def __init__(
        self, scenario: str | Scenario, options: Options | None = None, *, library: Library | None = None
    ) -> None:
        self.options = options or Options()
        self.scenario = scenario_of(scenario, self.options.scale) if isinstance(scenario, str) else scenario
        self.days = self._days()
        self.library = library or Library(self.options.seed)
        self._cohorts: list[Accounts] = []
        self._streams: list[Stream] = []
        self.population: list[str] = []
        self._size = 0
        self._add_fleet()
        self.campaigns = self._add_campaigns()
        self.accounts = combined(self._cohorts)
        self.labels = np.repeat(np.arange(len(self.population)), [len(cohort) for cohort in self._cohorts])
        self._tables = Tables(self.accounts, self.library)
        self.tally = Tally(len(self.accounts))

    def slices(self) -> Iterator[Slice]:
        """The run in time order, each slice at most an hour and about ``SLICE_EVENTS`` events."""
        rng = self._generator("merge")
        for start in range(self.start, self.end, self.slice_ms):
            until = min(self.end, start + self.slice_ms)
            batches = [stream.emit(start, until) for stream in self._streams]
            self.tally.count(self._streams, batches)
            yield self._slice(start, until, batches, rng)

    @property
    def slice_ms(self) -> int:
        """Length of a slice, a function of the scenario alone."""
        daily = sum(knobs.accounts * knobs.requests_per_day for knobs in self.scenario.campaigns)
        hourly = (daily + 11 * self.scenario.fleet_accounts) / 24 * 1.6
        return next((ms for ms in _SLICE_LENGTHS_MS if hourly * ms / HOUR_MS <= SLICE_EVENTS), _SLICE_LENGTHS_MS[-1])

    def truth(self) -> Truth:
        """What the run holds; counts cover the slices consumed so far."""
        return Truth.of(self)

    @property
    def start(self) -> int:
        """First millisecond of the run."""
        return EPOCH

    @property
    def end(self) -> int:
        """Millisecond after the run's last."""
        return EPOCH + int(self.days * DAY_MS)

    def note(self) -> str:
        """What differs from the scenario as named, for people; empty where nothing does."""
        if self.options.days is None and self.days != self.scenario.days:
            return f"{self.days:g} days instead of {self.scenario.days:g} below scale 1; --days overrides"
        return ""

    def members(self) -> Iterator[tuple[str, str]]:
        """Each account's id and its population or campaign, in no telling order."""
        order = np.argsort(self.accounts.name)
        for name, label in zip(self.accounts.name[order].tolist(), self.labels[order].tolist(), strict=True):
            yield f"{name:016x}", self.population[label]

    def populations(self) -> dict[str, int]:
        """Accounts by population or campaign name."""
        counts: dict[str, int] = {}
        for name, cohort in zip(self.population, self._cohorts, strict=True):
            counts[name] = counts.get(name, 0) + len(cohort)
        return counts

    def _days(self) -> float:
        if self.options.days is not None:
            return self.options.days
        return min(2.0, self.scenario.days) if self.options.scale < 1 and self.scenario.days > 7 else self.scenario.days

    def _generator(self, name: str) -> np.random.Generator:
        return np.random.default_rng([self.options.seed, zlib.crc32(name.encode())])

    def _enter(self, name: str, cohort: Accounts) -> int:
        first = self._size
        self._cohorts.append(cohort)
        self.population.append(name)
        self._size += len(cohort)
        return first

    def _slice(self, start: int, end: int, batches: list[Batch], rng: np.random.Generator) -> Slice:
        events = joined([batch.events for batch in batches])
        order = np.argsort(events.ts, kind="stable")
        merged = Batch(
            events,
            stacked([batch.texts for batch in batches]),
            np.concatenate([batch.system for batch in batches]),
            np.concatenate([batch.model for batch in batches]),
            np.concatenate([batch.tools for batch in batches]),
        ).take(order)
        n = len(order)
        return Slice(start, end, merged, names(rng, n), rng.random(n), self._tables)

    def _add_fleet(self) -> None:
        unknown = sorted(set(self.options.without) - {population.name for population in POPULATIONS})
        if unknown:
            raise ConfigError(f"no population {', '.join(unknown)} to leave out")
        kinds = tuple(population for population in POPULATIONS if population.name not in self.options.without)
        honest = fleet.build(
            self.library, self.scenario.fleet_accounts, seed=self.options.seed, days=self.days, populations=kinds
        )
        for group, cohort in zip(honest.groups, honest.cohorts, strict=True):
            self._enter(group.name, cohort)
            self._streams.append(group)

    def _add_campaigns(self) -> list[Campaign]:
        campaigns: list[Campaign] = []
        left = list(self._generator("families").permutation(self._families()))
        shared: Templates | None = None
        for index, knobs in enumerate(self.scenario.campaigns):
            rng = self._generator(f"campaign {index}")
            if shared is None or not self.scenario.one_template:
                few = max(1, min(knobs.family_count, len(left) // (len(self.scenario.campaigns) - index)))
                chosen, left = left[:few], left[few:]
                shared = self._templates(knobs, [str(name) for name in chosen], rng)
            campaigns.append(self._campaign(f"campaign_{index + 1}", knobs, shared, rng))
        if campaigns:
            self._add_decoys(campaigns[0])
        return campaigns

    def _templates(self, knobs: Knobs, families: list[str], rng: np.random.Generator) -> Templates:
        viral = [stream.composer for stream in self._streams if isinstance(stream, Group)]
        known = [composer.templates for composer in viral if isinstance(composer, Viral)]
        if knobs.public and known:
            return known[0]
        templates = self.library.campaign(rng, knobs.templates, families)
        if knobs.variants == 1:
            return templates
        return templates.variants(rng, knobs.variants, self.library.grammar.words, share=VARIANT_SHARE)

    def _families(self) -> list[str]:
        known = self.library.family_names()
        unknown = sorted(set(self.options.families) - set(known))
        if unknown:
            raise ConfigError(f"no template family {', '.join(unknown)}; there are: {', '.join(known)}")
        return list(self.options.families) or known

    def _campaign(self, name: str, knobs: Knobs, templates: Templates, rng: np.random.Generator) -> Campaign:
        pools = pools_of(knobs, self._size, days=self.days, rng=rng)
        for pool in pools:
            self._enter(name, self._pool_accounts(knobs, pool, rng))
            if knobs.cover > 0:
                self._streams.append(self._cover(name, knobs, pool, rng))
        campaign = Campaign(name, knobs, pools, library=self.library, templates=templates, rng=rng)
        self._streams.append(campaign)
        return campaign

    def _pool_accounts(self, knobs: Knobs, pool: Pool, rng: np.random.Generator) -> Accounts:
        first_use = int(pool.since.min()) if pool.size else EPOCH
        burst = knobs.signup_burst_h / 24
        profile = Profile(
            age_days=(0.02, 0.02 + burst) if knobs.young else None, signup_share=0.0,
            payment_fan=knobs.payment_fan, network_fan=knobs.network_fan, one_client=knobs.one_client,
        )  # fmt: skip
        cohort = enrol(rng, pool.size, profile, start=first_use, days=self.days)
        if knobs.one_client:  # one client for the whole operator, not one a pool
            cohort.client[:] = self._generator("client").integers(60)
        return cohort

    def _cover(self, name: str, knobs: Knobs, pool: Pool, rng: np.random.Generator) -> Group:
        habits = Habits(events_per_day=knobs.requests_per_day * knobs.cover, spread=0.3, turns=3, daily=0.5)
        composer = People(self.library, pool.size, rng)
        return Group(name, pool, habits=habits, composer=composer, rng=rng)

    def _add_decoys(self, campaign: Campaign) -> None:
        scenario, rng = self.scenario, self._generator("decoys")
        if scenario.decoys:
            cohort = enrol(rng, scenario.decoys, Profile(), days=self.days)
            first = self._enter("decoy", cohort)
            composer = People(self.library, scenario.decoys, rng)
            self._streams.append(
                Group("decoy", Pool(first, cohort.created), habits=Habits(), composer=composer, rng=rng)
            )
            self._streams.append(Decoys(campaign, first, scenario.decoys, days=self.days, rng=rng))
        if scenario.copied:
            cohort = enrol(rng, scenario.copied, replace(Profile(), signup_share=0.0), days=self.days)
            first = self._enter("copied", cohort)
            first_template = campaign.templates.take(np.zeros(1, np.int64))
            composed = Framed(self.library, first_template, np.zeros((scenario.copied, 1), np.int64), rng, share=0.9)
            self._streams.append(
                Group("copied", Pool(first, cohort.created), habits=_COPIED_HABITS, composer=composed, rng=rng)
            )
