"""Clusters: accounts that commit to templates, and templates held together by the accounts that share them.

What lives here: who is committed, and which templates belong together. What does not: whether a cluster is a campaign
(``features``, ``evidence``, ``verdict``) and which cluster it was yesterday (``identity``).

A template *overlaps* when most of its customers also use other gated templates: that is how a pool of accounts works
through a list of templates, and not how strangers meet in one. Two overlapping templates are joined when they share
more accounts than chance would give; others only when they share a solid part of the smaller one's accounts.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from models.committed import Columns, Committed, grouped, hopeful, hopeful_each
from models.communities import split
from models.compiled import jit
from models.directory import Directory
from models.grouping import by_number, distinct, numbered
from models.operators import told_apart
from models.swarm import Swarm
from models.templates import Templates, even_templates

PROMPTS_MIN = 2  # one shared prompt is an accident, and 137 false accounts in the laboratory; a second is looked for
SHARE_MIN = 0.15
SHARED_ACCOUNTS_MIN = 2
SHARED_PART_MIN = 0.10  # of the smaller template's committed accounts, where either template does not overlap
OVERLAP_MIN = 0.5
SURPRISE_MIN = 5.0
"""Log-likelihood by which sharing must beat chance, in nats; joining may err, since communities are split again."""
TEMPLATES_PER_ACCOUNT_MAX = 64

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def commits(committed: Committed) -> npt.NDArray[np.bool_]:
    """Which accounts are committed: ``PROMPTS_MIN`` distinct covered prompts, and not by chance among many others."""
    return committed.repeats & (committed.share >= SHARE_MIN)


@jit
def _shared(starts: Ints, templates: Ints, count: int) -> tuple[Ints, Ints]:
    """Accounts per pair of ``count`` templates, from each account's ascending list; pairs as low << 32 | high.

    Template by template: those beside one are few and stay in the cache, as a table of pairs does not.
    """
    ends = np.empty(templates.shape[0], np.int64)
    most = 0
    for account in range(starts.shape[0] - 1):
        width = min(starts[account + 1] - starts[account], TEMPLATES_PER_ACCOUNT_MAX)
        ends[starts[account] : starts[account + 1]] = starts[account] + width
        most += width * (width - 1) // 2
    pairs, counts = np.empty(most, np.int64), np.empty(most, np.int64)
    places, begins = by_number(templates, count)
    together = np.zeros(count, np.int64)
    found = 0
    for low in range(count):
        first = found
        for place in places[begins[low] : begins[low + 1]]:
            for high in templates[place + 1 : max(ends[place], place + 1)]:
                if together[high] == 0:
                    pairs[found] = high
                    found += 1
                together[high] += 1
        for at in range(first, found):
            counts[at] = together[pairs[at]]
            together[pairs[at]] = 0
            pairs[at] |= low << 32
    return pairs[:found].copy(), counts[:found].copy()


def _joined(pairs: Ints, counts: Ints, sizes: Ints, overlap: Floats, active: int) -> npt.NDArray[np.bool_]:
    """Which pairs of templates belong to one cluster."""
    low, high = pairs >> 32, pairs & 0xFFFFFFFF
    smaller = np.minimum(sizes[low], sizes[high])
    solid = (counts >= SHARED_ACCOUNTS_MIN) & (counts >= SHARED_PART_MIN * smaller)
    expected = np.maximum(sizes[low] * sizes[high] / max(active, 1), 1e-9)
    surprise = counts * np.log(np.maximum(counts / expected, 1e-9)) - (counts - expected)
    overlapping = np.minimum(overlap[low], overlap[high]) >= OVERLAP_MIN
    pool = overlapping & (counts >= SHARED_ACCOUNTS_MIN) & (counts > expected) & (surprise >= SURPRISE_MIN)
    joined: npt.NDArray[np.bool_] = solid | pool
    return joined


def join_templates(templates: Templates, committed: Committed, active: int, swarm: Swarm) -> Ints:
    """The cluster number of every template, -1 for those without committed accounts.

    ``active`` is the number of accounts active in the window, against which chance sharing is judged.
    """
    count = len(templates.requests)
    solid = commits(committed)
    inside = solid[committed.number]
    pair_account, pair_template, _ = distinct(committed.number[inside], committed.used[inside])
    per_account = np.bincount(pair_account, minlength=len(committed.account))
    sizes = np.bincount(pair_template, minlength=count)
    many = np.bincount(pair_template, weights=per_account[pair_account] >= 2, minlength=count)
    overlap = many / np.maximum(sizes, 1)
    starts = np.append(0, np.cumsum(per_account))
    pairs, counts = _shared(starts, pair_template, count)
    keep = _joined(pairs, counts, sizes, overlap, active) if len(pairs) else np.zeros(0, np.bool_)
    together = np.flatnonzero(swarm.templates)
    chain = (together[:-1] << 32) | together[1:]
    return np.where((sizes > 0) | swarm.templates, _roots(np.concatenate([pairs[keep], chain]), count), -1)


@jit
def _roots(pairs: Ints, count: int) -> Ints:
    """The lowest template that each of ``count`` is connected to by pairs low << 32 | high."""
    parent = np.arange(count)
    for pair in pairs:
        one, other = pair >> 32, pair & 0xFFFFFFFF
        while parent[one] != one:
            one = parent[one]
        while parent[other] != other:
            other = parent[other]
        parent[max(one, other)] = min(one, other)
    for node in range(count):
        root = node
        while parent[root] != root:
            root = parent[root]
        parent[node] = root
    return parent


@dataclass(slots=True)
class Candidate:
    """One cluster at one evaluation: its templates, the covered rows in them, and its committed accounts."""

    templates: Ints
    rows: Ints  # covered rows under its templates, grouped by account
    starts: Ints
    account: npt.NDArray[np.uint64]  # every account that touched it, ascending
    covered: Ints  # of each, under these templates
    willing: npt.NDArray[np.bool_]  # repeats: several distinct prompts, and several templates where the core has them
    share: Floats
    last: Ints
    committed: npt.NDArray[np.bool_]
    core: npt.NDArray[np.bool_]
    time: Floats | None = None  # of the core's time with a known campaign, the part each account has had; None: all
    keys: tuple[npt.NDArray[np.uint64], Ints] | None = None  # of its rows, with their uses; None: not yet counted


SWARM_SHARE_MIN = 0.5  # of its own requests, for an account of a swarm to count with a single one
OWN_PART = 0.5  # of the core's usual part in a template's requests: a template below it is not the cluster's own
VARIED = 0.6
"""Where this part of the core works through several templates, one who uses a single one of them is a stranger; where
it came with the templates, one who was there before: a swarm may deal out a text that honest people have long used."""
LIST_PART = 0.5
"""Where this many of the core use at least this part of the templates that chance would deal them, one who keeps to
fewer is a stranger: the user of a library one of whose prompts the campaign copied."""
CORE_SHARE = 0.5
"""Core accounts give at least this part of the share that the cluster's 90th percentile gives."""

