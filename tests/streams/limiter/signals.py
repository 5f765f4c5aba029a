"""Signals in a real Redis as the projection writes them, without Kafka in between."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable
from typing import Any

import redis

from models.alert import Action, Mode, Signal
from models.budget import budget_of
from streams.redis_keys import changes_key, cluster_key, index_key, signal_key
from streams.redis_signals import hash_fields

LIFE_MS = 3_600_000


class Signals:
    """One tenant of its own; what is written is what ``Projection`` writes."""

    def __init__(self, url: str) -> None:
        self.tenant = f"t{uuid.uuid4().hex[:10]}"
        self.url = url
        self.redis: Any = redis.Redis.from_url(url, decode_responses=True)

    def signal(
        self, account: str, action: Action = "throttle", *, cluster: str | None = "c-1", mode: Mode = "enforce"
    ) -> Signal:
        now = int(time.time() * 1000)
        multiplier = {"allow": 1.0, "observe": 1.0, "throttle": 0.25, "challenge": 0.1, "block": 0.0}[action]
        return Signal(
            account_id=account, cluster_id=cluster, action=action, multiplier=multiplier, score=9.0, rule="campaign",
            alert_id="a-1", mode=mode, ts=now, expires=now + LIFE_MS, seq=now,
        )  # fmt: skip

    def put(self, signals: Iterable[Signal], *, per_minute: float = 60) -> None:
        """Write the hashes, the index, the stream of changes and the clusters' records."""
        pipe = self.redis.pipeline(transaction=False)
        for signal in signals:
            key = signal_key(self.tenant, signal.account_id)
            pipe.hset(key, mapping=hash_fields(signal))
            pipe.pexpire(key, LIFE_MS)
            pipe.zadd(index_key(self.tenant), {signal.account_id: signal.expires})
            pipe.xadd(changes_key(self.tenant), {"account_id": signal.account_id})
            if signal.cluster_id:
                record = budget_of(signal, per_minute)
                pipe.hset(cluster_key(self.tenant, signal.cluster_id), mapping=hash_fields(record))
        pipe.execute()

    def clear(self, *accounts: str) -> None:
        """What a tombstone does."""
        pipe = self.redis.pipeline(transaction=True)
        for account in accounts:
            pipe.delete(signal_key(self.tenant, account))
            pipe.zrem(index_key(self.tenant), account)
            pipe.xadd(changes_key(self.tenant), {"account_id": account})
        pipe.execute()
