"""One trial: a scenario with one seed through the pipeline, and everything that is scored of it.

What lives here: running, whole or again from what reached Campaigns. What does not: scoring (``score``). Truth is
used for scoring only: the pipeline sees events alone.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.detection.ablation import NO_EDGES, PARTS, RULES, switched_off
from bench.detection.baselines import Baselines, Bounds
from bench.detection.cases import Case
from bench.detection.score import Marker, Named, Score
from models.announce import Decisions
from models.campaigns import Campaigns
from models.event import EventBatch
from models.hashing import KeyedHash
from models.pipeline import Pipeline
from models.rules import CampaignRule, Rules
from models.sketch import Sketches
from models.verdict import HOLD_SCORE
from streams.simulator.corpus import CorpusLibrary
from streams.simulator.scenarios import scenario_of
from streams.simulator.simulation import Options, Simulation
from streams.simulator.slices import to_events

SECRET = b"bench-detection-secret"
Part = tuple[npt.NDArray[np.int64], EventBatch, Sketches]
"""Account rows, events and sketches of one slice."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What all trials of a run share; ``bounds`` are the baselines' thresholds, None leaves the baselines out."""

    corpus: str | None = None
    bounds: Bounds | None = None
    rules: Rules | None = None  # None: the defaults


def run_trial(case: Case, seed: int, setting: Setting) -> Score:
    """Simulate, detect, score; with the baselines beside it where the setting has their thresholds."""
    started = time.perf_counter()
    simulation = _simulation(case, seed, setting.corpus)
    baselines = Baselines(len(simulation.accounts)) if setting.bounds is not None and case.peers else None
    named, sent = _detected(_parts(simulation, baselines), rules=setting.rules)
    score = _scored(case, simulation, named, sent)
    if baselines is not None and setting.bounds is not None:
        members = {account for campaign in simulation.truth().campaigns for account in campaign.accounts}
        ids = _ids(simulation)
        member = np.fromiter((account in members for account in ids), np.bool_, len(ids))
        score.baselines = baselines.score(member, np.bincount(sent[0], minlength=len(ids)), setting.bounds)
    score.wall_s = time.perf_counter() - started
    return score


def calibrated(case: Case, seed: int, corpus: str | None) -> Bounds:
    """The baselines' thresholds, from a calm run."""
    simulation = _simulation(case, seed, corpus)
    baselines = Baselines(len(simulation.accounts))
    for _ in _parts(simulation, baselines):
        pass
    return baselines.bounds()


def run_parts(case: Case, seed: int, corpus: str | None) -> dict[str | None, Score]:
    """One run through the whole detector, and through the detector without each of its parts."""
    simulation = _simulation(case, seed, corpus)
    tape = Tape()
    named, sent = _detected(_parts(simulation, None), tape=tape)
    scores: dict[str | None, Score] = {None: _scored(case, simulation, named, sent)}
    for off in PARTS:
        with switched_off(off):
            if off == NO_EDGES:  # another sketch, so from the start
                again = _simulation(case, seed, corpus)
                scores[off] = _scored(case, again, *_detected(_parts(again, None)))
            else:
                scores[off] = _scored(case, simulation, tape.judged(RULES.get(off)), sent)
    return scores


def run_thresholds(case: Case, seed: int, corpus: str | None, thresholds: tuple[float, ...]) -> list[Score]:
    """One run judged with each opening score."""
    simulation = _simulation(case, seed, corpus)
    tape = Tape()
    _, sent = _detected(_parts(simulation, None), tape=tape)
    rules = [Rules(campaign=CampaignRule(open_score=score, hold_score=min(HOLD_SCORE, score))) for score in thresholds]
    return [_scored(case, simulation, tape.judged(each), sent) for each in rules]


class Tape:
    """What reached Campaigns in one run, to be judged again by another Campaigns: what comes before it is the same."""

    def __init__(self) -> None:
        self._calls: list[tuple[str, tuple[Any, ...]]] = []

    def between(self, campaigns: Campaigns) -> Any:
        """``campaigns`` with every call to it noted."""
        tape = self._calls

        class Noted:
            def __getattr__(self, name: str) -> Any:
                if not callable(getattr(campaigns, name)):
                    return getattr(campaigns, name)

                def call(*given: Any) -> Any:
                    tape.append((name, given))
                    return getattr(campaigns, name)(*given)

                return call

        return Noted()

    def judged(self, rules: Rules | None) -> Named:
        """What a fresh Campaigns says to the same calls."""
        campaigns, named = Pipeline(SECRET, rules=rules).campaigns, Named()
        for name, given in self._calls:
            said = getattr(campaigns, name)(*given)
            if isinstance(said, Decisions):
                named.note(said)
        return named


def _simulation(case: Case, seed: int, corpus: str | None) -> Simulation:
    scenario = case.of(scenario_of(case.scenario, case.scale))
    library = CorpusLibrary(seed, corpus) if corpus else None
    return Simulation(scenario, Options(seed=seed, scale=case.scale, days=case.days), library=library)


def _parts(simulation: Simulation, baselines: Baselines | None) -> Iterator[Part]:
    sketcher, keyed = Pipeline(SECRET).sketcher, KeyedHash(SECRET)
    for part in simulation.slices():
        events = to_events(part, keyed)
        sketches = sketcher.sketch(events.prompt, signatures=baselines is not None)
        if baselines is not None:
            baselines.add(part.account, events, sketches)
        yield part.account, events, sketches


def _detected(
    parts: Iterable[Part], *, tape: Tape | None = None, rules: Rules | None = None
) -> tuple[Named, npt.NDArray[np.int64]]:
    """What the detector said, and who sent when."""
    pipeline, named = Pipeline(SECRET, rules=rules), Named()
    if tape is not None:
        pipeline.campaigns = tape.between(pipeline.campaigns)
    sent: list[npt.NDArray[np.int64]] = []
    for account, events, sketches in parts:
        sent.append(np.stack([account, events.ts]))
        named.note(pipeline.process(events, sketches))
    named.note(pipeline.finish())
    return named, np.concatenate(sent, axis=1)


def _ids(simulation: Simulation) -> list[str]:
    return [f"{int(name):016x}" for name in simulation.accounts.name]


def _scored(case: Case, simulation: Simulation, named: Named, sent: npt.NDArray[np.int64]) -> Score:
    ids = _ids(simulation)
    populations = dict(zip(ids, (simulation.population[label] for label in simulation.labels), strict=True))
    return Marker(simulation.truth(), named, sent, ids, case.campaign_days).score(case.name, populations)
