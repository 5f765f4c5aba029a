"""Groups of accounts with like habits, producing sessions slice by slice in event time.

What lives here: when accounts are active and how sessions, conversations and turns follow. What does not: what is
said (composers in ``fleet``). Arrivals are per customer: log-normal rates, a gamma factor per customer and day, a
daily curve by time zone, and sessions with heavy-tailed gaps, because client traffic is bursty and uneven rather
than Poisson.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Protocol

import numpy as np
import numpy.typing as npt

from streams.simulator.accounts import DAY_MS, EPOCH, HOUR_MS
from streams.simulator.ragged import EMPTY, Ragged, Rows

Floats = npt.NDArray[np.float64]
SESSION_TURNS_MAX = 400


@dataclass(slots=True)
class Events:
    """``n`` events without their texts; arrays of shape ``(n,)``."""

    ts: Rows
    account: Rows
    conversation: npt.NDArray[np.uint64]
    turn: Rows
    topic: Rows
    position: Rows  # place in the session, from 0
    status: Rows

    def __len__(self) -> int:
        return len(self.ts)

    def take(self, rows: npt.NDArray[np.integer] | npt.NDArray[np.bool_]) -> Events:
        """The events at ``rows``."""
        return Events(*(getattr(self, field.name)[rows] for field in fields(self)))


def joined(parts: list[Events]) -> Events:
    """All events of all parts, end to end; at least one part."""
    return Events(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Events)))


@dataclass(frozen=True, slots=True)
class Habits:
    """How a group's accounts behave.

    ``events_per_day`` is the median over accounts, ``spread`` the sigma of its logarithm. A session has
    ``turns`` events on average, ``gap_s`` apart in the median; a conversation goes on with probability
    ``follow_up``. ``daily`` 0 is round the clock, 1 quiet at night. ``window_h`` limits activity to hours of
    the run, ``machine`` sends at even distances, ``on_the_hour`` starts sessions at :00, ``newest`` is the share of
    events on the newest model.
    """

    events_per_day: float = 4.0
    spread: float = 1.0
    turns: float = 4.0
    gap_s: float = 60.0
    gap_spread: float = 1.0
    follow_up: float = 0.7
    daily: float = 0.8
    burstiness: float = 1.5
    window_h: tuple[float, float] | None = None
    machine: bool = False
    on_the_hour: bool = False
    steady: bool = False
    error_share: float = 0.015
    retry_share: float = 0.0
    newest: float = 0.0


@dataclass(frozen=True, slots=True)
class Pool:
    """Accounts ``first .. first + size``, each in use from ``since`` to ``until`` (ms, exclusive; None = no end)."""

    first: int
    since: Rows
    until: Rows | None = None

    @property
    def size(self) -> int:
        """How many accounts."""
        return len(self.since)

    @property
    def ends(self) -> Rows:
        """``until`` with no end as the largest time there is, int64 of shape ``(size,)``."""
        return np.full(self.size, np.iinfo(np.int64).max) if self.until is None else self.until


@dataclass(slots=True)
class Batch:
    """Events with their texts: ``system`` numbers system texts (0 = none), ``model`` is -1 for the account's own."""

    events: Events
    texts: Ragged
    system: Rows
    model: Rows
    tools: npt.NDArray[np.bool_]

    def take(self, rows: npt.NDArray[np.integer]) -> Batch:
        """The events at ``rows``, repeats allowed."""
        texts = self.texts.take(rows)
        return Batch(self.events.take(rows), texts, self.system[rows], self.model[rows], self.tools[rows])


class Composer(Protocol):
    """What the accounts of a group say."""

    tools: bool

    def compose(self, rng: np.random.Generator, events: Events, members: Rows) -> tuple[Ragged, Rows]:
        """Texts and system numbers of ``events``; ``members`` are indices within the group."""
        ...


