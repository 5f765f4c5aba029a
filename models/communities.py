"""Communities: which accounts of one connected cluster really work through the same list of templates.

What lives here: splitting accounts that meet in a template or two and otherwise have nothing in common, such as two
operators with the same public items, or a campaign and the honest users of a library whose prompt it copied. What does
not: connecting templates (``clusters``).

Templates are grouped by modularity (Newman and Girvan 2004; local moving as in Blondel et al. 2008, one level) on the
graph in which each account spreads its requests over the pairs of templates it uses. Modularity finds groups in pure
chance too, so groups are formed on one half of the accounts and tested on the other: where accounts of that half go
from one group to the other about as readily as they stay, the two are one. A split must be proven; doubt keeps accounts
together. Every account then joins the group whose use of templates explains its own best.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from models.compiled import jit
from models.grouping import distinct, numbered

TEMPLATES_MAX = 1_024  # the most used are enough to tell accounts apart
PASSES_MAX = 20
MIXED = 0.5
"""Groups are one from this ratio on: pairs of requests across them over the geometric mean of those within."""
PROOF = 8.0  # requests within each group, of the tested half, that a split needs
SETTLING_ROUNDS = 5
SMOOTHING = 0.5
HALF = np.uint64(17)  # the bit of an account's hash that says which half it is in

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@jit
def _spread(matrix: Floats, template: Ints, weight: Floats) -> None:
    """Add one account: its requests spread over its pairs of requests, by their templates."""
    total = weight.sum()
    if total <= 1.0:
        return
    for one in range(len(template)):
        for other in range(len(template)):
            pairs = weight[one] * (weight[other] - (1.0 if one == other else 0.0))
            matrix[template[one], template[other]] += pairs / (total - 1.0)


@jit
def _affinity(account: Ints, template: Ints, weight: Floats, count: int) -> Floats:
    """Symmetric (count, count): what all accounts spread; rows are grouped by account."""
    matrix = np.zeros((count, count), np.float64)
    first = 0
    for end in range(1, account.shape[0] + 1):
        if end == account.shape[0] or account[end] != account[first]:
            _spread(matrix, template[first:end], weight[first:end])
            first = end
    return matrix


@jit
def _best(node: int, matrix: Floats, group: Ints, mass: Floats, total: float) -> int:
    """The group in which ``node``, at the moment in none, adds most modularity; its own where none is better."""
    count = matrix.shape[0]
    degree = matrix[node].sum()
    gain = np.zeros(count, np.float64)
    for other in range(count):
        if other != node:
            gain[group[other]] += matrix[node, other]
    best = group[node]
    best_gain = gain[best] - degree * mass[best] / total
    for candidate in range(count):
        value = gain[candidate] - degree * mass[candidate] / total
        if gain[candidate] > 0.0 and value > best_gain + 1e-9:
            best, best_gain = candidate, value
    return int(best)


@jit
def _move(matrix: Floats) -> Ints:
    """A group for each template: each in turn moves to where modularity gains most, until none moves."""
    count = matrix.shape[0]
    degree = matrix.sum(axis=1)
    total = max(degree.sum(), 1e-9)
    group = np.arange(count)
    mass = degree.copy()
    for _ in range(PASSES_MAX):
        moved = False
        for node in range(count):
            mass[group[node]] -= degree[node]
            best = _best(node, matrix, group, mass, total)
            mass[best] += degree[node]
            moved = moved or best != group[node]
            group[node] = best
        if not moved:
            break
    return group


@jit
def _join_accounts(account: Ints, template: Ints, weight: Floats, group: Ints, accounts: int) -> Ints:
    """The group with most requests of each account; the lowest where two have as many."""
    joined = np.zeros(accounts, np.int64)
    share = np.zeros(group.shape[0], np.float64)
    first = 0
    while first < account.shape[0]:
        end = first
        while end < account.shape[0] and account[end] == account[first]:
            share[group[template[end]]] += weight[end]
            end += 1
        best = group[template[first]]
        for at in range(first, end):
            here = group[template[at]]
            if share[here] > share[best] or (share[here] == share[best] and here < best):
                best = here
        joined[account[first]] = best
        for at in range(first, end):
            share[group[template[at]]] = 0.0
        first = end
    return joined


@jit
def _blocks(matrix: Floats, group: Ints, groups: int) -> Floats:
    """The matrix summed by group, in the order of templates."""
    sums = np.zeros((groups, matrix.shape[0]))
    for at in range(matrix.shape[0]):
        sums[group[at]] += matrix[at]
    blocks = np.zeros((groups, groups))
    for at in range(matrix.shape[0]):
        blocks[:, group[at]] += sums[:, at]
    return blocks


def _merged(tested: Floats, formed: Floats) -> Ints:
    """The final group of each group: the closest two are merged until every split left is proven."""
    count = len(tested)
    final = np.arange(count)
    alive = np.ones(count, np.bool_)
    while alive.sum() > 1:
        inside = np.sqrt(np.outer(np.diag(tested), np.diag(tested)))
        # Two standard deviations of a count in favour of being one: a split is for good, doubt is not.
        across = tested + 2.0 * np.sqrt(tested + 1.0)
        lift = np.where(inside >= PROOF, across / np.maximum(inside, 1e-9), -1.0)
        outside = ~np.logical_and.outer(alive, alive) | np.eye(count, dtype=np.bool_)
        lift[outside] = -1.0
        if lift.max() >= MIXED:
            one, other = np.unravel_index(np.argmax(lift), lift.shape)
        else:
            least = np.minimum.outer(np.diag(tested), np.diag(tested))  # a large group proves nothing of a small one
            unproven = np.where(outside | (least >= PROOF), -1.0, formed)
            if unproven.max() < 0.0:
                break
            one, other = np.unravel_index(np.argmax(unproven), unproven.shape)
        low, high = int(min(one, other)), int(max(one, other))
        for matrix in (tested, formed):
            matrix[low] += matrix[high]
            matrix[:, low] += matrix[:, high]
            matrix[high] = matrix[:, high] = 0.0
        alive[high] = False
        final[final == high] = low
    return final


@jit
def _uses(group: Ints, what: Ints, weight: Floats, shape: tuple[int, int]) -> Floats:
    """Requests by group and template, smoothed."""
    uses = np.full(shape, SMOOTHING)
    for at in range(group.shape[0]):
        uses[group[at], what[at]] += weight[at]
    return uses


@jit
def _likeliest(pairs: tuple[Ints, Ints, Floats], likely: Floats, prior: Floats, accounts: int) -> Ints:
    """The group in which each account's requests are likeliest; ``pairs`` (account, template, requests) by account.

    ``likely`` and ``prior`` are logarithms, of shapes ``(templates, groups)`` and ``(groups,)``.
    """
    who, what, weight = pairs
    joined = np.full(accounts, np.argmax(prior))
    fit = np.empty(len(prior), np.float64)
    first = 0
    while first < who.shape[0]:
        fit[:] = 0.0
        end = first
        while end < who.shape[0] and who[end] == who[first]:
            requests, mine = weight[end], likely[what[end]]
            for group in range(fit.shape[0]):
                fit[group] += requests * mine[group]
            end += 1
        best = 0
        for group in range(fit.shape[0]):
            fit[group] += prior[group]
            if fit[group] > fit[best]:
                best = group
        joined[who[first]] = best
        first = end
    return joined


def _settle(who: Ints, what: Ints, weight: Floats, joined: Ints) -> Ints:
    """Let every account join the group whose use of templates explains its own best, a few times over.

    A template that two groups share lies in one of them; an account is told by all it uses, not by that one. A group's
    size counts as its prior: two requests that a small group explains a little better are no reason to leave a pool of
    thousands, some of whose accounts would else seem to be a campaign of their own.
    """
    groups, count = int(joined.max()) + 1, int(what.max()) + 1
    for _ in range(SETTLING_ROUNDS if groups > 1 else 0):
        uses = _uses(joined[who], what, weight, (groups, count))
        likely = np.ascontiguousarray(np.log(uses / uses.sum(axis=1, keepdims=True)).T)
        size = np.log(np.bincount(joined, minlength=groups) + SMOOTHING)
        settled = _likeliest((who, what, weight), likely, size, len(joined))
        if np.array_equal(settled, joined):
            break
        joined = settled
    return joined


def split(account: Ints, template: Ints, hashes: npt.NDArray[np.uint64]) -> Ints:
    """The community of each account, for rows of (account, template) numbers from 0, grouped by account.

    ``hashes`` of shape ``(accounts,)`` decide the halves. Returns numbers of that shape; accounts that use the same
    list of templates have the same one.
    """
    accounts = len(hashes)
    used, local = numbered(template, np.full(int(template.max()) + 1, -1, np.int32))
    if len(used) == 1:
        return np.zeros(accounts, np.int64)
    if len(used) > TEMPLATES_MAX:
        kept = np.sort(np.argsort(-np.bincount(local), kind="stable")[:TEMPLATES_MAX])
        rank = np.full(len(used), -1, np.int64)
        rank[kept] = np.arange(TEMPLATES_MAX)
        local = rank[local]
        account, local = account[local >= 0], local[local >= 0]
    count = int(local.max()) + 1
    who, what, uses = distinct(account, local)
    weight = uses.astype(np.float64)
    half = ((hashes >> HALF) & np.uint64(1)).astype(np.bool_)[who]
    formed = _affinity(who[half], what[half], weight[half], count)
    tested = _affinity(who[~half], what[~half], weight[~half], count)
    _, group = np.unique(_move(formed), return_inverse=True)
    groups = int(group.max()) + 1
    if groups == 1:
        return np.zeros(accounts, np.int64)
    final = _merged(_blocks(tested, group, groups), _blocks(formed, group, groups))
    _, joined = np.unique(_join_accounts(who, what, weight, final[group], accounts), return_inverse=True)
    return _settle(who, what, weight, joined)
