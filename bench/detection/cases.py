"""The cases and their marks: what each scenario must reach, or the run fails."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from streams.simulator.scenarios import Scenario


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One scenario at one size, with its marks; ``knobs`` overrides knobs of every campaign."""

    name: str
    scenario: str
    scale: float
    days: float = 2.0
    knobs: tuple[tuple[str, Any], ...] = ()
    benign_accounts: int = 0
    delay_h_max: float = 0.0
    recall_min: float = 0.95
    purity_min: float = 0.99
    clusters_max: int = 2
    false_per_100k_max: float | None = None
    alerted_part: float = 1.0  # of all campaigns over all seeds

    def of(self, scenario: Scenario) -> Scenario:
        """The scenario with this case's overrides."""
        campaigns = tuple(replace(knobs, **dict(self.knobs)) for knobs in scenario.campaigns)
        honest = self.benign_accounts or scenario.benign_accounts
        return replace(scenario, campaigns=campaigns, benign_accounts=honest)


CASES = (
    Case(name="letter", scenario="letter", scale=0.02, delay_h_max=2.0),
    Case(name="bare", scenario="bare", scale=0.02, delay_h_max=2.0),
    Case(name="hydra", scenario="hydra", scale=1.0, delay_h_max=4.0, recall_min=0.90),
    Case(name="small", scenario="small", scale=1.0, delay_h_max=6.0),
    Case(name="two", scenario="two", scale=1.0, delay_h_max=4.0),
    Case(
        name="letter_pace", scenario="letter", scale=1.0, days=0.29, knobs=(("start_h", 6.5),),
        delay_h_max=0.25, recall_min=0.0,
    ),
    Case(name="calm", scenario="calm", scale=1.0, false_per_100k_max=5.0),
)  # fmt: skip
"""The first marks. ``letter_pace`` is the letter at its full pace, for its first half hour after a watch of
6.5 hours; recall is not scored so early."""

LATER = (
    Case(name="reasoning", scenario="reasoning", scale=1.0, delay_h_max=1.0),
    Case(name="pivot", scenario="pivot", scale=1.0, delay_h_max=1.0),
    Case(name="thousand", scenario="thousand", scale=1.0, delay_h_max=2.0),
    Case(
        name="evasive", scenario="evasive", scale=1.0, delay_h_max=24.0, recall_min=0.7, purity_min=0.98, clusters_max=3
    ),
    Case(name="spread", scenario="spread", scale=1.0, days=3.0, delay_h_max=12.0, recall_min=0.85, purity_min=0.98),
    Case(name="replaced", scenario="replaced", scale=1.0, days=3.0, delay_h_max=4.0),
    Case(name="relay", scenario="relay", scale=1.0, delay_h_max=24.0, recall_min=0.6, purity_min=0.98, clusters_max=3),
    Case(name="two_shared", scenario="two_shared", scale=1.0, delay_h_max=6.0, recall_min=0.9, purity_min=0.95),
    Case(name="framing", scenario="framing", scale=1.0, delay_h_max=6.0, recall_min=0.0, purity_min=0.0),
    Case(name="trickle", scenario="trickle", scale=0.5, delay_h_max=24.0, recall_min=0.0),
)  # fmt: skip
"""Harder campaigns, run on request; not all of them reach their marks yet, and the table says which."""