class Group:
    """A population: a pool of accounts with common habits and one composer; none is active before its ``since``."""

    def __init__(self, name: str, pool: Pool, *, habits: Habits, composer: Composer, rng: np.random.Generator) -> None:
        self.name = name
        self.pool = pool
        self.first = pool.first
        self.size = pool.size
        self.habits = habits
        self.composer = composer
        self._rng = rng
        self._until = pool.ends
        self._rates = habits.events_per_day * np.exp(rng.normal(0.0, habits.spread, self.size)) / habits.turns
        self._phase_h = rng.normal(0.0, 4.0, self.size)
        self._topics: Rows = rng.integers(2**31, size=(self.size, 3))
        self._day = -1
        self._mood: Floats = np.ones(self.size)
        self._pending: list[Events] = []

    def emit(self, start: int, end: int) -> Batch:
        """Events of the slice with their texts; ``start`` must be the previous ``end``."""
        events = self.advance(start, end)
        n = len(events)
        if not n:
            return Batch(events, EMPTY, np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.bool_))
        texts, system = self.composer.compose(self._rng, events, events.account - self.first)
        model = np.full(n, -1)
        if self.habits.newest:
            model[self._rng.random(n) < self.habits.newest] = 0
        batch = Batch(events, texts, system, model, np.full(n, self.composer.tools))
        return self._retried(batch, end) if self.habits.retry_share else batch

    def advance(self, start: int, end: int) -> Events:
        """Events with ``start <= ts < end``; ``start`` must be the previous ``end``."""
        sessions, starts = self._sessions(start, end)
        if len(sessions):
            self._pending.append(self._unfold(sessions, starts))
        if not self._pending:
            return self._unfold(sessions, starts)
        waiting = joined(self._pending)
        due = waiting.ts < end
        self._pending = [waiting.take(~due)]
        return waiting.take(due)

    def _sessions(self, start: int, end: int) -> tuple[Rows, Rows]:
        habits = self.habits
        day = (start - EPOCH) // DAY_MS
        if day != self._day:
            self._day = day
            if not habits.steady:
                self._mood = self._rng.gamma(habits.burstiness, 1 / habits.burstiness, self.size)
        hour = ((start + end) / 2 - EPOCH) / HOUR_MS
        share = (end - start) / DAY_MS * self._window_share(start, end)
        curve = daily_curve(hour + self._phase_h, habits.daily)
        counts = self._rng.poisson(self._rates * self._mood * curve * share)
        sessions = np.repeat(np.arange(self.size), counts)
        low, high = self._window(start, end)
        starts = self._rng.integers(low, max(high, low + 1), len(sessions))
        if habits.on_the_hour:
            starts = starts - starts % HOUR_MS + self._rng.integers(0, 4000, len(sessions))
            starts = np.maximum(starts, start)
        known = (starts >= self.pool.since[sessions]) & (starts < self._until[sessions])
        return sessions[known], starts[known]

    def _retried(self, batch: Batch, end: int) -> Batch:
        """A storm: some requests fail and are sent again word for word, seconds apart, until one succeeds."""
        rng, n = self._rng, len(batch.events)
        extra = np.where(rng.random(n) < self.habits.retry_share, np.minimum(rng.geometric(0.15, n), 40), 0)
        source = np.repeat(np.arange(n), extra + 1)
        attempt = np.arange(len(source)) - np.repeat(np.cumsum(extra + 1) - extra - 1, extra + 1)
        storm = batch.take(source)
        storm.events.ts += (attempt * rng.uniform(800, 6000, len(source))).astype(np.int64)
        storm.events.status = np.where(attempt < extra[source], rng.choice([429, 500, 503, 529], len(source)), 200)
        return storm.take(np.flatnonzero(storm.events.ts < end))

    def _window(self, start: int, end: int) -> tuple[int, int]:
        if self.habits.window_h is None:
            return start, end
        low, high = (EPOCH + int(hour * HOUR_MS) for hour in self.habits.window_h)
        return max(start, low), min(end, high)

    def _window_share(self, start: int, end: int) -> float:
        low, high = self._window(start, end)
        return max(0, high - low) / (end - start)

    def _unfold(self, sessions: Rows, starts: Rows) -> Events:
        rng, habits = self._rng, self.habits
        sizes = np.minimum(rng.geometric(1 / max(1.0, habits.turns), len(sessions)), SESSION_TURNS_MAX)
        row = np.repeat(np.arange(len(sessions)), sizes)
        position = np.arange(len(row)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        spread = 0.02 if habits.machine else habits.gap_spread
        gaps = np.where(position == 0, 0.0, 1000 * habits.gap_s * np.exp(rng.normal(0, spread, len(row))))
        elapsed = np.cumsum(gaps)
        elapsed -= np.repeat(elapsed[np.cumsum(sizes) - sizes], sizes) if len(row) else 0
        new = (position == 0) | (rng.random(len(row)) >= habits.follow_up)
        opened = np.maximum.accumulate(np.where(new, np.arange(len(row)), 0)) if len(row) else row
        conversation = rng.integers(1, 2**64, max(1, len(row)), dtype=np.uint64)[opened]
        topic = self._topics[sessions, rng.integers(3, size=len(sessions))][row]
        failed = rng.random(len(row)) < habits.error_share
        return Events(
            ts=starts[row] + elapsed.astype(np.int64),
            account=self.first + sessions[row],
            conversation=conversation,
            turn=np.arange(len(row)) - opened + 1,
            topic=topic,
            position=position,
            status=np.where(failed, rng.choice([429, 500, 529, 400], len(row)), 200),
        )


def daily_curve(hours: Floats, strength: float) -> Floats:
    """Activity over the day with mean about 1: busy around 14 h local time, quiet at night where ``strength`` is 1."""
    day = 1 + strength * np.cos((hours - 14) * np.pi / 12)
    weekend = (hours % 168) >= 120
    return np.where(weekend, 1 - 0.5 * strength, 1.0) * day
