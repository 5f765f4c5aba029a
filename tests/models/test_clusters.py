"""Clusters: who commits, which templates hold together by their accounts, and who is a stranger in one."""

from __future__ import annotations

import numpy as np
import pytest

from models.clusters import PROMPTS_MIN, SHARE_MIN, commits
from models.committed import find_committed
from models.swarm import Swarm
from models.verdict import named
from tests.models.covering import (
    candidates_of,
    covered,
    dealt,
    hashes,
    members,
    mixed,
    template,
    templates_of,
)


def committed_of(rows):
    committed = find_committed(rows, templates_of(rows))
    return {int(account) for account in committed.account[commits(committed)]}


def crowd(accounts=range(40), requests=3):
    return dealt(accounts, range(4), requests)


# Commitment.
def test_one_shared_prompt_commits_nobody():
    rows = covered([*crowd(), (70, template(0))])
    assert committed_of(rows) == hashes(range(40))


def test_the_same_prompt_again_is_still_one():
    uses = [*crowd(), *[(70, template(0))] * 3]
    rows = covered(uses)
    rows["prompt"][-3:] = 5
    assert committed_of(rows) == hashes(range(40))


@pytest.mark.parametrize(("others", "joins"), [(10, True), (12, False)])
def test_two_prompts_among_many_others_commit_nobody(others, joins):
    rows = covered([*crowd(), *[(70, template(0))] * PROMPTS_MIN])
    rows["requests_24h"][-1] = PROMPTS_MIN + others
    assert (PROMPTS_MIN / (PROMPTS_MIN + others) >= SHARE_MIN) is joins
    assert (mixed(70) in committed_of(rows)) is joins


def test_share_is_of_what_the_account_had_sent_by_its_newest_request():
    rows = covered(crowd())
    committed = find_committed(rows, templates_of(rows))
    for at, account in enumerate(committed.account):
        mine = np.flatnonzero(rows["account"] == account)
        assert committed.last[at] == mine[-1]
        assert committed.covered[at] == len(mine)
    assert (committed.share == 1.0).all()


def test_templates_outside_the_gate_commit_nobody():
    rows = covered(crowd())
    rows["network"] = 3
    assert committed_of(rows) == set()
    assert candidates_of(rows) == []


def test_nothing_gives_no_candidates():
    assert candidates_of(covered([])) == []


# Joining and splitting.
def test_one_pool_through_many_templates_is_one_cluster():
    found = candidates_of(covered(dealt(range(150), range(30), 12)))
    assert [members(candidate) for candidate in found] == [hashes(range(150))]
    assert len(found[0].templates) == 30


@pytest.mark.parametrize(("accounts", "requests"), [(20_000, 3), (2_000, 10)])
def test_one_pool_through_a_thousand_templates_with_few_requests_each_is_one_cluster(accounts, requests):
    found = candidates_of(covered(dealt(range(accounts), range(1_000), requests)))
    assert len(members(found[0])) >= 0.99 * accounts


def test_two_pools_with_nothing_in_common_are_two():
    uses = dealt(range(100), range(10), 10) + dealt(range(100, 180), range(10, 20), 10)
    found = candidates_of(covered(uses))
    assert [members(candidate) for candidate in found] == [hashes(range(100)), hashes(range(100, 180))]


def test_pools_bridged_by_common_items_are_two():
    uses = dealt(range(100), range(10), 10) + dealt(range(100, 180), range(10, 20), 10)
    uses += [(account, template(20)) for account in range(180)]
    found = candidates_of(covered(uses))
    assert [members(candidate) for candidate in found] == [hashes(range(100)), hashes(range(100, 180))]


def test_a_few_accounts_that_serve_two_pools_do_not_fuse_them():
    uses = dealt(range(100), range(10), 10) + dealt(range(100, 180), range(10, 20), 10)
    uses += dealt(range(5), range(10, 20), 10, seed=8)
    found = candidates_of(covered(uses))
    assert len(found) == 2
    assert members(found[0]) | members(found[1]) == hashes(range(180))
    assert hashes(range(5, 100)) <= members(found[0])
    assert hashes(range(100, 180)) <= members(found[1])


def test_users_of_a_library_whose_prompt_a_campaign_copied_are_not_named():
    campaign, library = range(100), range(100, 400)
    uses = dealt(campaign, range(12), 12) + [(account, template(0)) for _ in range(6) for account in library]
    found = candidates_of(covered(uses))
    (own,) = [candidate for candidate in found if hashes(campaign) <= members(candidate)]
    assert {int(account) for account in own.account[named(own)]} == hashes(campaign)


def test_visitors_with_several_requests_under_one_template_are_not_named():
    uses = dealt(range(100), range(12), 12) + [(account, template(3)) for _ in range(3) for account in range(100, 130)]
    own, *_ = candidates_of(covered(uses))
    assert {int(account) for account in own.account[named(own)]} == hashes(range(100))


def test_the_core_gives_much_of_its_traffic_and_bystanders_do_not():
    rows = covered(dealt(range(60), range(6), 10) + dealt(range(60, 100), range(6), 4, seed=2))
    visitors = np.isin(rows["account"], np.array(sorted(hashes(range(60, 100))), np.uint64))
    rows["requests_24h"][visitors] = 20  # a fifth of all they send
    (found,) = candidates_of(rows)
    assert {int(account) for account in found.account[found.core]} == hashes(range(60))
    assert hashes(range(60, 100)) <= members(found)


def test_order_of_rows_within_an_account_decides_nothing_but_its_last():
    uses = dealt(range(50), range(6), 6)
    rows = covered(uses)
    rows["requests_24h"] = 6
    shuffled = rows[np.random.default_rng(3).permutation(len(rows))]
    assert [members(one) for one in candidates_of(shuffled)] == [members(one) for one in candidates_of(rows)]


def test_candidates_come_the_largest_first():
    uses = dealt(range(30), range(5), 8) + dealt(range(30, 130), range(5, 12), 8)
    sizes = [int(one.committed.sum()) for one in candidates_of(covered(uses))]
    assert sizes == [100, 30]


def test_arrays_of_a_candidate_agree():
    for found in candidates_of(covered(dealt(range(80), range(8), 7))):
        assert found.covered.tolist() == np.diff(found.starts).tolist()
        assert (np.diff(found.account.astype(object)) > 0).all()
        assert found.covered.sum() == len(found.rows)
        assert (found.core <= found.committed).all()
        assert (found.committed <= found.willing).all()


# The swarm's way in.
def dealt_in_step(accounts: int, templates: int):
    """Round robin: account and template advance together, so each account meets only templates of its own few."""
    return [(at % accounts, template(at % templates)) for at in range(accounts)]


def swarmed(rows):
    templates = templates_of(rows)
    return Swarm(np.ones(len(templates.requests), np.bool_), np.ones(len(rows), np.bool_))


def test_a_swarm_is_one_cluster_before_any_account_came_round_again():
    rows = covered(dealt_in_step(400, 10))
    assert candidates_of(rows) == []
    (found,) = candidates_of(rows, swarm=swarmed(rows))
    assert len(found.templates) == 10
    assert found.core.all()
    assert len(found.core) == 400


def test_a_single_request_beside_much_else_counts_for_nothing_in_a_swarm():
    rows = covered(dealt_in_step(400, 10))
    rows["requests_24h"][:100] = 3
    (found,) = candidates_of(rows, swarm=swarmed(rows))
    assert members(found) == hashes(range(100, 400))


def test_a_swarm_names_nobody_yet():
    rows = covered(dealt_in_step(400, 10))
    (found,) = candidates_of(rows, swarm=swarmed(rows))
    assert not named(found).any()
