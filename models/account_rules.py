"""Account rules: what one account can show alone, whatever others do.

What lives here: the limits and the alerts they give. What does not: counting (``accounts``). In mode ``alert``, the
default, an account rule tells people and not the limiter: volume is what a limiter sees by itself, and a large honest
customer looks the same. An account trips each rule at most once a day of event time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from models.accounts import DAY_MS, FIREHOSE, MANY_NETWORKS, REASONING_VOLUME
from models.alert import Alert, Evidence, Mode, Severity, Signal
from models.announce import ATLAS, Decisions
from models.hashing import KeyedHash
from models.strings import Strings

VERSION = "1"
SIGNAL_MS = 6 * 3_600_000


@dataclass(frozen=True, slots=True)
class AccountLimits:
    """Where each rule trips; networks are hash buckets of 61, so 50 of them are about 100 networks in a day."""

    requests_24h: int = 50_000
    reasoning_24h: int = 500
    reasoning_percent: int = 80
    network_buckets: int = 50

    def array(self) -> npt.NDArray[np.int64]:
        """The limits as the compiled pass reads them."""
        return np.array([self.requests_24h, self.reasoning_24h, self.reasoning_percent, self.network_buckets], np.int64)


def mode_under(mode: Mode) -> Mode:
    """The mode of account rules under that of the host: they never go further than to tell people."""
    return "alert" if mode == "enforce" else mode


class AccountRules:
    """Turns crossed limits into alerts, and into signals where the mode says so."""

    def __init__(
        self,
        keyed_hash: KeyedHash,
        *,
        tenant: str = "default",
        mode: Mode = "alert",
        limits: AccountLimits | None = None,
    ) -> None:
        self._hash = keyed_hash.derive(b"account-rule")
        self._tenant = tenant
        self._mode = mode
        self.limits = limits or AccountLimits()

    def decide(self, ids: Strings, marks: npt.NDArray[np.uint8], rows: npt.NDArray[Any]) -> Decisions:
        """The alerts of a batch of sightings with their accounts' ids and marks."""
        decisions = Decisions()
        if self._mode == "off":
            return decisions
        for row in np.flatnonzero(marks >= FIREHOSE):
            for mark in (FIREHOSE, REASONING_VOLUME, MANY_NETWORKS):
                if marks[row] & mark:
                    self._add(decisions, ids[int(row)], rows[row], self._reading(mark, rows[row]))
        return decisions

    def _reading(self, mark: int, row: Any) -> tuple[str, Severity, Evidence]:
        """The rule's name, its severity and its one piece of evidence."""
        requests = int(row["requests_24h"])
        if mark == FIREHOSE:
            text = f"The account sent {requests:,} requests in 24 hours."
            return (
                "account_volume",
                "low",
                Evidence("requests_24h", requests, self.limits.requests_24h, "requests", 1.0, text),
            )
        if mark == REASONING_VOLUME:
            # The limit, not the count: that is known for the end of a batch, and batches must not show in alerts.
            asked, percent = self.limits.reasoning_24h, self.limits.reasoning_percent
            text = f"{asked:,} or more of the account's requests in 24 hours, at least {percent} %, ask for reasoning."
            evidence = Evidence("reasoning_24h", asked, asked, "requests", 1.0, text)
            return "account_reasoning", "medium", evidence
        text = "The account's requests of one day came from about a hundred different networks or more."
        evidence = Evidence("networks_day", self.limits.network_buckets, 5.0, "hash buckets of 61", 1.0, text)
        return "account_networks", "low", evidence

    def _add(self, decisions: Decisions, account_id: str, row: Any, reading: tuple[str, Severity, Evidence]) -> None:
        rule, severity, evidence = reading
        ts = int(row["ts"])
        alert_id = "a-" + self._hash.digest(self._hash.text(f"{rule} {account_id} {ts // DAY_MS}"), "alert")
        decisions.alerts.append(
            Alert(
                alert_id=alert_id,
                dedup_key=f"distilwatch:{self._tenant}:{rule}:{account_id}:{ts // DAY_MS}",
                status="open",
                severity=severity,
                mode=self._mode,
                rule=rule,
                rule_version=VERSION,
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
                runbook_url=f"docs/runbook.md#{rule.replace('_', '-')}",
            )
        )
        if self._mode == "enforce":
            signal = Signal(
                account_id=account_id,
                cluster_id=None,
                action="throttle",
                multiplier=0.5,
                score=evidence.weight,
                rule=rule,
                alert_id=alert_id,
                mode=self._mode,
                ts=ts,
                expires=ts + SIGNAL_MS,
                seq=ts,
            )
            decisions.signals.append((account_id, signal))
