"""Calm traffic: which groups come to be scored in it, how high, and what that asks of thresholds.

What lives here: the groups of an honest fleet over time with the highest score of each, the false-positive rate of each
reading on them, and the threshold that a budget of false alarms needs. What does not: reading traffic and writing rules
(``streams/calibrate``).

Method. A threshold is crossed by a group's highest score, so the sample are the maxima of calm groups, not their
scores of every evaluation, which hang together (peaks over time: Coles, *An Introduction to Statistical Modeling of
Extreme Values*, Springer 2001, chapter 4). With a budget of N alerts a week and W weeks of traffic, k = floor(N W)
groups may cross: the (k+1)-th highest of the maxima must not. Where the budget is finer than the traffic is long
(N W < 1) the tail beyond the upper quartile is continued as an exponential one, the generalized Pareto law of shape 0
(Pickands 1975), to the level met less than N times a week. Neither may ask for more than the highest calm score and a
margin of one point, which is what one weak reading gives: a threshold is never raised for fear of what was not seen.
And none is ever lowered: the shipped ones hold on look-alikes that this traffic may not have shown.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from models.campaigns import Evaluation, Judged

MARGIN = 1.0
STEP = 0.5
SAME_PART = 0.5  # of the smaller core's accounts that make two groups of different times one
TAIL_MIN = 20  # groups from which the tail is continued
GROUPS_MAX = 10_000
KEPT_MS = 24 * 3_600_000


@dataclass(slots=True)
class Group:
    """One group of calm accounts over time, at its highest score."""

    accounts: npt.NDArray[np.uint64]
    score: float
    seen_ms: int
    weights: dict[str, float] = field(default_factory=dict)


class CalmGroups:
    """Gathers the groups of every evaluation; bounded, as the lowest are forgotten first."""

    def __init__(self) -> None:
        self.groups: list[Group] = []
        self.evaluations = 0

    def note(self, evaluation: Evaluation) -> None:
        """Take the clusters of one evaluation."""
        self.evaluations += 1
        recent = [group for group in self.groups if evaluation.now_ms - group.seen_ms <= KEPT_MS]
        for judged in evaluation.judged:
            self._take(judged, evaluation.now_ms, recent)
        if len(self.groups) > GROUPS_MAX:
            self.groups.sort(key=lambda group: -group.score)
            del self.groups[GROUPS_MAX:]

    def _take(self, judged: Judged, now_ms: int, recent: list[Group]) -> None:
        accounts = judged.candidate.account[judged.candidate.core]
        known = next((group for group in recent if _same(group.accounts, accounts)), None)
        if known is None:
            known = Group(accounts, -math.inf, now_ms)
            self.groups.append(known)
            recent.append(known)
        known.seen_ms, known.accounts = now_ms, accounts
        if judged.score > known.score:
            known.score = judged.score
            known.weights = {item.name: item.weight for item in judged.evidence}

    @property
    def peaks(self) -> list[float]:
        """The highest score of each group, the highest first."""
        return sorted((group.score for group in self.groups), reverse=True)

    def false_positives(self) -> list[tuple[str, int, int]]:
        """Every reading met: its name, groups that it gave points to, groups that it was read for."""
        read: Counter[str] = Counter()
        given: Counter[str] = Counter()
        for group in self.groups:
            read.update(list(group.weights))
            given.update(name for name, weight in group.weights.items() if weight > 0)
        return [(name, given[name], read[name]) for name in sorted(read, key=lambda name: (-given[name], name))]


def _same(one: npt.NDArray[np.uint64], other: npt.NDArray[np.uint64]) -> bool:
    return bool(np.isin(one, other).sum() >= SAME_PART * min(len(one), len(other)))


@dataclass(frozen=True, slots=True)
class Threshold:
    """A value, whether calm traffic moved it, and why."""

    value: float
    moved: bool
    why: str


def open_score(peaks: Sequence[float], weeks: float, *, alerts_per_week: float, shipped: float) -> Threshold:
    """The score that opens a campaign, for a budget of false alerts a week; ``peaks`` highest first."""
    allowed = math.floor(alerts_per_week * weeks)
    if not peaks:
        return Threshold(shipped, False, "no calm group came to be scored: as shipped")
    # Below a budget of one alert in the whole traffic the tail must say what a longer one would have shown.
    finer = allowed == 0 and len(peaks) >= TAIL_MIN
    cap = peaks[0] + MARGIN
    seen = peaks[allowed] + STEP if allowed < len(peaks) else -math.inf
    needed = min(max(seen, tail_level(peaks, weeks, alerts_per_week)) if finer else seen, cap)
    value = math.ceil(needed / STEP) * STEP if math.isfinite(needed) else shipped
    how = f"{len(peaks)} calm groups, the highest at {peaks[0]:g}; {allowed} may cross"
    if value <= shipped:
        return Threshold(shipped, False, f"{how}: {max(value, 0):g} would do, as shipped")
    return Threshold(value, True, f"{how}: raised from {shipped:g}")


def tail_level(peaks: Sequence[float], weeks: float, per_week: float) -> float:
    """The level that an exponential tail beyond the upper quartile meets less than ``per_week`` times a week."""
    values = np.array(peaks)
    start = float(np.quantile(values, 0.75))
    beyond = values[values > start] - start
    if not len(beyond):
        return start + STEP
    rate = len(beyond) / weeks
    return start + float(beyond.mean()) * max(0.0, math.log(rate / per_week))


def account_limit(values: npt.NDArray[np.int64], *, accounts_per_100k: float, shipped: int, most: int) -> Threshold:
    """The daily limit of an account rule; ``values`` are the highest day of every account.

    Refused below three times the accounts that one false one is allowed among: fewer could not show the budget kept
    (the rule of three, at 95 %). Else the limit is that day of the first account over the budget, half as much again.
    """
    needed = math.ceil(3e5 / accounts_per_100k)
    if len(values) < needed:
        return Threshold(shipped, False, f"{len(values):,} accounts, {needed:,} are needed: as shipped")
    allowed = math.floor(len(values) * accounts_per_100k / 1e5)
    highest = int(np.sort(values)[::-1][min(allowed, len(values) - 1)])
    value = min(most, math.ceil(1.5 * highest) + 1)
    if value <= shipped:
        return Threshold(shipped, False, f"{len(values):,} accounts, the busiest at {highest:,}: as shipped")
    return Threshold(value, True, f"{len(values):,} accounts, {allowed} may cross, the next at {highest:,}")
