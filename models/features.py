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
from models.grouping import different, first_place, numbered, slots_for
from models.prefetch import AHEAD, prefetch
from models.sighting import BURST, REASONING
from models.swarm import SETTLE_MS, known_since
from models.templates import Templates

YOUNG_DAYS = 10
PERSISTENT_HOURS = 12
HUB_ACCOUNTS_MIN = 3
MIXING_PAIRS_MIN = 60

Ints = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]


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
    network_mixing: float  # how much likelier two accounts' requests share a template on one network than across
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
    """The core's covered requests and accounts, gathered once for all features."""

    profiles: npt.NDArray[Any]  # of each account known
    network: Hashes  # of each account's profile, 0 where unknown
    prompts: Hashes  # of each request
    networks: Hashes  # of each whose network is known
    used: Ints  # the template of each
    known: Ints  # since when its shared text is
    flags: npt.NDArray[np.uint16]
    bounds: Ints  # where each account's begin, and the end
    tokens: int  # of all
    several: int  # accounts that use at least two templates


@jit
def _gather(rows: Any, of_row: Ints, first_at: Ints, picked: Ints, starts: Ints, core: Any) -> Any:
    """The requests of the core accounts as columns, where each account's begin, and what there is to count."""
    near, far = rows["ts"], rows["width"]  # in the two lines of cache of a record
    prompts, networks = np.empty(picked.shape[0], np.uint64), np.empty(picked.shape[0], np.uint64)
    used, known = np.empty(picked.shape[0], np.int64), np.empty(picked.shape[0], np.int64)
    flags = np.empty(picked.shape[0], np.uint16)
    bounds = np.zeros(core.shape[0] + 1, np.int64)
    accounts = count = located = tokens = several = 0
    for account in range(core.shape[0]):
        if not core[account]:
            continue
        varied = False
        for place in range(starts[account], starts[account + 1]):
            soon = picked[min(place + AHEAD, picked.shape[0] - 1)]
            prefetch(near, soon)
            prefetch(far, soon)
            prefetch(of_row, soon)
            at = picked[place]
            row = rows[at]
            prompts[count], used[count], flags[count] = row["prompt"], of_row[at], row["flags"]
            known[count] = known_since(row, first_at)
            tokens += row["tokens"]
            varied |= used[count] != used[bounds[accounts]]
            count += 1
            if row["network"] != 0:
                networks[located] = row["network"]
                located += 1
        several += varied
        accounts += 1
        bounds[accounts] = count
    columns = prompts[:count], networks[:located], used[:count], known[:count], flags[:count], bounds[: accounts + 1]
    return *columns, tokens, several


def prepare(context: Context, candidate: Candidate) -> Core:
    """Gather the core accounts of ``candidate``."""
    known = context.directory.rows(candidate.account[candidate.core])
    profiles = context.directory.profiles.records[known[known >= 0]]
    network = np.zeros(len(known), np.uint64)
    network[known >= 0] = profiles["network"]
    picked = candidate.rows, candidate.starts, candidate.core
    return Core(profiles, network, *_gather(context.rows, context.templates.of_row, context.key_first_at, *picked))


@jit
def _flagged(flags: Any, flag: int) -> int:
    count = 0
    for each in flags:
        count += (each & flag) != 0
    return count


@jit
def _pairs(used: Ints, flags: Any, bounds: Ints, templates: int) -> tuple[float, float, float, float]:
    """Pairs of requests under one template and all pairs: within accounts, and over all requests."""
    totals = np.zeros(templates, np.int64)
    own = np.zeros(templates, np.int64)
    same = within = count = 0.0
    for account in range(bounds.shape[0] - 1):
        sent = 0
        for at in range(bounds[account], bounds[account + 1]):
            if (flags[at] & BURST) == 0:
                same += own[used[at]]
                own[used[at]] += 1
                totals[used[at]] += 1
                sent += 1
        for at in range(bounds[account], bounds[account + 1]):
            own[used[at]] = 0
        within += sent * (sent - 1) / 2
        count += sent
    alike = 0.0
    for each in totals:
        alike += each * (each - 1) / 2
    return same, within, alike, count * (count - 1) / 2


