"""Framing: honest people made to send a few prompts of somebody else's campaign.

What lives here: those few prompts. What does not: the people's own traffic, which is a group like any other.
"""

from __future__ import annotations

import numpy as np

from streams.simulator.accounts import DAY_MS, EPOCH, HOUR_MS, names
from streams.simulator.campaign import Campaign
from streams.simulator.groups import Batch, Events

USES_MAX = 4


class Decoys:
    """Accounts ``first .. first + size`` send one to four prompts of ``campaign`` each, at random times of its run."""

    def __init__(self, campaign: Campaign, first: int, size: int, *, days: float, rng: np.random.Generator) -> None:
        self.name = "decoy"
        self._campaign = campaign
        self._rng = rng
        uses = 1 + np.arange(size) % USES_MAX
        self._account = np.repeat(np.arange(first, first + size), uses)
        start = EPOCH + int(campaign.knobs.start_h * HOUR_MS)
        self._ts = rng.integers(start, max(start + 1, EPOCH + int(days * DAY_MS)), len(self._account))

    def emit(self, start: int, end: int) -> Batch:
        """The decoys' campaign prompts of the slice."""
        due = (self._ts >= start) & (self._ts < end)
        n = int(due.sum())
        events = Events(
            ts=self._ts[due], account=self._account[due], conversation=names(self._rng, n), turn=np.ones(n, np.int64),
            topic=self._rng.integers(len(self._campaign.templates), size=n), position=np.zeros(n, np.int64),
            status=np.full(n, 200),
        )  # fmt: skip
        return Batch(events, self._campaign.texts(events), np.zeros(n, np.int64), np.full(n, -1), np.zeros(n, np.bool_))
