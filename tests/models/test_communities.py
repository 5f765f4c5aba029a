"""Communities: disjoint lists are split with proof, and one list never is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.communities import split
from tests.models.covering import mixed


def lists(accounts: int, templates: range, requests: int, generator: np.random.Generator) -> list[list[int]]:
    return [generator.choice(np.asarray(templates), requests).tolist() for _ in range(accounts)]


def communities(used: list[list[int]]) -> list[int]:
    account = np.repeat(np.arange(len(used)), [len(mine) for mine in used])
    hashes = np.array([mixed(at) for at in range(len(used))], np.uint64)
    return split(account, np.array([one for mine in used for one in mine], np.int64), hashes).tolist()


@pytest.mark.parametrize("common", [1, 3])
def test_disjoint_pools_bridged_by_a_few_common_items_split(common):
    generator = np.random.default_rng(1)
    used = lists(120, range(12), 10, generator) + lists(120, range(12, 24), 10, generator)
    for mine in used[::4]:
        mine[:common] = [24] * common
    found = communities(used)
    assert len(set(found)) == 2
    left, right = found[0], found[-1]
    assert found == [left] * 120 + [right] * 120


@settings(max_examples=15)
@given(
    seed=st.integers(0, 2**32), templates=st.integers(2, 60), requests=st.integers(2, 12), accounts=st.integers(12, 200)
)
def test_one_pool_through_one_list_is_one(seed, templates, requests, accounts):
    used = lists(accounts, range(templates), requests, np.random.default_rng(seed))
    assert len(set(communities(used))) == 1


@pytest.mark.parametrize("requests", [2, 3])
def test_one_pool_through_a_thousand_templates_with_a_few_requests_each_is_one(requests):
    used = lists(5_000, range(1_000), requests, np.random.default_rng(2))
    assert len(set(communities(used))) == 1


def test_a_small_group_takes_no_account_of_a_large_pool_for_two_requests():
    generator = np.random.default_rng(1)
    found = communities(lists(3_000, range(40), 2, generator) + lists(40, range(38, 44), 12, generator))
    assert found == [found[0]] * 3_000 + [found[-1]] * 40
    assert found[0] != found[-1]


def test_one_template_is_one_community():
    assert communities([[3, 3], [3], [3, 3, 3]]) == [0, 0, 0]


def test_too_few_accounts_prove_no_split():
    used = lists(2, range(4), 3, np.random.default_rng(4)) + lists(2, range(4, 8), 3, np.random.default_rng(5))
    assert len(set(communities(used))) == 1


def test_honest_users_of_the_library_whose_prompt_a_campaign_copied_stay_apart():
    generator = np.random.default_rng(6)
    campaign = lists(150, range(12), 12, generator)
    library = [[0] * 6 + ([20] * 3 if generator.random() < 0.5 else []) for _ in range(300)]
    found = communities(campaign + library)
    assert len({*found[:150]}) == 1
    assert found[0] not in found[150:]


@settings(max_examples=10)
@given(seed=st.integers(0, 2**32))
def test_the_order_of_accounts_does_not_matter(seed):
    generator = np.random.default_rng(7)
    used = lists(60, range(8), 8, generator) + lists(60, range(8, 16), 8, generator)
    hashes = np.array([mixed(at) for at in range(120)], np.uint64)
    order = np.random.default_rng(seed).permutation(120)
    account = np.repeat(np.arange(120), 8)
    plain = split(account, np.array(used).ravel(), hashes)
    moved = split(account, np.array(used)[order].ravel(), hashes[order])
    together = plain[:, None] == plain
    assert ((moved[:, None] == moved) == together[np.ix_(order, order)]).all()
