"""Who touched a gated template, and with what: the requests of all accounts side by side, as clusters read them.

What lives here: ordering covered requests by account, as columns, and the facts of each account in any part of them.
What does not: which of the accounts count (``clusters``). One walk over the records; after it the requests of a cluster
lie near one another, where the records of an account are strewn over a day.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from models.compiled import jit
from models.grouping import by_hash
from models.prefetch import AHEAD, prefetch
from models.templates import Templates

DISTINCT_MAX = 32

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Columns = tuple[Ints, npt.NDArray[np.uint64], Ints, Bools]
"""Of each request, grouped by account: the number of its account, its prompt, its template, and whether it is fresh."""


@dataclass(slots=True)
class Committed:
    """Accounts with covered requests under gated templates, in the order of their hash, and those requests."""

    account: npt.NDArray[np.uint64]
    customer: npt.NDArray[np.uint64]
    covered: Ints  # covered requests in the window
    repeats: Bools  # several distinct prompts among them
    share: npt.NDArray[np.float64]  # of the account's own requests
    last: Ints  # row of its newest covered request
    rows: Ints  # covered rows, grouped by account
    starts: Ints  # of each account's group in ``rows``, one more than accounts
    number: Ints  # of the account, of each of ``rows``
    prompt: npt.NDArray[np.uint64]  # of each
    used: Ints  # the template of each

    def columns(self, fresh: Bools) -> Columns:
        """What the facts of accounts are read from; ``fresh`` marks covered rows."""
        return self.number, self.prompt, self.used, fresh[self.rows]


@jit
def _under(of_row: Ints, gated: Bools) -> Ints:
    """The rows under gated templates."""
    found = np.empty(of_row.shape[0], np.int64)
    count = 0
    for at in range(of_row.shape[0]):
        if of_row[at] >= 0 and gated[of_row[at]]:
            found[count] = at
            count += 1
    return found[:count]


@jit
def _columns(rows: Any, of_row: Ints, order: Ints) -> tuple[Ints, npt.NDArray[np.uint64], Ints]:
    """The number of the account, the prompt and the template of each of ``order``, which is grouped by account."""
    number = np.empty(order.shape[0], np.int64)
    prompt = np.empty(order.shape[0], np.uint64)
    used = np.empty(order.shape[0], np.int64)
    accounts, before = -1, np.uint64(0)
    records = rows["ts"]
    for at in range(order.shape[0]):
        prefetch(records, order[min(at + AHEAD, order.shape[0] - 1)])
        row = rows[order[at]]
        if at == 0 or row["account"] != before:
            accounts += 1
            before = row["account"]
        number[at], prompt[at], used[at] = accounts, row["prompt"], of_row[order[at]]
    return number, prompt, used


@jit
def grouped(columns: Columns, picked: Ints) -> tuple[Ints, Bools, Ints, Bools]:
    """Where each account begins in ``picked``, with one more at the end, and three facts of each account.

    They are: several distinct prompts, how many templates (no more than ``DISTINCT_MAX``), and every request fresh.
    ``picked`` are places in ``columns``, grouped by account.
    """
    number, prompt, template, fresh = columns
    count = picked.shape[0]
    starts = np.empty(count + 1, np.int64)
    prompts = np.zeros(count, np.bool_)
    templates = np.zeros(count, np.int64)
    used = np.empty(DISTINCT_MAX, np.int64)
    all_fresh = np.ones(count, np.bool_)
    groups = 0
    for at in range(count):
        here = picked[at]
        if at == 0 or number[here] != number[picked[at - 1]]:
            starts[groups] = at
            groups += 1
        prompts[groups - 1] |= prompt[here] != prompt[picked[starts[groups - 1]]]
        known, place = templates[groups - 1], 0
        while place < known and used[place] != template[here]:
            place += 1
        if place == known < DISTINCT_MAX:
            used[known] = template[here]
            templates[groups - 1] += 1
        all_fresh[groups - 1] &= fresh[here]
    starts[groups] = count
    return starts[: groups + 1], prompts[:groups], templates[:groups], all_fresh[:groups]


@jit
def hopeful(columns: Columns, picked: Ints) -> int:
    """The most accounts of ``picked``, grouped by account, that can be willing in it or in any part of it."""
    number, prompt, _, fresh = columns
    count = 0
    first, known = 0, False
    for at in range(picked.shape[0]):
        here = picked[at]
        if at == 0 or number[here] != number[picked[first]]:
            first, known = at, False
        if not known and (fresh[here] or prompt[here] != prompt[picked[first]]):
            count += 1
            known = True
    return count


@jit
def hopeful_each(columns: Columns, order: Ints, starts: Ints) -> Ints:
    """``hopeful`` of each group of ``order``, as ``by_number`` gives them."""
    counts = np.empty(starts.shape[0] - 1, np.int64)
    for group in range(counts.shape[0]):
        counts[group] = hopeful(columns, order[starts[group] : starts[group + 1]])
    return counts


def find_committed(rows: npt.NDArray[Any], templates: Templates) -> Committed:
    """Every account that touched a gated template; ``clusters.commits`` says which of them are committed."""
    picked = _under(templates.of_row, templates.gated)
    order = by_hash(rows["account"], picked)  # rows come in the order they counted
    number, prompt, used = _columns(rows, templates.of_row, order)
    columns = number, prompt, used, np.ones(len(order), np.bool_)
    starts, repeats, _, _ = grouped(columns, np.arange(len(order)))
    covered = np.diff(starts)
    last = order[starts[1:] - 1] if len(order) else order
    share = np.minimum(covered / np.maximum(rows["requests_24h"][last], 1), 1.0)
    account, customer = rows["account"][last], rows["customer"][last]
    return Committed(account, customer, covered, repeats, share, last, order, starts, number, prompt, used)


def repeaters(committed: Committed, rows: int) -> Bools:
    """Which of ``rows`` covered rows are by accounts with several distinct covered prompts."""
    flags = np.zeros(rows, np.bool_)
    flags[committed.rows] = committed.repeats[committed.number]
    return flags
