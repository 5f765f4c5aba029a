"""What is measured of a cluster: plain numbers, without any judgement.

What lives here: every feature of a candidate cluster and how it is computed. What does not: what a value speaks for
(``evidence``). All over the covered requests of the last 24 hours; "core" are the accounts that give the cluster the
largest part of their own traffic, so that bystanders and decoys do not blur the picture.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from models.clusters import Candidate
from models.compiled import jit
from models.directory import Directory
from models.sighting import BURST, REASONING
from models.swarm import SETTLE_MS, second_lowest
from models.templates import Templates

YOUNG_DAYS = 10
PERSISTENT_HOURS = 12
HUB_ACCOUNTS_MIN = 3
MIXING_PAIRS_MIN = 60


class Features(msgspec.Struct, frozen=True):
    """One cluster in numbers; a negative value of a ratio means that it could not be measured."""

    accounts: int  # core accounts
    customers: int  # core
    touched: int  # accounts with any covered request
    requests: int  # covered requests of the core
    networks: int  # distinct known networks of the core
    network_top: float  # share of core customers on the commonest network
    templates: int
    mean_requests: float  # covered, per core account
    dispersion: float  # variance over mean of covered requests per core account
    evenness: float  # ratio of successive factorial moments over all accounts: 1 Poisson, 2 and more heavy-tailed
    rate: float  # covered requests per account if all send at one rate, seen or not; -1 where evenness is
    several_templates: float  # share of core accounts that use at least two
    mixing: float  # chance that two requests of one account have one template, over that of two accounts; -1 unknown
    burst: float  # share of covered requests within five minutes of one before
    follow_up: float  # share of core accounts' requests that continue a conversation
    persistent: float  # share of core accounts active in 12 distinct hours of the day
    hours: float  # mean distinct active hours of core accounts
    share: float  # median part of a core account's traffic that is covered
    repeats: float  # exact prompt collisions among the cluster's requests
    distinct_prompts: float  # distinct prompts per covered request
    young: float  # share of core accounts younger than ten days, of those whose age is known
    young_fleet: float  # the same share in the whole fleet
    reasoning: float  # share of covered requests that ask for the reasoning
    payment_hubs: int  # payment methods each shared by at least three core customers
    payment_part: float  # part of the core's customers on such a hub
    payment_top: float  # part of them on the largest
    network_hubs: int
    network_part: float
    client_lift: float  # how many times commoner the core's commonest client is there than in the fleet
    client_part: float
    new_templates: (
        float  # share of the core's covered requests whose shared text was unknown when the watch had settled
    )
    new_accounts: float  # share of core accounts that first appeared with the templates, or shortly before
    new_accounts_fleet: float  # the same share of all accounts known
    core_part: float  # core accounts over touched accounts
    prompt_tokens: float  # mean


@dataclass(slots=True)
class Core:
    """The core's rows and profiles, gathered once for all features."""

    inside: npt.NDArray[np.int64]  # its covered rows
    prompts: npt.NDArray[np.uint64]  # of each
    networks: npt.NDArray[np.uint64]  # of each whose network is known
    burst: int  # rows
    reasoning: int  # rows
    tokens: int  # of all rows
    several: int  # accounts that use at least two templates
    last: npt.NDArray[np.int64]  # row of each account's newest covered request
    profiles: npt.NDArray[Any]


@jit
def _gather(
    rows: Any, of_row: Any, picked: Any, starts: Any, core: Any
) -> tuple[Any, Any, Any, tuple[int, int, int, int]]:
    """Rows, prompts and networks of the core accounts, and what there is to count over them."""
    inside = np.empty(picked.shape[0], np.int64)
    prompts = np.empty(picked.shape[0], np.uint64)
    networks = np.empty(picked.shape[0], np.uint64)
    count = located = burst = reasoning = tokens = several = 0
    for account in range(core.shape[0]):
        if not core[account]:
            continue
        varied = False
        for at in range(starts[account], starts[account + 1]):
            row = rows[picked[at]]
            inside[count] = picked[at]
            prompts[count] = row["prompt"]
            count += 1
            if row["network"] != 0:
                networks[located] = row["network"]
                located += 1
            burst += (row["flags"] & BURST) != 0
            reasoning += (row["flags"] & REASONING) != 0
            tokens += row["tokens"]
            varied |= of_row[picked[at]] != of_row[picked[starts[account]]]
        several += varied
    return inside[:count], prompts[:count], networks[:located], (burst, reasoning, tokens, several)


