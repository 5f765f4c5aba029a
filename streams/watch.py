"""What a watching host tells of a running pipeline: the live page's state and the story's sentences.

What lives here: turning decisions and the latest evaluation into what people see. What does not: serving it (``page``)
or running the pipeline (``demo``).
"""

from __future__ import annotations

import time
from collections import Counter
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

from models.alert import Alert
from models.announce import Decisions
from models.event import EventBatch
from models.pipeline import Pipeline
from models.verdict import Reason
from streams.page import ClusterView, PageState, StoryLine

BUCKET_MS = 900_000
ALERTS_KEPT = 500
SERIES_KEPT = 400


def clock(ts_ms: int) -> str:
    """Event time for people: day and minute, UTC."""
    return datetime.fromtimestamp(ts_ms / 1000, UTC).strftime("%a %d %b %H:%M")


def sentence(alert: Alert) -> str:
    """One alert as one line of the story."""
    words = {"open": "ALERT", "update": "update", "resolved": "resolved"}[alert.status]
    return f"{words} [{alert.severity}] {alert.cluster_id or alert.account_id}: {alert.summary}"


class Watch:
    """Collects what happened and gives the page's state."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._started = time.monotonic()
        self._events = 0
        self._clock_ms: int | None = None
        self._requests: Counter[int] = Counter()
        self._covered: dict[int, int] = {}
        self._alerts: list[Alert] = []
        self._actions: dict[str, tuple[str, str]] = {}  # account -> (cluster, action)
        self._series: dict[str, list[tuple[int, int, int]]] = {}
        self._evaluated_ms = 0
        self.story: list[StoryLine] = []
        self.truth_note: str | None = None

    def tell(self, ts_ms: int, text: str) -> StoryLine:
        """Add a sentence to the story."""
        line = StoryLine(ts_ms, text)
        self.story.append(line)
        return line

    def note(self, events: EventBatch, decisions: Decisions) -> list[StoryLine]:
        """Take in one batch and what was decided on it; returns what is new in the story."""
        self._events += len(events)
        if len(events):
            self._clock_ms = int(events.ts.max())
            self._requests.update(_per_bucket(events.ts))
        lines = [self.tell(alert.ts, sentence(alert)) for alert in decisions.alerts]
        self._alerts = [*reversed(decisions.alerts), *self._alerts][:ALERTS_KEPT]
        for account_id, signal in decisions.signals:
            if signal is None:
                self._actions.pop(account_id, None)
            else:
                self._actions[account_id] = (signal.cluster_id or "", signal.action)
        self._look()
        return lines

    def named(self) -> list[tuple[str, str]]:
        """The accounts under a signal, with their cluster."""
        return [(account, cluster) for account, (cluster, _) in self._actions.items()]

    def first_alert(self) -> Alert | None:
        """The earliest alert kept."""
        return self._alerts[-1] if self._alerts else None

    def _look(self) -> None:
        """Read the latest evaluation: traffic inside clusters, and each cluster's growth."""
        latest = self._pipeline.campaigns.latest
        if latest is None or latest.now_ms == self._evaluated_ms:
            return
        self._evaluated_ms = latest.now_ms
        inside = [item for item in latest.judged if item.reason in (Reason.CAMPAIGN, Reason.HELD)]
        for item in inside:
            stamps = latest.rows["ts"][item.candidate.rows]
            self._covered.update(_per_bucket(stamps))
        for campaign in self._pipeline.campaigns.memory.campaigns.values():
            requests = next((len(item.candidate.rows) for item in inside if item.campaign is campaign), 0)
            series = self._series.setdefault(campaign.cluster_id, [])
            if requests:
                series.append((latest.now_ms, len(campaign.members), requests))
                del series[:-SERIES_KEPT]

    def state(self, *, done: bool = False) -> PageState:
        """Everything the page shows now."""
        wall_s = time.monotonic() - self._started
        buckets = sorted(self._requests)
        counts = self._pipeline.counts
        return PageState(
            clock_ms=self._clock_ms,
            wall_s=wall_s,
            events=self._events,
            events_per_s=self._events / max(wall_s, 1e-6),
            accounts=len(self._pipeline.campaigns.directory),
            traffic=[(at, self._requests[at], min(self._covered.get(at, 0), self._requests[at])) for at in buckets],
            clusters=self._clusters(),
            alerts=self._alerts,
            signals=dict(Counter(action for _, action in self._actions.values())),
            rejects=dict(counts.rejected),
            story=self.story,
            truth_note=self.truth_note,
            done=done,
        )

    def _clusters(self) -> list[ClusterView]:
        views = []
        for campaign in self._pipeline.campaigns.memory.campaigns.values():
            said = next((alert for alert in self._alerts if alert.cluster_id == campaign.cluster_id), None)
            if said is None:
                continue
            mine = Counter(action for cluster, action in self._actions.values() if cluster == campaign.cluster_id)
            series = self._series.get(campaign.cluster_id, [])
            views.append(
                ClusterView(
                    cluster_id=campaign.cluster_id,
                    status="open" if campaign.open else "resolved",
                    severity=said.severity,
                    accounts=len(campaign.members),
                    requests=series[-1][2] if series else said.requests,
                    score=said.score,
                    first_seen=campaign.first_seen_ms,
                    alerted_at=campaign.opened_ms,
                    requests_before_alert=campaign.requests_before,
                    series=list(series),
                    signals=dict(mine),
                )
            )
        return views


def _per_bucket(stamps: npt.NDArray[np.int64]) -> dict[int, int]:
    values, counts = np.unique(stamps // BUCKET_MS * BUCKET_MS, return_counts=True)
    return {int(value): int(count) for value, count in zip(values, counts, strict=True)}
