"""What a limiter does with a signal: the ladder, its end, its onset, and rubbish."""

from __future__ import annotations

from typing import get_args

import pytest

from models.alert import Action, Signal
from models.enforcement import ACTIONS, FIELDS, Held, Step, read_held, rule_on


def held(action: str = "throttle", *, mode: str = "enforce", ends_ms: int = 1_000) -> Held:
    return Held(action, 0.25, 9.0, "c", "campaign", "a-1", mode, 100, 5_000, 1, ends_ms)


@pytest.mark.parametrize(
    ("action", "step"),
    [
        ("allow", Step.ADMIT),
        ("observe", Step.ADMIT),
        ("throttle", Step.DRAW),
        ("challenge", Step.DRAW),
        ("block", Step.REFUSE),
    ],
)
def test_the_ladder(action: str, step: Step) -> None:
    assert rule_on("x", held(action), 999).step is step
    assert rule_on("x", held(action), 1_000) == (Step.ADMIT, "ended")
    assert rule_on("x", held(action, mode="alert"), 0) == (Step.ADMIT, "not_enforced")


def test_it_knows_every_action_and_field_of_a_signal() -> None:
    assert set(get_args(Action)) == ACTIONS
    assert set(FIELDS) == set(Signal.__struct_fields__) - {"account_id"}


def test_nothing_known_passes() -> None:
    assert rule_on("x", None, 0) == (Step.ADMIT, "no_signal")


def test_accounts_of_one_alert_learn_of_it_one_after_another() -> None:
    names = [f"account-{number}" for number in range(1_000)]
    late = [rule_on(name, held(), 600, onset_ms=1_000).reason == "not_yet" for name in names]
    assert 400 < sum(late) < 600  # half of the onset is over
    assert late == [rule_on(name, held(), 600, onset_ms=1_000).reason == "not_yet" for name in names]
    assert {rule_on(name, held(ends_ms=9_999), 1_100, onset_ms=1_000).step for name in names} == {Step.DRAW}


VALUES: list[bytes | None] = [b"throttle", b"0.25", b"9.0", b"", b"campaign", b"", b"enforce", b"1", b"2", b"3"]


def test_a_hash_is_read_with_missing_fields_empty() -> None:
    found = read_held(VALUES, 77)
    assert found is not None
    assert (found.action, found.multiplier, found.cluster_id, found.seq, found.ends_ms) == ("throttle", 0.25, "", 3, 77)
    assert read_held([None] * len(FIELDS), 0) is None


@pytest.mark.parametrize(
    ("at", "value"),
    [(0, b"destroy"), (1, b"2"), (1, b"nan"), (1, b"-1"), (1, None), (2, b"x"), (7, b"soon"), (9, b""), (0, b"\xff")],
)
def test_a_hash_that_is_no_signal_is_told(at: int, value: bytes | None) -> None:
    with pytest.raises(ValueError, match=r".*"):
        read_held([*VALUES[:at], value, *VALUES[at + 1 :]], 0)
