"""Features: each measured number against a plain count of the same rows, and -1 where nothing is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from models.directory import Directory
from models.features import Context, Features, measure
from models.sighting import BURST, FIRST_TURN, REASONING
from models.swarm import SETTLE_MS
from tests.models.covering import (
    candidates_of,
    covered,
    dealt,
    directory_of,
    keys_of,
    mixed,
    template,
    templates_of,
)
from tests.models.inputs import HOUR_MS, START

DAY_MS = 24 * HOUR_MS
NOW = START + 6 * HOUR_MS
POOL = range(60)


def measured(
    rows: np.ndarray, directory: Directory | None = None, *, first_at: int = START, watch: int = 0
) -> Features:
    """The features of the largest cluster of ``rows``; the watch is long settled unless said."""
    keys = np.full(keys_of(rows), first_at, np.int64)
    known = directory or directory_of(POOL)
    context = Context(rows, templates_of(rows), known, keys, watch, NOW)
    return measure(context, candidates_of(rows)[0])


def pool(requests: int = 8, **columns: Any) -> np.ndarray:
    return covered(dealt(POOL, range(6), requests), **columns)


def test_sizes_are_those_of_the_core():
    found = measured(pool())
    assert (found.accounts, found.customers, found.touched, found.requests) == (60, 60, 60, 480)
    assert (found.templates, found.networks, found.core_part, found.share) == (6, 60, 1.0, 1.0)
    assert (found.mean_requests, found.dispersion, found.prompt_tokens, found.distinct_prompts) == (8.0, 0.0, 80.0, 1.0)


def test_customers_are_counted_and_not_their_accounts():
    rows = pool()
    rows["customer"] = rows["account"] % np.uint64(20)
    assert measured(rows).customers == len(np.unique(rows["customer"]))


def test_dispersion_is_variance_over_mean_and_tells_pools_from_people():
    generator = np.random.default_rng(1)
    for counts, low, high in (
        (generator.poisson(20, 200) + 1, 0.6, 1.5),
        (np.minimum(np.exp(generator.normal(2.5, 1.1, 200)) + 2, 400), 10.0, 400.0),
    ):
        uses = [
            (account, template(int(generator.integers(6))))
            for account, count in enumerate(counts)
            for _ in range(int(count))
        ]
        found = measured(covered(uses), directory_of(range(200)))
        assert low < found.dispersion < high


def test_evenness_sees_one_common_rate_without_the_accounts_not_yet_seen():
    generator = np.random.default_rng(2)
    even = generator.integers(0, 3_000, 3_000)
    heavy = generator.choice(3_000, 3_000, p=(share := generator.pareto(1.2, 3_000)) / share.sum())
    for who, low, high in ((even, 0.7, 1.4), (heavy, 2.0, 1e9)):
        uses = [(int(account), template(int(generator.integers(6)))) for account in who]
        found = measured(covered(uses), directory_of(range(3_000)))
        assert low < found.evenness < high
    assert measured(pool(2)).evenness >= 0.0


def test_too_few_repeats_give_no_evenness():
    found = measured(covered(dealt(range(20), range(2), 2)))
    assert (found.evenness, found.rate) == (-1.0, -1.0)


def test_flags_are_shares_of_covered_requests():
    rows = pool()
    rows["flags"] = FIRST_TURN
    rows["flags"][:48] |= BURST
    rows["flags"][:240] |= REASONING
    found = measured(rows)
    assert (found.burst, found.reasoning) == (0.1, 0.5)


def test_hours_and_follow_ups_are_read_from_the_newest_request():
    rows = pool()
    newest = np.zeros(len(rows), np.bool_)
    newest[np.unique(rows["account"][::-1], return_index=True)[1]] = True
    newest = newest[::-1]
    rows["hours_24h"] = np.where(newest, 14, 1)
    rows["requests_24h"] = np.where(newest, 10, 8)
    rows["follow_ups_24h"] = np.where(newest, 2, 8)
    found = measured(rows)
    assert (found.persistent, found.hours) == (1.0, 14.0)
    assert found.follow_up == pytest.approx(0.2)


# Attributes.
def test_hubs_are_values_that_three_customers_share():
    directory = directory_of(POOL, payment=np.arange(60) // 12 + 1, network=np.arange(60) // 2 + 1)
    found = measured(pool(), directory)
    assert (found.payment_hubs, found.payment_part, found.payment_top) == (5, 1.0, 0.2)
    assert (found.network_hubs, found.network_part) == (0, 0.0)


def test_networks_mix_where_proxies_do_and_not_where_each_is_a_school():
    network = np.arange(60) // 15 + 1
    classes = [range(first, first + 15) for first in range(0, 60, 15)]
    own = [use for place, pupils in enumerate(classes) for use in dealt(pupils, range(place, place + 1), 4)]
    schools = covered(own + dealt(POOL, range(4, 5), 4))
    assert measured(schools, directory_of(POOL, network=network)).network_mixing == pytest.approx(2.0, abs=0.2)
    assert measured(pool(), directory_of(POOL, network=network)).network_mixing == pytest.approx(1.0, abs=0.2)
    assert measured(pool(), directory_of(POOL)).network_mixing == -1.0


def test_an_organisation_that_shares_with_itself_is_no_hub():
    customers = np.array([mixed(1_000 + account // 12) for account in POOL], np.uint64)
    directory = directory_of(POOL, payment=customers, customer=customers)
    assert measured(pool(), directory).payment_hubs == 0


def test_half_of_the_accounts_on_hubs_is_half():
    payment = np.where(np.arange(60) < 30, np.arange(60) // 10 + 1, 1_000 + np.arange(60))
    found = measured(pool(), directory_of(POOL, payment=payment))
    assert (found.payment_hubs, found.payment_part) == (3, 0.5)


def test_clients_are_compared_with_the_fleet():
    fleet = range(600)
    client = np.where(np.arange(600) < 60, 5, 9)
    found = measured(pool(), directory_of(fleet, client=client))
    assert found.client_part == 1.0
    assert found.client_lift == pytest.approx(10.0)
    assert measured(pool(), directory_of(fleet, client=9)).client_lift == pytest.approx(1.0)


def test_ages_are_of_those_known():
    created = np.where(np.arange(60) < 30, NOW - 2 * DAY_MS, -1)
    assert measured(pool(), directory_of(POOL, created=created)).young == 1.0
    created[15:30] = NOW - 100 * DAY_MS
    assert measured(pool(), directory_of(POOL, created=created)).young == 0.5


@pytest.mark.parametrize("unknown", [0, 30, 60])
def test_attributes_that_events_lack_are_not_made_up(unknown):
    some = np.arange(60) >= unknown
    own = np.array([mixed(account) for account in POOL], np.uint64)
    lacking = {name: np.where(some, own, 0) for name in ("payment", "network", "client")}
    rows = pool()
    rows["network"] = 0
    found = measured(rows, directory_of(POOL, **lacking))
    assert (found.payment_hubs, found.network_hubs, found.networks) == (0, 0, 0)
    assert (found.payment_top, found.network_top) == (0.0, 0.0)
    assert (found.young, found.young_fleet) == (-1.0, -1.0)
    assert found.client_part <= 1 / 60


def test_accounts_that_the_directory_does_not_know_break_nothing():
    found = measured(pool(), directory_of(range(1_000, 1_010)))
    assert (found.payment_hubs, found.young, found.client_lift, found.client_part) == (0, -1.0, 1.0, 0.0)


# Novelty.
def test_templates_known_when_the_watch_had_settled_are_old():
    for first_at, expected in ((START, 1.0), (START - 1, 0.0)):
        found = measured(pool(), first_at=first_at, watch=START - SETTLE_MS)
        assert found.new_templates == expected
        assert (found.new_accounts < 0) is (expected == 0.0)


def test_accounts_that_came_with_the_templates_are_new():
    ts = np.where(np.arange(200) < 50, START - HOUR_MS, START - 20 * DAY_MS)
    found = measured(pool(), directory_of(range(200), ts=ts))
    assert found.new_accounts == pytest.approx(50 / 60)
    assert found.new_accounts_fleet == pytest.approx(50 / 200)
