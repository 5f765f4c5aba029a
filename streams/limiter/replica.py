"""A copy of all signals in the memory of a limiter, so that a check asks nobody.

What lives here: following Redis, and what has changed since when. What does not: what a signal means
(``models.enforcement``) and who wrote it (``streams.redis_signals``).

The stream of changes names accounts whose hash is then read again, so an answer is old by one round trip. The index is
read as a whole at the start, every ``RESYNC_S``, and after every failure, which heals whatever the stream did not say.
While Redis is away the copy stands: each signal ends at its own time, and an account without one passes.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
import uuid
from collections import deque
from collections.abc import AsyncIterator, Iterable
from itertools import islice
from typing import Any, Final, NamedTuple

from redis.exceptions import RedisError

from models.enforcement import FIELDS, Held, read_held
from streams.limiter.metrics import LimiterMetrics
from streams.redis_signals import changes_key, index_key, signal_key

log = logging.getLogger("distilwatch.limiter")

PAGE: Final = 500
"""Hashes in one round trip: about 100 kB."""
RESYNC_S: Final = 30.0
BLOCK_MS: Final = 1_000
BACKOFF_S: Final = (0.1, 2.0)
ACCOUNTS_MAX: Final = 2_000_000
"""Signals held, about 500 B each; an account beyond them passes, and is counted."""
LOG_MAX: Final = 200_000
"""Changes remembered for those who ask what is new; who asks later than that starts over."""


class Delta(NamedTuple):
    """What is new since a cursor; ``complete`` is False where the cursor is too old or of another process."""

    accounts: list[str]
    cursor: str
    complete: bool


class Replica:
    """Signals by account; ``client`` is an asyncio Redis client of its own, as it blocks on the stream."""

    def __init__(self, client: Any, tenant: str, metrics: LimiterMetrics) -> None:
        self.held: dict[str, Held] = {}
        self.down_reason = "not read yet"
        self.loaded = False
        self._redis = client
        self._tenant = tenant
        self._metrics = metrics
        self._epoch = uuid.uuid4().hex[:8]
        self._changes: deque[str] = deque(maxlen=LOG_MAX)
        self._sequence = 0

    async def run(self) -> None:
        """Follow until cancelled; failures of Redis are retried for ever."""
        failures = 0
        while True:
            try:
                last = await self._load()
                failures = 0
                await self._follow(last)
            except (RedisError, OSError, TimeoutError) as error:
                failures += 1
                if not self.down_reason:
                    log.warning("redis is away (%s): what is known stands until it ends", type(error).__name__)
                self.down_reason = type(error).__name__
                self._metrics.redis_up.set(0)
                least, most = BACKOFF_S
                await asyncio.sleep(min(most, least * 2 ** min(failures, 8)) * random.uniform(0.5, 1))  # noqa: S311

    async def _load(self) -> str:
        """Read everything; gives the entry of the stream that was the last before."""
        newest = await self._redis.xrevrange(changes_key(self._tenant), count=1)
        last = newest[0][0].decode() if newest else "0-0"
        seen: set[str] = set()
        async for page in self._index_pages():
            await self._read(page)
            seen.update(page)
        for account in [account for account in self.held if account not in seen]:
            await self._read([account])  # it may have come after its page of the index was read
        if not self.loaded or self.down_reason:
            log.info("%d signals held", len(self.held))
        self.loaded, self.down_reason = True, ""
        self._metrics.redis_up.set(1)
        return last

    async def _index_pages(self) -> AsyncIterator[list[str]]:
        cursor = -1
        while cursor:
            cursor, found = await self._redis.zscan(index_key(self._tenant), cursor=max(cursor, 0), count=PAGE)
            accounts = [name.decode("utf-8", "replace") for name, _ in found]
            for start in range(0, len(accounts), PAGE):
                yield accounts[start : start + PAGE]

    async def _follow(self, last: str) -> None:
        """Read what changes until it is time to read everything again."""
        until = time.monotonic() + RESYNC_S
        key = changes_key(self._tenant)
        while time.monotonic() < until:
            answer = await self._redis.xread({key: last}, count=PAGE, block=BLOCK_MS)
            entries = answer[0][1] if answer else []
            if entries:
                last = entries[-1][0].decode()
                named = (fields.get(b"account_id", b"").decode("utf-8", "replace") for _, fields in entries)
                await self._read(list(dict.fromkeys(filter(None, named))))

    async def _read(self, accounts: list[str]) -> None:
        """Read the hashes of some accounts and note what is different."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for account in accounts:
                key = signal_key(self._tenant, account)
                pipe.hmget(key, *FIELDS)
                pipe.pttl(key)
            answers = await pipe.execute()
        now_ms = int(time.time() * 1000)
        for at, account in enumerate(accounts):
            values, left_ms = answers[2 * at], int(answers[2 * at + 1])
            self._note(account, self._held(values, now_ms, left_ms))
        self._metrics.signals_held.set(len(self.held))

    def _held(self, values: list[bytes | None], now_ms: int, left_ms: int) -> Held | None:
        try:
            held = read_held(values, 0)
            # A hash that somebody wrote without a lifetime ends when the signal itself says.
            return held and held._replace(ends_ms=now_ms + left_ms if left_ms >= 0 else held.expires)
        except ValueError:
            self._metrics.skipped.labels("unreadable").inc()
            return None

    def _note(self, account: str, held: Held | None) -> None:
        before = self.held.get(account)
        if held is None:
            if before is None:
                return
            del self.held[account]
        elif before is None and len(self.held) >= ACCOUNTS_MAX:
            self._metrics.skipped.labels("full").inc()
            return
        else:
            self.held[account] = held
            if before is not None and before[:-1] == held[:-1]:
                return
        self._sequence += 1
        self._changes.append(account)

    @property
    def cursor(self) -> str:
        """Where the log of changes stands."""
        return f"{self._epoch}-{self._sequence}"

    def since(self, cursor: str, limit: int) -> Delta:
        """The accounts that changed after ``cursor``, at most ``limit`` changes at once."""
        epoch, _, number = cursor.partition("-")
        oldest = self._sequence - len(self._changes)
        if epoch != self._epoch or not number.isdecimal() or not oldest <= int(number) <= self._sequence:
            return Delta([], self.cursor, complete=False)
        start = int(number) - oldest
        changed = list(islice(self._changes, start, start + limit))
        return Delta(list(dict.fromkeys(changed)), f"{epoch}-{int(number) + len(changed)}", complete=True)

    def page(self, after: str, limit: int, now_ms: int) -> list[str]:
        """Accounts with a signal that has not ended, in order, from the one behind ``after``."""
        return sorted(_running(self.held.items(), after, now_ms))[:limit]


def _running(items: Iterable[tuple[str, Held]], after: str, now_ms: int) -> list[str]:
    return [account for account, held in items if account > after and held.ends_ms > now_ms]
