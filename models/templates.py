"""Templates: groups of hot keys that occur together, and the requests that carry them.

What lives here: linking keys, assigning requests, and the facts of each template that the gate reads. What does not:
who uses several templates (``clusters``). Two keys are linked where the requests with both are many against the
geometric mean of their own counts; a link by the smaller count chains unrelated campaigns together within two days, one
by the larger loses paraphrased uses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from models.compiled import jit
from models.covered import KEYS_MAX
from models.sighting import FIRST_TURN

LINK = 0.4
SAMPLED_ROWS = 512.0
"""A key needs no more rows than this to tell which keys go with it."""
CUSTOMERS_MIN = 8
NETWORKS_MIN = 8
FIRST_TURNS_MIN = 0.8
COLLISIONS_MAX = 0.10

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
def link_keys(rows: Any, counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
    """The component of every key, by the lowest key number in it."""
    sampled = 0
    for at in range(rows.shape[0]):
        if rows[at]["width"] > 1 and _weight(rows[at], counts) > 0.0:
            sampled += rows[at]["width"] * (rows[at]["width"] - 1) // 2
    size = 16
    while size < 2 * sampled:
        size *= 2
    pair_keys = np.full(size, -1, np.int64)
    pair_counts = np.zeros(size, np.float64)
    mask = size - 1
    for at in range(rows.shape[0]):
        row = rows[at]
        weight = _weight(row, counts) if row["width"] > 1 else 0.0
        if weight == 0.0:
            continue
        for first in range(row["width"]):
            for second in range(first + 1, row["width"]):
                low = np.int64(min(row["keys"][first], row["keys"][second]))
                high = np.int64(max(row["keys"][first], row["keys"][second]))
                pair = (low << 32) | high
                slot = (low * 40_503 + high * 2_654_435 + (high >> 7)) & mask
                while pair_keys[slot] != -1 and pair_keys[slot] != pair:
                    slot = (slot + 1) & mask
                pair_keys[slot] = pair
                pair_counts[slot] += weight
    parent = np.arange(counts.shape[0]).astype(np.int32)
    for slot in range(size):
        if pair_keys[slot] == -1:
            continue
        low = pair_keys[slot] >> 32
        high = pair_keys[slot] & 0xFFFFFFFF
        if pair_counts[slot] >= LINK * np.sqrt(np.float64(counts[low]) * np.float64(counts[high])):
            one, other = _root(parent, low), _root(parent, high)
            parent[max(one, other)] = min(one, other)
    for key in range(parent.shape[0]):
        parent[key] = _root(parent, key)
    return parent


@jit
def assign(rows: Any, component: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """The template of every request: the component that holds most of its keys, at least two; else -1."""
    template = np.full(rows.shape[0], -1, np.int32)
    for at in range(rows.shape[0]):
        row = rows[at]
        most = 1
        for first in range(row["width"]):
            here = component[row["keys"][first]]
            same = 0
            for other in range(row["width"]):
                same += component[row["keys"][other]] == here
            if same > most:
                most = same
                template[at] = here
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
    component: npt.NDArray[np.int64]  # (t,) the key component it stands for
    gated: npt.NDArray[np.bool_]  # may be campaign evidence


def distinct(groups: Ints, values: npt.NDArray[Any], count: int) -> tuple[Ints, Ints, npt.NDArray[Any]]:
    """Distinct (group, value) pairs: how many per group, and the pairs themselves, groups first."""
    order = np.lexsort((values, groups))
    sorted_groups, sorted_values = groups[order], values[order]
    first = np.ones(len(order), np.bool_)
    first[1:] = (sorted_groups[1:] != sorted_groups[:-1]) | (sorted_values[1:] != sorted_values[:-1])
    return np.bincount(sorted_groups[first], minlength=count), sorted_groups[first], sorted_values[first]


def _collisions(groups: Ints, prompts: npt.NDArray[Any], customers: npt.NDArray[Any], count: int) -> Floats:
    """Per group the share of rows whose prompt occurs under more than one customer."""
    order = np.lexsort((customers, prompts, groups))
    group, prompt, customer = groups[order], prompts[order], customers[order]
    starts = np.ones(len(order), np.bool_)
    starts[1:] = (group[1:] != group[:-1]) | (prompt[1:] != prompt[:-1])
    text = np.cumsum(starts) - 1
    changes = np.zeros(len(order), np.bool_)
    changes[1:] = (customer[1:] != customer[:-1]) & ~starts[1:]
    shared = np.bincount(text, weights=changes)[text] > 0 if len(order) else np.zeros(0, np.bool_)
    totals = np.bincount(group, minlength=count)
    collided: Floats = np.bincount(group, weights=shared, minlength=count) / np.maximum(totals, 1)
    return collided


def find_templates(rows: npt.NDArray[Any], keys: int) -> Templates:
    """Group ``rows`` (COVERED records, whose keys are numbered below ``keys``) by template and gate each."""
    held = np.arange(KEYS_MAX) < rows["width"][:, None]
    counts = np.bincount(rows["keys"][held], minlength=keys)
    of_row = assign(rows, link_keys(rows, counts)).astype(np.int64)
    component, numbered = np.unique(of_row[of_row >= 0], return_inverse=True)
    of_row[of_row >= 0] = numbered
    inside = np.flatnonzero(of_row >= 0)
    group, row = of_row[inside], rows[inside]
    count = len(component)
    requests = np.bincount(group, minlength=count)
    customers = distinct(group, row["customer"], count)[0]
    located = np.bincount(group, weights=row["network"] != 0, minlength=count).astype(np.int64)
    networks = distinct(group, row["network"], count)[0] - (located < requests)
    first_turns = np.bincount(group, weights=(row["flags"] & FIRST_TURN) != 0, minlength=count) / np.maximum(requests, 1)
    collisions = _collisions(group, row["prompt"], row["customer"], count)
    placed = (networks >= NETWORKS_MIN) | (2 * located < requests)
    gated = (customers >= CUSTOMERS_MIN) & placed & (first_turns >= FIRST_TURNS_MIN) & (collisions <= COLLISIONS_MAX)
    return Templates(of_row, requests, customers, networks, located, first_turns, collisions, component, gated)
