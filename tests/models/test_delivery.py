"""Attempts are judged by what the receiver can mean by its answer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.delivery import GIVE_UP_MS, RETRY_AFTER_MS_MAX, WAIT_MS_MAX, Answer, judge

NOW = 1_772_409_600_000


def after(status: int, *, attempts: int = 1, chance: float = 1.0, age_ms: int = 0, retry_after_s: float | None = None):
    answer = Answer(status, "", retry_after_s)
    return judge(answer, attempts=attempts, queued_ms=NOW - age_ms, now_ms=NOW, chance=chance)


@pytest.mark.parametrize("status", [200, 202, 204])
def test_what_is_taken_is_delivered(status: int) -> None:
    assert after(status).state == "delivered"


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_body_the_receiver_refuses_is_not_sent_again(status: int) -> None:
    assert after(status).state == "dead"


@pytest.mark.parametrize("status", [0, 408, 429, 500, 502, 503])
def test_trouble_that_may_pass_is_tried_again_soon(status: int) -> None:
    assert after(status).state == "waiting"
    assert 0 < after(status).next_ms - NOW <= 1_000


@pytest.mark.parametrize("status", [301, 307, 401, 403, 404, 410])
def test_a_wrong_key_or_address_loses_no_page_and_is_asked_less_often(status: int) -> None:
    assert after(status).state == "waiting"
    assert after(status, chance=0.0).next_ms - NOW >= 30_000


def test_after_a_day_it_is_given_up() -> None:
    assert after(503, attempts=500, age_ms=GIVE_UP_MS).state == "dead"
    assert after(202, attempts=500, age_ms=GIVE_UP_MS).state == "delivered"


def test_waits_double_and_spread() -> None:
    waits = [after(503, attempts=attempts).next_ms - NOW for attempts in range(1, 12)]
    assert waits == sorted(waits)
    assert waits[1] == 2 * waits[0]
    assert waits[-1] == WAIT_MS_MAX
    assert after(503, chance=0.0).next_ms < after(503, chance=0.9).next_ms


def test_what_the_receiver_asks_for_is_the_least() -> None:
    assert after(429, retry_after_s=30.0, chance=0.0).next_ms - NOW >= 30_000
    assert after(429, retry_after_s=1e12).next_ms - NOW <= RETRY_AFTER_MS_MAX + WAIT_MS_MAX


@given(
    status=st.integers(0, 999),
    attempts=st.integers(1, 10**6),
    chance=st.floats(0, 1),
    retry_after_s=st.none() | st.floats(-1e300, 1e300),
)
def test_any_answer_has_a_bounded_wait(status: int, attempts: int, chance: float, retry_after_s: float | None) -> None:
    judgement = after(status, attempts=attempts, chance=chance, retry_after_s=retry_after_s)
    assert NOW <= judgement.next_ms <= NOW + RETRY_AFTER_MS_MAX + WAIT_MS_MAX