def prepare(context: Context, candidate: Candidate) -> Core:
    """Gather the core accounts of ``candidate``."""
    inside, prompts, networks, counts = _gather(
        context.rows, context.templates.of_row, candidate.rows, candidate.starts, candidate.core
    )
    known = context.directory.rows(candidate.account[candidate.core])
    profiles = context.directory.profiles.records[known[known >= 0]]
    return Core(inside, prompts, networks, *counts, candidate.last[candidate.core], profiles)


@jit
def _pairs(rows: Any, of_row: Any, picked: Any, starts: Any, core: Any) -> tuple[float, float, float, float]:
    """Pairs of requests under one template and all pairs: within accounts, and over all requests."""
    totals = np.zeros(of_row.max() + 1, np.int64)
    own = np.zeros(of_row.max() + 1, np.int64)
    same = within = count = 0.0
    for account in range(core.shape[0]):
        if not core[account]:
            continue
        sent = 0
        for at in range(starts[account], starts[account + 1]):
            if (rows[picked[at]]["flags"] & BURST) == 0:
                used = of_row[picked[at]]
                same += own[used]
                own[used] += 1
                totals[used] += 1
                sent += 1
        for at in range(starts[account], starts[account + 1]):
            own[of_row[picked[at]]] = 0
        within += sent * (sent - 1) / 2
        count += sent
    alike = 0.0
    for used in totals:
        alike += used * (used - 1) / 2
    return same, within, alike, count * (count - 1) / 2


def _mixing(context: Context, candidate: Candidate) -> float:
    """How much likelier two requests of one account share a template than two requests of different accounts.

    1 where everyone draws from one list alike, as a dispatcher deals; people have favourites. Requests that follow
    within five minutes are left out, as they tend to be the same task.
    """
    same, within, alike, pairs = _pairs(
        context.rows, context.templates.of_row, candidate.rows, candidate.starts, candidate.core
    )
    if within < MIXING_PAIRS_MIN or alike <= same or pairs <= within:
        return -1.0
    return (same / within) / ((alike - same) / (pairs - within))


def _distinct(values: npt.NDArray[Any]) -> int:
    """How many different values there are; a few times cheaper on short arrays than to list them."""
    ordered = np.sort(values)
    return int(np.count_nonzero(ordered[1:] != ordered[:-1])) + (len(ordered) > 0)


def _evenness(covered: npt.NDArray[np.int64]) -> tuple[float, float]:
    """E[X(X-1)(X-2)] E[X] over E[X(X-1)]^2, and E[X(X-1)] over E[X].

    For Poisson counts the first is 1 and the second their mean; both are blind to accounts not seen at all.
    """
    counts = covered.astype(np.float64)
    first, second = counts.sum(), (counts * (counts - 1)).sum()
    third = (counts * (counts - 1) * (counts - 2)).sum()
    return (float(third * first / (second * second)), float(second / first)) if second >= 60 else (-1.0, -1.0)


def _hubs(profiles: npt.NDArray[Any], name: str) -> tuple[int, float, float]:
    """Values shared by several customers: how many, the part of the customers on one, the part on the largest.

    An organisation shares its own card and office with itself: that joins nobody, so customers are counted.
    """
    if not len(profiles):
        return 0, 0.0, 0.0
    values, customers = profiles[name], profiles["customer"]
    order = np.lexsort((customers, values))
    values, customers = values[order], customers[order]
    pair = values != 0
    pair[1:] &= (values[1:] != values[:-1]) | (customers[1:] != customers[:-1])
    values, users = values[pair], customers[pair]
    ends = np.flatnonzero(np.append(values[1:] != values[:-1], True)) + 1 if len(values) else np.zeros(0, np.int64)
    counts = np.diff(ends, prepend=0)
    hubs = counts >= HUB_ACCOUNTS_MIN
    everyone = _distinct(customers)
    part = _distinct(users[np.repeat(hubs, counts)]) / everyone
    return int(hubs.sum()), float(part), float(counts[hubs].max(initial=0) / everyone)


