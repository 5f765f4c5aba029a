"""What the console knows of traffic and stages: one value, whoever measured it.

What lives here: its form and the reading of workers' metrics. What does not: asking them (``workers``) and showing it.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Sequence
from typing import Literal

import msgspec
from prometheus_client.parser import text_string_to_metric_families

SERIES_MAX = 2_000
BUCKET_MS = 60_000


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """One part of one process."""

    name: str
    state: Literal["ok", "starting", "degraded", "down"]
    detail: str = ""
    lag: int | None = None
    watermark_ms: int | None = None
    behind_ms: int | None = None


class Fleet(msgspec.Struct, frozen=True, kw_only=True):
    """Traffic and stages at one moment. Counts are since the start; None is not known, which is not zero."""

    source: Literal["none", "demo", "workers"] = "none"
    events: int | None = None
    rate: float | None = None
    accepted: int | None = None
    late: int | None = None
    duplicate: int | None = None
    rejects: dict[str, int] = {}
    accounts: int | None = None
    lag: int | None = None
    watermark_ms: int | None = None
    last_event_ms: int | None = None
    """Event time of the newest event."""
    last_seen_ms: int | None = None
    """Wall clock when the number of events last grew."""
    stages: list[Stage] = []
    traffic: list[tuple[int, int, int]] = []
    """(time, requests, of these inside campaigns)."""
    bucket_ms: int = BUCKET_MS
    hits: dict[str, int] | None = None
    """Requests left out by each entry of the allowlist, by its digest; None is not known."""
    done: bool = False
    note: str = ""
    """What the simulator knows, at the end of a demo."""

    @property
    def rejected(self) -> int:
        """All rejects together."""
        return sum(self.rejects.values())


class Reading(msgspec.Struct, frozen=True):
    """What one worker answered; ``metrics`` None where it did not."""

    url: str
    metrics: str | None
    components: dict[str, dict[str, str]]
    trouble: str = ""
    hits: dict[str, int] | None = None
    """Requests left out by entries of the allowlist, by the entry's digest."""


class WorkersFold:
    """Adds up what the workers answer, poll by poll, into a fleet with a rate and a course."""

    def __init__(self) -> None:
        self._before: tuple[int, int] | None = None
        self._last_seen_ms: int | None = None
        self._buckets: deque[list[int]] = deque(maxlen=SERIES_MAX)

    def take(self, readings: Sequence[Reading], now_ms: int) -> Fleet:
        """The fleet after one poll of all workers."""
        outcomes: Counter[str] = Counter()
        rejects: Counter[str] = Counter()
        stages: list[Stage] = []
        for reading in readings:
            samples = _samples(reading.metrics or "")
            for outcome, reason, number in _events(samples):
                outcomes[outcome] += number
                rejects[reason] += number if outcome == "rejected" else 0
            stages += _stages(reading, samples)
        read = sum(outcomes[name] for name in ("accepted", "late", "duplicate", "rejected"))
        answered = any(reading.metrics is not None for reading in readings)
        marks = [stage.watermark_ms for stage in stages if stage.watermark_ms is not None]
        lags = [stage.lag for stage in stages if stage.lag is not None]
        return Fleet(
            source="workers",
            events=read if answered else None,
            rate=self._rate(read, now_ms) if answered else None,
            accepted=outcomes["accepted"] if answered else None,
            late=outcomes["late"] if answered else None,
            duplicate=outcomes["duplicate"] if answered else None,
            rejects={name: number for name, number in rejects.items() if number},
            lag=sum(lags) if lags else None,
            watermark_ms=min(marks) if marks else None,
            last_event_ms=max(marks) if marks else None,
            last_seen_ms=self._last_seen_ms,
            stages=stages,
            traffic=[(at, number, 0) for at, number in self._buckets],
            hits=_hits(readings),
        )

    def _rate(self, read: int, now_ms: int) -> float | None:
        """Events a second since the poll before; a worker that came or went gives no rate for one poll."""
        before, self._before = self._before, (read, now_ms)
        if before is None or read < before[0] or now_ms <= before[1]:
            return None
        grown = read - before[0]
        if grown:
            self._last_seen_ms = now_ms
        bucket = now_ms // BUCKET_MS * BUCKET_MS
        if not self._buckets or self._buckets[-1][0] != bucket:
            self._buckets.append([bucket, 0])
        self._buckets[-1][1] += grown
        return grown * 1000 / (now_ms - before[1])


def _hits(readings: Sequence[Reading]) -> dict[str, int] | None:
    known = [reading.hits for reading in readings if reading.hits is not None]
    return dict(sum((Counter(hits) for hits in known), Counter())) if known else None


class _Labels(tuple[tuple[str, str], ...]):
    """Labels of a sample, hashable."""

    def get(self, name: str, default: str = "") -> str:
        return next((value for known, value in self if known == name), default)


def _samples(text: str) -> dict[tuple[str, _Labels], float]:
    """Every sample of a Prometheus text; one that cannot be read gives none."""
    try:
        families = list(text_string_to_metric_families(text))
    except (ValueError, KeyError, IndexError):
        return {}
    return {
        (sample.name, _Labels(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
        if math.isfinite(sample.value)
    }


def _events(samples: dict[tuple[str, _Labels], float]) -> list[tuple[str, str, int]]:
    """What became of events: (outcome, reason, how many)."""
    return [
        (labels.get("outcome"), labels.get("reason") or "unknown", int(value))
        for (name, labels), value in samples.items()
        if name == "distilwatch_observe_events_total"
    ]


def _stages(reading: Reading, samples: dict[tuple[str, _Labels], float]) -> list[Stage]:
    if reading.metrics is None:
        return [Stage(name=reading.url, state="down", detail=reading.trouble or "no answer")]
    found = []
    for name, component in reading.components.items():
        lags = _of(samples, "distilwatch_input_lag_records", name)
        marks = _of(samples, "distilwatch_watermark_timestamp_ms", name)
        ages = _of(samples, "distilwatch_watermark_age_seconds", name)
        state = component.get("state", "down")
        found.append(
            Stage(
                name=name,
                state=state if state in ("ok", "starting", "degraded") else "down",  # type: ignore[arg-type]
                detail=component.get("detail", ""),
                lag=int(sum(lags)) if lags else None,
                watermark_ms=int(min(marks)) if marks and min(marks) > 0 else None,
                behind_ms=int(max(ages) * 1000) if ages and marks and min(marks) > 0 else None,
            )
        )
    return found


def _of(samples: dict[tuple[str, _Labels], float], name: str, stage: str) -> list[float]:
    return [value for (known, labels), value in samples.items() if known == name and labels.get("stage") == stage]
