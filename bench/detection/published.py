"""Published detectors on the same events: SynchroTrap-like, MIDAS-F, and a window test by maximum mean discrepancy.

What lives here: the three, in the form that fits a stream of prompts. What does not: thresholds (``baselines``).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.csgraph import connected_components

from models.compiled import jit
from models.event import EventBatch

HOUR_MS = 3_600_000
ACTORS_MAX = 100  # accounts that share an action: beyond, it is a fashion and its pairs are too many to compare
GROUP_MIN = 12
LEVELS = 0.002 * 1.5 ** np.arange(16)
TICK_MS = HOUR_MS
ROWS, COLUMNS = 2, 1 << 16
FACTOR, THRESHOLD = 0.5, 1e3  # decay and filter of MIDAS-F as its authors' demo has them
SETTLE_MS = 6 * HOUR_MS
WINDOW = 1500
WORDS, FEATURES = 256, 512

Int64 = npt.NDArray[np.int64]
UInt64 = npt.NDArray[np.uint64]
Floats = npt.NDArray[np.float64]


def synchrotrap(account: Int64, ts: Int64, keys: UInt64, widths: Int64, accounts: int) -> Floats:
    """SynchroTrap (Cao et al., CCS 2014): accounts that do the same at about the same time, again and again.

    An action is a template key in an hour; the similarity of two accounts is the Jaccard coefficient of their actions;
    similar accounts form components. The score of an account is the highest similarity at which it sits in a component
    of ``GROUP_MIN``. Unlike the paper's, actions of more than ``ACTORS_MAX`` accounts are left out to bound the pairs.
    """
    action = keys ^ (np.repeat(ts // HOUR_MS, widths).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15))
    actor = np.repeat(account, widths)
    _, number, counts = np.unique(action, return_inverse=True, return_counts=True)
    several = counts[number] > 1
    total = np.bincount(actor, minlength=accounts)
    incidence = coo_matrix(
        (np.ones(int(several.sum())), (actor[several], number[several])), shape=(accounts, len(counts))
    ).tocsr()
    incidence.data[:] = 1  # the same action twice is one
    actors = np.bincount(incidence.indices, minlength=len(counts))
    picked = incidence[:, np.flatnonzero((actors > 1) & (actors <= ACTORS_MAX))]
    common = (picked @ picked.T).tocoo()
    upper = common.row < common.col
    row, column, shared = common.row[upper], common.col[upper], common.data[upper]
    similarity = shared / (total[row] + total[column] - shared)
    score = np.zeros(accounts)
    for level in LEVELS:
        edges = similarity >= level
        graph = csr_matrix((np.ones(int(edges.sum())), (row[edges], column[edges])), shape=(accounts, accounts))
        component = connected_components(graph, directed=False)[1]
        score[np.bincount(component)[component] >= GROUP_MIN] = level
    return score


def midas_f(account: Int64, ts: Int64, keys: UInt64, widths: Int64, accounts: int) -> Floats:
    """MIDAS-F (Bhatia et al., 2020): bursts of edges in a graph, kept out of what they are compared with.

    An edge joins a template key and the account that sent it, a tick is an hour, and an edge scores the largest
    chi-square of the edge, of the key and of the account. A request scores as its highest edge, an account as its
    second highest request, so that one shared phrase is not enough.
    """
    if not len(keys):
        return np.zeros(accounts)
    order = np.argsort(ts, kind="stable")
    starts = np.concatenate([[0], np.cumsum(widths)])
    tick = (ts - ts[order[0]]) // TICK_MS + 1
    request = _midas(order, starts, keys, account.astype(np.uint64), tick)
    score: Floats = np.zeros(accounts)
    _second_highest(account, request, np.zeros(accounts), score)
    return score


@jit
def _second_highest(account: Int64, value: Floats, best: Floats, second: Floats) -> None:
    for at in range(account.shape[0]):
        who = account[at]
        if value[at] > best[who]:
            second[who] = best[who]
            best[who] = value[at]
        elif value[at] > second[who]:
            second[who] = value[at]


@jit
def _midas(order: Int64, starts: Int64, keys: UInt64, account: UInt64, tick: Int64) -> Floats:
    """The score of each event; tables are (edge, key, account) x rows x columns."""
    current = np.zeros((3, ROWS, COLUMNS))
    total = np.zeros((3, ROWS, COLUMNS))
    scores = np.zeros((3, ROWS, COLUMNS))
    result = np.zeros(order.shape[0])
    now = np.int64(1)
    for event in order:
        if tick[event] > now:
            for kind in range(3):
                for row in range(ROWS):
                    for column in range(COLUMNS):
                        if scores[kind, row, column] < THRESHOLD:
                            total[kind, row, column] += current[kind, row, column]
                        elif now > 1:
                            total[kind, row, column] += total[kind, row, column] / (now - 1)
                        current[kind, row, column] *= FACTOR
            now = tick[event]
        for at in range(starts[event], starts[event + 1]):
            for kind in range(3):
                name = account[event] if kind == 2 else keys[at]
                if kind == 0:
                    name = name ^ (account[event] * np.uint64(0xD6E8FEB86659FD93))
                value = _touched(name, current[kind], total[kind], scores[kind], now)
                result[event] = max(result[event], value)
    return result


@jit
def _touched(name: np.uint64, current: Floats, total: Floats, scores: Floats, now: np.int64) -> float:
    a = s = np.inf
    slots = np.empty(ROWS, np.int64)
    for row in range(ROWS):
        mixed = (name + np.uint64(row + 1)) * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(29)
        slots[row] = np.int64((mixed * np.uint64(0xBF58476D1CE4E5B9)) >> np.uint64(48))
        current[row, slots[row]] += 1
        a = min(a, current[row, slots[row]])
        s = min(s, total[row, slots[row]])
    value = 0.0 if s == 0 or now == 1 else (a + s - a * now) ** 2 / (s * (now - 1))
    for row in range(ROWS):
        scores[row, slots[row]] = value
    return value


class WindowTest:
    """Maximum mean discrepancy of a window of 1,500 prompts against earlier traffic (the setting of arXiv 2606.05725).

    Prompts are embedded by hashing their words, the kernel by random Fourier features of three widths; the reference
    are the windows of the run's first six hours. It says that traffic has changed, not who changed it.
    """

    def __init__(self) -> None:
        rng = np.random.default_rng(7)
        widths = np.repeat([0.5, 1.0, 2.0, 1.0], FEATURES // 4)
        self._weights = rng.normal(size=(WORDS, FEATURES)) / widths
        self._phases = rng.uniform(0, 2 * np.pi, FEATURES)
        self._start: int | None = None
        self._means: list[Floats] = []
        self._ts: list[int] = []
        self._accounts: list[Int64] = []

    def add(self, account: Int64, events: EventBatch) -> None:
        """Look at two windows of a batch, its first prompts and those from its middle on."""
        n = len(events)
        self._start = int(events.ts[0]) if self._start is None and n else self._start
        for first in {0, n // 2} if n >= 2 * WINDOW else set():
            embedded = np.zeros((WINDOW, WORDS))
            _embed(events.prompt.data, events.prompt.offsets[first : first + WINDOW + 1], embedded)
            embedded /= np.maximum(np.linalg.norm(embedded, axis=1, keepdims=True), 1e-9)
            self._means.append(np.cos(embedded @ self._weights + self._phases).mean(axis=0) * np.sqrt(2 / FEATURES))
            self._ts.append(int(events.ts[first]))
            self._accounts.append(account[first : first + WINDOW])

    def distances(self, member: npt.NDArray[np.bool_] | None = None) -> tuple[Floats, Floats]:
        """Squared discrepancy of every window after the reference, and the members' part of its prompts."""
        early = np.array(self._ts) < (self._start or 0) + SETTLE_MS
        if not early.any() or early.all():
            return np.zeros(1), np.zeros(1)
        means = np.array(self._means)
        distance: Floats = ((means[~early] - means[early].mean(axis=0)) ** 2).sum(axis=1)
        late = [rows for rows, before in zip(self._accounts, early, strict=True) if not before]
        part = np.array([0.0 if member is None else float(member[rows].mean()) for rows in late])
        return distance, part


@jit
def _embed(data: npt.NDArray[np.uint8], offsets: Int64, embedded: Floats) -> None:
    """Counts of words, hashed to columns with signs."""
    for row in range(offsets.shape[0] - 1):
        word = np.uint64(14695981039346656037)
        length = 0
        for at in range(offsets[row], offsets[row + 1] + 1):
            byte = data[at] if at < offsets[row + 1] else np.uint8(32)
            if 65 <= byte <= 90:
                byte += np.uint8(32)
            if byte >= 128 or 97 <= byte <= 122 or 48 <= byte <= 57:
                word = (word ^ np.uint64(byte)) * np.uint64(1099511628211)
                length += 1
            elif length:
                mixed = word ^ (word >> np.uint64(31))
                embedded[row, mixed % np.uint64(WORDS)] += 1.0 if (mixed >> np.uint64(40)) & np.uint64(1) else -1.0
                word = np.uint64(14695981039346656037)
                length = 0
