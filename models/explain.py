"""Explanations: a verdict derived again from the evidence that was kept, and what would have changed it.

What lives here: the arithmetic over evidence and gates of an alert, and an account measured against its cluster. What
does not: weighing (``evidence``), the bounds (``verdict``, ``rules``), and words for a terminal (``streams/explain``).
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from models.alert import Alert, Evidence, Gate
from models.campaigns import Campaigns, Evaluation, Judged
from models.rules import Rules
from models.verdict import OPEN_SCORE, beyond_doubt, gates, named, needed

ROUNDING = 0.001
"""An alert rounds its score to three places."""
CAPPED = (frozenset({"shared_payment", "shared_network"}),)
"""Readings that have one cap together: without the one that counts, the other may take its place."""


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One reading: how far it is from what is usual, and what the verdict would be without it."""

    name: str
    value: float
    baseline: float
    unit: str
    text: str
    weight: float
    ratio: float | None
    """Value over baseline; None where the baseline is 0."""
    score_without: float
    score_halved: float
    closed_without: bool
    closed_halved: bool
    capped_with: list[str]


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """A verdict derived again. ``agrees`` says whether it comes out as it was stated."""

    subject: str
    rule: str
    rule_version: str
    score_stated: float
    score_derived: float
    score_needed: float
    agrees: bool
    gates: list[Gate]
    gates_unmet: list[str]
    parts: list[Part]
    closed_without_any_of: list[str]
    """Each of these alone, taken away, had kept it closed."""
    fewest: list[str]
    """The fewest readings that had kept it closed together; empty where none do."""
    notes: list[str]


def explain_alert(alert: Alert) -> Explanation:
    """The verdict of an alert from what the alert itself holds."""
    notes = []
    kept = list(alert.gates)
    if alert.account_id is not None:
        kept = [Gate(item.name, item.value, item.baseline) for item in alert.evidence]
        notes.append("An account rule trips where its one reading reaches the limit, which is its baseline here.")
        return _account_rule(alert, kept, notes)
    if alert.status == "resolved":
        notes.append("This statement ends the alert and holds no evidence; explain the one before it.")
    if not kept:
        kept = [Gate("score", alert.score, OPEN_SCORE)]
        notes.append("The alert is from before gates were kept: the score is compared with the default.")
    return explain(
        (alert.alert_id, alert.rule, alert.rule_version),
        [*alert.evidence, *alert.counter_evidence],
        kept,
        stated=alert.score,
        notes=notes,
    )


def _account_rule(alert: Alert, kept: list[Gate], notes: list[str]) -> Explanation:
    unmet = [gate.name for gate in kept if gate.name != "networks_day" and gate.value < gate.needed]
    parts = [_part(item, item.weight, item.weight) for item in alert.evidence]
    return Explanation(
        subject=alert.alert_id,
        rule=alert.rule,
        rule_version=alert.rule_version,
        score_stated=alert.score,
        score_derived=sum(item.weight for item in alert.evidence),
        score_needed=alert.score,
        agrees=not unmet,
        gates=kept,
        gates_unmet=unmet,
        parts=parts,
        closed_without_any_of=[part.name for part in parts],
        fewest=[part.name for part in parts],
        notes=notes,
    )


def explain(
    about: tuple[str, str, str],
    evidence: Sequence[Evidence],
    kept: Sequence[Gate],
    *,
    stated: float,
    notes: Sequence[str] = (),
) -> Explanation:
    """Add the evidence up, hold it against the gates, and take away one reading after the other.

    ``about`` is subject, rule and version; the first of ``kept`` named score holds what was needed.
    """
    bound = next((gate.needed for gate in kept if gate.name == "score"), OPEN_SCORE)
    score = float(sum(item.weight for item in evidence))
    parts = sorted((_part(item, score, bound) for item in evidence), key=lambda part: (-part.weight, part.name))
    to_go_on = [gate.needed for gate in kept if gate.name == "score_to_go_on"]
    unmet = [gate.name for gate in kept if not gate.name.startswith("score") and gate.value < gate.needed]
    if score < min([bound, *to_go_on]):
        unmet = ["score", *unmet]
    return Explanation(
        subject=about[0],
        rule=about[1],
        rule_version=about[2],
        score_stated=stated,
        score_derived=score,
        score_needed=bound,
        agrees=abs(score - stated) <= ROUNDING and not unmet,
        gates=list(kept),
        gates_unmet=unmet,
        parts=parts,
        closed_without_any_of=[part.name for part in parts if part.closed_without],
        fewest=_fewest(parts, score - bound),
        notes=list(notes),
    )


def _part(item: Evidence, score: float, bound: float) -> Part:
    without, halved = score - item.weight, score - item.weight / 2
    return Part(
        name=item.name,
        value=item.value,
        baseline=item.baseline,
        unit=item.unit,
        text=item.text,
        weight=item.weight,
        ratio=item.value / item.baseline if item.baseline else None,
        score_without=without,
        score_halved=halved,
        closed_without=without < bound,
        closed_halved=halved < bound,
        capped_with=sorted(other for group in CAPPED if item.name in group for other in group - {item.name}),
    )


def _fewest(parts: Sequence[Part], margin: float) -> list[str]:
    """The heaviest readings until their points are more than the margin."""
    chosen: list[str] = []
    for part in parts:
        if margin < 0 or part.weight <= 0:
            break
        chosen.append(part.name)
        margin -= part.weight
    return chosen if margin < 0 else []


class Naming(msgspec.Struct, frozen=True, kw_only=True):
    """One account measured against a cluster: why it is named or not, by its own requests."""

    cluster_id: str | None
    reason: str
    """The verdict on the cluster."""
    named: bool
    beyond_doubt: bool
    in_core: bool
    requests: int
    requests_needed: float
    share: float
    share_needed: float
    templates: list[str]
    """A digest of each template of the cluster that the account used, the most used first."""


def explain_cluster(judged: Judged, rules: Rules) -> Explanation:
    """The verdict on a cluster from the requests that a kept state holds."""
    campaign = judged.campaign
    is_open = campaign is not None and campaign.open
    kept = gates(judged.features, judged.evidence, rules.campaign, is_open=is_open)
    subject = campaign.cluster_id if campaign is not None else "a cluster without a name"
    notes = [f"Derived from the requests of the kept state; its verdict is {judged.reason.value}."]
    about = subject, "campaign", rules.label
    return explain(about, judged.evidence, kept, stated=judged.score, notes=notes)


def naming_of(account: int, judged: Judged, evaluation: Evaluation, campaigns: Campaigns) -> Naming | None:
    """How the account stands to the cluster; None where it never touched it."""
    candidate = judged.candidate
    (found,) = np.nonzero(candidate.account == np.uint64(account))
    if not len(found):
        return None
    at = int(found[0])
    share_needed, requests_needed = needed(candidate)
    rows = candidate.rows[evaluation.rows["account"][candidate.rows] == np.uint64(account)]
    keys, uses = campaigns.covered.key_uses(evaluation.rows, rows)
    order = np.lexsort((keys, -uses))
    return Naming(
        cluster_id=judged.campaign.cluster_id if judged.campaign is not None else None,
        reason=judged.reason.value,
        named=bool(named(candidate)[at]),
        beyond_doubt=bool(beyond_doubt(candidate)[at]),
        in_core=bool(candidate.core[at]),
        requests=int(candidate.covered[at]),
        requests_needed=float(requests_needed[at]),
        share=float(candidate.share[at]),
        share_needed=share_needed,
        templates=[campaigns.announcer.template_digest(int(key)) for key in keys[order][:10]],
    )
