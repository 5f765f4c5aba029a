"""The circuit breaker: opens after failures in a row, tries again one call at a time."""

from __future__ import annotations

from models.breaker import OPEN_AFTER, PAUSE_MAX_MS, PAUSE_MS, Breaker


def opened() -> Breaker:
    breaker = Breaker()
    for _ in range(OPEN_AFTER):
        assert breaker.allows(0)
        breaker.failed(0)
    return breaker


def test_it_opens_after_failures_in_a_row_only() -> None:
    breaker = Breaker()
    for _ in range(10):
        breaker.failed(0)
        breaker.failed(0)
        breaker.succeeded()
        assert breaker.allows(0)
    assert opened().is_open
    assert not opened().allows(PAUSE_MS - 1)


def test_one_call_tries_again_while_the_others_are_spared() -> None:
    breaker = opened()
    assert breaker.allows(PAUSE_MS)
    assert not breaker.allows(PAUSE_MS)
    breaker.succeeded()
    assert breaker.allows(PAUSE_MS)
    assert not breaker.is_open


def test_pauses_grow_up_to_a_limit() -> None:
    breaker, now, pauses = opened(), 0, []
    for _ in range(8):
        start = now
        while not breaker.allows(now):
            now += 10
        pauses.append(now - start)
        breaker.failed(now)
    assert pauses == sorted(pauses)
    assert pauses[0] == PAUSE_MS
    assert pauses[-1] == PAUSE_MAX_MS