CORE_COUNT = 0.4  # of the requests that the 90th percentile of the core sends
ONE_RATE = 2.0  # variance over mean of counts up to which they come of one rate
POOL_MIN = 12


@dataclass(slots=True)
class Ground:
    """What clusters of one evaluation are found in; places are of requests in ``everyone``."""

    rows: npt.NDArray[Any]
    templates: Templates
    everyone: Committed
    swarm: Swarm
    columns: Columns = field(init=False)
    scratch: npt.NDArray[np.int32] = field(init=False)  # of `numbered`, for templates

    def __post_init__(self) -> None:
        self.columns = self.everyone.columns(self.swarm.fresh)
        self.scratch = np.full(len(self.templates.requests), -1, np.int32)


def find_candidates(ground: Ground, active: int, *, accounts_min: int = 1) -> list[Candidate]:
    """All clusters with at least ``accounts_min`` core accounts, the largest first; ``active``: ``join_templates``."""
    everyone = ground.everyone
    if not len(everyone.account):
        return []
    cluster = join_templates(ground.templates, everyone, active, ground.swarm)
    found = []
    order, starts = by_number(cluster[everyone.used], len(cluster))
    for number in np.flatnonzero(hopeful_each(ground.columns, order, starts) >= max(accounts_min, 1)):
        for part in _parts(ground, order[starts[number] : starts[number + 1]]):
            candidate = _largest(ground, part, accounts_min=accounts_min)
            if candidate is not None:
                found.append(candidate)
    return _in_order(ground.rows, found)


def _in_order(rows: npt.NDArray[Any], candidates: list[Candidate]) -> list[Candidate]:
    """The largest first; those of one size by their rows."""
    sizes = [int(candidate.committed.sum()) for candidate in candidates]
    alike = Counter(sizes)
    least = [
        int(rows["key"][candidate.rows].min()) if alike[size] > 1 else 0
        for candidate, size in zip(candidates, sizes, strict=True)
    ]
    order = sorted(range(len(candidates)), key=lambda at: (-sizes[at], least[at]))
    return [candidates[at] for at in order]


def parted(
    ground: Ground, candidates: list[Candidate], directory: Directory, *, accounts_min: int = 1
) -> list[Candidate]:
    """``candidates``, those in two that two operators run by what their accounts share; the largest first."""
    found = []
    for candidate in candidates:
        second = told_apart(directory, candidate.account, candidate.core)
        pieces: list[Candidate | None] = []
        if second.any():
            places = np.zeros(len(ground.rows), np.int64)
            places[ground.everyone.rows] = np.arange(len(ground.everyone.rows))
            of_row = np.repeat(second, np.diff(candidate.starts))
            pieces = [
                _largest(ground, places[candidate.rows[picked]], accounts_min=accounts_min)
                for picked in (~of_row, of_row)
            ]
        whole = [piece for piece in pieces if piece is not None]
        found += whole if len(whole) == 2 else [candidate]
    return _in_order(ground.rows, found) if len(found) > len(candidates) else candidates


