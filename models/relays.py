"""Relays: accounts that work alike through one client build on texts that have nothing in common.

What lives here: finding pools that carry other people's own questions, where no template is there to be found. What
does not: the words of alerts (``announce``) and the bounds of a verdict (``verdict``). A person asks in sessions and
sleeps; a dispatcher spreads what it is given over its accounts and over the day. One account that does so proves
nothing. That of all the accounts which are new to the watch those of one client build do, at one rate and since one
hour, while hardly any of the others does, is what this looks for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from models.alert import Evidence
from models.clusters import Candidate
from models.covered import COVERED
from models.directory import DAY_KEPT_MS, Directory
from models.features import Features

HOURS_MIN = 6
SPREAD = 0.6  # distinct hours, of the conversations opened: people open several an hour, and none in most
CUSTOMERS_MIN = 30
ORGANIC_MAX = 0.15  # of the middle account's requests under shared templates; else `clusters` is the way
ALIKE, LIKELY = 0.6, 0.4  # share of the client's new accounts that are spread over the day
LIFT = 4.0  # times the share among other new accounts
MARGIN_MS = 3_600_000  # around the time in which most of it came
RATE_MAX = 2.0  # times the pool's median rate of requests, or as much below it
AT_ONCE_MS = 3 * 3_600_000  # the middle half of the accounts first appeared within

Bools = npt.NDArray[np.bool_]


@dataclass(slots=True)
class Relay:
    """One pool: the profiles of its accounts, what was measured, and what that speaks for."""

    profiles: npt.NDArray[Any]
    features: Features
    evidence: list[Evidence]


def _spread(profiles: npt.NDArray[Any]) -> Bools:
    """Whose requests are spread over the day as a dispatcher's are."""
    opened = profiles["requests"].astype(np.int64) - profiles["follow_ups"]
    hours = profiles["hours"].astype(np.int64)
    spread: Bools = (hours >= HOURS_MIN) & (hours >= SPREAD * np.minimum(opened, 24))
    return spread


def find_relays(
    rows: npt.NDArray[Any], directory: Directory, left_out: npt.NDArray[np.uint64], times: tuple[int, int]
) -> list[Relay]:
    """The pools among accounts that were told of lately, the largest first.

    Args:
        rows: covered requests of the last day.
        directory: who the accounts are and what their day was like.
        left_out: accounts that belong to clusters found by their templates, or that people allowed.
        times: now, and when the watch had settled, ms; who was there before is not new.
    """
    now_ms, settled_ms = times
    known = directory.busy(now_ms - DAY_KEPT_MS)
    known = known[(known["ts"] >= settled_ms) & ~np.isin(known["key"], left_out)]
    spread = _spread(known)
    clients, of_account = np.unique(known["client"], return_inverse=True)
    size = np.bincount(of_account, minlength=len(clients))
    many = np.bincount(of_account, spread, len(clients))
    found = []
    for number in np.flatnonzero((many >= CUSTOMERS_MIN) & (clients != 0)):
        mine = of_account == number
        part = float(many[number] / size[number])
        others = float((many.sum() - many[number] + 1.0) / (len(known) - size[number] + 2.0))
        pool = known[mine & spread]
        if part < LIKELY or part < LIFT * others or not _is_organic(rows, pool):
            continue
        members = _alike(pool)
        if len(np.unique(members["customer"])) >= CUSTOMERS_MIN:
            features = _features(members, touched=int(size[number]))
            found.append(Relay(members, features, list(_weigh(pool, features, part, others))))
    return sorted(found, key=lambda relay: (-len(relay.profiles), int(relay.profiles["key"][0])))


