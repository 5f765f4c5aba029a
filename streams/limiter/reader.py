"""Signals for a gateway written in Python: one call to Redis, never slower than its time-out, and open when it fails.

What lives here: one algorithm (``ReaderCore``) and its two hosts, ``Reader`` for threads and ``AsyncReader`` for
asyncio. What does not: budgets (``ledger``) and what to do with a signal (``models.enforcement``).

    reader = Reader("redis://127.0.0.1:6379/0")
    verdict = reader.check("account-1")
    if verdict.action == "block": ...

An answer may be ``cache_ms`` old, a removed signal's too: that is the bound, and 0 asks Redis every time. An error or a
late answer is an ``allow``, counted in ``counts``; after three in a row Redis is spared for a quarter of a second, then
for longer, and meanwhile every answer is ``allow`` at once. Nothing that failed is kept.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

import redis
import redis.asyncio
from redis.exceptions import RedisError

from models.breaker import Breaker
from models.enforcement import FIELDS, Held, Step, read_held, rule_on
from models.recent import Recent
from streams.clock import wall_ms
from streams.redis_keys import signal_key

TIMEOUT_MS: Final = 4
CACHE_MS: Final = 250
ENTRIES_MAX: Final = 100_000
"""Accounts in the cache, about 500 B each with a signal and 150 B without."""


class Verdict(NamedTuple):
    """What to do with a request: ``action`` is ``allow`` wherever nothing says otherwise.

    ``source`` is ``redis``, ``cache``, or why nothing was read: ``timeout``, ``error``, ``open`` (Redis is being
    spared), ``unreadable``.
    """

    action: str
    multiplier: float
    held: Held | None
    source: str


class ReaderCore:
    """The algorithm without the call: ``begin`` answers or wants the hash, ``done`` and ``failed`` take what came."""

    def __init__(self, tenant: str, cache_ms: int, entries_max: int) -> None:
        self.counts: Counter[str] = Counter()
        self.breaker = Breaker()
        self._tenant = tenant
        self._cache_ms = cache_ms
        self._recent: Recent[Held | None] = Recent(cache_ms, entries_max)

    def key(self, account_id: str) -> str:
        """The hash to read."""
        return signal_key(self._tenant, account_id)

    def begin(self, account_id: str, now_ms: int) -> Verdict | None:
        """The answer where Redis need not be asked, or must not be."""
        known = self._recent.get(account_id, now_ms)
        if known is not None:
            return self._verdict(account_id, known[0], "cache", now_ms)
        if not self.breaker.allows(now_ms):
            return self._verdict(account_id, None, "open", now_ms)
        return None

    def done(self, account_id: str, values: list[bytes | None], now_ms: int) -> Verdict:
        """The answer from the values of ``FIELDS``; a Redis that answers rubbish still is a Redis that answers."""
        self.breaker.succeeded()
        try:
            # It was in Redis now, and is asked for again before it could have ended long ago.
            held = read_held(values, now_ms + max(1, self._cache_ms))
        except ValueError:
            return self._verdict(account_id, None, "unreadable", now_ms)
        self._recent.put(account_id, held, now_ms)
        return self._verdict(account_id, held, "redis", now_ms)

    def failed(self, account_id: str, error: BaseException, now_ms: int) -> Verdict:
        """The answer where none came."""
        self.breaker.failed(now_ms)
        late = isinstance(error, TimeoutError | redis.exceptions.TimeoutError)
        return self._verdict(account_id, None, "timeout" if late else "error", now_ms)

    def _verdict(self, account_id: str, held: Held | None, source: str, now_ms: int) -> Verdict:
        self.counts[source] += 1
        ruling = rule_on(account_id, held, now_ms)
        if held is None or (ruling.step is Step.ADMIT and held.action not in ("allow", "observe")):
            return Verdict("allow", 1.0, held, source)
        return Verdict(held.action, held.multiplier, held, source)


class _Options(NamedTuple):
    """What both hosts take."""

    tenant: str = "default"
    timeout_ms: int = TIMEOUT_MS
    cache_ms: int = CACHE_MS
    entries_max: int = ENTRIES_MAX


def _arguments(options: _Options) -> dict[str, Any]:
    """Of a Redis client that waits for nothing but the answer, and greets with nothing to wait for."""
    timeout_s = options.timeout_ms / 1000
    return {
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "retry": None,
        "protocol": 2,
        "driver_info": None,
    }


class Reader:
    """For threads; share one.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``.
        tenant, timeout_ms, cache_ms, entries_max: whose signals; how long to wait; how old an answer may be; how many
            accounts are kept.
    """

    def __init__(self, url: str, **options: Any) -> None:
        chosen = _Options(**options)
        self._core = ReaderCore(chosen.tenant, chosen.cache_ms, chosen.entries_max)
        self._redis: Any = redis.Redis.from_url(url, **_arguments(chosen))
        self._lock = threading.Lock()

    @property
    def counts(self) -> Counter[str]:
        """Answers so far by source."""
        return self._core.counts

    def check(self, account_id: str) -> Verdict:
        """What to do with a request of the account; never raises for Redis, never waits longer than the time-out."""
        with self._lock:
            known = self._core.begin(account_id, wall_ms())
        if known is not None:
            return known
        try:
            values = self._redis.hmget(self._core.key(account_id), *FIELDS)
        except (RedisError, OSError) as error:
            with self._lock:
                return self._core.failed(account_id, error, wall_ms())
        with self._lock:
            return self._core.done(account_id, values, wall_ms())

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncReader:
    """For asyncio; arguments as for ``Reader``. One per event loop."""

    def __init__(self, url: str, **options: Any) -> None:
        chosen = _Options(**options)
        self._core = ReaderCore(chosen.tenant, chosen.cache_ms, chosen.entries_max)
        self._redis: Any = redis.asyncio.Redis.from_url(url, **_arguments(chosen))
        self._timeout_s = chosen.timeout_ms / 1000

    @property
    def counts(self) -> Counter[str]:
        """Answers so far by source."""
        return self._core.counts

    async def check(self, account_id: str) -> Verdict:
        """As ``Reader.check``."""
        known = self._core.begin(account_id, wall_ms())
        if known is not None:
            return known
        try:
            async with asyncio.timeout(self._timeout_s):
                values = await self._redis.hmget(self._core.key(account_id), *FIELDS)
        except (RedisError, OSError, TimeoutError) as error:
            return self._core.failed(account_id, error, wall_ms())
        return self._core.done(account_id, values, wall_ms())

    async def aclose(self) -> None:
        """Close the connections."""
        await self._redis.aclose()
