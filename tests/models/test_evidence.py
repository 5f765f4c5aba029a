"""Evidence: every reading at its bounds, its cap, and silence where nothing was measured."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.event import EventBatch
from models.evidence import HANDFUL, LARGE, READINGS, VERY_LARGE, weigh
from models.features import Features
from models.sighting import PROFILE, SIGHTING
from models.verdict import OPEN_SCORE

UNMEASURED: dict[str, Any] = {
    "accounts": 40, "customers": 40, "touched": 40, "requests": 120, "networks": 0, "network_top": 0.0, "templates": 2,
    "mean_requests": 3.0, "dispersion": 4.0, "evenness": -1.0, "rate": -1.0, "several_templates": 0.0, "mixing": -1.0,
    "burst": 0.2, "follow_up": 0.1, "persistent": 0.0, "hours": 1.0, "share": 0.3, "repeats": 0.0,
    "distinct_prompts": 1.0,
    "young": -1.0, "young_fleet": -1.0, "reasoning": 0.0, "payment_hubs": 0, "payment_part": 0.0, "payment_top": 0.0,
    "network_hubs": 0, "network_part": 0.0, "network_mixing": -1.0, "client_lift": 1.0, "client_part": 0.0,
    "new_templates": 0.5,
    "new_accounts": -1.0, "new_accounts_fleet": -1.0, "core_part": 1.0, "prompt_tokens": 80.0,
}  # fmt: skip
"""A small cluster of which nothing optional is known and nothing else speaks."""
DEALT = {"templates": 3, "several_templates": 0.6, "new_templates": 0.8, "mixing": 1.0}
AGED = {"young": 0.1, "new_accounts": 1.0, "new_accounts_fleet": 0.5}
SHARED = {
    "payment_hubs",
    "payment_part",
    "payment_top",
    "network_hubs",
    "network_part",
    "network_top",
    "network_mixing",
}


def features(**known: Any) -> Features:
    return Features(**{**UNMEASURED, **known})


def weight(name: str, **known: Any) -> float:
    return sum(item.weight for item in weigh(features(**known)) if item.name == name)


def test_the_example_has_every_feature():
    assert set(UNMEASURED) == set(Features.__struct_fields__)


def test_what_was_not_measured_gives_no_evidence():
    assert [item.name for item in weigh(features()) if item.weight != 0.0] == []


STEPS = [
    ("even_load", {"mean_requests": 4.0}, "dispersion",
     [(0.9, 2), (2.0, 2), (2.1, 1), (3.5, 1), (3.6, 0), (6.0, 0), (6.1, -1), (10.0, -1), (10.1, -3)]),
    ("even_repeats", {}, "evenness",
     [(0.0, 2), (1.25, 2), (1.26, 1), (1.6, 1), (1.7, 0), (2.5, 0), (2.6, -1), (4.0, -1), (4.1, -2), (-1.0, 0)]),
    ("several_templates", {"templates": 3}, "several_templates", [(0.59, 0), (0.6, 2), (1.0, 2)]),
    ("one_template", {}, "templates", [(1, -1), (2, 0)]),
    ("dealt_templates", DEALT, "mixing", [(-1.0, 0), (0.0, 2), (1.3, 2), (1.4, 0)]),
    ("dealt_templates", DEALT, "several_templates", [(0.59, 0), (0.6, 2)]),
    ("dealt_templates", DEALT, "new_templates", [(0.79, 0), (0.8, 2)]),
    ("dealt_templates", DEALT, "templates", [(2, 0), (3, 2)]),
    ("aged_accounts", AGED, "young", [(-1.0, 0), (0.0, 1), (0.3, 1), (0.31, 0)]),
    ("aged_accounts", AGED, "new_accounts", [(0.89, 0), (0.9, 1)]),
    ("aged_accounts", AGED, "new_accounts_fleet", [(0.6, 1), (0.7, 0)]),
    ("bystanders", {}, "core_part", [(0.29, -4), (0.3, 0)]),
    ("bystanders", {"core_part": 0.2}, "rate", [(-1.0, -4), (0.5, 0), (1.0, -4)]),
    ("bystanders", {"core_part": 0.2, "rate": -1.0}, "new_accounts", [(0.89, -4), (0.9, 0)]),
    ("bystanders", {"core_part": 0.2, "rate": 1.0}, "new_accounts", [(0.9, -4)]),
    ("bystanders", {"mean_requests": 1.1, "rate": -1.0}, "core_part", [(0.79, -2), (0.8, 0)]),
    ("bystanders", {"core_part": 0.5, "rate": -1.0}, "mean_requests", [(1.9, -2), (2.0, 0)]),
    ("bystanders", {"core_part": 0.5, "mean_requests": 1.9}, "rate", [(-1.0, -2), (0.1, 0)]),
    ("dealt_templates", {**DEALT, "rate": 2.0}, "core_part", [(0.2, 0), (0.3, 2)]),
    ("no_bursts", {}, "burst",
     [(0.0, 2), (0.14, 2), (0.15, 0), (0.34, 0), (0.35, -1), (0.64, -1), (0.65, -2), (1.0, -2)]),
    ("single_turn", {}, "follow_up", [(0.0, 1), (0.04, 1), (0.05, 0), (0.3, 0), (0.31, -3)]),
    ("round_the_clock", {}, "persistent", [(0.49, 0), (0.5, 1)]),
    ("one_network", {}, "network_top", [(0.5, 0), (0.51, -3)]),
    ("young_accounts", {"young_fleet": 0.2}, "young", [(0.59, 0), (0.6, 1), (-1.0, 0)]),
    ("young_accounts", {"young": 0.6}, "young_fleet", [(0.29, 1), (0.3, 0), (-1.0, 1)]),
    ("reasoning_elicitation", {}, "reasoning", [(0.49, 0), (0.5, 1)]),
    ("shared_client", {"client_part": 0.5}, "client_lift", [(4.9, 0), (5.0, 1)]),
    ("shared_client", {"client_lift": 5.0}, "client_part", [(0.49, 0), (0.5, 1)]),
    ("common_items", {}, "repeats", [(0.03, 0), (0.04, -2)]),
    ("new_templates", {}, "new_templates", [(0.0, -2), (0.2, -2), (0.21, 0), (0.79, 0), (0.8, 1)]),
    ("new_accounts", {"new_accounts_fleet": 0.4}, "new_accounts", [(0.4, -2), (0.5, 0), (0.69, 0), (0.7, 2)]),
    ("new_accounts", {"new_accounts": 0.9}, "new_accounts_fleet", [(0.6, 2), (0.61, 0), (0.9, -2)]),
    ("organisations", {"customers": 20}, "accounts", [(20, 0), (29, 0), (30, -1), (39, -1), (40, -2)]),
    ("nothing_else", {}, "share", [(0.79, 0), (0.8, 1)]),
    ("scale", {}, "accounts", [(12, -2), (HANDFUL - 1, -2), (HANDFUL, 0), (LARGE - 1, 0), (LARGE, 1)]),
    ("scale", {}, "accounts", [(VERY_LARGE - 1, 1), (VERY_LARGE, 2), (90_000, 2)]),
    ("shared_payment", {"payment_part": 0.5, "payment_top": 0.6}, "payment_hubs", [(1, 0), (2, 2), (3, 3), (80, 3)]),
    ("shared_payment", {"payment_hubs": 3, "payment_top": 0.3}, "payment_part", [(0.49, 0), (0.5, 3)]),
    ("shared_payment", {"payment_hubs": 3, "payment_part": 0.9}, "payment_top",
     [(0.6, 3), (0.61, 2), (0.7, 2), (0.71, 0), (0.89, 0), (0.9, -2)]),
    ("shared_network", {"network_part": 0.5, "network_top": 0.3}, "network_hubs", [(1, 0), (2, 2), (3, 3)]),
    ("shared_network", {"network_part": 0.5, "network_hubs": 3}, "network_mixing", [(-1.0, 3), (2.0, 3), (2.1, 0)]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "known", "field", "value", "expected"),
    [(name, known, field, value, expected) for name, known, field, steps in STEPS for value, expected in steps],
)
def test_steps_at_their_bounds(name, known, field, value, expected):
    assert weight(name, **{**known, field: value}) == expected


def test_load_is_read_one_way_or_the_other_and_never_both():
    assert weight("even_repeats", mean_requests=4.0, evenness=1.0) == 0.0
    assert weight("even_load", mean_requests=3.9, dispersion=1.0) == 0.0


def test_a_heavy_tailed_load_clears_nobody_whose_templates_are_dealt():
    heavy = {"mean_requests": 9.0, "dispersion": 30.0}
    assert weight("even_load", **heavy) == -3.0
    assert weight("even_load", **heavy, **DEALT) == 0.0
    assert weight("even_load", **heavy, **{**DEALT, "mixing": 2.0}) == -3.0
    assert weight("even_load", mean_requests=9.0, dispersion=1.0, **DEALT) == 2.0


def test_two_templates_are_not_a_list_to_work_through():
    assert weight("several_templates", templates=2, several_templates=1.0) == 0.0


def test_networks_count_only_where_they_say_more_than_payments():
    both = {"payment_part": 0.6, "network_part": 0.6, "payment_top": 0.1, "network_top": 0.1}
    for payments, networks, expected in ((3, 3, (3, 0)), (2, 3, (2, 1)), (0, 3, (0, 3)), (3, 0, (3, 0))):
        said = {"payment_hubs": payments, "network_hubs": networks, **both}
        assert (weight("shared_payment", **said), weight("shared_network", **said)) == expected


def test_where_a_person_comes_from_is_never_measured():
    for names in (Features.__struct_fields__, EventBatch.__slots__, SIGHTING.names, PROFILE.names):
        assert not [name for name in names if "country" in name or "nation" in name or "language" in name]


def _numbers(name: str) -> st.SearchStrategy[Any]:
    integer = isinstance(UNMEASURED[name], int)
    return st.integers(0, 100_000) if integer else st.floats(-1.0, 50.0, allow_nan=False)


ANY = st.fixed_dictionaries({name: _numbers(name) for name in UNMEASURED})


@settings(max_examples=300)
@given(ANY)
def test_no_single_reading_reaches_the_opening_score(values):
    for reading in READINGS:
        assert sum(item.weight for item in reading(Features(**values))) < OPEN_SCORE / 2


@settings(max_examples=300)
@given(ANY)
def test_all_that_accounts_share_does_not_convict_them(values):
    shared = [item for item in weigh(Features(**values)) if item.name.startswith("shared_")]
    assert sum(item.weight for item in shared) <= 4.0
    attributes = [item for item in shared if item.name != "shared_client"]
    assert sum(max(item.weight, 0.0) for item in attributes) <= 3.0


@settings(max_examples=100)
@given(ANY)
def test_attributes_change_nothing_else_that_is_read(values):
    without = {**values, **{name: UNMEASURED[name] for name in SHARED}}
    kept = [item for item in weigh(Features(**values)) if not item.name.startswith(("shared_", "one_network"))]
    other = [item for item in weigh(Features(**without)) if not item.name.startswith(("shared_", "one_network"))]
    names = {"shared_client"}
    assert kept == [item for item in other if item.name not in names]


@settings(max_examples=200)
@given(ANY)
def test_evidence_is_said_in_one_sentence_and_can_be_sent(values):
    for item in weigh(Features(**values)):
        assert item.text.endswith(".")
        assert item.name
        assert item.unit
        assert msgspec.json.decode(msgspec.json.encode(item))["weight"] == item.weight


def test_readings_are_all_distinct_and_all_reachable():
    loud = features(
        mean_requests=5.0, templates=9, network_top=0.6, young=0.9, reasoning=0.9, client_lift=9.0, client_part=0.9,
        repeats=0.2, new_accounts=0.9, persistent=0.9, payment_hubs=9, payment_part=0.9, accounts=500, network_hubs=9,
        network_part=0.9, share=0.9,
    )  # fmt: skip
    other = features(evenness=1.0, accounts=99, customers=33, **{**DEALT, **AGED})
    passing = features(core_part=0.1)
    read = {
        reading.__name__: [item for seen in (loud, other, passing) for item in reading(seen)] for reading in READINGS
    }
    assert [name for name, items in read.items() if not items] == []
