"""The swarm: new templates that new accounts bring, before any account has come round again.

What lives here: finding templates that were unknown when the watch had settled, whose users first appeared with them
and have used them once. A pool that deals its requests round robin over 25,000 accounts gives nobody a second request
for an hour, yet in minutes it fills a hundred new templates with accounts that nobody knew. What does not: naming
accounts, which still takes an account's own repeated requests (``verdict``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from models.compiled import jit
from models.directory import Directory
from models.templates import Templates

SETTLE_MS = 6 * 3_600_000
"""What is in use in the first six hours of the watch may have been so for months."""
ARRIVED_MS = 7_200_000
"""An account came with a template if it appeared at most this long before it turned hot: 200 accounts that work
through forty templates at one request an hour need an hour and a half to make one hot."""
FRESH_MIN = 0.8  # share of a template's requests from accounts that came with it
REPEATING_MAX = 0.4  # share of a template's requests from accounts that have come round again
COLLISIONS_MAX = 0.10  # share of prompts sent word for word by others: a rush of new people asks the same things
ACCOUNTS_MIN = 100  # of all such templates together
TEMPLATES_MIN = 3
MOMENTS = 4  # parts of the swarm's time, of as many requests each
OUT_OF_STEP = 4.0
"""Above this ratio of a template's chi-square over ``MOMENTS`` to its degrees of freedom it has a time of its own."""
APART = 0.05  # part of the greatest chi-square possible that is no difference, however many the requests
NEVER = (1 << 63) - 1


@dataclass(slots=True)
class Swarm:
    """Which templates are a swarm's, and which covered rows are by accounts that came with theirs."""

    templates: npt.NDArray[np.bool_]  # (t,)
    fresh: npt.NDArray[np.bool_]  # (n,)

    @classmethod
    def none(cls, rows: int, templates: int) -> Swarm:
        """No swarm."""
        return cls(np.zeros(templates, np.bool_), np.zeros(rows, np.bool_))


@jit
def known_since(row: Any, key_first_at: Any) -> Any:
    """Since when the shared text of a row is known, by its second oldest key: one old phrase says nothing."""
    lowest = second = np.int64(NEVER)
    for place in range(row["width"]):
        first = key_first_at[row["keys"][place]]
        second = min(second, max(first, lowest))
        lowest = min(first, lowest)
    return second


@jit
def _second_lowest(rows: Any, key_first_at: Any, picked: Any) -> Any:
    known = np.empty(picked.shape[0], np.int64)
    for at in range(picked.shape[0]):
        known[at] = known_since(rows[picked[at]], key_first_at)
    return known


def second_lowest(
    rows: npt.NDArray[Any], key_first_at: npt.NDArray[np.int64], picked: npt.NDArray[np.int64] | None = None
) -> npt.NDArray[np.int64]:
    """Since when the shared text of each of the ``picked`` rows (all without) is known, by its second oldest key.

    One old phrase says nothing.
    """
    known: npt.NDArray[np.int64] = _second_lowest(
        rows, key_first_at, np.arange(len(rows)) if picked is None else picked
    )
    return known


def _in_step(at: npt.NDArray[np.int64], used: npt.NDArray[Any], chosen: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Which templates are in use when the others are: a dispatcher deals all of its list, and each fashion has its day.

    Pearson's test of homogeneity, one template against the uses of all ``chosen``.
    """
    mine = chosen[used]
    at, used = at[mine], used[mine]
    if not len(at):
        return chosen
    moment = np.searchsorted(np.quantile(at, np.arange(1, MOMENTS) / MOMENTS), at, side="right")
    uses = np.bincount(used * MOMENTS + moment, minlength=len(chosen) * MOMENTS).reshape(-1, MOMENTS)
    total = uses.sum(axis=1)
    usual = np.outer(total, uses.sum(axis=0) / len(at))
    chi_square = ((uses - usual) ** 2 / np.where(usual > 0, usual, 1.0)).sum(axis=1)
    freedom = MOMENTS - 1
    step: npt.NDArray[np.bool_] = chi_square <= np.maximum(OUT_OF_STEP * freedom, freedom + APART * freedom * total)
    return step


History = tuple[Directory, npt.NDArray[np.int64], int]
"""Who the accounts are, when each key was first hot, and when the watch had settled."""


def find_swarm(
    rows: npt.NDArray[Any], templates: Templates, repeating: npt.NDArray[np.bool_], history: History
) -> Swarm:
    """The swarm among ``rows``, or none where it is too small to be one.

    ``repeating`` marks rows of accounts that have come round again: where they are many, the ordinary way to a cluster
    is open, and tells two operators apart that began together.
    """
    directory, key_first_at, settled_ms = history
    count = len(templates.requests)
    nothing = Swarm.none(len(rows), count)
    gathered = np.bincount(templates.of_row[templates.of_row >= 0], repeating[templates.of_row >= 0], count)
    single = gathered <= REPEATING_MAX * templates.requests
    possible = templates.gated & single & (templates.collisions <= COLLISIONS_MAX)
    inside = np.flatnonzero(templates.of_row >= 0)
    inside = inside[possible[templates.of_row[inside]]]
    if not len(inside):
        return nothing
    used = templates.of_row[inside]
    known = second_lowest(rows, key_first_at, inside)
    new = known >= settled_ms  # single rows may hold old phrases beside the template's own
    inside, used, known = inside[new], used[new], known[new]
    since = np.full(count, NEVER)
    np.minimum.at(since, used, known)
    fresh = directory.first_seen(rows["account"][inside]) >= since[used] - ARRIVED_MS
    part = np.bincount(used, weights=fresh, minlength=count) / np.maximum(templates.requests, 1)
    chosen = possible & (part >= FRESH_MIN)
    chosen &= _in_step(rows["ts"][inside], used, chosen)
    mine = chosen[used] & fresh
    if chosen.sum() < TEMPLATES_MIN or len(np.unique(rows["customer"][inside[mine]])) < ACCOUNTS_MIN:
        return nothing
    nothing.templates[:] = chosen
    nothing.fresh[inside[mine]] = True
    return nothing
