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
from models.directory import Directory
from models.sighting import BURST, REASONING
from models.swarm import SETTLE_MS, second_lowest
from models.templates import Templates, distinct

YOUNG_DAYS = 10
PERSISTENT_HOURS = 12
HUB_ACCOUNTS_MIN = 3


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
    """The core's rows and profiles, prepared once for all features."""

    rows: npt.NDArray[Any]
    counts: npt.NDArray[np.int64]
    last: npt.NDArray[Any]
    profiles: npt.NDArray[Any]


def prepare(rows: npt.NDArray[Any], candidate: Candidate, directory: Directory) -> Core:
    """Gather the core accounts of ``candidate``."""
    group = np.repeat(np.arange(len(candidate.account)), np.diff(candidate.starts))
    inside = rows[candidate.rows[candidate.core[group]]]
    known = directory.rows(candidate.account[candidate.core])
    profiles = directory.profiles.records[known[known >= 0]]
    return Core(inside, candidate.covered[candidate.core], rows[candidate.last[candidate.core]], profiles)


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
    customers = len(np.unique(profiles["customer"]))
    pairs = np.unique(np.stack([profiles[name], profiles["customer"]], axis=1), axis=0)
    values, counts = np.unique(pairs[pairs[:, 0] != 0, 0], return_counts=True)
    hubs = counts[counts >= HUB_ACCOUNTS_MIN]
    inside = np.isin(pairs[:, 0], values[counts >= HUB_ACCOUNTS_MIN])
    part = len(np.unique(pairs[inside, 1])) / customers
    return len(hubs), float(part), float(hubs.max(initial=0) / customers)


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

    def __post_init__(self) -> None:
        self.young_fleet = _young(self.directory.profiles.rows, self.now_ms)


def _novelty(context: Context, inside: npt.NDArray[np.int64], profiles: npt.NDArray[Any]) -> tuple[float, float, float]:
    """Share of new requests; share of accounts that came with the templates, in the core and in the fleet.

    What was hot before the watch had settled counts as known, so a campaign older than the watch gets no credit here.
    """
    settled = context.watch_start_ms + SETTLE_MS
    first = second_lowest(context.rows[inside], context.key_first_at)
    new = float((first >= settled).mean())
    if new < 0.5:
        return new, -1.0, -1.0
    since = int(np.median(first[first >= settled])) - SETTLE_MS
    fleet = context.directory.profiles.rows["ts"]
    return new, float((profiles["ts"] >= since).mean()) if len(profiles) else -1.0, float((fleet >= since).mean())


def measure(context: Context, candidate: Candidate) -> Features:
    """All features of ``candidate``."""
    rows, templates, directory, now_ms = context.rows, context.templates, context.directory, context.now_ms
    core = prepare(rows, candidate, directory)
    counts = core.counts.astype(np.float64)
    group = np.repeat(np.arange(len(counts)), core.counts)
    inside = candidate.rows[candidate.core[np.repeat(np.arange(len(candidate.account)), np.diff(candidate.starts))]]
    used = distinct(group, templates.of_row[inside], len(counts))[0]
    every = templates.of_row[candidate.rows]
    payment, network = _hubs(core.profiles, "payment"), _hubs(core.profiles, "network")
    client_lift, client_part = _client(core, directory)
    flags = core.rows["flags"]
    located = core.rows["network"][core.rows["network"] != 0]
    weights = templates.requests[candidate.templates]
    evenness, rate = _evenness(candidate.covered)
    novelty = _novelty(context, inside, core.profiles)
    return Features(
        accounts=len(counts),
        customers=len(np.unique(core.last["customer"])),
        touched=len(candidate.account),
        requests=int(counts.sum()),
        networks=len(np.unique(located)),
        network_top=network[2],
        templates=len(np.unique(every)),
        mean_requests=float(counts.mean()),
        dispersion=float(counts.var() / counts.mean()),
        evenness=evenness,
        rate=rate,
        several_templates=float((used >= 2).mean()),
        burst=float(((flags & BURST) != 0).mean()),
        follow_up=float((core.last["follow_ups_24h"] / np.maximum(core.last["requests_24h"], 1)).mean()),
        persistent=float((core.last["hours_24h"] >= PERSISTENT_HOURS).mean()),
        hours=float(core.last["hours_24h"].mean()),
        share=float(np.median(candidate.share[candidate.core])),
        repeats=float(np.average(templates.collisions[candidate.templates], weights=weights)),
        distinct_prompts=float(len(np.unique(core.rows["prompt"])) / max(len(core.rows), 1)),
        young=_young(core.profiles, now_ms),
        young_fleet=context.young_fleet,
        reasoning=float(((flags & REASONING) != 0).mean()),
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
        core_part=float(candidate.core.sum() / len(candidate.account)),
        prompt_tokens=float(core.rows["tokens"].mean()),
    )
