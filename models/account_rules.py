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
from models.hashing import KeyedHash
from models.orders import Orders, Profile
from models.rules import AccountRule, RuleId, Rules
from models.strings import Strings

RULE_OF_MARK: dict[int, RuleId] = {
    FIREHOSE: "account_volume",
    REASONING_VOLUME: "account_reasoning",
    MANY_NETWORKS: "account_networks",
}
UNLIMITED: npt.NDArray[np.int64] = np.full((1, 4), 1 << 40, np.int64)
"""Limits that nothing reaches, as the compiled pass reads them: requests, reasoning, its percent, network buckets."""


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
        self._orgs: npt.NDArray[np.uint64] = np.zeros(0, np.uint64)
        self.use(rules or Rules())

    def use(self, rules: Rules) -> None:
        """Take other rules; what accounts have done so far is judged by them at their next request."""
        self.rules = rules
        base = (rules.account_volume.limit, rules.account_reasoning.limit, rules.account_networks.limit)
        hashes = self._columns.hashes("org_id", Strings.of([item.org for item in rules.orgs]))
        rows = [base]
        for at in np.argsort(hashes):
            item = rules.orgs[int(at)]
            own = (item.account_volume, item.account_reasoning, item.account_networks)
            rows.append((own[0] or base[0], own[1] or base[1], own[2] or base[2]))
        percent = rules.account_reasoning.percent
        self._profiles = self.orders.profiles()
        rows += [
            (
                one.limits.requests_24h or base[0],
                one.limits.reasoning_24h or base[1],
                one.limits.networks_day or base[2],
            )
            for one in self._profiles
        ]
        self.limits = np.array([(volume, asked, percent, buckets) for volume, asked, buckets in rows], np.int64)
        self._orgs = np.sort(hashes)

    def order(self, key: str, value: bytes) -> None:
        """Take a record of the labels topic."""
        self.orders.take(key, value)
        self.use(self.rules)

    def rows_of(
        self, accounts: npt.NDArray[np.uint64], customers: npt.NDArray[np.uint64], ts: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.int64]:
        """The row of ``limits`` for each request: of its account's or organisation's profile, else the rules' own."""
        rows = np.zeros(len(customers), np.int64)
        if len(self._orgs):
            at = np.searchsorted(self._orgs, customers)
            found = self._orgs[np.minimum(at, len(self._orgs) - 1)] == customers
            rows = np.where(found, at + 1, 0)
        for number, profile in enumerate(self._profiles, start=1 + len(self._orgs)):
            values = accounts if profile.field == "account_id" else customers
            rows[(values == profile.value) & (ts < profile.until_ms)] = number
        return rows

    def snapshot(self) -> dict[str, Any]:
        """What labels have changed, as plain values; rules come from their host."""
        return self.orders.snapshot()

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what ``snapshot`` gave."""
        self.orders.restore(state)
        self.use(self.rules)

    def decide(self, ids: Strings, marks: npt.NDArray[np.uint8], rows: npt.NDArray[Any]) -> Decisions:
        """The alerts of a batch of sightings with their accounts' ids and marks."""
        decisions = Decisions()
        tripped = np.flatnonzero(marks >= FIREHOSE)
        tripped = tripped[~self._allowed(rows[tripped])]
        mine = rows[tripped]
        where = self.rows_of(mine["account"], mine["customer"], mine["ts"])
        for row, limits in zip(tripped, self.limits[where], strict=True):
            for mark, name in RULE_OF_MARK.items():
                if marks[row] & mark and self.rules.mode_of(name, self._ceiling) != "off":
                    self._add(decisions, ids[int(row)], rows[row], (name, _evidence(mark, rows[row], limits)))
        return decisions

    def _allowed(self, rows: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Which rows are of accounts on the allowlist, each at its own time."""
        allowed = np.zeros(len(rows), np.bool_)
        for at in range(len(rows)):
            row = rows[at : at + 1]
            facts = row["account"], row["customer"], int(row["ts"][0])
            allowed[at] = self.orders.allowed(*facts)[0]
            self.orders.count(*facts)
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


def _evidence(mark: int, row: Any, limits: npt.NDArray[np.int64]) -> Evidence:
    """The one piece of evidence of a crossed limit."""
    requests, (volume, asked, percent, buckets) = int(row["requests_24h"]), (int(limit) for limit in limits)
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
