"""What is published of open campaigns: at least what naming asks, nothing where others are about."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np

from models.announce import Decisions
from models.campaigns import Evaluation
from models.event import EventBatch
from models.hashing import KeyedHash
from models.known import Known, describe, known_after
from models.pipeline import Pipeline
from models.verdict import needed
from streams.simulator.scenarios import scenario_of
from streams.simulator.simulation import Options, Simulation
from streams.simulator.slices import to_events

SECRET = b"secret"
STEP = 300


@functools.cache
def traffic() -> tuple[EventBatch, frozenset[str]]:
    """About 100 accounts of a letter's campaign in a fleet of some hundreds, and who they are."""
    scenario = replace(scenario_of("letter", 0.004), benign_ratio=4.0)
    simulation = Simulation(scenario, Options(seed=3, scale=0.004, days=1.3))
    events = EventBatch.concat([to_events(part, KeyedHash(SECRET)) for part in simulation.slices()])
    return events, frozenset(simulation.truth().campaigns[0].accounts)


@functools.cache
def run() -> tuple[Pipeline, set[str], set[str]]:
    """The pipeline after it, the accounts named early, and those named by evaluations."""
    events, _ = traffic()
    pipeline, early, named = Pipeline(SECRET), set(), set()
    for first in range(0, len(events), STEP):
        part = events.take(np.arange(first, min(first + STEP, len(events))))
        decisions = pipeline.process(part, pipeline.sketch(part))
        early |= {account for account, signal in decisions.early if signal is not None}
        named |= {account for account, signal in decisions.signals if signal is not None}
    return pipeline, early, named


def latest(pipeline: Pipeline) -> Evaluation:
    evaluation = pipeline.campaigns.latest
    assert evaluation is not None
    return evaluation


def test_early_signals_name_members_alone_and_only_whom_evaluations_name() -> None:
    _, early, named = run()
    assert len(early) > 50
    assert early <= traffic()[1]
    assert early <= named


def test_what_is_asked_is_at_least_what_naming_asks() -> None:
    pipeline, _, _ = run()
    (judged,) = [judged for judged in latest(pipeline).judged if judged.campaign is not None]
    (value,) = pipeline.campaigns.known.values()
    published = Known.decode(value)
    assert pipeline.observe.joiners.known == pipeline.campaigns.known
    share, count = needed(judged.candidate)
    assert published.terms.count_min >= max(count.max(), 3)
    assert published.terms.share_min >= share
    assert published.terms.action in ("observe", "throttle")
    assert published.terms.decided_ms == latest(pipeline).now_ms
    sizes = np.bincount(published.template_of)
    assert len(sizes) >= 10
    assert sizes.min() >= 2
    assert (np.diff(published.keys.astype(object)) > 0).all()


def test_nothing_is_published_where_bystanders_are_about_or_one_text_is_all() -> None:
    pipeline, _, _ = run()
    (judged,) = [judged for judged in latest(pipeline).judged if judged.campaign is not None]
    assert describe(judged, latest(pipeline), pipeline.campaigns) is not None
    core = judged.candidate.core
    few = replace(judged, candidate=replace(judged.candidate, core=core & (np.cumsum(core) <= 0.3 * len(core))))
    assert describe(few, latest(pipeline), pipeline.campaigns) is None
    alone = replace(judged)
    alone.features = type(judged.features)(**{**_values(judged.features), "several_templates": 0.3})
    assert describe(alone, latest(pipeline), pipeline.campaigns) is None


def _values(features: object) -> dict[str, object]:
    return {name: getattr(features, name) for name in features.__struct_fields__}  # type: ignore[attr-defined]


def test_templates_that_others_use_more_stand_for_nobody() -> None:
    """A public prompt put to use: most of its requests are honest people's."""
    pipeline, _, _ = run()
    evaluation = latest(pipeline)
    (judged,) = [judged for judged in evaluation.judged if judged.campaign is not None]
    found = describe(judged, evaluation, pipeline.campaigns)
    templates = evaluation.templates
    crowded = replace(templates, requests=templates.requests * 3)
    assert found is not None
    assert describe(judged, replace(evaluation, templates=crowded), pipeline.campaigns) is None


def test_a_campaign_that_is_over_or_not_live_is_known_no_more() -> None:
    pipeline, _, _ = run()
    campaigns = pipeline.campaigns
    (cluster_id,) = campaigns.known
    silent = replace(latest(pipeline), judged=[])
    assert set(known_after(silent, campaigns)) == {cluster_id}  # open, and not seen this once
    again = Pipeline(SECRET, mode="shadow")
    again.restore(pipeline.snapshot())
    assert again.campaigns.known == campaigns.known
    again.campaigns.announcer.announce(silent, again.campaigns, decisions := Decisions())
    assert decisions.alerts
    assert known_after(silent, again.campaigns) == {}
