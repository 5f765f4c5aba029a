"""Operators: whether the accounts of one cluster are run by two hands, by what else they share.

What lives here: telling apart accounts that work through one list of templates but are set up in two ways: some on a
few payment methods, others on a few networks, and none on both. What does not: accounts with lists of their own
(``communities``). One operator's accounts share the attributes independently of one another, so that two kinds of
sharing which avoid each other prove two operators; where nothing is shared nothing is proven.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import numpy.typing as npt

from models.directory import Directory

KINDS = ("payment", "network", "client", "email_domain")
ACCOUNTS_MIN = 12  # of each operator
EXPECTED_MIN = 8.0  # accounts that would share both by chance, below which nothing is proven
AVOIDED = 0.1  # of them that may
OWN_PART = 0.5  # of the fleet's accounts with a value that must be in the cluster: others share it for other reasons

Bools = npt.NDArray[np.bool_]


def _sharing(directory: Directory, places: npt.NDArray[np.int64], kind: str) -> Bools:
    """Which accounts have a value of ``kind`` in common with others of the cluster and few outside it."""
    values = np.where(places >= 0, directory.profiles.records[kind][np.maximum(places, 0)], 0)
    known, of_account, counts = np.unique(values, return_inverse=True, return_counts=True)
    own = (counts >= 2) & (known != 0) & (counts >= OWN_PART * directory.popularity(kind, known))
    shared: Bools = own[of_account]
    return shared


def told_apart(directory: Directory, accounts: npt.NDArray[np.uint64], core: Bools) -> Bools:
    """Which of ``accounts`` belong to the second of two operators; none where two are not proven.

    ``core`` marks the accounts that count as proof. Those that share neither way stay with the larger operator.
    """
    places = directory.rows(accounts)
    ways = [_sharing(directory, places, kind) for kind in KINDS]
    size = int(core.sum())
    second, least = np.zeros(len(accounts), np.bool_), AVOIDED
    for one, other in combinations(ways, 2):
        first, last = int((one & core).sum()), int((other & core).sum())
        expected = first * last / max(size, 1)
        if min(first, last) < ACCOUNTS_MIN or expected < EXPECTED_MIN:
            continue
        avoided = float((one & other & core).sum()) / expected
        if avoided <= least:
            least, smaller, larger = avoided, *((one, other) if first < last else (other, one))
            second = smaller & ~larger
    return second