def _mixing(context: Context, core: Core) -> float:
    """How much likelier two requests of one account share a template than two requests of different accounts.

    1 where everyone draws from one list alike, as a dispatcher deals; people have favourites. Requests that follow
    within five minutes are left out, as they tend to be the same task.
    """
    templates, used = numbered(core.used, context.scratch)
    same, within, alike, pairs = _pairs(used, core.flags, core.bounds, len(templates))
    if within < MIXING_PAIRS_MIN or alike <= same or pairs <= within:
        return -1.0
    return (same / within) / ((alike - same) / (pairs - within))


def _network_mixing(context: Context, core: Core) -> float:
    """How much likelier two accounts' requests share a template where their network is one than where it is not.

    1 where a pool's requests leave by whichever proxy; in several schools or offices each has tasks of its own.
    """
    order = np.argsort(core.network, kind="stable")
    order = order[core.network[order] != 0]
    sent = np.diff(core.bounds)[order]
    ends = np.cumsum(sent)
    at = np.repeat(core.bounds[order] - (ends - sent), sent) + np.arange(int(sent.sum()))
    last = np.flatnonzero(np.diff(core.network[order], append=np.uint64(0)))
    templates, used = numbered(core.used[at], context.scratch)
    flags = core.flags[at]
    same, within, alike, pairs = _pairs(used, flags, np.append(0, ends[last]), len(templates))
    alone, own, _, _ = _pairs(used, flags, np.append(0, ends), len(templates))
    if within - own < MIXING_PAIRS_MIN or pairs <= within:
        return -1.0
    return ((same - alone) / (within - own)) / (max(alike - same, 1.0) / (pairs - within))


def _evenness(covered: npt.NDArray[np.int64]) -> tuple[float, float]:
    """E[X(X-1)(X-2)] E[X] over E[X(X-1)]^2, and E[X(X-1)] over E[X].

    For Poisson counts the first is 1 and the second their mean; both are blind to accounts not seen at all.
    """
    counts = covered.astype(np.float64)
    first, second = counts.sum(), (counts * (counts - 1)).sum()
    third = (counts * (counts - 1) * (counts - 2)).sum()
    return (float(third * first / (second * second)), float(second / first)) if second >= 60 else (-1.0, -1.0)


@jit
def _shared(values: Any, customers: Any) -> tuple[int, int, int, int]:
    """Values of at least HUB_ACCOUNTS_MIN customers; customers on one, on the largest, and in all."""
    count = values.shape[0]
    owners, pairs, everyone, on_hub = slots_for(count), slots_for(count), slots_for(count), slots_for(count)
    owner, pair = np.zeros(count, np.int64), np.zeros(count, np.uint64)
    users = np.zeros(count, np.int64)
    hubs = part = top = total = 0
    for at in range(count):
        total += first_place(everyone, customers, at) == at
        owner[at] = first_place(owners, values, at) if values[at] != 0 else -1
        if owner[at] >= 0:  # the same customer on the same value is the same pair
            pair[at] = first_place(everyone, customers, at) * 0x9E3779B1 + owner[at]
            users[owner[at]] += first_place(pairs, pair, at) == at
    for at in range(count):
        if owner[at] >= 0 and users[owner[at]] >= HUB_ACCOUNTS_MIN:
            part += first_place(on_hub, customers, at) == at
            hubs += owner[at] == at
            top = max(top, users[owner[at]])
    return hubs, part, top, total


def _hubs(profiles: npt.NDArray[Any], name: str) -> tuple[int, float, float]:
    """Values shared by several customers: how many, the part of the customers on one, the part on the largest.

    An organisation shares its own card and office with itself: that joins nobody, so customers are counted.
    """
    if not len(profiles):
        return 0, 0.0, 0.0
    hubs, part, top, everyone = _shared(profiles[name], profiles["customer"])
    return int(hubs), float(part / everyone), float(top / everyone)