def _client(core: Core, directory: Directory) -> tuple[float, float]:
    """The commonest client of the core: times commoner than in the fleet, and its part of the core."""
    values, counts = np.unique(core.profiles["client"][core.profiles["client"] != 0], return_counts=True)
    if not len(values):
        return 1.0, 0.0
    top = int(np.argmax(counts))
    part = counts[top] / len(core.profiles)
    fleet = directory.popularity("client", values[top : top + 1])[0] / max(len(directory), 1)
    return float(part / max(fleet, 1e-9)), float(part)


def _young(profiles: npt.NDArray[Any], now_ms: int) -> float:
    """Share of accounts younger than ten days, of those whose age is known; -1 where none is."""
    created = profiles["created"][profiles["created"] >= 0]
    return float((now_ms - created < YOUNG_DAYS * 86_400_000).mean()) if len(created) else -1.0


@dataclass(slots=True)
class Context:
    """What features are measured against: everything known at one evaluation."""

    rows: npt.NDArray[Any]  # covered requests
    templates: Templates
    directory: Directory
    key_first_at: npt.NDArray[np.int64]  # of every key number, when it was first hot
    watch_start_ms: int
    now_ms: int
    young_fleet: float = field(init=False)  # share of all known accounts younger than ten days
    arrivals: npt.NDArray[np.int64] = field(init=False)  # when each account was first seen, ascending

    def __post_init__(self) -> None:
        self.arrivals = np.sort(self.directory.profiles.rows["ts"])
        self.young_fleet = _young(self.directory.profiles.rows, self.now_ms)


def _novelty(context: Context, inside: npt.NDArray[np.int64], profiles: npt.NDArray[Any]) -> tuple[float, float, float]:
    """Share of new requests; share of accounts that came with the templates, in the core and in the fleet.

    What was hot before the watch had settled counts as known, so a campaign older than the watch gets no credit here.
    """
    settled = context.watch_start_ms + SETTLE_MS
    first = second_lowest(context.rows, context.key_first_at, inside)
    new = float((first >= settled).mean())
    if new < 0.5:
        return new, -1.0, -1.0
    since = int(np.median(first[first >= settled])) - SETTLE_MS
    fleet = context.arrivals
    later = len(fleet) - int(np.searchsorted(fleet, since))
    return new, float((profiles["ts"] >= since).mean()) if len(profiles) else -1.0, later / len(fleet)


def measure(context: Context, candidate: Candidate) -> Features:
    """All features of ``candidate``."""
    rows, templates, directory, now_ms = context.rows, context.templates, context.directory, context.now_ms
    core = prepare(context, candidate)
    counts = candidate.covered[candidate.core].astype(np.float64)
    requests, accounts = len(core.inside), len(counts)
    follow_ups = rows["follow_ups_24h"][core.last] / np.maximum(rows["requests_24h"][core.last], 1)
    hours = rows["hours_24h"][core.last]
    payment, network = _hubs(core.profiles, "payment"), _hubs(core.profiles, "network")
    client_lift, client_part = _client(core, directory)
    weights = templates.requests[candidate.templates]
    evenness, rate = _evenness(candidate.covered)
    novelty = _novelty(context, core.inside, core.profiles)
    return Features(
        accounts=accounts,
        customers=_distinct(rows["customer"][core.last]),
        touched=len(candidate.account),
        requests=requests,
        networks=_distinct(core.networks),
        network_top=network[2],
        templates=len(candidate.templates),
        mean_requests=float(counts.mean()),
        dispersion=float(counts.var() / counts.mean()),
        evenness=evenness,
        rate=rate,
        several_templates=core.several / accounts,
        mixing=_mixing(context, candidate),
        burst=core.burst / requests,
        follow_up=float(follow_ups.mean()),
        persistent=float((hours >= PERSISTENT_HOURS).mean()),
        hours=float(hours.mean()),
        share=float(np.median(candidate.share[candidate.core])),
        repeats=float(np.average(templates.collisions[candidate.templates], weights=weights)),
        distinct_prompts=_distinct(core.prompts) / requests,
        young=_young(core.profiles, now_ms),
        young_fleet=context.young_fleet,
        reasoning=core.reasoning / requests,
        payment_hubs=payment[0],
        payment_part=payment[1],
        payment_top=payment[2],
        network_hubs=network[0],
        network_part=network[1],
        client_lift=client_lift,
        client_part=client_part,
        new_templates=novelty[0],
        new_accounts=novelty[1],
        new_accounts_fleet=novelty[2],
        core_part=accounts / len(candidate.account),
        prompt_tokens=core.tokens / requests,
    )
