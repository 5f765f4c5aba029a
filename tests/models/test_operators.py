"""Operators: two ways of sharing that avoid each other prove two hands; anything less proves nothing."""

from __future__ import annotations

import numpy as np

from models.operators import ACCOUNTS_MIN, told_apart
from tests.models.covering import directory_of, mixed

ALL = np.ones(60, np.bool_)


def apart(core=ALL, accounts=range(60), **columns):
    directory = directory_of(accounts, **columns)
    return told_apart(directory, np.array([mixed(account) for account in range(60)], np.uint64), core)


def fanned(accounts, fan, first=1_000):
    """A value per account: shared by ``fan`` of them in turn where they are among ``accounts``, else its own."""
    return [first + account // fan if account in accounts else 10**6 + account for account in range(60)]


def test_payments_here_and_networks_there_are_two_operators():
    second = apart(payment=fanned(range(40), 5), network=fanned(range(40, 60), 4))
    assert np.flatnonzero(second).tolist() == list(range(40, 60))


def test_one_operator_shares_both_in_any_mixture():
    generator = np.random.default_rng(4)
    some = set(generator.choice(60, 40, replace=False).tolist())
    assert not apart(payment=fanned(some, 5), network=fanned(set(generator.choice(60, 30).tolist()), 4)).any()


def test_one_way_of_sharing_proves_nothing():
    assert not apart(payment=fanned(range(60), 5)).any()
    assert not apart(payment=fanned(range(30), 5)).any()


def test_few_accounts_prove_nothing():
    few = range(60 - ACCOUNTS_MIN + 1, 60)
    assert not apart(payment=fanned(range(40), 5), network=fanned(few, 2)).any()


def test_only_the_core_is_proof():
    core = np.arange(60) < 45
    columns = {"payment": fanned(range(40), 5), "network": fanned(range(40, 60), 4)}
    assert apart(**columns).any()
    assert not apart(core, **columns).any()


def test_what_the_whole_fleet_has_is_not_shared():
    common = {"network": [77] * 1_000}
    networks = fanned(range(40, 60), 4) + [1_000 + at % 15 for at in range(940)]
    assert not apart(accounts=range(1_000), payment=[*fanned(range(40), 5), *range(2 * 10**6, 2 * 10**6 + 940)],
                     network=networks).any()  # fmt: skip
    assert not apart(accounts=range(1_000), **common).any()
