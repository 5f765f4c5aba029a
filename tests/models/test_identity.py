"""Identity: one campaign for one cluster, the oldest id kept, a returning pool known by what it sends."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import WireError
from models.identity import (
    CAMPAIGN_PART,
    FORGET_MS,
    MEMBERS_PART,
    SETTLED_MS,
    SHARED_PART,
    TEMPLATE_KEYS_MAX,
    Campaign,
    Memory,
    is_part,
)
from models.wire import pack, unpack
from tests.models.inputs import START

Cluster = tuple[np.ndarray, np.ndarray, np.ndarray]


def cluster(accounts: range, keys: range = range(0), uses: int = 1) -> Cluster:
    return np.array(accounts, np.uint64), np.array(keys, np.uint64), np.full(len(keys), uses)


def campaign(name: str, accounts: range = range(0), keys: range = range(0), opened: int = START) -> Campaign:
    return Campaign(
        cluster_id=name,
        opened_ms=opened,
        first_seen_ms=opened,
        last_seen_ms=opened,
        members=dict.fromkeys(accounts, opened),
        keys=dict.fromkeys(keys, opened),
    )


def memory(*campaigns: Campaign) -> Memory:
    known = Memory()
    known.campaigns = {one.cluster_id: one for one in campaigns}
    return known


def matched(known: Memory, *clusters: Cluster) -> list[str | None]:
    return [one.cluster_id if one else None for one in known.match(list(clusters))]


def test_the_same_accounts_are_the_same_campaign():
    assert matched(memory(campaign("a", range(100))), cluster(range(100))) == ["a"]


def test_new_templates_are_of_a_campaign_that_a_fifth_of_their_accounts_touched():
    told = np.arange(1_000, dtype=np.uint64)
    for touching, expected in ((int(100 * SHARED_PART) - 1, False), (int(100 * SHARED_PART), True)):
        accounts = np.concatenate([told[:touching], np.arange(5_000, 5_100 - touching, dtype=np.uint64)])
        assert is_part(accounts, told) is expected
    assert not is_part(np.arange(1_001, dtype=np.uint64), told), "the larger is no part of the smaller"


def test_strangers_are_a_new_one():
    assert matched(memory(campaign("a", range(100))), cluster(range(100, 200))) == [None]
    assert matched(memory(), cluster(range(10))) == [None]


@pytest.mark.parametrize(("held", "expected"), [(20, "a"), (19, None)])
def test_a_fifth_of_the_cluster_continues_the_campaign(held, expected):
    assert MEMBERS_PART == 0.2
    known = memory(campaign("a", range(100 - held, 1_000)))
    assert matched(known, cluster(range(100))) == [expected]


@pytest.mark.parametrize(("held", "expected"), [(5, "a"), (4, None)])
def test_half_of_the_campaign_continues_it_in_a_much_larger_cluster(held, expected):
    assert CAMPAIGN_PART == 0.5
    known = memory(campaign("a", range(1_000 - held, 1_010 - held)))
    assert matched(known, cluster(range(1_000))) == [expected]


@pytest.mark.parametrize(("common", "expected"), [(5, "a"), (4, None)])
def test_a_pool_that_was_replaced_is_known_by_half_of_its_keys(common, expected):
    known = memory(campaign("a", range(100), range(10)))
    assert matched(known, cluster(range(500, 600), range(10 - common, 20 - common))) == [expected]


def test_keys_are_watched_from_an_hour_after_their_campaign_was_told():
    told, untold = campaign("told", keys=range(3)), campaign("untold", keys=range(3, 6))
    told.episode = 1
    known = memory(told, untold)
    assert list(known.known_keys(START + SETTLED_MS - 1)) == []
    assert sorted(known.known_keys(START + SETTLED_MS)) == sorted(told.keys)


def test_keys_weigh_by_their_use():
    known = memory(campaign("a", range(100), range(1)))
    accounts = np.arange(500, 600, dtype=np.uint64)
    keys = np.arange(10, dtype=np.uint64)
    assert matched(known, (accounts, keys, np.array([90] + [1] * 9))) == ["a"]
    assert matched(known, (accounts, keys, np.array([5] + [10] * 9))) == [None]


def test_a_merge_keeps_the_oldest_id():
    known = memory(campaign("younger", range(100), opened=START + 1), campaign("older", range(100, 200)))
    assert matched(known, cluster(range(200))) == ["older"]


def test_a_passing_merge_fuses_nothing_for_good():
    known = memory(campaign("a", range(100)), campaign("b", range(100, 200), opened=START + 1))
    assert matched(known, cluster(range(200))) == ["a"]
    assert matched(known, cluster(range(100)), cluster(range(100, 200))) == ["a", "b"]


def test_two_clusters_never_continue_one_campaign():
    known = memory(campaign("a", range(100)))
    assert matched(known, cluster(range(60)), cluster(range(60, 100))) == ["a", None]


@given(
    sizes=st.lists(st.tuples(st.integers(0, 30), st.integers(1, 30)), max_size=6),
    clusters=st.lists(st.tuples(st.integers(0, 30), st.integers(1, 30)), max_size=6),
)
def test_matching_is_one_to_one(sizes, clusters):
    known = memory(*(campaign(str(at), range(first, first + size)) for at, (first, size) in enumerate(sizes)))
    names = matched(known, *(cluster(range(first, first + size)) for first, size in clusters))
    found = [name for name in names if name is not None]
    assert len(names) == len(clusters)
    assert len(set(found)) == len(found)


def test_a_campaign_whose_members_were_cleared_is_known_by_its_keys_alone():
    cleared = campaign("a", keys=range(10))
    assert matched(memory(cleared), cluster(range(5), range(10))) == ["a"]
    assert matched(memory(cleared), cluster(range(5), range(10, 20))) == [None]


def test_four_weeks_later_it_is_forgotten():
    known = memory(campaign("a", range(3)))
    known.forget(START + FORGET_MS)
    assert "a" in known.campaigns
    known.forget(START + FORGET_MS + 1)
    assert known.campaigns == {}


def test_keys_are_bounded_and_the_newest_kept():
    one = campaign("a")
    one.keys = {key: START + key for key in range(TEMPLATE_KEYS_MAX + 100)}
    known = memory(one)
    known.forget(START)
    assert sorted(one.keys) == list(range(100, TEMPLATE_KEYS_MAX + 100))


def test_a_cluster_is_seen_before_if_most_of_a_waiting_one_is_in_it():
    known = memory()
    assert not known.seen_before(np.arange(10, dtype=np.uint64))
    known.waiting = [np.arange(10, dtype=np.uint64)]
    assert known.seen_before(np.arange(5, 100, dtype=np.uint64))
    assert not known.seen_before(np.arange(6, 100, dtype=np.uint64))


def test_a_snapshot_is_canonical_and_gives_all_back():
    first, second = campaign("a", range(2**63, 2**63 + 5), range(7)), campaign("b", range(3))
    second.open, second.episode, second.said_severity = False, 3, "high"
    one, other = memory(first, second), memory(second, first)
    one.waiting = other.waiting = [np.array([2**64 - 1, 5], np.uint64)]
    assert pack("memory", 1, {"memory": one.snapshot()}, {}) == pack("memory", 1, {"memory": other.snapshot()}, {})
    meta, _ = unpack(pack("memory", 1, {"memory": one.snapshot()}, {}), "memory", 1)
    again = Memory()
    again.restore(meta["memory"])
    assert again.campaigns == one.campaigns
    assert [waiting.tolist() for waiting in again.waiting] == [[2**64 - 1, 5]]
    with pytest.raises(WireError):
        unpack(b"no snapshot", "memory", 1)
