"""Templates: groups of hot keys that occur together, and the requests that carry them.

What lives here: linking keys, assigning requests, and the facts of each template that the gate reads. What does not:
who uses several templates (``clusters``).

Keys are linked twice. *Tight*: the requests with both are most of those with either, so two texts that share a passage
stay two. *Loose*: they are many against the geometric mean of the two counts, which still holds under paraphrase, where
a passage survives in a third of the uses. A request belongs to the tight group that holds most of its keys, and only
where none holds two, to a loose one. (A link by the smaller count chains unrelated campaigns together within two days.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from models.compiled import jit
from models.covered import KEYS_MAX
from models.sighting import FIRST_TURN

LOOSE = 0.4
TIGHT = 0.6
SAMPLED_ROWS = 128.0
"""A key needs no more rows than this to tell which keys go with it."""
PAIRS_START = 1 << 12
CUSTOMERS_MIN = 8
NETWORKS_MIN = 3  # a gateway, a class or a campus has one or two
FIRST_TURNS_MIN = 0.5
COLLISIONS_MAX = 0.30

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@jit
def _root(parent: npt.NDArray[np.int32], key: int) -> int:
    while parent[key] != key:
        parent[key] = parent[parent[key]]
        key = parent[key]
    return key


@jit
def _weight(row: Any, counts: npt.NDArray[np.int64]) -> float:
    """How many requests this one stands for: rows of plentiful keys are sampled by their event hash, 0 = left out."""
    least = counts[row["keys"][0]]
    for at in range(1, row["width"]):
        least = min(least, counts[row["keys"][at]])
    if least <= SAMPLED_ROWS:
        return 1.0
    share = np.float64(row["key"] & np.uint64(0xFFFFF)) / 1048576.0
    return least / SAMPLED_ROWS if share * least < SAMPLED_ROWS else 0.0


@jit
def _slot(pair_keys: Ints, low: Any, high: Any) -> int:
    """Where the pair is, or the empty slot where it belongs."""
    pair = (low << 32) | high
    mask = pair_keys.shape[0] - 1
    slot = (low * 40_503 + high * 2_654_435 + (high >> 7)) & mask
    while pair_keys[slot] != -1 and pair_keys[slot] != pair:
        slot = (slot + 1) & mask
    return int(slot)


@jit
def _widened(pair_keys: Ints, pair_counts: Floats) -> tuple[Ints, Floats]:
    """The table with four times the slots: sized by the pairs there are, it mostly stays within the cache."""
    wider = np.full(4 * pair_keys.shape[0], -1, np.int64)
    counts = np.zeros(wider.shape[0], np.float64)
    for at in range(pair_keys.shape[0]):
        if pair_keys[at] != -1:
            slot = _slot(wider, pair_keys[at] >> 32, pair_keys[at] & 0xFFFFFFFF)
            wider[slot] = pair_keys[at]
            counts[slot] = pair_counts[at]
    return wider, counts


@jit
def _count_pairs(rows: Any, counts: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Requests per pair of keys, as open-addressed (low << 32 | high, count); -1 marks an empty slot."""
    pair_keys = np.full(PAIRS_START, -1, np.int64)
    pair_counts = np.zeros(PAIRS_START, np.float64)
    filled = 0
    for at in range(rows.shape[0]):
        row = rows[at]
        weight = _weight(row, counts) if row["width"] > 1 else 0.0
        if weight == 0.0:
            continue
        if 2 * (filled + KEYS_MAX * KEYS_MAX) > pair_keys.shape[0]:
            pair_keys, pair_counts = _widened(pair_keys, pair_counts)
        for first in range(row["width"]):
            for second in range(first + 1, row["width"]):
                low = np.int64(min(row["keys"][first], row["keys"][second]))
                high = np.int64(max(row["keys"][first], row["keys"][second]))
                slot = _slot(pair_keys, low, high)
                filled += pair_keys[slot] == -1
                pair_keys[slot] = (low << 32) | high
                pair_counts[slot] += weight
    return pair_keys, pair_counts


