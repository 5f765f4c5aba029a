"""The cases and their marks: what each scenario must reach, or the run fails.

What lives here: three tables. ``FIRST`` is the short one inside ``make bench``; ``MARKS`` the whole one, five seeds;
``KNOBS`` further ways to run a campaign, held to nothing but the bound on false accounts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from streams.simulator.scenarios import Scenario

LETTER_DAYS = 45.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One scenario at one size, with its marks; ``knobs`` overrides knobs of every campaign.

    Delay and recall must hold for every campaign of every seed that is alerted, and the part alerted must reach
    ``alerted_part``. Clusters a campaign are a mean over seeds, false accounts are pooled over seeds: one wrong name
    among 6,000 accounts is 17 in 100,000. ``campaign_days`` is the length that the share leaked refers to where the
    run shows the beginning only. ``second_pool`` marks count from the start of the pool after a ban.
    """

    name: str
    scenario: str
    scale: float = 1.0
    days: float | None = None
    knobs: tuple[tuple[str, Any], ...] = ()
    delay_h_max: float | None = None
    leaked_max: float | None = None
    recall_min: float = 0.95
    purity_min: float = 0.99
    clusters_max: float = 2
    false_per_100k_max: float | None = None
    alerted_part: float = 1.0  # of all campaigns over all seeds
    campaign_days: float | None = None
    second_pool_h_max: float | None = None
    throttled_share_max: float | None = None  # of decoys and of honest users of a copied template
    weight: float = 1.0  # how long a seed takes, against the others
    peers: bool = True  # the baselines hold every request in memory, so not at the largest sizes

    def of(self, scenario: Scenario) -> Scenario:
        """The scenario with this case's overrides."""
        campaigns = tuple(replace(knobs, **dict(self.knobs)) for knobs in scenario.campaigns)
        return replace(scenario, campaigns=campaigns)


_PACE = {
    "scenario": "letter", "days": 0.6, "knobs": (("start_h", 6.5),), "campaign_days": LETTER_DAYS, "weight": 12.0,
    "peers": False,
}  # fmt: skip
"""The letter at its full pace: a watch of 6.5 hours, then its first eight hours, eight requests an account."""

FIRST = (
    Case(name="letter", scenario="letter", scale=0.02, days=2, delay_h_max=2.0),
    Case(name="bare", scenario="bare", scale=0.02, days=2, delay_h_max=2.0),
    Case(name="hydra", scenario="hydra", delay_h_max=4.0, recall_min=0.90),
    Case(name="small", scenario="small", delay_h_max=6.0, weight=0.5),
    Case(name="two", scenario="two", delay_h_max=4.0),
    Case(
        name="letter_start", scenario="letter", days=0.29, knobs=(("start_h", 6.5),),
        delay_h_max=0.25, recall_min=0.0, weight=6.0, peers=False,
    ),
    Case(name="calm_small", scenario="calm", false_per_100k_max=5.0),
)  # fmt: skip
"""``letter_start`` is the letter's first half hour at its full pace; recall is not scored so early."""

_FALSE = {"false_per_100k_max": 5.0}

MARKS = (
    Case(
        name="letter_pace", delay_h_max=0.25, leaked_max=0.0002, recall_min=0.98, purity_min=0.995, clusters_max=1.2,
        **_FALSE, **_PACE,
    ),
    Case(name="bare_pace", delay_h_max=1.0, clusters_max=1.5, **_FALSE, **{**_PACE, "scenario": "bare"}),
    Case(name="hydra_cover", scenario="hydra", delay_h_max=2.0, recall_min=0.9, **_FALSE),
    Case(name="sixty", scenario="small", delay_h_max=6.0, recall_min=0.9, clusters_max=1.5, weight=0.5, **_FALSE),
    Case(name="thousand", scenario="thousand", delay_h_max=2.0, **_FALSE),
    Case(name="reasoning", scenario="reasoning", delay_h_max=1.0, clusters_max=1.5, **_FALSE),
    Case(name="pivot", scenario="pivot", delay_h_max=1.0, clusters_max=1.5, **_FALSE),
    Case(
        name="spread", scenario="spread", delay_h_max=12.0, recall_min=0.85, purity_min=0.98, alerted_part=0.8, **_FALSE
    ),
    Case(name="two_operators", scenario="two", delay_h_max=2.0, clusters_max=1, **_FALSE),
    Case(
        name="two_shared", scenario="two_shared", delay_h_max=6.0, recall_min=0.9, purity_min=0.95, **_FALSE
    ),
    Case(name="replaced", scenario="replaced", clusters_max=1, second_pool_h_max=1 / 6, **_FALSE),
    Case(
        name="evasive", scenario="evasive", delay_h_max=24.0, recall_min=0.7, purity_min=0.98, clusters_max=3,
        alerted_part=0.8, **_FALSE,
    ),
    Case(
        name="relay", scenario="relay", delay_h_max=24.0, recall_min=0.6, purity_min=0.98, clusters_max=3,
        alerted_part=0.8, **_FALSE,
    ),
    Case(
        name="trickle", scenario="trickle", delay_h_max=24.0, recall_min=0.0, purity_min=0.0, alerted_part=0.95,
        weight=3.0, peers=False, **_FALSE,
    ),
    Case(
        name="percent", scenario="percent", delay_h_max=24.0, recall_min=0.0, purity_min=0.0, alerted_part=0.95,
        **_FALSE,
    ),
    Case(
        name="framing", scenario="framing", recall_min=0.0, purity_min=0.0, throttled_share_max=0.01, weight=0.5
    ),
    Case(name="calm", scenario="calm", scale=5.0, false_per_100k_max=1.0, weight=6.0, peers=False),
)  # fmt: skip

_FREE = {"recall_min": 0.0, "purity_min": 0.0, "alerted_part": 0.0, "clusters_max": 99, **_FALSE}

KNOBS = (
    *(
        Case(name=name, scenario=name, **_FREE)
        for name in ("public", "reworded", "sticky", "churn", "bursty", "harvest", "cold")
    ),
    Case(name="duplicated", scenario="bare", scale=0.02, days=2, knobs=(("duplicates", 0.125),), **_FREE),
    Case(
        name="pinned", scenario="bare", scale=0.02, days=2, knobs=(("dispatch", "sticky"), ("sticky_h", 1e4)), **_FREE
    ),
)
