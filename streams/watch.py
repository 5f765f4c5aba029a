"""What a watching host tells of a running pipeline: the console's traffic and the story's sentences.

What lives here: turning decisions and the latest evaluation into what people see. What does not: serving it
(``streams.console``) or running the pipeline (``demo``).
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
from streams.console.fleet import Fleet, Stage

BUCKET_MS = 900_000


def clock(ts_ms: int) -> str:
    """Event time for people: day and minute, UTC."""
    return datetime.fromtimestamp(ts_ms / 1000, UTC).strftime("%a %d %b %H:%M")


def sentence(alert: Alert) -> str:
    """One alert as one line of the story."""
    words = {"open": "ALERT", "update": "update", "resolved": "resolved"}[alert.status]
    return f"{words} [{alert.severity}] {alert.cluster_id or alert.account_id}: {alert.summary}"


class Watch:
    """Collects what happened and gives the traffic to show."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._started = time.monotonic()
        self._events = 0
        self._clock_ms: int | None = None
        self._seen_ms: int | None = None
        self._requests: Counter[int] = Counter()
        self._covered: dict[int, int] = {}
        self._named: set[str] = set()
        self._evaluated_ms = 0
        self.first_alert: Alert | None = None

    def note(self, events: EventBatch, decisions: Decisions) -> list[str]:
        """Take in one batch and what was decided on it; returns the new lines of the story."""
        self._events += len(events)
        if len(events):
            self._clock_ms = int(events.ts.max())
            self._seen_ms = time.time_ns() // 1_000_000
            self._requests.update(_per_bucket(events.ts))
        for account_id, signal in decisions.signals:
            (self._named.add if signal is not None else self._named.discard)(account_id)
        if self.first_alert is None and decisions.alerts:
            self.first_alert = decisions.alerts[0]
        self._look()
        return [f"{clock(alert.ts)}  {sentence(alert)}" for alert in decisions.alerts]

    def named(self) -> set[str]:
        """The accounts under a signal."""
        return set(self._named)

    def _look(self) -> None:
        """Read the latest evaluation: which part of the traffic is inside campaigns."""
        latest = self._pipeline.campaigns.latest
        if latest is None or latest.now_ms == self._evaluated_ms:
            return
        self._evaluated_ms = latest.now_ms
        for item in latest.judged:
            if item.reason in (Reason.CAMPAIGN, Reason.HELD):
                self._covered.update(_per_bucket(latest.rows["ts"][item.candidate.rows]))

    def fleet(self, *, note: str = "", done: bool = False) -> Fleet:
        """The traffic so far."""
        wall_s = max(time.monotonic() - self._started, 1e-6)
        counts = self._pipeline.counts
        buckets = sorted(self._requests)
        detail = f"{len(self._pipeline.campaigns.directory):,} accounts known"
        return Fleet(
            source="demo",
            events=self._events,
            rate=None if done else self._events / wall_s,
            accepted=counts.accepted,
            late=counts.late,
            duplicate=counts.duplicate,
            rejects=dict(counts.rejected),
            accounts=len(self._pipeline.campaigns.directory),
            last_event_ms=self._clock_ms,
            last_seen_ms=self._seen_ms,
            stages=[Stage(name="detector, in this process", state="ok", detail=detail)],
            traffic=[(at, self._requests[at], min(self._covered.get(at, 0), self._requests[at])) for at in buckets],
            bucket_ms=BUCKET_MS,
            done=done,
            note=note,
        )


def _per_bucket(stamps: npt.NDArray[np.int64]) -> dict[int, int]:
    values, counts = np.unique(stamps // BUCKET_MS * BUCKET_MS, return_counts=True)
    return {int(value): int(count) for value, count in zip(values, counts, strict=True)}
