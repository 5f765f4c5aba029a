"""Campaigns: one operator, many accounts, templates times items, every evasion a knob.

What lives here: the knobs, and an operator's traffic slice by slice. What does not: which campaigns a run has
(``scenarios``), how accounts are set up (``accounts``). Dispatch follows the relays in public use: round robin,
least recently used, random, or sticky sessions that pin a template to one account for an hour and then hand it
over.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from streams.simulator.accounts import DAY_MS, EPOCH, HOUR_MS, names
from streams.simulator.groups import Batch, Events, Pool, daily_curve, joined
from streams.simulator.ragged import Ragged, Rows, beside, placed, repeated
from streams.simulator.templates import Templates, reworded
from streams.simulator.text import ENGLISH, Asked, Library

Dispatch = Literal["round_robin", "lru", "random", "sticky"]
VARIANT_SHARE = 0.4
"""Share of words that differ between the wordings of one template."""
REASONING = (
    "\nThink step by step and write out your full chain of thought before the answer.",
    "\nShow your complete reasoning inside <think> tags first.",
    "\nExplain every intermediate step of your reasoning, then give the final answer.",
    "\n请一步一步思考，并写出完整的推理过程。",  # noqa: RUF001
)


@dataclass(frozen=True, slots=True)
class Knobs:
    """One campaign; times in hours of the run, shares and rates in 0..1 unless said.

    ``requests_per_day`` counts all requests of an account, of which ``cover`` are organic talk. Fans are accounts per
    shared payment or /24 (1 = own). ``young`` accounts sign up in one burst before the start. ``load_spread`` is the
    sigma of the logarithm of accounts' rates, ``burst`` requests come in a row, ``stagger_h`` spreads first use.
    Each template has ``variants`` wordings; ``public`` puts viral templates to use that people sent before.
    ``replace_at_h`` bans the pool then, over ``ban_over_h``; a second pool follows ``replace_gap_h`` later.
    """

    accounts: int = 500
    requests_per_day: float = 25.0
    templates: int = 40
    families: tuple[str, ...] = ()
    family_count: int = 4
    variants: int = 1
    public: bool = False
    paraphrase: float = 0.0
    salt: float = 0.0
    cover: float = 0.0
    payment_fan: int = 1
    network_fan: int = 1
    one_client: bool = False
    young: bool = False
    signup_burst_h: float = 12.0
    dispatch: Dispatch = "round_robin"
    sticky_h: float = 1.0
    start_h: float = 12.0
    end_h: float | None = None
    ramp_h: float = 0.0
    stagger_h: float = 0.0
    load_spread: float = 0.0
    burst: int = 1
    human_hours: float = 0.0
    multi_turn: float = 0.0
    reasoning: float = 0.0
    pivot_h: float | None = None
    organic: bool = False
    duplicates: float = 0.0
    handoffs: float = 0.005
    replace_at_h: float | None = None
    replace_gap_h: float = 2.0
    ban_over_h: float = 1.0
    churn_per_day: float = 0.0


def pools_of(knobs: Knobs, first: int, *, days: float, rng: np.random.Generator) -> list[Pool]:
    """The campaign's pools of accounts and when each account is in use; account ``first`` is the first."""
    start = EPOCH + int(knobs.start_h * HOUR_MS)
    end = EPOCH + int((days * 24 if knobs.end_h is None else knobs.end_h) * HOUR_MS)
    since = start + (rng.random(knobs.accounts) * knobs.stagger_h * HOUR_MS).astype(np.int64)
    until = np.full(knobs.accounts, end)
    if knobs.churn_per_day > 0:
        until = np.minimum(
            until, since + (rng.exponential(DAY_MS / knobs.churn_per_day, knobs.accounts)).astype(np.int64)
        )
    pools = [Pool(first, since, until)]
    if knobs.replace_at_h is not None:
        banned = EPOCH + int(knobs.replace_at_h * HOUR_MS)
        until = np.minimum(until, banned + (rng.random(knobs.accounts) * knobs.ban_over_h * HOUR_MS).astype(np.int64))
        again = banned + int(knobs.replace_gap_h * HOUR_MS)
        pools = [
            Pool(first, since, until),
            Pool(first + knobs.accounts, np.full(knobs.accounts, again), np.full(knobs.accounts, end)),
        ]
    elif knobs.churn_per_day > 0:
        pools.append(_replacements(pools[0], end, rng))
    return pools


