"""Arrivals: profiles of accounts on their way into the directory, and when the directory forgets.

What lives here: the canonical order in which accounts become known, and the daily look for those that fell silent.
What does not: what is known of an account (``directory``). Both follow from event time alone: each account is added,
found again or forgotten at the same place in that order, however far ``learn`` goes at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from models.accounts import DAY_MS
from models.admission import UNSET
from models.directory import Directory
from models.sighting import PROFILE
from models.strings import Strings
from models.table import joined

Accounts = npt.NDArray[np.uint64]


class Arrivals:
    """Profiles that wait for event time to pass them; ``kept`` gives the accounts that must not be forgotten."""

    def __init__(self, directory: Directory, kept: Callable[[], Accounts]) -> None:
        self._directory = directory
        self._kept = kept
        self._waiting: list[tuple[npt.NDArray[Any], Strings]] = []
        self._day = UNSET  # the last day at whose beginning the directory forgot

    def add(self, profiles: npt.NDArray[Any], ids: Strings) -> None:
        """Take profiles, in any order."""
        if len(profiles):
            self._waiting.append((profiles, ids))

    def learn(self, until_ms: int, *, forget: bool = True) -> None:
        """Make known who came before ``until_ms``; nobody who comes later may have an earlier stamp.

        Without ``forget`` only as far as nobody can be forgotten on the way.
        """
        if not forget:
            if self._day == UNSET:
                return
            until_ms = min(until_ms, (self._day + 1) * DAY_MS - 1)
        rows, ids = self._all()
        picked = np.flatnonzero(rows["ts"] < until_ms)
        picked = picked[np.lexsort((rows["key"][picked], rows["ts"][picked]))]
        days, starts = np.unique(rows["ts"][picked] // DAY_MS, return_index=True)
        for day, today in zip(days.tolist(), np.split(picked, starts[1:]), strict=False):
            self._forget(day)
            self._directory.add(rows.take(today), ids.take(today))
        self._forget(until_ms // DAY_MS)
        rest = np.flatnonzero(rows["ts"] >= until_ms)
        self._waiting = [(rows.take(rest), ids.take(rest))] if len(rest) else []

    def _forget(self, day: int) -> None:
        """A day without arrivals may be passed over: what the next one forgets is the same."""
        if day > self._day:
            self._day = day
            self._directory.forget(day, self._kept())

    def _all(self) -> tuple[npt.NDArray[Any], Strings]:
        if not self._waiting:
            return np.zeros(0, PROFILE), Strings.of([])
        return joined([rows for rows, _ in self._waiting]), Strings.concat([ids for _, ids in self._waiting])

    def snapshot(self) -> tuple[int, dict[str, npt.NDArray[Any]]]:
        """The day and what waits."""
        rows, ids = self._all()
        return self._day, {
            "unlearnt": rows.view(np.uint8),
            "unlearnt_data": ids.data,
            "unlearnt_offsets": ids.offsets,
        }

    def restore(self, day: int, arrays: dict[str, npt.NDArray[Any]]) -> None:
        """Take over what ``snapshot`` gave."""
        self._day, self._waiting = day, []
        self.add(arrays["unlearnt"].view(PROFILE), Strings(arrays["unlearnt_data"], arrays["unlearnt_offsets"]))
