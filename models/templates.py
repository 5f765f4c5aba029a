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
from models.grouping import by_number, different, first_place, slots_for
from models.prefetch import AHEAD, prefetch
from models.sighting import FIRST_TURN

LOOSE = 0.4
TIGHT = 0.6
SAMPLED_ROWS = 128.0
"""A key needs no more rows than this to tell which keys go with it."""
BELOW_BOTH = 0.15  # less than the square of either: what is not asked about need not be computed
CUSTOMERS_MIN = 8
NETWORKS_MIN = 3  # a gateway, a class or a campus has one or two
FIRST_TURNS_MIN = 0.5
COLLISIONS_MAX = 0.30

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Lists = npt.NDArray[np.int32]  # (n, KEYS_MAX)
Counts = npt.NDArray[np.int32]  # (keys,)


@jit
def _root(parent: npt.NDArray[np.int32], key: int) -> int:
    while parent[key] != key:
        parent[key] = parent[parent[key]]
        key = parent[key]
    return key


@jit
def _hold(keys: Any, widths: Any, held: Lists, counts: Counts) -> None:
    for at in range(keys.shape[0]):
        width = widths[at] if widths[at] > 1 else 0
        for place in range(KEYS_MAX):  # all places alike, which is one instruction
            held[at, place] = keys[at, place] if place < width else -1
        for place in range(width):
            counts[keys[at, place]] += 1