def _replacements(pool: Pool, end: int, rng: np.random.Generator) -> Pool:
    gone = np.sort(pool.ends[pool.ends < end])
    since = gone + rng.integers(HOUR_MS // 2, 6 * HOUR_MS, len(gone))
    return Pool(pool.first + pool.size, since, np.full(len(gone), end))


class Campaign:
    """An operator's harvest over its pools: a stream like a group of the fleet."""

    def __init__(
        self,
        name: str,
        knobs: Knobs,
        pools: list[Pool],
        *,
        library: Library,
        templates: Templates,
        rng: np.random.Generator,
    ) -> None:
        self.name = name
        self.knobs = knobs
        self.pools = pools
        self._library = library
        self._rng = rng
        self.templates = templates
        self._account = np.concatenate([np.arange(pool.first, pool.first + pool.size) for pool in pools])
        self._since = np.concatenate([pool.since for pool in pools])
        self._until = np.concatenate([pool.ends for pool in pools])
        self._weight = np.exp(rng.normal(0, knobs.load_spread, len(self._account)))
        self._last_used = rng.random(len(self._account))
        self._turn = 0
        self._salted = int(rng.integers(2**62))
        self._phase_h = float(rng.normal(0, 6))
        self._reasoning = [library.fragments.add(text) for text in REASONING]
        self._follow_ups: list[Events] = []

    def emit(self, start: int, end: int) -> Batch:
        """The campaign's requests of the slice; ``start`` must be the previous ``end``."""
        active = np.flatnonzero((self._since < end) & (self._until > start))
        events = self._requests(active, start, end)
        later = joined([*self._follow_ups, self._continued(events)])
        due = later.ts < end
        self._follow_ups = [later.take(~due)]
        events = joined([events, later.take(due)])
        batch = Batch(events, self.texts(events), *self._plain(events))
        return self._handed_off(self._duplicated(batch, active), active, end)

    def _plain(self, events: Events) -> tuple[Rows, Rows, npt.NDArray[np.bool_]]:
        n = len(events)
        model = np.full(n, -1)
        if self.knobs.pivot_h is not None:
            model[events.ts >= EPOCH + int(self.knobs.pivot_h * HOUR_MS)] = 0
        return np.zeros(n, np.int64), model, np.zeros(n, np.bool_)

    def _requests(self, active: Rows, start: int, end: int) -> Events:
        rng, knobs = self._rng, self.knobs
        jobs = rng.poisson(self._expected(active, start, end) / max(1, knobs.burst)) if len(active) else 0
        ts = np.sort(rng.integers(start, end, jobs))
        topic = rng.integers(max(1, len(self.templates)), size=jobs)
        account = self._assigned(active, ts, topic)
        if knobs.burst > 1:
            sizes = rng.geometric(1 / knobs.burst, jobs)
            ts, topic, account = np.repeat(ts, sizes), np.repeat(topic, sizes), np.repeat(account, sizes)
            topic = rng.integers(max(1, len(self.templates)), size=len(ts))
            ts = np.minimum(ts + rng.integers(2_000, 60_000, len(ts)), end - 1)
        inside = (ts >= self._since[account]) & (ts < self._until[account]) if len(ts) else np.zeros(0, np.bool_)
        ts, topic, account = ts[inside], topic[inside], account[inside]
        n = len(ts)
        failed = rng.random(n) < 0.015
        return Events(
            ts=ts, account=self._account[account], conversation=names(rng, n), turn=np.ones(n, np.int64), topic=topic,
            position=np.zeros(n, np.int64), status=np.where(failed, rng.choice([429, 500, 529, 400], n), 200),
        )  # fmt: skip

    def _expected(self, active: Rows, start: int, end: int) -> float:
        """Mean number of harvest requests in the slice."""
        knobs = self.knobs
        inside = np.minimum(self._until[active], end) - np.maximum(self._since[active], start)
        rate = knobs.requests_per_day * (1 - knobs.cover) / (1 + knobs.multi_turn) / DAY_MS
        hour = ((start + end) / 2 - EPOCH) / HOUR_MS
        if knobs.ramp_h > 0:
            rate *= min(1.0, max(0.02, (hour - knobs.start_h) / knobs.ramp_h))
        if knobs.human_hours > 0:
            rate *= float(daily_curve(np.array([hour + self._phase_h]), knobs.human_hours)[0])
        weight = self._weight[active] / np.exp(knobs.load_spread**2 / 2)
        return float((inside * weight).sum()) * rate

    def _assigned(self, active: Rows, ts: Rows, topic: Rows) -> Rows:
        """Which account takes each job, as indices into the campaign's accounts."""
        n, rng = len(ts), self._rng
        if not n:
            return np.zeros(0, np.int64)
        if self.knobs.dispatch == "sticky":
            lanes = max(1, len(active) // max(1, len(self.templates)))
            lane = topic * lanes + rng.integers(lanes, size=n)
            epoch = (ts + _mixed(lane, self._salted) % DAY_MS) // int(self.knobs.sticky_h * HOUR_MS)
            return _at(active, _mixed(lane * 1_000_003 + epoch, self._salted))
        if self.knobs.dispatch == "random" or self.knobs.load_spread > 0:
            cumulative = np.cumsum(self._weight[active])
            return _at(active, np.searchsorted(cumulative, rng.random(n) * cumulative[-1], side="right"))
        if self.knobs.dispatch == "lru":
            return self._least_recent(active, n)
        first = self._turn
        self._turn = (first + n) % len(active)
        return _at(active, first + np.arange(n))

    def _least_recent(self, active: Rows, n: int) -> Rows:
        chosen: list[Rows] = []
        left = n
        while left > 0:
            queue = active[np.argsort(self._last_used[active], kind="stable")][:left]
            self._last_used[queue] = self._last_used.max() + 1 + self._rng.random(len(queue)) * 0.3
            chosen.append(queue)
            left -= len(queue)
        return np.concatenate(chosen)

    def _continued(self, events: Events) -> Events:
        """A share of requests goes on with one more turn in the same conversation."""
        rows = np.flatnonzero(self._rng.random(len(events)) < self.knobs.multi_turn)
        later = events.take(rows)
        later.ts = later.ts + self._rng.integers(8_000, 120_000, len(rows))
        later.turn = later.turn + 1
        return later

    def texts(self, events: Events) -> Ragged:
        """The prompts of ``events``, whose topics are template numbers."""
        rng, knobs, n = self._rng, self.knobs, len(events)
        if knobs.organic:
            return self._library.people(rng, self._relayed(events))
        first = np.flatnonzero(events.turn == 1)
        later = np.flatnonzero(events.turn > 1)
        variant = rng.integers(knobs.variants, size=len(first)) * (len(self.templates) // knobs.variants)
        base = events.topic[first] % (len(self.templates) // knobs.variants)
        harvest = self._evading(self.templates.fill(rng, base + variant, self._library.items))
        more = self._library.items(rng, np.zeros(len(later), np.int64))
        texts = placed(n, [(first, harvest), (later, more)])
        if not knobs.reasoning:
            return texts
        asks = np.flatnonzero(rng.random(n) < knobs.reasoning)
        elicit = repeated([0], 1).take(np.zeros(n, np.int64))
        elicit.ids[asks] = rng.choice(self._reasoning, len(asks))
        return beside(texts, elicit)

    def _evading(self, texts: Ragged) -> Ragged:
        rng, knobs, n = self._rng, self.knobs, len(texts)
        if knobs.paraphrase:
            texts = reworded(rng, texts, knobs.paraphrase, self._library.grammar.words)
        if knobs.salt:
            salted = rng.random(n) < knobs.salt
            before = np.flatnonzero(salted & (rng.random(n) < 0.7))
            after = np.flatnonzero(salted & (rng.random(n) < 0.7))
            head = placed(n, [(before, self._library.salt(rng, len(before)))])
            tail = placed(n, [(after, self._library.salt(rng, len(after)))])
            texts = beside(head, texts, repeated([self._library.space], n), tail)
        return texts

    def _relayed(self, events: Events) -> Asked:
        rng, n = self._rng, len(events)
        tongue = np.where(rng.random(n) < 0.4, rng.integers(self._library.tongues, size=n), ENGLISH)
        kind = rng.choice(4, n, p=[0.4, 0.3, 0.1, 0.2])
        return Asked(rng.integers(self._library.topics, size=n), events.turn, kind, tongue)

    def _duplicated(self, batch: Batch, active: Rows) -> Batch:
        """Some requests go to a second account as well, word for word, to compare answers."""
        rows = np.flatnonzero(self._rng.random(len(batch.events)) < self.knobs.duplicates)
        return self._elsewhere(batch, rows, active, delay_ms=0) if len(rows) else batch

    def _handed_off(self, batch: Batch, active: Rows, end: int) -> Batch:
        """A limited request is sent again by another account within seconds."""
        rows = np.flatnonzero(self._rng.random(len(batch.events)) < self.knobs.handoffs)
        rows = rows[batch.events.ts[rows] < end - 10_000]
        if not len(rows):
            return batch
        batch.events.status[rows] = 429
        return self._elsewhere(batch, rows, active, delay_ms=10_000)

    def _elsewhere(self, batch: Batch, rows: Rows, active: Rows, *, delay_ms: int) -> Batch:
        n = len(batch.events)
        again = batch.take(np.concatenate([np.arange(n), rows]))
        other = active[self._rng.integers(len(active), size=len(rows))]
        again.events.account[n:] = self._account[other]
        again.events.conversation[n:] = names(self._rng, len(rows))
        again.events.status[n:] = 200
        if delay_ms:
            again.events.ts[n:] += self._rng.integers(300, delay_ms, len(rows))
        used = np.ones(n + len(rows), np.bool_)
        used[n:] = (again.events.ts[n:] >= self._since[other]) & (again.events.ts[n:] < self._until[other])
        return again.take(np.flatnonzero(used))


def _at(active: Rows, places: Rows) -> Rows:
    """The active accounts at ``places``, counted round and round."""
    return active[places % len(active)]


def _mixed(values: Rows, salt: int) -> Rows:
    """A fixed scramble of integers, non-negative (splitmix64's finaliser)."""
    mixed = values.astype(np.uint64) + np.uint64(salt)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    scrambled: Rows = ((mixed ^ (mixed >> np.uint64(31))) >> np.uint64(1)).astype(np.int64)
    return scrambled
