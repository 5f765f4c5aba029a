"""Precision per rule, from the verdicts that people gave, and the threshold these verdicts speak for.

What lives here: counting and one suggestion. What does not: verdicts (``labels``) and thresholds (``rules``).
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from models.cases import Case

VERDICTS_MIN = 10
"""With fewer verdicts a suggestion would follow single cases."""
PRECISION_WANTED = 0.9


class RuleRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the alerts of one rule. Precision is of the judged ones; its bounds hold with 95 %."""

    rule: str
    alerts: int
    confirmed: int
    false_positive: int
    benign_automation: int
    unjudged: int
    precision: float | None
    precision_low: float | None
    precision_high: float | None
    suggested_score: float | None
    """The least score from which on nine in ten judged alerts were confirmed; None for too few, or where none does."""
    kept: int | None
    """How many of the confirmed alerts that score keeps."""


def precision(cases: Sequence[Case]) -> list[RuleRecord]:
    """One record for each rule, by name; an inherited verdict counts as none, as nobody looked at that alert."""
    rules = sorted({case.alert.rule for case in cases})
    return [_record(rule, [case for case in cases if case.alert.rule == rule]) for rule in rules]


def _record(rule: str, cases: list[Case]) -> RuleRecord:
    judged = [(case.alert.score, case.verdict.verdict) for case in cases if case.verdict is not None]
    counts = {
        name: sum(verdict == name for _, verdict in judged)
        for name in ("confirmed", "false_positive", "benign_automation")
    }
    low, high = wilson(counts["confirmed"], len(judged))
    suggested = _suggested([(score, verdict == "confirmed") for score, verdict in judged])
    return RuleRecord(
        rule=rule,
        alerts=len(cases),
        **counts,
        unjudged=len(cases) - len(judged),
        precision=counts["confirmed"] / len(judged) if judged else None,
        precision_low=low if judged else None,
        precision_high=high if judged else None,
        suggested_score=suggested,
        kept=None
        if suggested is None
        else sum(verdict == "confirmed" and score >= suggested for score, verdict in judged),
    )


def wilson(hits: int, tries: int, z: float = 1.96) -> tuple[float, float]:
    """The interval of Wilson (1927) for a share of few tries."""
    if not tries:
        return 0.0, 1.0
    share, square = hits / tries, z * z / tries
    middle = share + square / 2
    reach = z * (share * (1 - share) / tries + square / tries / 4) ** 0.5
    return max(0.0, (middle - reach) / (1 + square)), min(1.0, (middle + reach) / (1 + square))


def _suggested(judged: list[tuple[float, bool]]) -> float | None:
    """The least score at which those from it on are precise enough."""
    if len(judged) < VERDICTS_MIN:
        return None
    for score in sorted({score for score, _ in judged}):
        above = [confirmed for other, confirmed in judged if other >= score]
        if sum(above) >= PRECISION_WANTED * len(above):
            return score
    return None
