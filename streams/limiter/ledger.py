"""Budgets in Redis, shared by all limiters; in memory, a fair part each, while Redis is away.

What lives here: the script that draws from a bucket, leases of its tokens, and the count of limiters. What does not:
the arithmetic (``models.budget``) and who must draw (``checks``).

The bucket of a cluster is drawn from under Redis's clock, at the rate that the cluster's record holds at that moment.
While Redis does not answer, each limiter gives its bucket's rate divided by the limiters that were last counted, from a
bucket that starts empty; so the sum stays what it was.
"""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from redis.exceptions import RedisError

from models.breaker import Breaker
from models.budget import BURST_MS, TOKEN_UNITS, Lease, Taken, TokenBucket, milli_of
from streams.clock import wall_ms

TAKE: Final = f"""
local per_minute = tonumber(redis.call('HGET', KEYS[2], 'budget_per_minute') or '')
local milli = tonumber(ARGV[2])
if per_minute and per_minute >= 0 and per_minute <= 10000000 then milli = math.floor(per_minute * 1000 + 0.5) end
local now = tonumber(ARGV[3])
if now == 0 then
  local clock = redis.call('TIME')
  now = clock[1] * 1000 + math.floor(clock[2] / 1000)
end
local capacity = math.max({TOKEN_UNITS}, milli * {BURST_MS})
local held = redis.call('HMGET', KEYS[1], 'units', 'at_ms')
local units, at = tonumber(held[1] or '') or capacity, tonumber(held[2] or '') or now
local elapsed = math.min(math.max(0, now - at), math.floor(capacity / math.max(milli, 1)) + 1)
units = math.min(capacity, units + elapsed * milli)
local granted = math.min(tonumber(ARGV[1]), math.floor(units / {TOKEN_UNITS}))
units = units - granted * {TOKEN_UNITS}
local life = 2 * math.floor(capacity / math.max(milli, 1)) + 60000
redis.call('HSET', KEYS[1], 'units', string.format('%.0f', units), 'at_ms', string.format('%.0f', math.max(at, now)))
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', math.min(life, 86400000)))
local wait = 0
if granted < tonumber(ARGV[1]) then
  wait = 60000
  if milli > 0 then wait = math.min(60000, math.ceil(({TOKEN_UNITS} - units) / milli)) end
end
return {{granted, wait, milli}}
"""
"""``TokenBucket.take`` again. KEYS: the bucket, the cluster's record. ARGV: wanted, rate without a record, now or 0."""

LEASES_MAX: Final = 100_000
"""Buckets drawn from lately, about 300 B each; the oldest makes room."""
BEAT_S: Final = 5.0
GONE_MS: Final = 20_000
"""A limiter that has not been heard for so long counts no more."""


def bucket_key(tenant: str, bucket: str) -> str:
    """The hash of one bucket; ``bucket`` is ``cluster:<id>`` or ``account:<id>``."""
    return f"distilwatch:v1:budget:{{{tenant}}}:{bucket}"


def limiters_key(tenant: str) -> str:
    """The sorted set of running limiters by the wall clock's ms at which each was last heard."""
    return f"distilwatch:v1:limiters:{{{tenant}}}"


@dataclass(frozen=True, slots=True)
class Bucket:
    """Which bucket: its name, where its rate may stand, and its rate where none stands there."""

    name: str
    record_key: str
    per_minute: float