def _alike(pool: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Those of ``pool`` that came with most of it and send at its rate: the others only happen to use the build."""
    rates = pool["requests"] / np.maximum(pool["spent_min"], 1)
    usual = np.median(rates)
    early, late = np.quantile(pool["ts"], (0.1, 0.9))
    with_it = (pool["ts"] >= early - MARGIN_MS) & (pool["ts"] <= late + MARGIN_MS)
    alike: npt.NDArray[Any] = pool[with_it & (rates >= usual / RATE_MAX) & (rates <= usual * RATE_MAX)]
    return alike


def _is_organic(rows: npt.NDArray[Any], pool: npt.NDArray[Any]) -> bool:
    """Whether the middle account of ``pool`` hardly uses any shared template."""
    theirs = np.isin(rows["account"], pool["key"]) & (rows["width"] > 1)  # a single key is a common phrase
    known, counts = np.unique(rows["account"][theirs], return_counts=True)
    covered = np.zeros(len(pool))
    if len(known):
        place = np.minimum(np.searchsorted(known, pool["key"]), len(known) - 1)
        covered = np.where(known[place] == pool["key"], counts[place], 0)
    return bool(np.median(covered / pool["requests"]) <= ORGANIC_MAX)


def _features(pool: npt.NDArray[Any], *, touched: int) -> Features:
    """What gates and alerts ask of a cluster; what only templates have is not measured."""
    networks, counts = np.unique(pool["network"][pool["network"] != 0], return_counts=True)
    unmeasured = dict.fromkeys(Features.__struct_fields__, -1.0)
    counted: dict[str, Any] = {
        "accounts": len(pool),
        "customers": len(np.unique(pool["customer"])),
        "touched": touched,
        "requests": int(pool["requests"].sum()),
        "networks": len(networks),
        "network_top": float(counts.max() / counts.sum()) if len(networks) else 0.0,
        "templates": 0,
        "payment_hubs": 0,
        "network_hubs": 0,
        "mean_requests": float(pool["requests"].mean()),
        "core_part": len(pool) / touched,
    }
    return Features(**{**unmeasured, **counted})


def _weigh(pool: npt.NDArray[Any], features: Features, part: float, others: float) -> Iterator[Evidence]:
    """What speaks for a relay and against it."""
    text = (
        f"Of the busy accounts that are new to the watch, {100 * part:.0f} % of those with one client build spread "
        f"their conversations over the hours of the day; of all others {100 * others:.0f} %."
    )
    yield Evidence("alike_by_client", part, others, "share", 3.0 if part >= ALIKE else 1.0, text)
    rates = pool["requests"] / np.maximum(pool["spent_min"], 1)
    value = float(rates.std() / rates.mean())
    weight = 2.0 if value <= 0.35 else 1.0 if value <= 0.6 else 0.0 if value <= 0.9 else -2.0
    how = "at one rate" if weight > 0 else "at rates of their own"
    text = f"They send {how} (standard deviation {value:.2f} of the mean; people 1 and more)."
    yield Evidence("even_rates", value, 1.0, "deviation/mean", weight, text)
    early, late = (float(at) for at in np.quantile(pool["ts"], (0.25, 0.75)))
    hours = (late - early) / 3.6e6
    weight = 2.0 if late - early <= AT_ONCE_MS else 0.0
    text = f"Half of them first appeared within {hours:.1f} hours of each other."
    yield Evidence("same_start", hours, 24.0, "hours", weight, text)
    yield from _weigh_setup(features)


def _weigh_setup(features: Features) -> Iterator[Evidence]:
    if features.accounts >= 100:
        text = f"{features.accounts:,} accounts behave so; look-alikes of this size are not known."
        yield Evidence("scale", features.accounts, 100, "accounts", 1.0, text)
    if features.network_top > 0.5:
        text = f"{100 * features.network_top:.0f} % of the accounts first came from one network."
        yield Evidence("one_network", features.network_top, 0.05, "share", -3.0, text)
    value = features.accounts / features.customers
    if value >= 1.5:
        text = f"The accounts belong to {features.customers:,} organisations with {value:.1f} accounts each."
        yield Evidence("organisations", value, 1.0, "accounts/customer", -2.0, text)


def as_cluster(relay: Relay, first: int) -> tuple[npt.NDArray[Any], Candidate]:
    """A row for each account, as if it had been one covered request, and their cluster, at rows ``first`` and on."""
    count = len(relay.profiles)
    rows = np.zeros(count, COVERED)
    for name, field in (("key", "key"), ("account", "key"), ("ts", "told_at")):
        rows[name] = relay.profiles[field]
    for name in ("customer", "network"):
        rows[name] = relay.profiles[name]
    rows["requests_24h"], rows["hours_24h"] = relay.profiles["requests"], relay.profiles["hours"]
    rows["follow_ups_24h"], rows["age_days"] = relay.profiles["follow_ups"], -1
    everybody = np.ones(count, np.bool_)
    places = np.arange(first, first + count)
    requests = relay.profiles["requests"].astype(np.int64)
    none = np.zeros(0, np.int64)
    cluster = Candidate(
        none, places, np.arange(count + 1), relay.profiles["key"].copy(), requests, everybody, np.ones(count), places,
        everybody, everybody,
    )  # fmt: skip
    return rows, cluster
