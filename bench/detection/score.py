"""Scores: what a trial's decisions are worth against the truth.

What lives here: the figures of one trial. What does not: running it (``trial``) and the marks (``table``). An account
with fewer than three requests cannot be told from a visitor and is not counted in recall.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from bench.detection.baselines import Peer
from models.alert import Alert
from models.announce import Decisions
from streams.simulator.truth import CampaignTruth, Truth

COUNTED_REQUESTS = 3
MERGED_PART = 0.1  # of a cluster's accounts belong to a second campaign
HOUR_MS = 3_600_000
STERN = ("challenge", "block")
FRAMED = ("decoy", "copied")

Int64 = npt.NDArray[np.int64]


@dataclass(slots=True)
class CampaignScore:
    """One campaign of a trial; shares in 0..1, ``None`` where the run ends before or nothing was alerted."""

    name: str
    accounts: int
    delay_h: float | None  # first alert after the campaign's first event
    leaked: float  # share of its requests before the alert
    recall: float
    recall_1h: float | None
    recall_24h: float | None
    purity: float  # members among the accounts named in its clusters
    clusters: int
    merged: int  # of those, how many hold another campaign too
    second_pool_h: float | None = None  # first naming of the pool after a ban, from that pool's first event
    same_id: bool = True


@dataclass(slots=True)
class Score:
    """One trial, scored."""

    case: str
    seed: int
    events: int
    accounts: int
    days: float
    campaigns: list[CampaignScore]
    false_accounts: int
    benign: int  # honest accounts that sent anything
    alerts: int  # everything that would page: openings and updates, of clusters and of single accounts
    false_clusters: int
    agreement: float  # adjusted Rand index over all accounts with three requests, honest ones being one group
    framed: int = 0  # honest accounts that were made to look like members
    framed_throttled: int = 0
    framed_challenged: int = 0
    wall_s: float = 0.0
    false_by_population: dict[str, int] = field(default_factory=dict)
    baselines: dict[str, Peer] = field(default_factory=dict)


@dataclass(slots=True)
class Named:
    """Who was named when, in which cluster, and how sternly."""

    clusters: dict[str, dict[str, int]] = field(default_factory=dict)  # cluster -> account -> when first
    last: dict[str, str] = field(default_factory=dict)  # account -> its newest cluster
    stern: set[str] = field(default_factory=set)
    alerts: list[Alert] = field(default_factory=list)

    def note(self, decisions: Decisions) -> None:
        """Add what one step decided."""
        self.alerts.extend(decisions.alerts)
        for account_id, signal in decisions.signals:
            if signal is None or signal.cluster_id is None:
                continue
            self.clusters.setdefault(signal.cluster_id, {}).setdefault(account_id, signal.ts)
            self.last[account_id] = signal.cluster_id
            if signal.action in STERN:
                self.stern.add(account_id)


class Marker:
    """Scores one trial: ``sent`` holds account row and time of every event, ``ids`` the account ids by row."""

    def __init__(self, truth: Truth, named: Named, sent: Int64, ids: list[str], days: float | None) -> None:
        self._truth = truth
        self._named = named
        self._sent = sent
        self._ids = ids
        self._row = {account: index for index, account in enumerate(ids)}
        self._campaign_days = days  # the length that the share leaked refers to, where the run is shorter
        self._requests = np.bincount(sent[0], minlength=len(ids))
        self._end = int(sent[1].max()) if sent.shape[1] else 0
        self._opened = [alert for alert in named.alerts if alert.status == "open" and alert.cluster_id]
        clusters = {str(alert.cluster_id) for alert in self._opened} | set(named.clusters)
        self._owner = {cluster: self._owner_of(set(named.clusters.get(cluster, {}))) for cluster in sorted(clusters)}

    def score(self, case: str, populations: dict[str, str]) -> Score:
        """All figures; ``populations`` says what each account is."""
        members = {account for campaign in self._truth.campaigns for account in campaign.accounts}
        false = [account for account in self._named.last if account not in members]
        active = self._requests > 0
        honest = sum(bool(active[row]) for account, row in self._row.items() if account not in members)
        framed = {account for account, name in populations.items() if name in FRAMED}
        return Score(
            case=case,
            seed=self._truth.seed,
            events=self._truth.events,
            accounts=len(self._ids),
            days=self._truth.days,
            campaigns=[self._campaign(campaign) for campaign in self._truth.campaigns],
            false_accounts=len(false),
            benign=honest,
            alerts=len(self._named.alerts),
            false_clusters=sum(owner is None for owner in self._owner.values()),
            agreement=self._agreement(),
            framed=len(framed),
            framed_throttled=len(framed & set(self._named.last)),
            framed_challenged=len(framed & self._named.stern),
            false_by_population=dict(Counter(populations.get(account, "?") for account in false).most_common(6)),
        )

    def _campaign(self, campaign: CampaignTruth) -> CampaignScore:
        mine = set(campaign.accounts)
        own = [cluster for cluster, owner in self._owner.items() if owner == campaign.name]
        inside = {account for cluster in own for account in self._named.clusters.get(cluster, {})}
        first = min((alert.ts for alert in self._opened if alert.cluster_id in own), default=None)
        delay = None if first is None else (first - campaign.start) / HOUR_MS
        second, same = self._second_pool(campaign, own)
        return CampaignScore(
            name=campaign.name,
            accounts=len(mine),
            delay_h=delay,
            leaked=self._leaked(campaign, first),
            recall=self._recall(mine, own, self._end),
            recall_1h=self._recall_after(mine, own, first, 1),
            recall_24h=self._recall_after(mine, own, first, 24),
            purity=len(inside & mine) / len(inside) if inside else 0.0,
            clusters=len(own),
            merged=sum(self._is_merged(cluster, campaign) for cluster in own),
            second_pool_h=second,
            same_id=same,
        )

    def _leaked(self, campaign: CampaignTruth, first: int | None) -> float:
        rows = np.array([self._row[account] for account in campaign.accounts])
        sends = self._sent[1][np.isin(self._sent[0], rows)]
        if first is None or not len(sends):
            return 1.0
        whole = len(sends)
        if self._campaign_days is not None:
            whole *= self._campaign_days * 24 * HOUR_MS / max(1, campaign.end - campaign.start)
        return float((sends < first).sum() / whole)

    def _recall_after(self, mine: set[str], own: list[str], first: int | None, hours: float) -> float | None:
        if first is None or first + hours * HOUR_MS > self._end:
            return None
        return self._recall(mine, own, first + int(hours * HOUR_MS))

    def _recall(self, mine: set[str], own: list[str], until: int) -> float:
        requests = np.bincount(self._sent[0][self._sent[1] <= until], minlength=len(self._ids))
        counted = {account for account in mine if requests[self._row[account]] >= COUNTED_REQUESTS}
        named = {
            account for cluster in own for account, ts in self._named.clusters.get(cluster, {}).items() if ts <= until
        }
        return len(counted & named) / max(len(counted), 1)

    def _second_pool(self, campaign: CampaignTruth, own: list[str]) -> tuple[float | None, bool]:
        """When the pool after a ban is first named, by a signal or in an alert, and whether under the known id."""
        second = {member.account_id for member in campaign.members if member.pool == 1}
        if not second or not own:
            return None, not second
        rows = np.array([self._row[account] for account in second])
        began = int(self._sent[1][np.isin(self._sent[0], rows)].min())
        named = [
            (ts, cluster)
            for cluster in own
            for account, ts in self._named.clusters.get(cluster, {}).items()
            if account in second
        ]
        named += [
            (alert.ts, str(alert.cluster_id))
            for alert in self._named.alerts
            if alert.cluster_id in own and second & set(alert.members_sample)
        ]
        if not named:
            return None, False
        earlier = [cluster for cluster in own if set(self._named.clusters.get(cluster, {})) - second]
        same = {cluster for _, cluster in named} <= set(earlier[:1]) and len(own) == 1
        return (min(named)[0] - began) / HOUR_MS, same

    def _is_merged(self, cluster: str, campaign: CampaignTruth) -> bool:
        accounts = set(self._named.clusters.get(cluster, {}))
        others = [other for other in self._truth.campaigns if other.name != campaign.name]
        return any(len(accounts & set(other.accounts)) >= MERGED_PART * len(accounts) > 0 for other in others)

    def _owner_of(self, accounts: set[str]) -> str | None:
        """The campaign that gives a cluster most of its accounts, None where they are bystanders or there are none."""
        counts = {campaign.name: len(accounts & set(campaign.accounts)) for campaign in self._truth.campaigns}
        best = max(counts, key=lambda name: counts[name], default=None)
        return best if best is not None and accounts and 2 * counts[best] >= len(accounts) else None

    def _agreement(self) -> float:
        label = {account: index + 1 for index, c in enumerate(self._truth.campaigns) for account in c.accounts}
        number = {cluster: index + 1 for index, cluster in enumerate(sorted(self._named.clusters))}
        counted = np.flatnonzero(self._requests >= COUNTED_REQUESTS)
        true = np.array([label.get(self._ids[row], 0) for row in counted])
        found = np.array([number.get(self._named.last.get(self._ids[row], ""), 0) for row in counted])
        return adjusted_rand(true, found)


def adjusted_rand(first: Int64, second: Int64) -> float:
    """Agreement of two labellings, 1 where they are the same and about 0 by chance (Hubert and Arabie 1985)."""
    if not len(first):
        return 1.0
    table = np.zeros((int(first.max()) + 1, int(second.max()) + 1))
    np.add.at(table, (first, second), 1)

    def pairs(counts: npt.NDArray[np.float64]) -> float:
        return float((counts * (counts - 1) / 2).sum())

    together, rows, columns = pairs(table), pairs(table.sum(axis=1)), pairs(table.sum(axis=0))
    chance = rows * columns / max(len(first) * (len(first) - 1) / 2, 1)
    most = (rows + columns) / 2
    return 1.0 if most == chance else (together - chance) / (most - chance)
