"""Ablation: the detector with one part switched off, on the same recorded requests, and what each part buys.

What lives here: the parts and their table. What does not: the detector; parts are taken out from here, by wrapping, so
that no shipped code knows of it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import mean, median
from typing import Any

import numpy as np

from bench.detection.cases import Case
from bench.detection.score import Score
from models.evidence import READINGS
from models.rules import CampaignRule, Rules
from models.sketch import Sketcher, SketchParameters
from models.swarm import Swarm

Off = tuple[str, str, Any]
"""Module, name in it, and what stands there while the part is off."""
NO_EDGES = "edge keys"


def _without(reading: Callable[..., Any]) -> list[Off]:
    return [("models.evidence", "READINGS", tuple(other for other in READINGS if other is not reading))]


PARTS: dict[str, list[Off]] = {
    NO_EDGES: [("models.pipeline", "Sketcher", lambda secret: Sketcher(secret, SketchParameters(edge_words=0)))],
    "template gate": [
        ("models.templates", "FIRST_TURNS_MIN", 0.0),
        ("models.templates", "COLLISIONS_MAX", 1.0),
    ],
    "committed core": [("models.clusters", "_core", lambda committed, *_: committed)],
    "own templates": [("models.clusters", "OWN_PART", 0.0)],
    "communities split": [("models.clusters", "split", lambda account, template, hashes: np.zeros(len(hashes), int))],
    "swarm": [
        (
            "models.campaigns",
            "find_swarm",
            lambda rows, templates, repeating, history: Swarm.none(len(rows), len(templates.requests)),
        )
    ],
    "growth trigger": [("models.campaigns", "GROWTH", 1e9)],
    "second look": [],
    **{f"evidence: {reading.__name__.strip('_').replace('_', ' ')}": _without(reading) for reading in READINGS},
}

RULES = {"second look": Rules(campaign=CampaignRule(confirmed_below=0))}
"""Rules for the parts that a rule switches off."""


@contextmanager
def switched_off(part: str | None) -> Iterator[None]:
    """The detector without ``part`` inside the block, whole for None. A part that has moved is an AttributeError."""
    kept = []
    try:
        for module_name, name, stand_in in PARTS[part] if part else []:
            module = importlib.import_module(module_name)
            kept.append((module, name, getattr(module, name)))
            setattr(module, name, stand_in)
        yield
    finally:
        for module, name, value in kept:
            setattr(module, name, value)


ABLATED = (
    Case(name="sixty", scenario="small"),
    Case(name="bare", scenario="bare", scale=0.008, days=2),
    Case(name="letter", scenario="letter", scale=0.004, days=2),
    Case(name="hydra", scenario="hydra", scale=0.3),
    Case(name="evasive", scenario="evasive", scale=0.4),
    Case(name="spread", scenario="spread", scale=0.4),
    Case(name="two_shared", scenario="two_shared", scale=0.4),
    Case(name="framing", scenario="framing"),
    Case(name="calm", scenario="calm", scale=0.3),
)
"""What the parts are tried on: each way of attacking once, at a size that lets every part be tried on all."""

Rows = dict[str | None, list[Score]]


def table(rows: Rows) -> str:
    """One line a part: what is found, how purely, when, and who is wrongly named without it."""
    heading = f"{'switched off':32} {'alerted':>9} {'recall':>7} {'purity':>7} {'delay h':>8} {'false':>6}  changes"
    lines = [heading]
    whole = rows[None]
    for part, scores in rows.items():
        campaigns = [campaign for score in scores for campaign in score.campaigns]
        found = [campaign for campaign in campaigns if campaign.delay_h is not None]
        delay = median(campaign.delay_h for campaign in found if campaign.delay_h is not None) if found else np.nan
        lines.append(
            f"{part or '(nothing)':32} {len(found):>4} of {len(campaigns):<2} "
            f"{mean(campaign.recall for campaign in campaigns):>7.3f} "
            f"{mean(campaign.purity for campaign in found) if found else np.nan:>7.3f} {delay:>8.2f} "
            f"{sum(score.false_accounts for score in scores):>6}  {_changes(whole, scores) if part else ''}"
        )
    return "\n".join(line.rstrip() for line in lines)


def _changes(whole: list[Score], without: list[Score]) -> str:
    """The cases where leaving the part out changes what is found or who is wrongly named."""
    said = []
    for before, after in zip(whole, without, strict=True):
        recalls = [mean(c.recall for c in score.campaigns) if score.campaigns else 0.0 for score in (before, after)]
        if abs(recalls[0] - recalls[1]) >= 0.02:
            said.append(f"{after.case} recall {recalls[0]:.2f} to {recalls[1]:.2f}")
        if before.false_accounts != after.false_accounts:
            said.append(f"{after.case} false {before.false_accounts} to {after.false_accounts}")
    return "; ".join(said)
