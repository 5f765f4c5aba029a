"""Templates: one text, one template, whatever is shared, reworded or sampled; and which of them may be evidence."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.sighting import FIRST_TURN, FOLLOW_UP
from models.templates import (
    COLLISIONS_MAX,
    CUSTOMERS_MIN,
    NETWORKS_MIN,
    SAMPLED_ROWS,
    Room,
    find_templates,
    held_keys,
    link_keys,
)
from tests.models.covering import Use, covered, dealt, keys_of, template, templates_of

PASSAGE = [90, 91]


def uses_of(*texts: list[int], customers: int = 40) -> list[Use]:
    """Every text is used once by each of ``customers`` people of its own."""
    return [(who + number * customers, keys) for number, keys in enumerate(texts) for who in range(customers)]


def groups(of_row: np.ndarray, customers: int = 40) -> list[set[int]]:
    return [set(of_row[at : at + customers].tolist()) for at in range(0, len(of_row), customers)]


def test_two_texts_that_share_a_passage_stay_two():
    rows = covered(uses_of(template(0) + PASSAGE, template(1) + PASSAGE))
    found = groups(templates_of(rows).of_row)
    assert [len(group) for group in found] == [1, 1]
    assert found[0].isdisjoint(found[1])
    assert -1 not in found[0] | found[1]


def test_a_chain_of_texts_with_a_passage_in_common_each_stays_apart():
    texts = [[*template(number), 80 + number, 81 + number] for number in range(8)]
    found = groups(templates_of(covered(uses_of(*texts))).of_row)
    assert all(len(group) == 1 for group in found)
    assert len(set.union(*found)) == 8


@pytest.mark.parametrize(("kept", "pieces"), [(0.42, 1), (0.5, 3), (0.65, 1)])
def test_paraphrased_uses_stay_one_or_at_the_border_of_tight_few(kept, pieces):
    generator = np.random.default_rng(3)
    uses = [(who, [key for key in range(8) if generator.random() < kept]) for who in range(400)]
    rows = covered([(who, keys) for who, keys in uses if len(keys) > 1])
    templates = templates_of(rows)
    assert len(templates.requests) <= pieces
    assert templates.requests.sum() >= 0.95 * len(rows)


def test_a_request_of_one_key_is_in_no_template():
    rows = covered([*uses_of(template(0)), *[(who, [0]) for who in range(50, 60)]])
    assert templates_of(rows).of_row[-10:].tolist() == [-1] * 10


def test_a_phrase_that_many_texts_hold_bridges_none():
    texts = [[*template(number), 95, 96] for number in range(12)]
    templates = templates_of(covered(uses_of(*texts)))
    assert sorted(templates.requests.tolist()) == [40] * 12


def test_no_rows_give_no_templates():
    templates = find_templates(covered([]), 0)
    assert (len(templates.of_row), len(templates.requests), len(templates.gated)) == (0, 0, 0)


@settings(max_examples=10)
@given(seed=st.integers(0, 2**32), often=st.integers(4, 12))
def test_sampling_does_not_change_components(seed, often):
    generator = np.random.default_rng(seed)
    sampled, plain = [], []
    for number in range(6):
        for use in range(int(often * SAMPLED_ROWS)):
            keys = sorted(generator.choice(template(number, 8), 7, replace=False).tolist())
            (plain if use < 100 else sampled).append((use, keys))
    expected = np.repeat(np.arange(6) * 8, 8).tolist()
    for uses in (plain, sampled + plain):
        rows = covered([uses[at] for at in generator.permutation(len(uses))])
        held, counts = held_keys(rows["keys"], rows["width"], 48)
        components = link_keys(held, rows["key"], counts)
        assert components.tolist() == [expected, expected]


def test_room_that_was_used_before_changes_no_template():
    room = Room()
    for people in (60, 5, 20, 60):
        rows = covered(dealt(range(people), range(12), 5))
        keys = keys_of(rows)
        plain, again = find_templates(rows, keys), find_templates(rows, keys, room)
        assert again.of_row.tolist() == plain.of_row.tolist()
        assert again.of_keys.tolist() == plain.of_keys.tolist()


def test_order_of_rows_changes_no_template():
    rows = covered(dealt(range(60), range(12), 5))
    shuffled = np.random.default_rng(5).permutation(len(rows))
    assert templates_of(rows[shuffled]).of_row.tolist() == templates_of(rows).of_row[shuffled].tolist()


# The gate.
def one_template(customers: int = 40, requests: int = 3) -> np.ndarray:
    return covered([(who, template(0)) for _ in range(requests) for who in range(customers)])


def gate(rows: np.ndarray) -> bool:
    (gated,) = templates_of(rows).gated
    return bool(gated)


def test_a_template_of_many_customers_places_and_prompts_passes_the_gate():
    assert gate(one_template())


def test_customers_count_and_not_accounts():
    rows = one_template()
    rows["customer"] %= np.uint64(CUSTOMERS_MIN - 1)
    assert not gate(rows)
    assert gate(one_template(CUSTOMERS_MIN))


@pytest.mark.parametrize(("networks", "passes"), [(NETWORKS_MIN - 1, False), (NETWORKS_MIN, True)])
def test_few_networks_are_a_gateway_or_a_campus(networks, passes):
    rows = one_template()
    rows["network"] = 1 + rows["account"] % np.uint64(networks)
    assert gate(rows) is passes


@pytest.mark.parametrize(("known", "passes"), [(0.0, True), (0.4, True), (0.6, False)])
def test_networks_that_are_mostly_unknown_say_nothing(known, passes):
    rows = one_template()
    rows["network"] = np.arange(len(rows)) < known * len(rows)
    assert gate(rows) is passes


@pytest.mark.parametrize(("follow_ups", "passes"), [(0.25, True), (0.45, True), (0.55, False)])
def test_follow_ups_are_a_product_with_conversations(follow_ups, passes):
    rows = one_template()
    rows["flags"] = np.where(np.arange(len(rows)) < follow_ups * len(rows), FOLLOW_UP, FIRST_TURN)
    assert gate(rows) is passes


@pytest.mark.parametrize(("part", "passes"), [(COLLISIONS_MAX - 0.02, True), (COLLISIONS_MAX + 0.05, False)])
def test_prompts_that_others_sent_word_for_word_are_a_common_exercise(part, passes):
    rows = one_template()
    rows["prompt"][: round(part * len(rows))] = 5
    assert gate(rows) is passes


def test_a_prompt_that_its_own_customer_repeats_is_no_collision():
    rows = one_template()
    rows["prompt"] = rows["account"]
    assert templates_of(rows).collisions.tolist() == [0.0]


@given(seed=st.integers(0, 2**32), size=st.integers(1, 120))
def test_facts_are_those_of_plain_sets(seed, size):
    generator = np.random.default_rng(seed)
    rows = covered([(int(who), template(int(at))) for who, at in generator.integers(0, 5, (size, 2))])
    rows["network"] = generator.integers(0, 4, size)
    rows["prompt"] = generator.integers(0, 9, size)
    rows["flags"] = generator.choice([FIRST_TURN, FOLLOW_UP], size)
    templates = templates_of(rows)
    for number in range(len(templates.requests)):
        mine = rows[templates.of_row == number]
        owners: dict[int, set[int]] = {}
        for row in mine:
            owners.setdefault(int(row["prompt"]), set()).add(int(row["customer"]))
        collided = sum(len(owners[int(row["prompt"])]) > 1 for row in mine)
        assert templates.requests[number] == len(mine)
        assert templates.customers[number] == len(set(mine["customer"].tolist()))
        assert templates.networks[number] == len(set(mine["network"].tolist()) - {0})
        assert templates.located[number] == (mine["network"] != 0).sum()
        assert templates.first_turns[number] == pytest.approx((mine["flags"] == FIRST_TURN).mean())
        assert templates.collisions[number] == pytest.approx(collided / len(mine))


def test_keys_are_numbered_densely_enough_for_the_tables():
    rows = covered(dealt(range(20), range(3), 2))
    templates = find_templates(rows, keys_of(rows) + 100)
    assert len(templates.requests) == 3
