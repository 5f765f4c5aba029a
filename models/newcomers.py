"""Newcomers: accounts that begin with a campaign which is known already, as the pool after a ban does.

What lives here: noticing them as they come, telling them from those who were there before, and how much they have had
time for. What does not: the verdict and naming, which still take an account's own repeated requests (``verdict``).
Time to notice is a matter of seconds because the templates are known; nothing has to be found a second time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from models.clusters import Candidate
from models.compiled import jit
from models.directory import Directory
from models.sighting import SightingBatch
from models.table import Index, find, new_index, rebuilt

ARRIVALS_MIN = 16  # requests of accounts new to the watch under a known campaign's templates: worth a look at once
POOL_MIN = 12  # customers; fewer are no pool
BEGAN_MS = 3_600_000  # an account began with a known campaign if it first appeared at most this long before
LIKE_CORE = 0.8  # of the core's median share of its own requests: a pool is used as the one before it
KEYS_MIN = 2  # known template keys in one request; one is a phrase

Keys = npt.NDArray[np.uint64]
History = tuple[Directory, int]
"""Who the accounts are, and when the last evaluation was: whoever first appeared after it may not be listed yet."""


@jit
def _arriving(
    accounts: Keys,
    batch: tuple[Keys, npt.NDArray[np.int64], int],
    watched: tuple[Index, Keys],
    known: tuple[Index, Any, int],
    wanted: int,
) -> tuple[int, int]:
    """Arrivals from the first row of ``batch`` (keys, offsets, first) on, and the row with which ``wanted`` came."""
    hashes, offsets, first = batch
    count = 0
    for at in range(first, accounts.shape[0]):
        carried = 0
        for place in range(offsets[at], offsets[at + 1]):
            carried += find(watched[0], watched[1], hashes[place]) >= 0
            if carried == KEYS_MIN:
                break
        if carried < KEYS_MIN:
            continue
        place = find(known[0], known[1]["key"], accounts[at])
        if place < 0 or known[1][place]["ts"] >= known[2]:
            count += 1
            if count == wanted:
                return count, at
    return count, -1


class Lookout:
    """Counts requests under known templates by accounts that the last evaluation did not know."""

    def __init__(self) -> None:
        self.count = 0
        self.wanted = ARRIVALS_MIN
        self._watched_ms = 0
        self._keys: Keys = np.zeros(0, np.uint64)
        self._index = new_index(0)

    def watch(self, known_keys: Callable[[int], Iterable[int]], now_ms: int) -> None:
        """Begin anew after an evaluation with the keys known then.

        Twice as many are wanted then as came: a pool of thousands is not looked at for each dozen.
        """
        self.wanted = max(ARRIVALS_MIN, 2 * self.count)
        self.count = 0
        self.know(known_keys(now_ms))
        self._watched_ms = now_ms

    def know(self, keys: Iterable[int]) -> None:
        """The template keys of known campaigns."""
        self._keys = np.array(sorted(set(keys)), np.uint64)
        self._index = rebuilt(self._keys, len(self._keys), len(self._keys))

    def snapshot(self) -> list[int]:
        """What ``restore`` needs beside the known keys."""
        return [self.count, self.wanted, self._watched_ms]

    def restore(self, kept: list[int], known_keys: Callable[[int], Iterable[int]]) -> None:
        """Take over what ``snapshot`` gave."""
        self.count, self.wanted, self._watched_ms = kept
        self.know(known_keys(self._watched_ms))

    def take(self, batch: SightingBatch, history: History) -> None:
        """Count the arrivals of a batch."""
        self.count += self._scan(batch, 0, history, 1 << 62)[0]

    def due(self, batch: SightingBatch, first: int, history: History) -> int:
        """The row from ``first`` on with which enough have arrived, or -1."""
        return self._scan(batch, first, history, max(self.wanted - self.count, 1))[1]

    def _scan(self, batch: SightingBatch, first: int, history: History, wanted: int) -> tuple[int, int]:
        if not len(self._keys) or first >= len(batch):
            return 0, -1
        accounts = np.ascontiguousarray(batch.rows["account"])
        profiles, since_ms = history[0].profiles, history[1]
        known = (profiles.index, profiles.records, since_ms)
        count, at = _arriving(accounts, (batch.keys, batch.offsets, first), (self._index, self._keys), known, wanted)
        return int(count), int(at)


def find_newcomers(
    rows: npt.NDArray[Any], candidate: Candidate, directory: Directory, opened_ms: int
) -> npt.NDArray[np.bool_]:
    """Which accounts of a campaign known since ``opened_ms`` first appeared after that, with its templates.

    They give it as much of what they send as its core does; fewer than a pool's customers are nobody.
    """
    seen = directory.first_seen(candidate.account)
    began = _began_ms(rows, candidate)
    usual = float(np.median(candidate.share[candidate.core])) if candidate.core.any() else 1.0
    came = (seen > opened_ms) & (began - seen <= BEGAN_MS) & (candidate.share >= LIKE_CORE * usual)
    if len(np.unique(directory.customers(candidate.account[came]))) < POOL_MIN:
        return np.zeros(len(came), np.bool_)
    return came


def had_time(
    rows: npt.NDArray[Any], candidate: Candidate, newcomers: npt.NDArray[np.bool_], now_ms: int
) -> npt.NDArray[np.float64]:
    """The part of the core's time with the campaign that each account has had; 1 for all but newcomers."""
    part = np.ones(len(candidate.account))
    if newcomers.any() and candidate.core.any():
        spent_ms = _spent_ms(rows, candidate, now_ms)
        part[newcomers] = np.clip(spent_ms[newcomers] / usual_ms(rows, candidate, now_ms), 0.0, 1.0)
    return part


def usual_ms(rows: npt.NDArray[Any], candidate: Candidate, now_ms: int) -> float:
    """How long half of the core has been with the campaign, in the window."""
    return max(float(np.median(_spent_ms(rows, candidate, now_ms)[candidate.core])), 1.0)


def _spent_ms(rows: npt.NDArray[Any], candidate: Candidate, now_ms: int) -> npt.NDArray[np.float64]:
    spent: npt.NDArray[np.float64] = now_ms - _began_ms(rows, candidate).astype(np.float64)
    return spent


def _began_ms(rows: npt.NDArray[Any], candidate: Candidate) -> npt.NDArray[np.int64]:
    """When each account first sent one of the covered requests."""
    began: npt.NDArray[np.int64] = rows["ts"][candidate.rows[candidate.starts[:-1]]]
    return began
