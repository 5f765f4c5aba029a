"""Account rules: what one account can show alone, whatever others do.

What lives here: where limits lie for whom, and the alerts they give. What does not: counting (``accounts``) and the
numbers (``rules``). An account trips each rule at most once a day of event time.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from models.accounts import DAY_MS, FIREHOSE, MANY_NETWORKS, NETWORK_BUCKETS, REASONING_VOLUME
from models.alert import Alert, Evidence, Mode, Signal
from models.announce import ATLAS, Decisions
from models.columns import EventColumns
from models.event import EventBatch
from models.hashing import KeyedHash
from models.labels import Limits
from models.orders import Orders, Profile
from models.rules import AccountRule, PlanLimits, RuleId, Rules
from models.strings import Strings

RULE_OF_MARK: dict[int, RuleId] = {
    FIREHOSE: "account_volume",
    REASONING_VOLUME: "account_reasoning",
    MANY_NETWORKS: "account_networks",
}
UNLIMITED: npt.NDArray[np.int64] = np.array([[1 << 40] * 4 + [0]], np.int64)
"""Limits that nothing reaches, as the compiled pass reads them: requests, reasoning, its percent, network buckets, and
the percent of its own busiest day that an account may reach beyond its requests (0: its history counts for nothing)."""


class AccountRules:
    """Turns crossed limits into alerts, and into signals where the mode says so."""

    def __init__(
        self,
        keyed_hash: KeyedHash,
        *,
        tenant: str = "default",
        mode: Mode = "enforce",
        rules: Rules | None = None,
    ) -> None:
        self._hash = keyed_hash.derive(b"account-rule")
        self._columns = EventColumns(keyed_hash)
        self._tenant = tenant
        self._ceiling = mode  # of the host; the rules may say less
        self.orders = Orders(keyed_hash)
        self.rules = Rules()
        self.limits = UNLIMITED
        self._profiles: list[Profile] = []
        self._listed: dict[str, npt.NDArray[np.uint64]] = {}  # hashes of plans and organisations with limits, ascending
        self._first: dict[str, int] = {}  # row of ``limits`` of the first of each
        self.use(rules or Rules())

    def use(self, rules: Rules) -> None:
        """Take other rules; what accounts have done so far is judged by them at their next request."""
        self.rules = rules
        base = (rules.account_volume.limit, rules.account_reasoning.limit, rules.account_networks.limit)
        self._profiles = self.orders.profiles()
        found = [(*base, 0)]
        for field, items in (("plan", rules.plans), ("org_id", rules.orgs)):
            names = [item.plan if isinstance(item, PlanLimits) else item.org for item in items]
            hashes = self._columns.hashes(field, Strings.of(names))
            self._first[field], self._listed[field] = len(found), np.sort(hashes)
            for at in np.argsort(hashes):
                item = items[int(at)]
                own = (item.account_volume, item.account_reasoning, item.account_networks)
                found.append((own[0] or base[0], own[1] or base[1], own[2] or base[2], 0))
        self._first["profile"] = len(found)
        found += [_own(profile.limits, base) for profile in self._profiles]
        percent = rules.account_reasoning.percent
        self.limits = np.array([(volume, asked, percent, nets, own) for volume, asked, nets, own in found], np.int64)

    def order(self, key: str, value: bytes) -> None:
        """Take a record of the labels topic."""
        self.orders.take(key, value)
        self.use(self.rules)

    def rows_of(self, events: EventBatch) -> npt.NDArray[np.int64]:
        """The row of ``limits`` for each request: of a profile, else of its organisation, else of its plan."""
        rows = np.zeros(len(events), np.int64)
        for field, values in (("plan", events.plan), ("org_id", events.customer)):
            listed = self._listed[field]
            if len(listed):
                at = np.searchsorted(listed, values)
                found = listed[np.minimum(at, len(listed) - 1)] == values
                rows = np.where(found, at + self._first[field], rows)
        for number, profile in enumerate(self._profiles, start=self._first["profile"]):
            values = events.account if profile.field == "account_id" else events.customer
            rows[(values == profile.value) & (events.ts < profile.until_ms)] = number
        return rows

    def snapshot(self) -> dict[str, Any]:
        """What labels have changed, as plain values; rules come from their host."""
        return self.orders.snapshot()

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what ``snapshot`` gave."""
        self.orders.restore(state)
        self.use(self.rules)

    def decide(
        self, ids: Strings, marks: npt.NDArray[np.uint8], rows: npt.NDArray[Any], limits_of: npt.NDArray[np.int64]
    ) -> Decisions:
        """The alerts of a batch of sightings with their accounts' ids, marks and rows of ``limits``."""
        decisions = Decisions()
        tripped = np.flatnonzero(marks & (FIREHOSE | REASONING_VOLUME | MANY_NETWORKS))
        tripped = tripped[~self._allowed(rows[tripped])]
        for row, limits in zip(tripped, self.limits[limits_of[tripped]], strict=True):
            for mark, name in RULE_OF_MARK.items():
                if marks[row] & mark and self.rules.mode_of(name, self._ceiling) != "off":
                    self._add(decisions, ids[int(row)], rows[row], (name, _evidence(mark, rows[row], limits)))
        return decisions

    def _allowed(self, rows: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Which rows are of accounts on the allowlist, each at its own time."""
        allowed = np.zeros(len(rows), np.bool_)
        for at in range(len(rows)):
            row = rows[at : at + 1]
            now_ms = int(row["ts"][0])
            allowed[at] = self.orders.allowed_rows(row, now_ms)[0]
            self.orders.count(row, now_ms)
        return allowed

    def _add(self, decisions: Decisions, account_id: str, row: Any, reading: tuple[RuleId, Evidence]) -> None:
        name, evidence = reading
        rule, mode = self.rules.rule(name), self.rules.mode_of(name, self._ceiling)
        assert isinstance(rule, AccountRule)  # noqa: S101  the three names of this module are
        ts = int(row["ts"])
        alert_id = "a-" + self._hash.digest(self._hash.text(f"{name} {account_id} {ts // DAY_MS}"), "alert")
        decisions.alerts.append(
            Alert(
                alert_id=alert_id,
                dedup_key=f"distilwatch:{self._tenant}:{name}:{account_id}:{ts // DAY_MS}",
                status="open",
                severity=rule.severity,
                mode=mode,
                rule=name,
                rule_version=self.rules.label,
                account_id=account_id,
                ts=ts,
                first_seen=ts - DAY_MS,
                last_seen=ts,
                score=evidence.weight,
                accounts=1,
                requests=int(row["requests_24h"]),
                window="24h",
                members_sample=[account_id],
                evidence=[evidence],
                counter_evidence=[],
                templates=[],
                attributes=[],
                atlas=ATLAS[:1],
                summary=evidence.text,
                runbook_url=f"docs/runbook.md#{name.replace('_', '-')}",
            )
        )
        if mode == "enforce":
            signal = Signal(
                account_id=account_id,
                cluster_id=None,
                action="throttle",
                multiplier=rule.multiplier,
                score=evidence.weight,
                rule=name,
                alert_id=alert_id,
                mode=mode,
                ts=ts,
                expires=ts + rule.signal_ms,
                seq=ts,
            )
            decisions.signals.append((account_id, signal))


def _own(limits: Limits, base: tuple[int, int, int]) -> tuple[int, int, int, int]:
    """The limits of a known bulk user: those it was given, else everybody's."""
    percent = round(100 * limits.requests_times) if limits.requests_times else 0
    return (
        limits.requests_24h or base[0],
        limits.reasoning_24h or base[1],
        limits.networks_day or base[2],
        percent,
    )


def _evidence(mark: int, row: Any, limits: npt.NDArray[np.int64]) -> Evidence:
    """The one piece of evidence of a crossed limit."""
    requests, (volume, asked, percent, buckets, own) = int(row["requests_24h"]), (int(limit) for limit in limits)
    if mark == FIREHOSE and own and requests > volume:
        # It trips with the first request at its limit, so that the limit, and what that is a multiple of, follow.
        text = f"The account sent {requests:,} requests in 24 hours, "
        text += f"at least {own / 100:g} times the busiest day of its week."
        return Evidence("requests_24h", requests, 100 * requests // own, "requests", 1.0, text)
    if mark == FIREHOSE:
        text = f"The account sent {requests:,} requests in 24 hours."
        return Evidence("requests_24h", requests, volume, "requests", 1.0, text)
    if mark == REASONING_VOLUME:
        # The limit, not the count: that is known for the end of a batch, and batches must not show in alerts.
        text = f"{asked:,} or more of the account's requests in 24 hours, at least {percent} %, ask for reasoning."
        return Evidence("reasoning_24h", asked, asked, "requests", 1.0, text)
    networks = round(
        math.log1p(-min(buckets, NETWORK_BUCKETS - 1) / NETWORK_BUCKETS) / math.log1p(-1 / NETWORK_BUCKETS), -1
    )
    text = f"The account's requests of one day came from about {networks} different networks or more."
    return Evidence("networks_day", buckets, 5.0, "hash buckets of 61", 1.0, text)
