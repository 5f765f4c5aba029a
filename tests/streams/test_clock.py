"""The clock of lifetimes and due times goes on whatever is done to the machine's."""

from __future__ import annotations

from streams.clock import Clock


def test_a_clock_set_back_goes_on_at_its_pace_and_one_set_ahead_is_followed() -> None:
    wall_s, steady_s = 1_000_000.0, 50.0
    clock = Clock(lambda: wall_s, lambda: steady_s)
    assert clock.now_ms() == 1_000_000_000
    wall_s, steady_s = wall_s - 3_600, steady_s + 10
    assert clock.now_ms() == 1_000_010_000
    wall_s, steady_s = wall_s + 5, steady_s + 5
    assert clock.now_ms() == 1_000_015_000
    wall_s += 7_200
    assert clock.now_ms() == 1_003_605_000
    assert clock.now_ms() == 1_003_605_000
