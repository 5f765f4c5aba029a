"""Budgets: a token bucket, what one process borrows from it, and the record of a cluster's budget.

What lives here: the arithmetic, with time as an argument, in whole numbers that a Redis script repeats exactly. What
does not: where the bucket is kept (``streams.limiter.ledger``) and who draws from it (``enforcement``).

A bucket starts full and lets through at most ``capacity + rate * time``, whoever asks, in whatever order. A lease takes
tokens before it gives them, so any number of processes that lease from one bucket stay within it together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import msgspec

from models.alert import Action, Mode, Signal

TOKEN_UNITS: Final = 60_000_000
"""A token in the bucket's units, chosen so that a thousandth of a request a minute is one unit a millisecond."""
BURST_MS: Final = 5_000
"""What a full bucket holds, in time: 0.14 % of an hour's budget, so that an hour never shows 1 % more than allowed."""
LEASE_MS: Final = 200
"""How much of the rate one process may borrow ahead: what it cannot use is lost, so it is little."""
LEASE_LIFE_MS: Final = 1_000
PER_MINUTE_MAX: Final = 10_000_000.0
"""Keeps every product of the script below 2**53, where its numbers are exact."""
TOKENS_MAX: Final = 1_000_000
WAIT_MAX_MS: Final = 60_000


class ClusterBudget(msgspec.Struct, frozen=True, kw_only=True):
    """What all accounts of one cluster may have together, and why; the hash of the cluster in Redis."""

    cluster_id: str
    budget_per_minute: float
    action: Action
    multiplier: float
    score: float
    rule: str
    alert_id: str | None
    mode: Mode
    ts: int
    expires: int
    seq: int


def budget_of(signal: Signal, cluster_per_minute: float) -> ClusterBudget:
    """The budget that a signal gives its cluster: the cluster counts as one customer, held back by the multiplier."""
    per_minute = min(PER_MINUTE_MAX, max(0.0, cluster_per_minute * signal.multiplier))
    shared = {name: getattr(signal, name) for name in ClusterBudget.__struct_fields__ if name != "budget_per_minute"}
    return ClusterBudget(budget_per_minute=round(per_minute, 3), **shared)


class Taken(NamedTuple):
    """What a bucket gave, and when it is worth asking again where that was less than wanted."""

    granted: int
    wait_ms: int


def milli_of(per_minute: float) -> int:
    """A rate as whole thousandths of a request a minute."""
    return round(min(max(per_minute, 0.0), PER_MINUTE_MAX) * 1000)


def capacity_units(milli: int) -> int:
    """What a bucket of this rate holds when full: never less than the one request it must be able to give."""
    return max(TOKEN_UNITS, milli * BURST_MS)


class TokenBucket:
    """One bucket in memory; ``TAKE`` of the ledger is the same in Redis, and a test holds them equal.

    Args:
        milli: the rate (``milli_of``).
        now_ms: from when it fills.
        full: whether it starts with its capacity, or empty.
    """

    def __init__(self, milli: int, now_ms: int, *, full: bool = True) -> None:
        self.milli = milli
        self._units = capacity_units(milli) if full else 0
        self._at_ms = now_ms

    def take(self, wanted: int, now_ms: int) -> Taken:
        """Take up to ``wanted`` whole tokens; a clock that goes back neither gives nor takes any."""
        capacity = capacity_units(self.milli)
        elapsed_ms = min(max(0, now_ms - self._at_ms), capacity // max(self.milli, 1) + 1)
        self._units = min(capacity, self._units + elapsed_ms * self.milli)
        self._at_ms = max(self._at_ms, now_ms)
        granted = min(wanted, self._units // TOKEN_UNITS)
        self._units -= granted * TOKEN_UNITS
        return Taken(granted, self._wait_ms() if granted < wanted else 0)

    def _wait_ms(self) -> int:
        if not self.milli:
            return WAIT_MAX_MS
        return min(WAIT_MAX_MS, -(-(TOKEN_UNITS - self._units) // self.milli))


@dataclass(slots=True)
class Lease:
    """The tokens that one process holds of one bucket; ``milli`` is the bucket's rate as last heard."""

    milli: int
    tokens: int = 0
    ends_ms: int = 0
    closed_until_ms: int = 0
    asked: int = 0
    since_ms: int = 0

    def spend(self, hits: int, now_ms: int) -> bool | None:
        """Whether ``hits`` may pass: True, or False while the bucket is known to be empty; None: ask the bucket."""
        self.asked += hits
        if now_ms >= self.ends_ms:
            self.tokens = 0
        if self.tokens >= hits:
            self.tokens -= hits
            return True
        if now_ms < self.closed_until_ms:
            return False
        return None

    def size(self, hits: int, now_ms: int) -> int:
        """How many tokens to ask for: as many as were asked for lately, within ``LEASE_MS`` of the rate."""
        span_ms = max(1, now_ms - self.since_ms)
        lately = self.asked * LEASE_MS // span_ms if span_ms < WAIT_MAX_MS else 0
        self.asked, self.since_ms = 0, now_ms
        ahead = self.milli * LEASE_MS // TOKEN_UNITS
        return min(TOKENS_MAX, max(hits, min(lately, ahead)))

    def credit(self, taken: Taken, now_ms: int, chance: float) -> None:
        """Note what the bucket gave; an empty one stays closed up to half longer than it must.

        Args:
            taken: the answer of the bucket.
            now_ms: now.
            chance: from 0 to below 1; it blurs when the next token comes, so that nobody can measure the rate.
        """
        self.tokens += taken.granted
        self.ends_ms = now_ms + LEASE_LIFE_MS
        if taken.wait_ms:
            self.closed_until_ms = now_ms + taken.wait_ms + int(taken.wait_ms * chance / 2)
