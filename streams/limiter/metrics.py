"""The limiter's and the intake's Prometheus metrics; never with an account or a cluster as label.

What lives here: names and meaning. What does not: the endpoint (``streams.health``).
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge


class LimiterMetrics:
    """One registry per process (or test)."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        prefix = "distilwatch_limiter"
        self.checks = Counter(
            f"{prefix}_checks", "Checks by what came of them and why", ("outcome", "reason"), registry=registry
        )
        self.draws = Counter(f"{prefix}_draws", "Draws on budgets, by where they went", ("source",), registry=registry)
        self.skipped = Counter(
            f"{prefix}_skipped_signals", "Signals not held, by reason", ("reason",), registry=registry
        )
        self.refused_calls = Counter(
            f"{prefix}_refused_calls", "Calls not answered, by reason", ("reason",), registry=registry
        )
        self.signals_held = Gauge(f"{prefix}_signals", "Signals held", registry=registry)
        self.redis_up = Gauge(f"{prefix}_redis_up", "1 while Redis is followed", registry=registry)


class IntakeMetrics:
    """One registry per process (or test)."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        prefix = "distilwatch_intake"
        self.records = Counter(
            f"{prefix}_records", "Records by what came of them and why", ("outcome", "reason"), registry=registry
        )
        self.bodies = Counter(f"{prefix}_bodies", "Request bodies by HTTP status", ("status",), registry=registry)
        self.pending_bytes = Gauge(f"{prefix}_pending_bytes", "Bytes on their way to Kafka", registry=registry)
