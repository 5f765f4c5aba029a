"""A copy of all signals in the memory of a limiter, so that a check asks nobody.

What lives here: following Redis, and what has changed since when. What does not: what a signal means
(``models.enforcement``) and who wrote it (``streams.redis_signals``).

The stream of changes names accounts whose hash is then read again, so an answer is old by one round trip. Everything is
read at the start and after every failure, and again and again at leisure, ``RESYNC_S`` apart, beside the stream: that
heals whatever the stream did not say.
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
from streams.clock import wall_ms
from streams.limiter.metrics import LimiterMetrics
from streams.redis_keys import changes_key, index_key, signal_key

log = logging.getLogger("distilwatch.limiter")

PAGE: Final = 32
"""Hashes in one round trip: few, as checks wait while they are read."""
CHANGES: Final = 512
"""Entries of the stream taken at once."""
RESYNC_S: Final = 30.0
IDLE_RATIO: Final = 9
"""After a page of a later reading it rests this many times as long as the page took: checks come first."""
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
        self._reading = asyncio.Lock()

    async def run(self) -> None:
        """Follow until cancelled; failures of Redis are retried for ever."""
        failures = 0
        while True:
            try:
                last = await self._last_change()
                await self._read_all(rest=0)
                self._mark_up()
                failures = 0
                await self._follow(last)
            except (RedisError, OSError, TimeoutError) as error:
                failures += 1
                self._mark_down(error)
                least, most = BACKOFF_S
                await asyncio.sleep(min(most, least * 2 ** min(failures, 8)) * random.uniform(0.5, 1))  # noqa: S311

    def _mark_up(self) -> None:
        log.info("%d signals held", len(self.held))
        self.loaded, self.down_reason = True, ""
        self._metrics.redis_up.set(1)

    def _mark_down(self, error: BaseException) -> None:
        if not self.down_reason:
            log.warning("redis is away (%s): what is known stands until it ends", type(error).__name__)
        self.down_reason = type(error).__name__
        self._metrics.redis_up.set(0)

    async def _last_change(self) -> str:
        """The newest entry of the stream."""
        newest = await self._redis.xrevrange(changes_key(self._tenant), count=1)
        return newest[0][0].decode() if newest else "0-0"

    async def _read_all(self, rest: int) -> None:
        """Read the index and every hash it names; ``rest`` times as long as each page takes is left to others."""
        seen: set[str] = set()
        async for page in self._index_pages():
            started = time.monotonic()
            await self._read(page)
            seen.update(page)
            await asyncio.sleep(rest * (time.monotonic() - started))
        gone = [account for account in self.held if account not in seen]
        for start in range(0, len(gone), PAGE):  # some may have come after their page of the index was read
            await self._read(gone[start : start + PAGE])

    async def _index_pages(self) -> AsyncIterator[list[str]]:
        cursor = -1
        while cursor:
            cursor, found = await self._redis.zscan(index_key(self._tenant), cursor=max(cursor, 0), count=PAGE)
            accounts = [name.decode("utf-8", "replace") for name, _ in found]
            for start in range(0, len(accounts), PAGE):
                yield accounts[start : start + PAGE]

    async def _follow(self, last: str) -> None:
        """Read what changes, and everything at leisure, until Redis fails."""
        again = asyncio.create_task(self._read_again())
        try:
            while not again.done():
                last = await self._read_changes(last)
            again.result()
        finally:
            again.cancel()

    async def _read_again(self) -> None:
        while True:
            await asyncio.sleep(RESYNC_S)
            await self._read_all(rest=IDLE_RATIO)

    async def _read_changes(self, last: str) -> str:
        """Read the accounts that the stream names behind ``last``, or wait a while for the first."""
        answer = await self._redis.xread({changes_key(self._tenant): last}, count=CHANGES, block=BLOCK_MS)
        entries = answer[0][1] if answer else []
        named = (fields.get(b"account_id", b"").decode("utf-8", "replace") for _, fields in entries)
        accounts = list(dict.fromkeys(filter(None, named)))
        for start in range(0, len(accounts), PAGE):
            await self._read(accounts[start : start + PAGE])
        return entries[-1][0].decode() if entries else last

    async def _read(self, accounts: list[str]) -> None:
        """Read the hashes of some accounts and note what is different.

        One at a time: what is read at leisure must not be noted after a newer reading of the same account.
        """
        async with self._reading:
            answers = await self._hashes(accounts)
            now_ms = wall_ms()
            for at, account in enumerate(accounts):
                values, left_ms = answers[2 * at], int(answers[2 * at + 1])
                self._note(account, self._held(values, now_ms, left_ms))
        self._metrics.signals_held.set(len(self.held))

    async def _hashes(self, accounts: list[str]) -> list[Any]:
        """The fields and the lifetime of each account, in turn."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for account in accounts:
                key = signal_key(self._tenant, account)
                pipe.hmget(key, *FIELDS)
                pipe.pttl(key)
            answers: list[Any] = await pipe.execute()
        return answers

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
