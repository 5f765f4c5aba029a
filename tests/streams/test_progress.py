"""The progress line, with a clock that the test moves and a stream that the test reads."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import struct
import termios

import pytest

from streams.progress import Progress

NOON = 1_780_315_200_000  # 2026-06-01 12:00 UTC


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


def progress(total: int | None, *, terminal: bool, columns: int = 120) -> tuple[Progress, io.StringIO, Clock]:
    stream, clock = io.StringIO(), Clock()
    return Progress(total, stream, terminal=terminal, columns=columns, now_s=clock), stream, clock


def test_a_terminal_line_has_percent_rate_event_clock_and_time_left() -> None:
    line, stream, clock = progress(1_000_000, terminal=True)
    clock.at += 4
    line.update(200_000, 250_000, NOON)
    shown = stream.getvalue()
    assert shown == "\r 25 %  200,000 events  50,000/s  event time 2026-06-01 12:00  12 s left"


def test_a_terminal_line_is_rewritten_over_the_longer_one_and_cleared_at_the_end() -> None:
    line, stream, clock = progress(None, terminal=True)
    clock.at += 1
    line.update(1_000_000, 5_000_000, NOON)
    clock.at += 1
    line.update(1_000_001, 5_000_000, None)
    first, second = stream.getvalue().split("\r")[1:]
    assert len(second) == len(first)
    assert second.rstrip().endswith("5.0 MB")
    line.finish()
    line.finish()
    assert stream.getvalue().endswith("\r" + " " * len(second.rstrip()) + "\r")
    clock.at += 60
    line.update(2_000_000, 5_000_000, NOON)
    assert "2,000,000" not in stream.getvalue()


def test_a_terminal_sees_at_most_five_lines_a_second() -> None:
    line, stream, clock = progress(1000, terminal=True)
    for _ in range(1000):
        clock.at += 0.01
        line.update(1, 1, NOON)
    assert 45 <= stream.getvalue().count("\r") <= 50


def test_a_log_gets_one_line_every_ten_seconds_and_none_for_a_short_run() -> None:
    line, stream, clock = progress(1000, terminal=False)
    for second in range(1, 36):
        clock.at += 1
        line.update(second * 10, second * 20, NOON)
        if second == 9:
            assert stream.getvalue() == ""
    line.finish()
    lines = stream.getvalue().splitlines()
    assert [entry.split("  ")[1] for entry in lines] == ["100 events", "200 events", "300 events"]
    assert "\r" not in stream.getvalue()
    assert "\x1b" not in stream.getvalue()


def test_rate_and_time_left_come_from_the_last_seconds() -> None:
    line, stream, clock = progress(10_000_000, terminal=True)
    clock.at += 100  # a slow start: compiling
    line.update(100, 100, NOON)
    for second in range(1, 31):
        clock.at += 1
        line.update(100 + second * 1000, 100 + second * 100_000, NOON)
    last = stream.getvalue().split("\r")[-1]
    assert "  1,000/s  " in last
    assert "70 s left" in last


def test_without_a_total_there_is_no_percent_and_no_time_left() -> None:
    line, stream, clock = progress(None, terminal=False)
    clock.at += 10
    line.update(5, 2_500_000, None)
    assert stream.getvalue() == "5 events  0/s  2.5 MB\n"


@pytest.mark.parametrize(("total", "read", "share"), [(0, 0, None), (10, 25, "100 %"), (10, 0, "  0 %")])
def test_odd_sizes(total: int, read: int, share: str | None) -> None:
    line, stream, clock = progress(total, terminal=False)
    clock.at += 10
    line.update(5, read, NOON)
    assert (share in stream.getvalue()) if share else ("%" not in stream.getvalue())


def test_a_narrow_terminal_never_wraps() -> None:
    line, stream, clock = progress(1_000_000, terminal=True, columns=30)
    for second in range(1, 20):
        clock.at += 1
        line.update(second * 123_456, second * 5_000, NOON)
    assert max(len(part) for part in stream.getvalue().split("\r")) <= 29


@pytest.mark.parametrize("event_ms", [-(10**18), 10**18])
def test_an_impossible_event_time_is_not_an_error(event_ms: int) -> None:
    line, stream, clock = progress(10, terminal=False)
    clock.at += 10
    line.update(5, 5, event_ms)
    assert "event time unknown" in stream.getvalue()


def test_a_stream_that_is_gone_does_not_stop_the_run() -> None:
    line, stream, clock = progress(10, terminal=True)
    stream.close()
    for _ in range(3):
        clock.at += 1
        line.update(5, 5, NOON)
    line.finish()


def test_a_real_terminal_is_recognised_and_its_width_kept() -> None:
    leader, follower = pty.openpty()
    os.set_blocking(leader, False)
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 24, 0, 0))
    clock = Clock()
    with os.fdopen(follower, "w") as stream:
        line = Progress(1_000_000, stream, now_s=clock)
        clock.at += 1
        line.update(123_456, 500_000, NOON)
        written = os.read(leader, 1000).decode()
        line.finish()
    os.close(leader)
    assert written.startswith("\r 50 %  123,456 events")
    assert len(re.sub(r"[\r\n]", "", written)) == 23