def _largest(ground: Ground, part: Ints, *, accounts_min: int) -> Candidate | None:
    """The candidate of a part under its own templates; None where its core is too small."""
    if hopeful(ground.columns, part) < accounts_min:  # most parts, and much cheaper to see than to measure
        return None
    used, numbers = numbered(ground.everyone.used[part], ground.scratch)
    candidate = _candidate(ground, part, used)
    own = _own_rows(numbers, candidate)
    if not own.all() and own.any():
        part = part[own]
        candidate = _candidate(ground, part, numbered(ground.everyone.used[part], ground.scratch)[0])
    return candidate if int(candidate.core.sum()) >= accounts_min else None


def _parts(ground: Ground, picked: Ints) -> list[Ints]:
    """The places of a connected cluster by the community of their account.

    A swarm's templates count as one: a dealer that goes round accounts and templates in step gives each account its
    own few, and would seem to run as many campaigns.
    """
    account = ground.everyone.number[picked]
    first = np.append(True, account[1:] != account[:-1])
    number = np.cumsum(first) - 1
    used = ground.everyone.used[picked]
    used = np.where(ground.swarm.templates[used], len(ground.templates.requests), used)
    community = split(number, used, ground.everyone.account[account[first]])[number]
    order, starts = by_number(community, int(community.max()) + 1)
    parts = [picked[order[begin:end]] for begin, end in pairwise(starts)]
    return [part for part in parts if len(part)]


def _own_rows(numbers: Ints, candidate: Candidate) -> npt.NDArray[np.bool_]:
    """Which rows lie under templates that mostly the core uses: what members share with everyone names nobody.

    ``numbers`` are those of their templates among the candidate's.
    """
    by_core = np.bincount(numbers, weights=np.repeat(candidate.core, candidate.covered))
    everyone = np.bincount(numbers)
    usual = by_core.sum() / max(everyone.sum(), 1)
    own: npt.NDArray[np.bool_] = (by_core >= OWN_PART * usual * everyone)[numbers]
    return own


def _candidate(ground: Ground, picked: Ints, used: Ints) -> Candidate:
    """The accounts of ``picked`` places, which are grouped by account and in time order, under templates ``used``."""
    rows, everyone = ground.rows, ground.everyone
    starts, repeats, distinct_templates, fresh = grouped(ground.columns, picked)
    covered = np.diff(starts)
    ends = picked[starts[1:] - 1]
    last = everyone.rows[ends]
    share = np.minimum(covered / np.maximum(rows["requests_24h"][last], 1), 1.0)
    willing = repeats | (fresh & (share >= SWARM_SHARE_MIN))
    core = _core(willing & (share >= SHARE_MIN), share, covered)
    if core.any() and fresh[core].mean() >= VARIED:
        willing &= fresh
    varied = distinct_templates >= 2
    if core.any() and varied[core].mean() >= VARIED:
        of_core = everyone.used[picked[np.repeat(core, covered)]]
        enough = distinct_templates >= LIST_PART * _expected(covered, of_core)
        willing &= varied & enough if enough[core].mean() >= VARIED else varied
    committed = willing & (share >= SHARE_MIN)
    core = _core(committed, share, covered)
    account = everyone.account[everyone.number[ends]]
    return Candidate(used, everyone.rows[picked], starts, account, covered, willing, share, last, committed, core)


def _expected(covered: Ints, of_core: Ints) -> Floats:
    """How many templates so many requests would touch, if drawn evenly from as many as the core's mix amounts to."""
    many = even_templates(of_core)
    expected: Floats = many * -np.expm1(covered * np.log1p(-1.0 / max(many, 1.0 + 1e-9)))
    return expected


def _core(committed: npt.NDArray[np.bool_], share: Floats, covered: Ints) -> npt.NDArray[np.bool_]:
    """The committed accounts that give the cluster a large part of their traffic.

    Where their counts are no single rate but those of the busiest are, the busiest are the pool, and the others came
    by: honest people can be made to send a few prompts of somebody else's campaign and little besides.
    """
    bar = CORE_SHARE * _ninth_decile(share[committed]) if committed.any() else 1.0
    core: npt.NDArray[np.bool_] = committed & (share >= bar)
    if core.any() and dispersion(covered[core]) > ONE_RATE:
        busiest = core & (covered >= CORE_COUNT * _ninth_decile(covered[core].astype(np.float64)))
        if busiest.sum() >= POOL_MIN and dispersion(covered[busiest]) <= ONE_RATE:
            return busiest
    return core


def dispersion(counts: Ints) -> float:
    """Variance over mean of the requests of accounts: 1 where chance spreads one common rate."""
    return float(counts.var() / counts.mean())


def _ninth_decile(values: Floats) -> float:
    """``np.quantile(values, 0.9)`` to the bit, without its checks, which cost ten times what it computes."""
    place = 0.9 * (len(values) - 1)
    low = int(place)
    high = min(low + 1, len(values) - 1)
    ordered = np.partition(values, (low, high))
    below, step = float(ordered[low]), float(ordered[high]) - float(ordered[low])
    part = place - low
    return below + step * part if part < 0.5 else float(ordered[high]) - step * (1.0 - part)
