"""One trial: a scenario with one seed through the pipeline, and everything that is scored of it.

Truth is used for scoring only: the pipeline sees events alone.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from bench.detection.baselines import Baselines
from bench.detection.cases import Case
from models.alert import Alert
from models.announce import Decisions
from models.hashing import KeyedHash
from models.pipeline import Pipeline
from streams.simulator.corpus import CorpusLibrary
from streams.simulator.scenarios import scenario_of
from streams.simulator.simulation import Options, Simulation
from streams.simulator.slices import to_events
from streams.simulator.truth import Truth

SECRET = b"bench-detection-secret"
COUNTED_REQUESTS = 3  # an account with fewer cannot be told from a visitor


@dataclass(slots=True)
class CampaignScore:
    """One campaign of a trial."""

    name: str
    accounts: int
    delay_h: float | None  # first alert after the campaign's first event
    leaked: float  # share of its requests before the alert
    recall: float
    purity: float  # members among the accounts named in its clusters
    clusters: int


@dataclass(slots=True)
class Score:
    """One trial, scored."""

    case: str
    seed: int
    events: int
    accounts: int
    campaigns: list[CampaignScore]
    false_accounts: int
    benign: int
    cluster_alerts: int
    false_clusters: int
    wall_s: float
    false_by_population: dict[str, int] = field(default_factory=dict)
    baselines: dict[str, tuple[float, float, float]] = field(default_factory=dict)  # recall, purity, false per 100,000

    @property
    def false_per_100k(self) -> float:
        """Wrongly named accounts per 100,000 benign ones."""
        return 1e5 * self.false_accounts / max(self.benign, 1)


@dataclass(slots=True)
class Named:
    """Who was named when, and in which cluster."""

    first_ms: dict[str, int] = field(default_factory=dict)
    clusters: dict[str, set[str]] = field(default_factory=dict)
    alerts: list[Alert] = field(default_factory=list)

    def note(self, decisions: Decisions) -> None:
        """Add what one step decided."""
        self.alerts.extend(decisions.alerts)
        for account_id, signal in decisions.signals:
            if signal is not None and signal.cluster_id is not None:
                self.first_ms.setdefault(account_id, signal.ts)
                self.clusters.setdefault(signal.cluster_id, set()).add(account_id)


def run_trial(case: Case, seed: int, corpus: str | None) -> Score:
    """Simulate, detect, score."""
    started = time.perf_counter()
    scenario = case.of(scenario_of(case.scenario, case.scale))
    library = CorpusLibrary(seed, corpus) if corpus else None
    simulation = Simulation(scenario, Options(seed=seed, scale=case.scale, days=case.days), library=library)
    pipeline, keyed = Pipeline(SECRET), KeyedHash(SECRET)
    baselines, named = Baselines(), Named()
    times: list[npt.NDArray[np.int64]] = []
    for part in simulation.slices():
        events = to_events(part, keyed)
        sketches = pipeline.sketch(events)
        baselines.add(part.account, events, sketches)
        times.append(np.stack([part.account, events.ts]))
        named.note(pipeline.process(events, sketches))
    named.note(pipeline.finish())
    truth = simulation.truth()
    sent = np.concatenate(times, axis=1)
    ids = [f"{int(name):016x}" for name in simulation.accounts.name]
    score = _score(case, truth, named, sent, ids)
    populations = dict(zip(ids, (simulation.population[label] for label in simulation.labels), strict=True))
    members = {account for campaign in truth.campaigns for account in campaign.accounts}
    wrong = [account for account in named.first_ms if account not in members]
    score.false_by_population = dict(Counter(populations.get(account, "?") for account in wrong).most_common(6))
    score.baselines = baselines.score(ids, members, sent[0])
    score.wall_s = time.perf_counter() - started
    return score


def _score(case: Case, truth: Truth, named: Named, sent: npt.NDArray[np.int64], ids: list[str]) -> Score:
    row = {account: index for index, account in enumerate(ids)}
    requests = np.bincount(sent[0], minlength=len(ids))
    members = {account for campaign in truth.campaigns for account in campaign.accounts}
    opened = [alert for alert in named.alerts if alert.status == "open" and alert.cluster_id]
    owners = {cluster: _owner(accounts, truth) for cluster, accounts in named.clusters.items()}
    scores = []
    for campaign in truth.campaigns:
        mine = set(campaign.accounts)
        counted = [account for account in mine if requests[row[account]] >= COUNTED_REQUESTS]
        own = [cluster for cluster, owner in owners.items() if owner == campaign.name]
        inside = set().union(*(named.clusters[cluster] for cluster in own)) if own else set()
        first = min((alert.ts for alert in opened if alert.cluster_id in own), default=None)
        sends = np.isin(sent[0], [row[account] for account in mine])
        leaked = float((sent[1][sends] < first).mean()) if first is not None and sends.any() else 1.0
        scores.append(
            CampaignScore(
                name=campaign.name,
                accounts=len(mine),
                delay_h=None if first is None else (first - campaign.start) / 3.6e6,
                leaked=leaked,
                recall=len(inside & set(counted)) / max(len(counted), 1),
                purity=len(inside & mine) / len(inside) if inside else 0.0,
                clusters=len(own),
            )
        )
    false = [account for account in named.first_ms if account not in members]
    return Score(
        case=case.name,
        seed=truth.seed,
        events=truth.events,
        accounts=len(ids),
        campaigns=scores,
        false_accounts=len(false),
        benign=truth.benign_accounts,
        cluster_alerts=len({alert.cluster_id for alert in opened}),
        false_clusters=sum(owner is None for owner in owners.values()),
        wall_s=0.0,
    )


def _owner(accounts: set[str], truth: Truth) -> str | None:
    """The campaign that gives a cluster most of its accounts, None where it is mostly bystanders."""
    counts = {campaign.name: len(accounts & set(campaign.accounts)) for campaign in truth.campaigns}
    best = max(counts, key=lambda name: counts[name], default=None)
    return best if best is not None and 2 * counts[best] >= len(accounts) else None
