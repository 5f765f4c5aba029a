"""Operators: whether the accounts of one cluster are run by two hands, by what else they share.

What lives here: telling apart accounts that work through one list of templates but are set up in two ways: some on a
few payment methods, others on a few networks, and none on both. What does not: accounts with lists of their own
(``communities``). One operator's accounts share the attributes independently of one another, so that two kinds of
sharing which avoid each other prove two operators; where nothing is shared nothing is proven.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from models.compiled import jit
from models.directory import Directory
from models.grouping import first_place, slots_for
from models.table import Index, find

KINDS = ("payment", "network", "client", "email_domain")
ACCOUNTS_MIN = 12  # of each operator
EXPECTED_MIN = 8.0  # accounts that would share both by chance, below which nothing is proven
AVOIDED = 0.1  # of them that may
OWN_PART = 0.5  # of the fleet's accounts with a value that must be in the cluster: others share it for other reasons

Bools = npt.NDArray[np.bool_]


@jit
def _crowded(values: Any, places: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Which of ``places`` have a value that several have, and a few besides: most have one of their own.

    A byte for each slot that a value may fall into says so without comparing any.
    """
    size = 64
    while size < 4 * places.shape[0]:
        size *= 2
    seen = np.zeros(size, np.uint8)
    slots = np.zeros(places.shape[0], np.int64)
    for at in range(places.shape[0]):
        value = values[places[at]] if places[at] >= 0 else np.uint64(0)
        folded = np.int64((value ^ (value >> np.uint64(32))) & np.uint64(0x7FFFFFFF))
        slots[at] = (folded * 0x5BD1E995 >> 16) & (size - 1) if value != 0 else -1
        if slots[at] >= 0:
            seen[slots[at]] = min(seen[slots[at]] + 1, 2)
    found = np.empty(places.shape[0], np.int64)
    count = 0
    for at in range(places.shape[0]):
        if slots[at] >= 0 and seen[slots[at]] == 2:
            found[count] = at
            count += 1
    return found[:count]


@jit
def _own(values: Any, popular: tuple[Index, Any]) -> Bools:
    """Which values occur several times here, and not much more often in the fleet."""
    slots = slots_for(values.shape[0])
    owner = np.empty(values.shape[0], np.int64)
    counts = np.zeros(values.shape[0], np.int64)
    for at in range(values.shape[0]):
        owner[at] = first_place(slots, values, at)
        counts[owner[at]] += 1
    own = np.zeros(values.shape[0], np.bool_)
    for at in range(values.shape[0]):
        if owner[at] == at and counts[at] >= 2:
            known = find(popular[0], popular[1]["key"], values[at])
            own[at] = known < 0 or counts[at] >= OWN_PART * popular[1][known]["accounts"]
        own[at] = own[owner[at]]
    return own


def _sharing(directory: Directory, places: npt.NDArray[np.int64], kind: str) -> Bools:
    """Which accounts have a value of ``kind`` in common with others of the cluster and few outside it."""
    values = directory.profiles.records[kind]
    shared = np.zeros(len(places), np.bool_)
    crowded = _crowded(values, places)
    if len(crowded):
        popular = directory.popular(kind)
        shared[crowded] = _own(values[places[crowded]], (popular.index, popular.records))
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
