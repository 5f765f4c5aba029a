"""Four simpler detectors on the same events: what a team would try first.

Per-account limit; accounts per network; union over payment and network; clusters of near-duplicate whole prompts by
MinHash bands. Each names accounts once, at the end of the run, which flatters them: no delay is charged.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from models.event import EventBatch
from models.sketch import Sketches

DAILY_LIMIT = 500
NETWORK_ACCOUNTS = 20
COMPONENT_ACCOUNTS = 12
DAY_MS = 86_400_000

Int64 = npt.NDArray[np.int64]
Pairs = npt.NDArray[np.uint64]


class Baselines:
    """Collects the columns the four need."""

    def __init__(self) -> None:
        self._day: list[Int64] = []
        self._network: list[Pairs] = []
        self._payment: list[Pairs] = []
        self._band: list[Pairs] = []

    def add(self, account: Int64, events: EventBatch, sketches: Sketches) -> None:
        """Take one batch; ``account`` is the row of each event's account."""
        who = account.astype(np.uint64)
        self._day.append(np.stack([account, events.ts // DAY_MS], axis=1))
        for kept, values in ((self._network, events.network), (self._payment, events.payment)):
            kept.append(np.unique(np.stack([who, values], axis=1)[values != 0], axis=0))
        bands = sketches.bands.ravel()
        owners = np.repeat(who, sketches.bands.shape[1])
        self._band.append(np.unique(np.stack([owners, bands], axis=1)[bands != 0], axis=0))

    def score(self, ids: list[str], members: set[str], sent: Int64) -> dict[str, tuple[float, float, float]]:
        """Recall, purity and false accounts per 100,000 of each; recall over members with three requests."""
        network, payment, band = (_gather(parts) for parts in (self._network, self._payment, self._band))
        flags = {
            "per-account limit": self._limit(len(ids)),
            "accounts per network": _fan_in(network, len(ids)),
            "payment/network union": _union([payment, network], len(ids)),
            "whole-prompt MinHash": _union([band], len(ids)),
        }
        true = np.fromiter((account in members for account in ids), np.bool_, len(ids))
        counted = true & (np.bincount(sent, minlength=len(ids)) >= 3)
        scores = {}
        for name, flagged in flags.items():
            recall = float(flagged[counted].mean()) if counted.any() else 0.0
            purity = float(true[flagged].mean()) if flagged.any() else 1.0
            scores[name] = (recall, purity, float(1e5 * flagged[~true].mean()))
        return scores

    def _limit(self, accounts: int) -> npt.NDArray[np.bool_]:
        days, counts = np.unique(np.concatenate(self._day), axis=0, return_counts=True)
        flagged = np.zeros(accounts, np.bool_)
        flagged[days[counts > DAILY_LIMIT, 0]] = True
        return flagged


def _gather(parts: list[Pairs]) -> Pairs:
    return np.unique(np.concatenate(parts), axis=0)


def _fan_in(pairs: Pairs, accounts: int) -> npt.NDArray[np.bool_]:
    _, value, counts = np.unique(pairs[:, 1], return_inverse=True, return_counts=True)
    flagged = np.zeros(accounts, np.bool_)
    flagged[pairs[counts[value] >= NETWORK_ACCOUNTS, 0].astype(np.int64)] = True
    return flagged


def _union(kinds: list[Pairs], accounts: int) -> npt.NDArray[np.bool_]:
    """Accounts in components of at least ``COMPONENT_ACCOUNTS`` when joined by every shared value."""
    rows, columns, size = [], [], accounts
    for pairs in kinds:
        values, value = np.unique(pairs[:, 1], return_inverse=True)
        rows.append(pairs[:, 0].astype(np.int64))
        columns.append(size + value)
        size += len(values)
    edges = (np.ones(sum(map(len, rows))), (np.concatenate(rows), np.concatenate(columns)))
    _, component = connected_components(coo_matrix(edges, shape=(size, size)), directed=False)
    counts = np.bincount(component[:accounts], minlength=size)
    large: npt.NDArray[np.bool_] = counts[component[:accounts]] >= COMPONENT_ACCOUNTS
    return large
