"""Observe, the first operator: request events of one input partition in, sightings and profiles out.

What lives here: admission, the account pass, and the join of events with their sketches. What does not: anything
that compares accounts. State per account is one fixed record; an account idle for a week is forgotten.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from models.account_rules import UNLIMITED, AccountRules
from models.accounts import ACCOUNT, BUSY, DAY_MS, FACTS, IDLE_MS, NEW, RENEWED, RETRY, update_accounts
from models.admission import UNSET, Admission
from models.announce import Decisions
from models.event import EventBatch
from models.joiners import Joiners
from models.sighting import PROFILE, SHORT_TOKENS, SIGHTING, SightingBatch
from models.sketch import Sketches
from models.slices import Cut, Slices, Touched
from models.strings import Strings
from models.table import Table
from models.wire import pack, unpack

SWEEP_MS = 6 * 3_600_000


@dataclass(slots=True)
class Observed:
    """What one call of Observe gave; counts add up to the rows that came in plus those that waited before."""

    sightings: SightingBatch
    profiles: npt.NDArray[np.void]
    profile_ids: Strings
    accepted: int = 0
    duplicate: int = 0
    late: int = 0
    decisions: Decisions = field(default_factory=Decisions)  # what accounts show by themselves
    future: list[int] = field(default_factory=list)  # event hashes of rows refused for a stamp far ahead


class Observe:
    """Per-account statistics and sightings. Pure: time comes from the events, order from the caller."""

    def __init__(self, rules: AccountRules | None = None) -> None:
        self.admission = Admission()
        self.rules = rules
        self.accounts = Table(ACCOUNT)
        self.joiners = Joiners(rules.orders if rules else None)
        self._held: tuple[EventBatch, Sketches] | None = None
        self._swept_ms = UNSET
        self._slices = Slices("accounts", ACCOUNT)
        self._touched: Touched | None = None  # kept once a snapshot in parts was asked for

    @property
    def watermark_ms(self) -> int:
        """No sighting before this time will come any more."""
        return self.admission.watermark_ms

    @property
    def held(self) -> int:
        """Rows that wait for their stamp to be confirmed."""
        return len(self._held[0]) if self._held else 0

    def process(self, events: EventBatch, sketches: Sketches, *, last: bool = False) -> Observed:
        """Fold a batch, in arrival order; with ``last`` rows that still wait are admitted too."""
        waiting, sketches = self.held, sketches.narrow()
        if self._held is not None:
            events = EventBatch.concat([self._held[0], events])
            sketches = Sketches.concat([self._held[1], sketches])
            self._held = None
        admitted = self.admission.judge(events.ts, events.event, waiting, last=last)
        future = [int(value) for value in events.event[admitted.future]]
        if len(admitted.held):
            self._held = events.take(admitted.held), sketches.take(admitted.held)
        if not np.array_equal(admitted.order, np.arange(len(events))):
            events, sketches = events.take(admitted.order), sketches.take(admitted.order)
        observed = self._fold(events, sketches)
        observed.duplicate, observed.late, observed.future = admitted.duplicate, admitted.late, future
        self._sweep()
        return observed

    def finish(self) -> Observed:
        """Nothing follows for now: admit what waits."""
        return self.process(EventBatch.empty(), Sketches.empty(), last=True)

    def know(self, cluster_id: str, value: bytes) -> list[str]:
        """Take what Campaigns publishes of a campaign, nothing where it is over; gives accounts to clear.

        Raises:
            WireError: the record cannot be read.
        """
        return self.joiners.know(cluster_id, value, self.admission.newest_ms)

    def order(self, key: str, value: bytes) -> list[str]:
        """Take a record of the labels topic; gives accounts to clear."""
        if self.rules is None:
            return []
        self.rules.order(key, value)
        return self.joiners.follow_labels(self.admission.newest_ms)

    def _fold(self, events: EventBatch, sketches: Sketches) -> Observed:
        accepted = len(events)
        if self.rules is not None:
            left_out = self.rules.orders.left_out(events)
            if left_out.any():
                rest = np.flatnonzero(~left_out)
                events, sketches = events.take(rest), sketches.take(rest)
        rows = np.zeros(len(events), SIGHTING)
        facts = np.zeros(len(events), FACTS)
        for name in ("ts", "account", "conversation", "network", "created", "turn", "status", "refused", "tools"):
            facts[name] = getattr(events, name)
        facts["prompt"], facts["reasoning"] = sketches.digest, sketches.reasoning
        facts["short"] = sketches.tokens < SHORT_TOKENS
        for name in ("ts", "event", "account", "customer", "network", "api_key"):
            rows[name] = getattr(events, name)
        rows["at"] = events.ts
        rows["prompt"], rows["tokens"] = sketches.digest, sketches.tokens
        rows["model"] = events.model & np.uint64(0xFFFFFFFF)
        self.accounts.reserve(len(events))
        table = self.accounts
        limits, limits_of = UNLIMITED, np.zeros(len(events), np.int64)
        if self.rules is not None:
            facts["limits"] = limits_of = self.rules.rows_of(events)
            limits = self.rules.limits
        marks, records, first_seen = update_accounts(facts, table.records, table.index, table.count, rows, limits)
        if self._touched is not None:
            self._touched.add(records)
        decisions = self.rules.decide(events.account_id, marks, rows, limits_of) if self.rules else Decisions()
        told = np.flatnonzero(marks & (NEW | RENEWED | BUSY))
        busy = (marks[told] & BUSY) != 0
        seen = SightingBatch(rows, sketches.keys, sketches.key_offsets)
        retries = (marks & RETRY) != 0
        if self.joiners.known:
            decisions.early = self.joiners.fold(seen, ~retries, first_seen, events.account_id)
        seen = seen.take(np.flatnonzero(~retries)) if retries.any() else seen
        profiles, names = _profiles(events, told), events.account_id.take(told)
        profiles[busy] = _with_day(profiles[busy], rows[told[busy]], first_seen[told[busy]])
        return Observed(seen, profiles, names, accepted=accepted, decisions=decisions)

    def _sweep(self) -> None:
        """Forget accounts idle for a week, a few times a day of event time."""
        now = self.admission.newest_ms
        if now == UNSET or now - self._swept_ms < SWEEP_MS:
            return
        self._swept_ms = now
        stale = self.accounts.rows["last_ts"] < self.watermark_ms - IDLE_MS  # whatever comes finds them idle
        if stale.any():
            self.accounts.keep(~stale)
            self._slices.renew()
            if self._touched is not None:
                self._touched.clear()
        self.joiners.sweep(self.watermark_ms)

    def snapshot(self) -> bytes:
        """The whole state, canonical: equal states give equal bytes."""
        rows = self.accounts.rows
        return self._packed({"records": rows[np.argsort(rows["key"])].view(np.uint8)}, {})

    def restore(self, data: bytes) -> None:
        """Take over a snapshot; raises WireError where it cannot be read."""
        meta, arrays = unpack(data, "observe", 1)
        self._load(meta, arrays, arrays["records"].view(ACCOUNT))

    def cut(self) -> Cut:
        """The whole state, the accounts in parts: a request touches one of them."""
        used, fresh = range(len(self.accounts)), dict[str, bytes]()
        if self._touched is None:
            self._touched = Touched()
            self._slices.renew()
        self._slices.cut(self._touched.take(), used, lambda places: self.accounts.records[places], fresh)
        return Cut(self._packed({}, {"accounts": len(used)}), self._slices.names, fresh)

    def join(self, rest: bytes, parts: Mapping[str, bytes]) -> None:
        """Take over what ``cut`` gave; raises WireError where it cannot be read."""
        meta, arrays = unpack(rest, "observe", 1)
        self._load(meta, arrays, self._slices.join(parts, range(meta["accounts"])))
        self._touched = Touched()

    def _packed(self, arrays: dict[str, npt.NDArray[Any]], counts: dict[str, int]) -> bytes:
        clock, seen = self.admission.snapshot()
        held_events, held_sketches = self._held or (EventBatch.empty(), Sketches.empty().narrow())
        arrays = {"seen": seen.view(np.uint8)} | arrays
        arrays |= held_events.arrays("event.") | held_sketches.arrays("sketch.")
        rules = self.rules.snapshot() if self.rules else {}
        known, arrays["joins"] = self.joiners.snapshot()
        meta = {"clock": clock, "swept_ms": self._swept_ms, "rules": rules, "known": known, **counts}
        return pack("observe", 1, meta, arrays)

    def _load(self, meta: dict[str, Any], arrays: dict[str, npt.NDArray[Any]], accounts: npt.NDArray[Any]) -> None:
        self.admission.restore(meta["clock"], arrays["seen"].view(_seen_dtype(self.admission)))
        self.accounts.load(accounts)
        self._swept_ms = meta["swept_ms"]
        rules = meta["rules"]
        if self.rules is not None:
            self.rules.restore(rules)
        self.joiners.restore(meta["known"], arrays["joins"], self.admission.newest_ms)
        events, sketches = EventBatch.from_arrays(arrays, "event."), Sketches.from_arrays(arrays, "sketch.").narrow()
        self._held = (events, sketches) if len(events) else None


def _seen_dtype(admission: Admission) -> np.dtype[np.void]:
    return admission.seen.records.dtype


def _profiles(events: EventBatch, rows: npt.NDArray[np.integer]) -> npt.NDArray[np.void]:
    """The profile records of the accounts that are told of at ``rows``."""
    profiles = np.zeros(len(rows), PROFILE)
    profiles["key"] = events.account[rows]
    for name in ("ts", "customer", "payment", "client", "network", "email_domain", "created"):
        profiles[name] = getattr(events, name)[rows]
    return profiles


def _with_day(
    profiles: npt.NDArray[np.void], rows: npt.NDArray[np.void], first_seen: npt.NDArray[np.int64]
) -> npt.NDArray[np.void]:
    """``profiles`` with what the accounts' last 24 hours were like at their sightings ``rows``."""
    profiles["told_at"], profiles["requests"] = rows["ts"], rows["requests_24h"]
    profiles["follow_ups"], profiles["hours"] = rows["follow_ups_24h"], rows["hours_24h"]
    profiles["spent_min"] = np.clip(rows["ts"] - first_seen, 0, DAY_MS) // 60_000
    return profiles
