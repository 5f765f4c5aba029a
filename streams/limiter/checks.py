"""One check: what an account was found to be, what that means for this request, and what its budget allows.

What lives here: joining the copy of the signals with the budgets, for every interface alike. What does not: the
interfaces (``rls``, ``http``) and the ladder (``models.enforcement``).

A check that needs no token, or finds one on lease, is answered without waiting; only one that must ask for tokens gives
a coroutine.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable
from typing import Final, NamedTuple

from models.enforcement import Held, Ruling, Step, rule_on
from streams.clock import wall_ms
from streams.limiter.ledger import Bucket, Ledger
from streams.limiter.metrics import LimiterMetrics
from streams.limiter.replica import Replica
from streams.redis_keys import cluster_key

RETRY_S: Final = (5, 65)
"""Between these lies what a refused caller is told to wait, whatever the budget: it gives nothing away."""


_NAMED = Ruling(Step.DRAW, "cluster")


class Answer(NamedTuple):
    """What a check says: whether the request is over its limit, why, and the signal behind it."""

    over: bool
    reason: str
    held: Held | None
    retry_after_s: int


class Check(NamedTuple):
    """One question: ``usual_per_minute`` is what the gateway allows the account when nothing is said against it."""

    account_id: str
    hits: int = 1
    usual_per_minute: float | None = None


class Checks:
    """Answers checks.

    Args:
        replica: the signals.
        ledger: the budgets.
        metrics: where answers are counted.
        tenant: whose.
        limits: requests a minute of an account and of a cluster where neither gateway nor record names any.
    """

    def __init__(
        self, replica: Replica, ledger: Ledger, metrics: LimiterMetrics, *, tenant: str, limits: tuple[float, float]
    ) -> None:
        self.replica = replica
        self.ledger = ledger
        self.metrics = metrics
        self.onset_ms = 0
        self.shadow = False
        self._tenant = tenant
        self._account_per_minute, self._cluster_per_minute = limits
        self._passed = Answer(False, "no_signal", None, 0)
        self._count_passed = metrics.checks.labels("ok", "no_signal").inc

    def check(self, check: Check) -> Answer | Awaitable[Answer]:
        """The answer, or what to wait for until it is there."""
        held = self.replica.held.get(check.account_id)
        if held is None:
            self._count_passed()
            return self._passed
        now_ms = wall_ms()
        ruling = rule_on(check.account_id, held, now_ms, self.onset_ms)
        if ruling.step is not Step.DRAW:
            return self._answer(ruling.step is Step.REFUSE, ruling, held)
        bucket = self._bucket(check, held)
        spent = self.ledger.spend(bucket, check.hits)
        if spent is None:
            return self._drawn(bucket, check.hits, ruling, held)
        return self._answer(not spent, ruling, held)

    def draw_cluster(self, cluster_id: str, hits: int) -> Answer | Awaitable[Answer]:
        """Draw on the budget of a cluster that the gateway names by itself."""
        bucket = Bucket(f"cluster:{cluster_id}", cluster_key(self._tenant, cluster_id), self._cluster_per_minute)
        spent = self.ledger.spend(bucket, hits)
        if spent is None:
            return self._drawn(bucket, hits, _NAMED, None)
        return self._answer(not spent, _NAMED, None)

    async def _drawn(self, bucket: Bucket, hits: int, ruling: Ruling, held: Held | None) -> Answer:
        return self._answer(not await self.ledger.draw(bucket, hits), ruling, held)

    def _bucket(self, check: Check, held: Held) -> Bucket:
        """The bucket of the cluster; of the account, where it was found alone."""
        if held.cluster_id:
            name = f"cluster:{held.cluster_id}"
            per_minute = self._cluster_per_minute * held.multiplier
            return Bucket(name, cluster_key(self._tenant, held.cluster_id), per_minute)
        usual = self._account_per_minute if check.usual_per_minute is None else check.usual_per_minute
        return Bucket(f"account:{check.account_id}", cluster_key(self._tenant, ""), usual * held.multiplier)

    def _answer(self, over: bool, ruling: Ruling, held: Held | None) -> Answer:
        """Count the answer as it would be, and give it as it may be."""
        outcome = "ok" if not over else "shadow" if self.shadow else "over"
        self.metrics.checks.labels(outcome, ruling.reason).inc()
        if not over or self.shadow:
            return Answer(False, ruling.reason, held, 0)
        return Answer(True, ruling.reason, held, random.randint(*RETRY_S))  # noqa: S311  guards nothing
