"""A whole check for a gateway written in Python with asyncio: the signal, the ladder and the budget, without a limiter.

What lives here: joining the reader with the budgets. What does not: either of them.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import Any, NamedTuple

import redis.asyncio as redis
from redis.exceptions import RedisError

from models.enforcement import Held, Step, rule_on
from streams.clock import wall_ms
from streams.config import LimiterSettings
from streams.limiter.checks import RETRY_S
from streams.limiter.ledger import BEAT_S, Bucket, Ledger
from streams.limiter.reader import AsyncReader, Verdict
from streams.redis_keys import cluster_key


class Admission(NamedTuple):
    """Whether the request is over its limit, how long to tell the caller to wait, and the signal behind it."""

    over: bool
    retry_after_s: int
    verdict: Verdict


class Gate:
    """One per process and event loop; connects at the first check."""

    def __init__(self, url: str, tenant: str, settings: LimiterSettings) -> None:
        self.counts: Counter[str] = Counter()
        self._settings = settings
        self._tenant = tenant
        self._reader = AsyncReader(url, tenant=tenant, timeout_ms=settings.timeout_ms)
        timeout_s = max(settings.timeout_ms / 1000, 0.5)
        self._client: Any = redis.Redis.from_url(
            url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s, retry=None
        )
        self._ledger = Ledger(self._client, tenant, settings.timeout_ms, self._count)
        self._beating: asyncio.Task[None] | None = None

    def _count(self, source: str) -> None:
        self.counts[source] += 1

    async def admit(self, account_id: str) -> Admission:
        """Check one request of the account; never raises for Redis, and fails open."""
        verdict = await self._reader.check(account_id)
        held = verdict.held
        now_ms = wall_ms()
        step = rule_on(account_id, held, now_ms, self._settings.onset_s * 1000).step
        over = step is Step.REFUSE
        if step is Step.DRAW and held is not None:
            over = not await self._draw(account_id, held)
        self.counts["over" if over else "ok"] += 1
        if not over or self._settings.shadow:
            return Admission(False, 0, verdict)
        return Admission(True, random.randint(*RETRY_S), verdict)  # noqa: S311  guards nothing

    async def _draw(self, account_id: str, held: Held) -> bool:
        if self._beating is None:
            self._beating = asyncio.create_task(self._beat())
        limits = self._settings
        name = f"cluster:{held.cluster_id}" if held.cluster_id else f"account:{account_id}"
        usual = limits.cluster_per_minute if held.cluster_id else limits.account_per_minute
        bucket = Bucket(name, cluster_key(self._tenant, held.cluster_id), usual * held.multiplier)
        spent = self._ledger.spend(bucket, 1)
        return await self._ledger.draw(bucket, 1) if spent is None else spent

    async def _beat(self) -> None:
        """Be counted among the limiters, which share what is left while Redis is away."""
        while True:
            try:
                await self._ledger.beat()
            except (RedisError, OSError, TimeoutError):
                self.counts["not_counted"] += 1
            await asyncio.sleep(BEAT_S)
