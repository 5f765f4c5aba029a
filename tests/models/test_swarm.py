"""The swarm: new templates from new accounts, enough of both; anything old, known or small is none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from models.committed import find_committed, repeaters
from models.swarm import (
    ACCOUNTS_MIN,
    ARRIVED_MS,
    TEMPLATES_MIN,
    Swarm,
    find_swarm,
    second_lowest,
)
from tests.models.covering import covered, directory_of, keys_of, template, templates_of
from tests.models.inputs import HOUR_MS, START

SETTLED = START - 4 * HOUR_MS
HOT = START + 60_000  # when the templates turned hot


def swarm_of(
    *, accounts: int = 240, templates: int = 6, each: int = 1, first_at: Any = HOT, seen: Any = START, known: int = 0
) -> tuple[Swarm, np.ndarray]:
    """The swarm that ``accounts`` are, which send ``each`` requests and first appeared at ``seen``."""
    rows = covered([(at % accounts, template(at % templates)) for at in range(accounts * each)])
    directory = directory_of(range(known or accounts), ts=seen)
    key_first_at = np.full(keys_of(rows), first_at, np.int64) if np.isscalar(first_at) else first_at
    found_templates = templates_of(rows)
    repeating = repeaters(find_committed(rows, found_templates), len(rows))
    return find_swarm(rows, found_templates, repeating, (directory, key_first_at, SETTLED)), rows


def found(**given: Any) -> bool:
    swarm, _ = swarm_of(**given)
    assert bool(swarm.templates.any()) == bool(swarm.fresh.any())
    return bool(swarm.templates.any())


def test_new_templates_from_new_accounts_are_a_swarm():
    swarm, _ = swarm_of()
    assert swarm.templates.all()
    assert swarm.fresh.all()


def test_templates_known_before_the_watch_settled_are_none():
    assert found(first_at=SETTLED)
    assert not found(first_at=SETTLED - 1, seen=SETTLED)


def test_a_viral_template_comes_from_old_accounts_and_is_none():
    assert found(seen=HOT - ARRIVED_MS)
    assert not found(seen=HOT - ARRIVED_MS - 1)


def test_a_fifth_of_old_accounts_is_borne_and_more_is_not():
    for part, expected in ((0.15, True), (0.3, False)):
        seen = np.where(np.arange(300) % 100 < 100 * part, START - 30 * 24 * HOUR_MS, START)
        assert found(accounts=300, seen=seen) is expected


def test_old_accounts_within_a_swarm_are_not_fresh():
    seen = np.where(np.arange(300) % 100 < 10, START - 30 * 24 * HOUR_MS, START)
    swarm, _ = swarm_of(accounts=300, seen=seen)
    assert swarm.fresh.sum() == 270


@pytest.mark.parametrize(("templates", "expected"), [(TEMPLATES_MIN, True), (TEMPLATES_MIN - 1, False)])
def test_it_takes_several_templates(templates, expected):
    assert found(templates=templates) is expected


@pytest.mark.parametrize(("accounts", "expected"), [(ACCOUNTS_MIN, True), (ACCOUNTS_MIN - 1, False)])
def test_it_takes_enough_accounts(accounts, expected):
    assert found(accounts=accounts, templates=4) is expected


def test_a_template_with_a_time_of_its_own_is_no_part_of_one():
    rows = covered([(at, template(at % 6)) for at in range(300)])
    of_row = np.arange(300) % 6
    rows["ts"] = START + np.arange(300) * 1000
    rows["ts"][of_row == 5] = START + 290_000 + np.arange(50)  # the other five are in use all the time
    directory, first = directory_of(range(300), ts=START), np.full(keys_of(rows), HOT, np.int64)
    templates = templates_of(rows)
    swarm = find_swarm(rows, templates, np.zeros(len(rows), np.bool_), (directory, first, SETTLED))
    assert swarm.fresh.tolist() == (of_row != 5).tolist()
    rows["ts"] = START + of_row * 3_600_000 + np.arange(300)  # each has its own hour, as fashions have
    assert not find_swarm(rows, templates, np.zeros(len(rows), np.bool_), (directory, first, SETTLED)).templates.any()


def test_accounts_of_one_customer_are_one():
    rows = covered([(at, template(at % 6)) for at in range(300)])
    rows["customer"] = rows["account"] % np.uint64(ACCOUNTS_MIN - 1)
    first = np.full(keys_of(rows), HOT)
    assert not find_swarm(
        rows, templates_of(rows), np.zeros(len(rows), np.bool_), (directory_of(range(300)), first, SETTLED)
    ).templates.any()


def test_accounts_that_have_come_round_again_need_no_swarm():
    assert not found(each=2)


def test_unknown_accounts_are_not_new():
    assert not found(known=10)


def test_one_old_phrase_in_a_new_template_does_not_make_it_old():
    rows_keys = np.full(24, HOT, np.int64)
    rows_keys[::4] = SETTLED - 10 * HOUR_MS  # one key of four in each template
    assert found(first_at=rows_keys)
    rows_keys[1::4] = SETTLED - 10 * HOUR_MS
    assert not found(first_at=rows_keys)


def test_the_second_oldest_key_says_since_when():
    rows = covered([(1, [0, 1, 2]), (2, [2, 3])])
    assert second_lowest(rows, np.array([50, 10, 30, 20])).tolist() == [30, 30]


def test_no_rows_are_no_swarm():
    rows = covered([])
    swarm = find_swarm(
        rows,
        templates_of(rows),
        np.zeros(len(rows), np.bool_),
        (directory_of(range(3)), np.zeros(0, np.int64), SETTLED),
    )
    assert (len(swarm.templates), len(swarm.fresh)) == (0, 0)