class Room:
    """Memory for the keys of all covered requests, kept from one evaluation to the next; nothing is read from it.

    To be given that much memory afresh costs several times what it costs to fill it.
    """

    def __init__(self) -> None:
        self._lists: Lists = np.empty((0, KEYS_MAX), np.int32)

    def lists(self, rows: int) -> Lists:
        """Room for ``rows`` lists, whatever it holds."""
        if not rows <= len(self._lists) <= 4 * max(rows, 1 << 12):
            self._lists = np.empty((rows + rows // 4, KEYS_MAX), np.int32)
        return self._lists[:rows]


def held_keys(keys: Any, widths: Any, count: int, room: Room | None = None) -> tuple[Lists, Counts]:
    """The keys of each request that holds several, -1 beyond the last, and how many of these requests hold each key.

    In 32 bytes a row: what follows walks them in the order of keys too, where a whole record is two lines of cache.
    """
    held, counts = (room or Room()).lists(len(keys)), np.zeros(count, np.int32)
    _hold(keys, widths, held, counts)
    return held, counts


@jit
def _weights(held: Lists, events: Any, counts: Counts) -> Ints:
    """How many requests each stands for, in parts of SAMPLED_ROWS: those of plentiful keys are sampled by event hash.

    Whole numbers, so their sum is the same in any order; 0 = left out.
    """
    weights = np.zeros(held.shape[0], np.int64)
    for at in range(held.shape[0]):
        if held[at, 0] < 0:
            continue
        least = counts[held[at, 0]]
        for place in range(1, KEYS_MAX):  # to the end, without a branch that depends on the row
            least = min(least, counts[held[at, place] if held[at, place] >= 0 else held[at, 0]])
        share = np.float64(events[at] & np.uint64(0xFFFFF)) / 1048576.0
        if least <= SAMPLED_ROWS:
            weights[at] = np.int64(SAMPLED_ROWS)
        elif share * least < SAMPLED_ROWS:
            weights[at] = least
    return weights


@jit
def _by_first_key(held: Lists, weights: Ints, keys: int) -> tuple[Lists, Ints]:
    """The requests with a weight, in the order of their first key: those of one text beside one another."""
    first = np.empty(held.shape[0], np.int32)
    for at in range(held.shape[0]):
        first[at] = held[at, 0] if weights[at] else -1
    found, _ = by_number(first, keys)
    lists, counted = np.empty((found.shape[0], KEYS_MAX), np.int32), np.empty(found.shape[0], np.int64)
    for to in range(found.shape[0]):
        soon = found[min(to + AHEAD, found.shape[0] - 1)]
        prefetch(held, soon)
        prefetch(weights, soon)
        lists[to], counted[to] = held[found[to]], weights[found[to]]
    return lists, counted


@jit
def _places(held: Lists, keys: int) -> tuple[Ints, Ints]:
    """By key: where in ``held``, as one list, it stands before another; where each begins."""
    starts = np.zeros(keys + 2, np.int64)
    for at in range(held.shape[0]):
        place = 1
        while place < KEYS_MAX and held[at, place] >= 0:
            starts[held[at, place - 1] + 2] += 1
            place += 1
    for key in range(keys):
        starts[key + 2] += starts[key + 1]
    found = np.empty(starts[keys + 1], np.int64)
    for at in range(held.shape[0]):
        place = 1
        while place < KEYS_MAX and held[at, place] >= 0:
            key = held[at, place - 1]
            found[starts[key + 1]] = at * KEYS_MAX + place - 1
            starts[key + 1] += 1
            place += 1
    return found, starts


@jit
def _met(
    held: Lists, weights: Ints, places: Ints, together: Ints, beside: npt.NDArray[np.int32]
) -> npt.NDArray[np.int32]:
    """The keys that stand after one key, whose ``places`` these are, with the requests of each in ``together``."""
    many = 0
    for number in range(places.shape[0]):
        prefetch(held, places[min(number + AHEAD, places.shape[0] - 1)] // KEYS_MAX)
        at, place = places[number] // KEYS_MAX, places[number] % KEYS_MAX + 1
        while place < KEYS_MAX and held[at, place] >= 0:
            key = held[at, place]
            if together[key] == 0:
                beside[many] = key
                many += 1
            together[key] += weights[at]
            place += 1
    return beside[:many]


@jit
def _link(parent: npt.NDArray[np.int32], pair: tuple[int, int], requests: float, one: float, other: float) -> None:
    """Join the components of two keys held ``one`` and ``other`` times, ``requests`` times together, where they go."""
    if requests * requests < BELOW_BOTH * one * other:
        return
    for kind in range(2):
        needed = TIGHT * max(one, other) if kind == 0 else LOOSE * np.sqrt(one * other)
        if requests >= needed:
            left, right = _root(parent[kind], pair[0]), _root(parent[kind], pair[1])
            parent[kind, max(left, right)] = min(left, right)


@jit
def link_keys(held: Lists, events: Any, counts: Counts) -> npt.NDArray[np.int32]:
    """The tight and the loose component of every key, shape (2, keys), each by the lowest key number in it.

    Two keys stand in one order wherever they meet (``covered``). So they are counted key by key: those after one are
    few and stay in the cache, as a table of pairs does not.
    """
    keys = counts.shape[0]
    parent = np.empty((2, keys), np.int32)
    for key in range(keys):
        parent[:, key] = key
    held, weights = _by_first_key(held, _weights(held, events, counts), keys)
    found, starts = _places(held, keys)
    together = np.zeros(keys, np.int64)
    beside = np.empty(keys, np.int32)
    for key in range(keys):
        for other in _met(held, weights, found[starts[key] : starts[key + 1]], together, beside):
            requests = together[other] / SAMPLED_ROWS
            together[other] = 0
            _link(parent, (key, other), requests, np.float64(counts[key]), np.float64(counts[other]))
    for kind in range(2):
        for key in range(keys):
            parent[kind, key] = _root(parent[kind], key)
    return parent


@jit
def _most_held(here: npt.NDArray[np.int32], width: int) -> int:
    """The component that most of the first ``width`` are in, the first of those where several are; -1: all differ."""
    most, found = 1, -1
    for first in range(width):
        same = 0
        for other in range(width):
            same += here[other] == here[first]
        if same > most:
            most, found = same, here[first]
        if 2 * most >= width:  # no later one can be in more
            break
    return found


@jit
def assign(held: Lists, components: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """The component that holds most of each request's keys, at least two: tight, else loose (+ keys), else -1."""
    template = np.full(held.shape[0], -1, np.int32)
    here = np.empty(KEYS_MAX, np.int32)
    for at in range(held.shape[0]):
        for kind in range(2):
            width = 0
            while width < KEYS_MAX and held[at, width] >= 0:
                here[width] = components[kind, held[at, width]]
                width += 1
            found = _most_held(here, width)
            if found >= 0:
                template[at] = found + kind * components.shape[1]
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
    of_keys: Counts  # (k,) requests of several keys that hold each


def even_templates(of_row: Ints) -> float:
    """The number of templates of one size that mix as much as those of these requests: inverse Simpson."""
    shares = np.bincount(of_row) / len(of_row)
    return 1.0 / float((shares * shares).sum())


@jit
def _collided(values: Any, customers: Any) -> int:
    """How many rows have a value that rows of other customers have too."""
    slots = slots_for(values.shape[0])
    owner = np.empty(values.shape[0], np.int32)
    shared = np.zeros(values.shape[0], np.int64)
    for at in range(values.shape[0]):
        owner[at] = first_place(slots, values, at)
        if customers[owner[at]] != customers[at]:
            shared[owner[at]] = 1
    count = 0
    for at in owner:
        count += shared[at]
    return count


@jit
def _facts(rows: Any, of_row: Ints, count: int) -> tuple[Any, Any]:
    """Per template [requests, customers, networks, located, first turns] and its collided requests."""
    facts = np.zeros((5, count), np.int64)
    collided = np.zeros(count, np.float64)
    found, starts = by_number(of_row, count)
    columns = np.empty((3, found.shape[0]), np.uint64)
    near, far = rows["ts"], rows["flags"]  # in the two lines of cache of a record
    for group in range(count):
        mine = found[starts[group] : starts[group + 1]]
        values = columns[:, : mine.shape[0]]
        for at in range(mine.shape[0]):
            soon = found[min(starts[group] + at + AHEAD, found.shape[0] - 1)]
            prefetch(near, soon)
            prefetch(far, soon)
            row = rows[mine[at]]
            values[0, at] = row["customer"]
            values[1, at] = row["network"]
            values[2, at] = row["prompt"]
            facts[3, group] += row["network"] != 0
            facts[4, group] += (row["flags"] & FIRST_TURN) != 0
        facts[0, group] = mine.shape[0]
        facts[1, group] = different(values[0])
        facts[2, group] = different(values[1]) - (facts[3, group] < mine.shape[0])
        collided[group] = _collided(values[2], values[0])
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


def find_templates(rows: npt.NDArray[Any], keys: int, room: Room | None = None) -> Templates:
    """Group ``rows`` (COVERED records, whose keys are numbered below ``keys``) by template and gate each.

    A row with a single key is in none and counts for none: a common phrase until a second one turns hot.
    """
    held, counts = held_keys(rows["keys"], rows["width"], keys, room)
    of_row, count = _renumber(assign(held, link_keys(held, rows["key"], counts)), 2 * keys)
    facts, collided = _facts(rows, of_row, count)
    requests, customers, networks, located, first = facts
    first_turns, collisions = first / np.maximum(requests, 1), collided / np.maximum(requests, 1)
    placed = (networks >= NETWORKS_MIN) | (2 * located < requests)
    gated = (customers >= CUSTOMERS_MIN) & placed & (first_turns >= FIRST_TURNS_MIN) & (collisions <= COLLISIONS_MAX)
    return Templates(of_row, requests, customers, networks, located, first_turns, collisions, gated, counts)