class Ledger:
    """Draws tokens; a bucket that was asked a moment ago is answered from memory.

    Args:
        client: an asyncio Redis client whose time-outs are those a check may wait.
        tenant: whose budgets.
        timeout_ms: the longest that ``draw`` waits.
        count: called with what was counted: ``redis``, ``local``, ``timeout`` or ``error``.
    """

    def __init__(self, client: Any, tenant: str, timeout_ms: int, count: Callable[[str], None]) -> None:
        self.breaker = Breaker()
        self.limiters = 1
        self._redis = client
        self._take = client.register_script(TAKE)
        self._tenant = tenant
        self._timeout_s = timeout_ms / 1000
        self._count = count
        self._leases: dict[str, Lease] = {}
        self._local: dict[str, TokenBucket] = {}
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._id = uuid.uuid4().hex[:12]

    def spend(self, bucket: Bucket, hits: int) -> bool | None:
        """Whether ``hits`` may pass, without waiting: None where ``draw`` must ask."""
        lease = self._leases.get(bucket.name)
        return None if lease is None else lease.spend(hits, _now_ms())

    async def draw(self, bucket: Bucket, hits: int) -> bool:
        """Whether ``hits`` may pass; asks Redis at most once for all who wait for the same bucket."""
        lease = self._leases.get(bucket.name) or self._open(bucket)
        for _ in range(2):
            await self._ask(bucket, lease, hits)
            spent = lease.spend(hits, _now_ms())
            if spent is not None:
                return spent
        return False

    def _open(self, bucket: Bucket) -> Lease:
        while len(self._leases) >= LEASES_MAX:
            oldest = next(iter(self._leases))
            del self._leases[oldest]
            self._local.pop(oldest, None)
        lease = self._leases[bucket.name] = Lease(milli_of(bucket.per_minute), since_ms=_now_ms())
        return lease

    async def _ask(self, bucket: Bucket, lease: Lease, hits: int) -> None:
        """Top the lease up, together with whoever asks for it at the same time."""
        task = self._asking.get(bucket.name)
        if task is None:
            task = self._asking[bucket.name] = asyncio.create_task(self._top_up(bucket, lease, hits))
            task.add_done_callback(lambda _: self._asking.pop(bucket.name, None))
        await asyncio.shield(task)

    async def _top_up(self, bucket: Bucket, lease: Lease, hits: int) -> None:
        wanted = lease.size(hits, _now_ms())
        taken = await self._from_redis(bucket, lease, wanted) if self.breaker.allows(_now_ms()) else None
        if taken is None:
            taken = self._from_memory(bucket, lease, hits)
        lease.credit(taken, _now_ms(), random.random())  # noqa: S311  blurs a rate; guards nothing

    async def _from_redis(self, bucket: Bucket, lease: Lease, wanted: int) -> Taken | None:
        """What the shared bucket gave; None where Redis did not answer in time."""
        keys = [bucket_key(self._tenant, bucket.name), bucket.record_key]
        arguments = [wanted, milli_of(bucket.per_minute), 0]
        try:
            async with asyncio.timeout(self._timeout_s):
                granted, wait_ms, lease.milli = await self._take(keys=keys, args=arguments)
        except TimeoutError:
            outcome = "timeout"
        except (RedisError, OSError):
            outcome = "error"
        else:
            self.breaker.succeeded()
            self._local.pop(bucket.name, None)
            self._count("redis")
            return Taken(int(granted), int(wait_ms))
        self.breaker.failed(_now_ms())
        self._count(outcome)
        return None

    def _from_memory(self, bucket: Bucket, lease: Lease, wanted: int) -> Taken:
        """What this limiter's part of the rate gives."""
        self._count("local")
        now_ms = _now_ms()
        local = self._local.get(bucket.name)
        if local is None:
            local = self._local[bucket.name] = TokenBucket(0, now_ms, full=False)
        local.milli = lease.milli // max(1, self.limiters)
        return local.take(wanted, now_ms)

    async def beat(self) -> None:
        """Say that this limiter runs, and count all that do; failures are for the caller."""
        key, now_ms = limiters_key(self._tenant), wall_ms()
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.zadd(key, {self._id: now_ms})
            pipe.zremrangebyscore(key, "-inf", now_ms - GONE_MS)
            pipe.zcard(key)
            pipe.pexpire(key, 10 * GONE_MS)
            answers = await pipe.execute()
        self.limiters = max(1, int(answers[2]))

    async def leave(self) -> None:
        """Take this limiter out of the count."""
        await self._redis.zrem(limiters_key(self._tenant), self._id)


def _now_ms() -> int:
    return time.monotonic_ns() // 1_000_000