@jit
def _commonest(values: Any) -> tuple[int, int]:
    """Where the commonest value other than 0 is first found, the lowest of those as common, and how common it is."""
    slots = slots_for(values.shape[0])
    counts = np.zeros(values.shape[0], np.int64)
    best = -1
    for at in range(values.shape[0]):
        if values[at] != 0:
            counts[first_place(slots, values, at)] += 1
    for at in range(values.shape[0]):
        if counts[at] > 0 and (
            best < 0 or counts[at] > counts[best] or (counts[at] == counts[best] and values[at] < values[best])
        ):
            best = at
    return best, counts[best] if best >= 0 else 0


def _client(core: Core, directory: Directory) -> tuple[float, float]:
    """The commonest client of the core: times commoner than in the fleet, and its part of the core."""
    values = core.profiles["client"]
    top, count = _commonest(values)
    if top < 0:
        return 1.0, 0.0
    part = count / len(values)
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
    scratch: npt.NDArray[np.int32] = field(init=False)  # of `numbered`, for templates

    def __post_init__(self) -> None:
        self.scratch = np.full(len(self.templates.requests), -1, np.int32)
        self.arrivals = np.sort(self.directory.profiles.rows["ts"])
        self.young_fleet = _young(self.directory.profiles.rows, self.now_ms)


def _novelty(context: Context, first: Ints, profiles: npt.NDArray[Any]) -> tuple[float, float, float]:
    """Share of new requests; share of accounts that came with the templates, in the core and in the fleet.

    What was hot before the watch had settled counts as known, so a campaign older than the watch gets no credit here.
    """
    settled = context.watch_start_ms + SETTLE_MS
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
    requests, accounts, last = len(core.prompts), len(counts), candidate.last[candidate.core]
    follow_ups = rows["follow_ups_24h"][last] / np.maximum(rows["requests_24h"][last], 1)
    hours = rows["hours_24h"][last]
    payment, network = _hubs(core.profiles, "payment"), _hubs(core.profiles, "network")
    client_lift, client_part = _client(core, directory)
    weights = templates.requests[candidate.templates]
    evenness, rate = _evenness(candidate.covered)
    novelty = _novelty(context, core.known, core.profiles)
    return Features(
        accounts=accounts,
        customers=int(different(rows["customer"][last])),
        touched=len(candidate.account),
        requests=requests,
        networks=int(different(core.networks)),
        network_top=network[2],
        templates=len(candidate.templates),
        mean_requests=float(counts.mean()),
        dispersion=float(counts.var() / counts.mean()),
        evenness=evenness,
        rate=rate,
        several_templates=core.several / accounts,
        mixing=_mixing(context, core),
        burst=_flagged(core.flags, BURST) / requests,
        follow_up=float(follow_ups.mean()),
        persistent=float((hours >= PERSISTENT_HOURS).mean()),
        hours=float(hours.mean()),
        share=float(np.median(candidate.share[candidate.core])),
        repeats=float(np.average(templates.collisions[candidate.templates], weights=weights)),
        distinct_prompts=different(core.prompts) / requests,
        young=_young(core.profiles, now_ms),
        young_fleet=context.young_fleet,
        reasoning=_flagged(core.flags, REASONING) / requests,
        payment_hubs=payment[0],
        payment_part=payment[1],
        payment_top=payment[2],
        network_hubs=network[0],
        network_part=network[1],
        network_mixing=_network_mixing(context, core),
        client_lift=client_lift,
        client_part=client_part,
        new_templates=novelty[0],
        new_accounts=novelty[1],
        new_accounts_fleet=novelty[2],
        core_part=accounts / len(candidate.account),
        prompt_tokens=core.tokens / requests,
    )
