"""The progress line on stderr while a run reads its input.

What lives here: when to write and what it says. What does not: the reading. On a terminal one line is
rewritten five times a second; elsewhere, such as in a log, a line is written every 10 s and nothing else.
"""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TextIO

TERMINAL_GAP_S = 0.2
LOG_GAP_S = 10.0
RATE_WINDOW_S = 10.0
"""Rate and time left come from the last seconds, so that start-up and compiling do not weigh on them."""
COLUMNS_DEFAULT = 80


class Progress:
    """Tells how far a run is.

    ``total_bytes`` is the size of the input as stored (compressed where it is), None where nobody knows, as
    on stdin; then neither percent nor time left is shown. ``now_s`` is any clock that only goes forward.
    """

    def __init__(
        self,
        total_bytes: int | None,
        stream: TextIO | None = None,
        *,
        terminal: bool | None = None,
        columns: int | None = None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._total = total_bytes
        self._stream = sys.stderr if stream is None else stream
        self._terminal = self._stream.isatty() if terminal is None else terminal
        self._columns = columns
        self._now_s = now_s
        started = now_s()
        self._samples: deque[tuple[float, int, int]] = deque([(started, 0, 0)])
        self._written_at = started if not self._terminal else -TERMINAL_GAP_S + started
        self._shown = 0  # characters of the line now on the terminal
        self._finished = False

    def update(self, events: int, bytes_read: int, event_ms: int | None) -> None:
        """Note the totals so far; writes only when a line is due, so it may be called for every batch."""
        at = self._now_s()
        gap = TERMINAL_GAP_S if self._terminal else LOG_GAP_S
        if self._finished or at - self._written_at < gap:
            return
        self._written_at = at
        self._note(at, events, bytes_read)
        self._write(self._line(events, bytes_read, event_ms))

    def finish(self) -> None:
        """Clear the line from a terminal; harmless twice, and `update` writes nothing afterwards."""
        if self._terminal and self._shown and not self._finished:
            self._put("\r" + " " * self._shown + "\r")
        self._finished = True

    def _note(self, at: float, events: int, bytes_read: int) -> None:
        self._samples.append((at, events, bytes_read))
        while len(self._samples) > 2 and self._samples[1][0] <= at - RATE_WINDOW_S:
            self._samples.popleft()

    def _line(self, events: int, bytes_read: int, event_ms: int | None) -> str:
        (before, old_events, old_bytes), (at, _, _) = self._samples[0], self._samples[-1]
        elapsed = max(at - before, 1e-9)
        parts = [f"{events:,} events", f"{(events - old_events) / elapsed:,.0f}/s"]
        if self._total:
            parts.insert(0, f"{min(100, 100 * bytes_read // self._total):3d} %")
        else:
            parts.append(f"{bytes_read / 1e6:,.1f} MB")
        if event_ms is not None:
            parts.append(f"event time {_clock(event_ms)}")
        speed = (bytes_read - old_bytes) / elapsed
        if self._total and speed > 0:
            parts.append(f"{_left(max(0, self._total - bytes_read) / speed)} left")
        return "  ".join(parts)

    def _write(self, line: str) -> None:
        if not self._terminal:
            self._put(line + "\n")
            return
        # A line that wraps cannot be rewritten, and some terminals wrap on the last column already.
        line = line[: self._width() - 1]
        self._put("\r" + line.ljust(self._shown))
        self._shown = len(line)

    def _width(self) -> int:
        if self._columns is not None:
            return max(2, self._columns)
        try:
            return os.get_terminal_size(self._stream.fileno()).columns or COLUMNS_DEFAULT
        except (OSError, ValueError):
            return COLUMNS_DEFAULT

    def _put(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            self._finished = True  # stderr is gone or closed: the run matters more than its progress


def _clock(ms: int) -> str:
    try:
        return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")
    except (OverflowError, ValueError, OSError):
        return "unknown"


def _left(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
