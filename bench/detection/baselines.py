"""Simpler detectors on the same events: what a team would try first, and what the literature offers.

What lives here: collecting what they need, their thresholds, their figures, and the four first tries: requests a day;
accounts behind one network (as public hunting queries count them); union over payments and networks (as Glasswally
does); clusters of near-duplicate whole prompts by MinHash bands. What does not: the published ones (``published``).

Each gives every account a score once, at the end of the run, which flatters it: no delay is charged. Its threshold is
the least that names one account in a thousand, or no window, of a calm run with another seed; beside that stands what
it would cost in honest accounts to name 90 % of the members, whatever the threshold.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from bench.detection.published import WindowTest, midas_f, synchrotrap
from models.event import EventBatch
from models.sketch import Sketches

FALSE_RATE = 1e-3
DAY_MS = 86_400_000

Int64 = npt.NDArray[np.int64]
Pairs = npt.NDArray[np.uint64]
Floats = npt.NDArray[np.float64]
Bounds = dict[str, float]
"""Threshold of each baseline by name."""
WINDOW_TEST = "MMD window test"


@dataclass(frozen=True, slots=True)
class Peer:
    """What one baseline reached: of members with three requests, of those named, of honest accounts.

    The window test names nobody: its recall is the share of windows flagged while a campaign runs, its purity the
    campaign's part of the events in them, and its false rate that of windows before.
    """

    recall: float
    purity: float
    false_per_100k: float
    false_at_90: float  # honest accounts in 100,000 that score as high as 90 % of the members do


class Baselines:
    """Collects the columns; ``accounts`` is how many there are."""

    def __init__(self, accounts: int) -> None:
        self._accounts = accounts
        self._account: list[Int64] = []
        self._ts: list[Int64] = []
        self._network: list[Pairs] = []
        self._payment: list[Pairs] = []
        self._bands: list[Pairs] = []
        self._keys: list[Pairs] = []
        self._widths: list[Int64] = []
        self._windows = WindowTest()

    def add(self, account: Int64, events: EventBatch, sketches: Sketches) -> None:
        """Take one batch; ``account`` is the row of each event's account."""
        if len(events) and not sketches.bands.any():
            raise ValueError("the baselines need sketches with signatures")
        who = account.astype(np.uint64)
        self._account.append(account)
        self._ts.append(events.ts)
        for kept, values in ((self._network, events.network), (self._payment, events.payment)):
            kept.append(np.unique(np.stack([who, values], axis=1)[values != 0], axis=0))
        self._bands.append(sketches.bands)
        self._keys.append(sketches.keys)
        self._widths.append(np.diff(sketches.key_offsets))
        self._windows.add(account, events)

    def bounds(self) -> Bounds:
        """The threshold of each baseline, this run being calm."""
        found = {name: _threshold(scores) for name, scores in self._scores().items()}
        return found | {WINDOW_TEST: _threshold(self._windows.distances()[0])}

    def score(self, member: npt.NDArray[np.bool_], requests: Int64, bounds: Bounds) -> dict[str, Peer]:
        """The figures of each; ``member`` marks the accounts of campaigns."""
        counted = member & (requests >= 3)
        peers = {}
        for name, scores in self._scores().items():
            flagged = scores >= bounds[name]
            recall = float(flagged[counted].mean()) if counted.any() else 0.0
            purity = float(member[flagged].mean()) if flagged.any() else 1.0
            bar = float(np.quantile(scores[counted], 0.1)) if counted.any() else np.nan
            costs = float(1e5 * (scores[~member] >= bar).mean())
            peers[name] = Peer(recall, purity, float(1e5 * flagged[~member].mean()), costs)
        distance, part = self._windows.distances(member)
        flagged, running = distance >= bounds[WINDOW_TEST], part > 0
        peers[WINDOW_TEST] = Peer(
            float(flagged[running].mean()) if running.any() else 0.0,
            float(part[flagged].mean()) if flagged.any() else 1.0,
            float(1e5 * flagged[~running].mean()) if (~running).any() else 0.0,
            np.nan,
        )
        return peers

    def _scores(self) -> dict[str, Floats]:
        n = self._accounts
        account, ts = np.concatenate(self._account), np.concatenate(self._ts)
        network, payment = (np.unique(np.concatenate(parts), axis=0) for parts in (self._network, self._payment))
        keys, widths = np.concatenate(self._keys), np.concatenate(self._widths)
        return {
            "requests a day": _busiest_day(account, ts, n),
            "accounts per network": _fan_in(network, n),
            "payment/network union": _union([payment, network], n),
            "whole-prompt MinHash": _near_duplicates(account, np.concatenate(self._bands), n),
            "SynchroTrap-like": synchrotrap(account, ts, keys, widths, n),
            "MIDAS-F": midas_f(account, ts, keys, widths, n),
        }


def _threshold(scores: Floats) -> float:
    """The least value that at most ``FALSE_RATE`` of ``scores`` reach."""
    falling = np.sort(scores)[::-1]
    return float(np.nextafter(falling[int(FALSE_RATE * len(falling))], np.inf))


def _busiest_day(account: Int64, ts: Int64, accounts: int) -> Floats:
    days, counts = np.unique(np.stack([account, ts // DAY_MS], axis=1), axis=0, return_counts=True)
    most = np.zeros(accounts)
    np.maximum.at(most, days[:, 0], counts)
    return most


def _fan_in(pairs: Pairs, accounts: int) -> Floats:
    _, value, counts = np.unique(pairs[:, 1], return_inverse=True, return_counts=True)
    most = np.zeros(accounts)
    np.maximum.at(most, pairs[:, 0].astype(np.int64), counts[value])
    return most


def _union(kinds: list[Pairs], accounts: int) -> Floats:
    """Size of each account's component when all shared values join."""
    rows, columns, size = [], [], accounts
    for pairs in kinds:
        values, value = np.unique(pairs[:, 1], return_inverse=True)
        rows.append(pairs[:, 0].astype(np.int64))
        columns.append(size + value)
        size += len(values)
    component = _components(np.concatenate(rows), np.concatenate(columns), size)[:accounts]
    sizes: Floats = np.bincount(component).astype(np.float64)[component]
    return sizes


def _near_duplicates(account: Int64, bands: Pairs, accounts: int) -> Floats:
    """Accounts in the largest cluster of near-duplicate prompts that each account has a prompt in."""
    event = np.repeat(np.arange(len(bands)), bands.shape[1])
    values, value, counts = np.unique(bands.ravel(), return_inverse=True, return_counts=True)
    shared = (counts[value] > 1) & (bands.ravel() != 0)
    cluster = _components(event[shared], len(bands) + value[shared], len(bands) + len(values))[: len(bands)]
    pairs = np.unique(np.stack([cluster, account], axis=1), axis=0)
    sizes = np.bincount(pairs[:, 0])
    most = np.zeros(accounts)
    np.maximum.at(most, pairs[:, 1], sizes[pairs[:, 0]])
    return most


def _components(rows: Int64, columns: Int64, size: int) -> Int64:
    edges = coo_matrix((np.ones(len(rows), np.int8), (rows, columns)), shape=(size, size))
    found: Int64 = connected_components(edges, directed=False)[1].astype(np.int64)
    return found
