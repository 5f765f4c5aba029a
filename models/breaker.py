"""A circuit breaker: after failures in a row nobody waits for a server that does not answer.

What lives here: when to try, with time as an argument. What does not: the trying.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

OPEN_AFTER: Final = 3
"""Failures in a row: one may be a lost packet, three are not."""
PAUSE_MS: Final = 250
PAUSE_MAX_MS: Final = 5_000


@dataclass(slots=True)
class Breaker:
    """Closed while calls succeed; open for a pause that doubles; then one call at a time tries it again."""

    failures: int = 0
    pause_ms: int = PAUSE_MS
    retry_at_ms: int = 0

    @property
    def is_open(self) -> bool:
        """Whether calls are being spared."""
        return self.failures >= OPEN_AFTER

    def allows(self, now_ms: int) -> bool:
        """Whether to call now; while open, the call that is let through holds off the others for a pause."""
        if not self.is_open:
            return True
        if now_ms < self.retry_at_ms:
            return False
        self.retry_at_ms = now_ms + self.pause_ms
        return True

    def succeeded(self) -> None:
        """A call was answered."""
        self.failures, self.pause_ms, self.retry_at_ms = 0, PAUSE_MS, 0

    def failed(self, now_ms: int) -> None:
        """A call failed or took too long."""
        self.failures += 1
        if self.failures > OPEN_AFTER:
            self.pause_ms = min(PAUSE_MAX_MS, 2 * self.pause_ms)
        if self.is_open:
            self.retry_at_ms = now_ms + self.pause_ms
