"""Metrics of sinks; registered where the process that delivers exports its own.

What lives here: names and meaning. What does not: the endpoint.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import GaugeMetricFamily, Metric

from streams.sinks.outbox import Tally


class SinkMetrics:
    """Attempts by outcome, and what waits; the name of a sink is the only label, and there are at most 32."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self._watched: dict[str, tuple[Callable[[str], Tally], Callable[[], int]]] = {}
        self._lock = threading.Lock()
        self._attempts = Counter(
            "distilwatch_sink_attempts",
            "Attempts to deliver a notification, by what became of it",
            ("sink", "outcome"),
            registry=self.registry,
        )
        self.registry.register(self)

    def attempt(self, sink: str, outcome: str) -> None:
        """Count one attempt."""
        self._attempts.labels(sink, outcome).inc()

    def watch(self, sink: str, tally: Callable[[str], Tally], now_ms: Callable[[], int]) -> None:
        """Ask ``tally`` for a sink at each scrape."""
        with self._lock:
            self._watched[sink] = (tally, now_ms)

    def collect(self) -> Iterable[Metric]:
        """What waits for each sink, and for how long."""
        waiting = GaugeMetricFamily("distilwatch_sink_waiting_notifications", "Not delivered yet", labels=["sink"])
        age = GaugeMetricFamily("distilwatch_sink_oldest_waiting_seconds", "Age of the oldest", labels=["sink"])
        with self._lock:
            watched = dict(self._watched)
        for sink, (tally, now_ms) in watched.items():
            stands = tally(sink)
            waiting.add_metric([sink], stands.waiting)
            age.add_metric([sink], 0 if stands.oldest_ms is None else max(now_ms() - stands.oldest_ms, 0) / 1000)
        return [waiting, age]
