"""The worker's Prometheus metrics; counted per batch, never per record, and never with an account as label.

What lives here: names and meaning. What does not: the endpoint (``health``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, Metric

STAGE = ("stage",)
PLACE = ("stage", "partition")


class Metrics:
    """One registry per process (or test), so that nothing is global."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        prefix = "distilwatch"
        self.input_records = Counter(f"{prefix}_input_records", "Records read", STAGE, registry=registry)
        self.output_records = Counter(
            f"{prefix}_output_records", "Records committed", ("stage", "topic"), registry=registry
        )
        self.poison_records = Counter(
            f"{prefix}_poison_records", "Records quarantined because they raised", STAGE, registry=registry
        )
        self.gap_records = Counter(
            f"{prefix}_input_gap_records",
            "Offsets that retention removed before they were read",
            STAGE,
            registry=registry,
        )
        self.replayed_records = Counter(
            f"{prefix}_replayed_records", "Records folded again in recoveries", STAGE, registry=registry
        )
        self.restores = Counter(
            f"{prefix}_restores", "Recoveries by what they used", ("stage", "source"), registry=registry
        )
        self.restore_seconds = Gauge(
            f"{prefix}_restore_seconds", "Length of the last recovery", PLACE, registry=registry
        )
        self.checkpoint_seconds = Histogram(
            f"{prefix}_checkpoint_seconds",
            "One transaction per changed partition, in parallel",
            STAGE,
            registry=registry,
            buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10),
        )
        self.lag_records = Gauge(f"{prefix}_input_lag_records", "Records not read yet", PLACE, registry=registry)
        self.watermark_ms = Gauge(f"{prefix}_watermark_timestamp_ms", "Event-time watermark", PLACE, registry=registry)
        self.watermark_age = Gauge(
            f"{prefix}_watermark_age_seconds", "Wall clock less watermark", PLACE, registry=registry
        )
        self.poll_age = Gauge(
            f"{prefix}_last_poll_age_seconds", "Time since the engine polled", STAGE, registry=registry
        )
        self.redis_up = Gauge(f"{prefix}_redis_up", "1 while the projection reaches Redis", registry=registry)
        self.redis_pending = Gauge(f"{prefix}_redis_pending_signals", "Signals not in Redis yet", registry=registry)
        self.redis_writes = Counter(
            f"{prefix}_redis_signals", "Signals projected, by outcome", ("outcome",), registry=registry
        )
        self._recovery(registry, prefix)
        self._control(registry, prefix)

    def _recovery(self, registry: CollectorRegistry, prefix: str) -> None:
        """What a recovery has to go by, and to do."""
        self.snapshot_bytes = Gauge(
            f"{prefix}_snapshot_bytes", "Bytes that the last snapshot wrote", PLACE, registry=registry
        )
        self.snapshot_state_bytes = Gauge(
            f"{prefix}_snapshot_state_bytes", "Bytes that a recovery reads", PLACE, registry=registry
        )
        self.replay_records = Gauge(
            f"{prefix}_replay_records", "Records that a recovery now would fold again", PLACE, registry=registry
        )
        self.snapshot_age = Gauge(
            f"{prefix}_snapshot_age_seconds", "Time since the last snapshot or recovery", PLACE, registry=registry
        )

    def _control(self, registry: CollectorRegistry, prefix: str) -> None:
        """What is counted of labels and rules."""
        self.control_refused = Counter(
            f"{prefix}_control_refused", "Control records that a stage refused", ("stage", "topic"), registry=registry
        )
        self.rules_files = Counter(
            f"{prefix}_rules_files", "Rules files read by this worker, by outcome", ("outcome",), registry=registry
        )
        self.control_records = Counter(
            f"{prefix}_control_records", "Label and rule records passed on", ("topic",), registry=registry
        )

    def observe_events(self, stage: str, counts: Callable[[], Mapping[tuple[str, str], int]]) -> None:
        """Export a stage's own counts, which survive restarts, as ``distilwatch_events_total``."""
        self.registry.register(_EventCounts(stage, counts))


class _EventCounts:
    """Reads the counts of a stage at scrape time instead of copying them per batch."""

    def __init__(self, stage: str, counts: Callable[[], Mapping[tuple[str, str], int]]) -> None:
        self._stage = stage
        self._counts = counts

    def collect(self) -> Iterable[Metric]:
        """The events so far by stage, outcome and reason."""
        labels = ["stage", "outcome", "reason"]
        family = CounterMetricFamily(f"distilwatch_{self._stage}_events", "Events by outcome and reason", labels=labels)
        for (outcome, reason), value in sorted(self._counts().items()):
            family.add_metric([self._stage, outcome, reason], value)
        yield family