@jit
def link_keys(rows: Any, counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
    """The tight and the loose component of every key, shape (2, keys), each by the lowest key number in it."""
    pair_keys, pair_counts = _count_pairs(rows, counts)
    parent = np.empty((2, counts.shape[0]), np.int32)
    for key in range(counts.shape[0]):
        parent[:, key] = key
    for slot in range(pair_keys.shape[0]):
        if pair_keys[slot] == -1:
            continue
        low = pair_keys[slot] >> 32
        high = pair_keys[slot] & 0xFFFFFFFF
        one, other = np.float64(counts[low]), np.float64(counts[high])
        for kind in range(2):
            needed = TIGHT * max(one, other) if kind == 0 else LOOSE * np.sqrt(one * other)
            if pair_counts[slot] >= needed:
                left, right = _root(parent[kind], low), _root(parent[kind], high)
                parent[kind, max(left, right)] = min(left, right)
    for kind in range(2):
        for key in range(counts.shape[0]):
            parent[kind, key] = _root(parent[kind], key)
    return parent


@jit
def assign(rows: Any, components: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """The component that holds most of each request's keys, at least two: tight, else loose (+ keys), else -1."""
    template = np.full(rows.shape[0], -1, np.int32)
    keys = components.shape[1]
    for at in range(rows.shape[0]):
        row = rows[at]
        for kind in range(2):
            most = 1
            for first in range(row["width"]):
                here = components[kind, row["keys"][first]]
                same = 0
                for other in range(row["width"]):
                    same += components[kind, row["keys"][other]] == here
                if same > most:
                    most = same
                    template[at] = here + kind * keys
            if template[at] >= 0:
                break
    return template


@dataclass(slots=True)
class Templates:
    """``t`` templates over ``n`` covered requests."""

    of_row: npt.NDArray[np.int64]  # (n,) template number, -1 none
    requests: Ints  # (t,)
    customers: Ints
    networks: Ints  # distinct known networks
    located: Ints  # requests with a known network
    first_turns: Floats  # share of requests
    collisions: Floats  # share of requests whose exact prompt another customer sent too
    gated: npt.NDArray[np.bool_]  # may be campaign evidence


def distinct(groups: Ints, values: npt.NDArray[Any], count: int) -> tuple[Ints, Ints, npt.NDArray[Any]]:
    """Distinct (group, value) pairs: how many per group, and the pairs themselves, groups first."""
    order = np.lexsort((values, groups))
    sorted_groups, sorted_values = groups[order], values[order]
    first = np.ones(len(order), np.bool_)
    first[1:] = (sorted_groups[1:] != sorted_groups[:-1]) | (sorted_values[1:] != sorted_values[:-1])
    return np.bincount(sorted_groups[first], minlength=count), sorted_groups[first], sorted_values[first]


def even_templates(of_row: Ints) -> float:
    """The number of templates of one size that mix as much as those of these requests: inverse Simpson."""
    shares = np.bincount(of_row) / len(of_row)
    return 1.0 / float((shares * shares).sum())


@jit
def _place(slots: npt.NDArray[np.int32], hashes: Any, groups: Any, at: int, group: int, value: np.uint64) -> int:
    """The row that first held (group, value); ``at`` itself, which is then entered, where none did."""
    # Networks are numbers beside one another, not hashes: unmixed they would all queue for the same few slots.
    folded = np.int64((value ^ (value >> np.uint64(32))) & np.uint64(0x7FFFFFFF)) + group * 40_503
    mask = slots.shape[0] - 1
    slot = (folded * 0x5BD1E995 >> 16) & mask
    while slots[slot] != -1:
        other = slots[slot]
        if groups[other] == group and hashes[other] == value:
            return int(other)
        slot = (slot + 1) & mask
    slots[slot] = at
    return at


@jit
def _facts(rows: Any, of_row: npt.NDArray[np.int64], count: int) -> tuple[Any, Any]:
    """Per template [requests, customers, networks, located, first turns] and the share of collided requests."""
    facts = np.zeros((5, count), np.int64)
    size = 16
    while size < 2 * rows.shape[0]:
        size *= 2
    customers = np.full(size, -1, np.int32)
    networks = np.full(size, -1, np.int32)
    prompts = np.full(size, -1, np.int32)
    owner = np.zeros(rows.shape[0], np.int32)
    shared = np.zeros(rows.shape[0], np.bool_)
    for at in range(rows.shape[0]):
        group = of_row[at]
        if group < 0:
            continue
        row = rows[at]
        facts[0, group] += 1
        facts[1, group] += _place(customers, rows["customer"], of_row, at, group, row["customer"]) == at
        if row["network"] != 0:
            facts[2, group] += _place(networks, rows["network"], of_row, at, group, row["network"]) == at
            facts[3, group] += 1
        facts[4, group] += (row["flags"] & FIRST_TURN) != 0
        owner[at] = _place(prompts, rows["prompt"], of_row, at, group, row["prompt"])
        if rows[owner[at]]["customer"] != row["customer"]:
            shared[owner[at]] = True
    collided = np.zeros(count, np.float64)
    for at in range(rows.shape[0]):
        if of_row[at] >= 0 and shared[owner[at]]:
            collided[of_row[at]] += 1.0
    return facts, collided


@jit
def _renumber(of_row: npt.NDArray[np.int32], keys: int) -> tuple[npt.NDArray[np.int64], int]:
    """Templates numbered from 0 in the order of their component, -1 for none."""
    used = np.zeros(keys + 1, np.int64)
    for at in range(of_row.shape[0]):
        if of_row[at] >= 0:
            used[of_row[at]] = 1
    count = 0
    for key in range(keys):
        if used[key]:
            used[key] = count
            count += 1
    numbered = np.full(of_row.shape[0], -1, np.int64)
    for at in range(of_row.shape[0]):
        if of_row[at] >= 0:
            numbered[at] = used[of_row[at]]
    return numbered, count


def find_templates(rows: npt.NDArray[Any], keys: int) -> Templates:
    """Group ``rows`` (COVERED records, whose keys are numbered below ``keys``) by template and gate each."""
    held = np.arange(KEYS_MAX) < rows["width"][:, None]
    counts = np.bincount(rows["keys"][held], minlength=keys)
    of_row, count = _renumber(assign(rows, link_keys(rows, counts)), 2 * keys)
    facts, collided = _facts(rows, of_row, count)
    requests, customers, networks, located, first = facts
    first_turns, collisions = first / np.maximum(requests, 1), collided / np.maximum(requests, 1)
    placed = (networks >= NETWORKS_MIN) | (2 * located < requests)
    gated = (customers >= CUSTOMERS_MIN) & placed & (first_turns >= FIRST_TURNS_MIN) & (collisions <= COLLISIONS_MAX)
    return Templates(of_row, requests, customers, networks, located, first_turns, collisions, gated)
