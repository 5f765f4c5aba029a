"""The verdict: whether a weighed cluster is a campaign, how severe, and which accounts are named.

What lives here: the tuned numbers and the reasons for a decision. What does not: the weights (``evidence``) and what an
operator may set instead (``rules``).
"""

from __future__ import annotations

import enum
import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from models.alert import Evidence, Gate
from models.clusters import ONE_RATE, Candidate, dispersion
from models.features import Features

if TYPE_CHECKING:
    from models.rules import CampaignRule

CORE_CUSTOMERS_MIN = 12
CORE_NETWORKS_MIN = 3
CORE_PART_MIN = 0.10
EVEN_MAX = 1.6
OPEN_SCORE = 7.5
HOLD_SCORE = 4.0
"""An open campaign stays one until its score falls below this: hysteresis, so that a noisy hour does not flap."""
CONFIRMED_BELOW = 100
"""A new cluster of fewer accounts must be found twice in a row: fragments of a growing campaign pass, and join it."""
NAMED_SHARE_MIN = 0.10
NAMED_SHARE = 0.3  # of the core's median share
NAMED_COUNT = 0.25  # of the core's median covered requests
NAMED_COUNT_EVEN = 0.5  # the same where the core sends at one rate: who is far from it does not belong to it
NAMED_COUNT_MIN = 2
UNDILUTED = 0.4
"""Below this part of core among the touched, bystanders or decoys are many, and naming takes more of an account."""
DILUTED_COUNT, DILUTED_COUNT_MIN = 0.5, 4
LATE_COUNT_MIN = 3  # of who came to a campaign when it was known already
STERN_SCORE = 10.0
STERN_SHARE, STERN_COUNT, STERN_COUNT_MIN = 0.6, 0.5, 5  # as above, for actions that a person notices


class Reason(enum.Enum):
    """Why a cluster is or is not a campaign."""

    CAMPAIGN = "campaign"
    HELD = "held_open"
    TOO_FEW_CUSTOMERS = "too_few_customers"
    TOO_FEW_NETWORKS = "too_few_networks"
    DILUTED = "core_too_small_a_part"
    WEAK = "evidence_too_weak"
    UNCONFIRMED = "waits_for_a_second_look"
    EARLY = "waits_for_accounts_to_come_round"


def judge(features: Features, evidence: list[Evidence], rule: CampaignRule, *, is_open: bool) -> Reason:
    """Decide on one cluster."""
    score = sum(item.weight for item in evidence)
    if features.customers < rule.customers_min:
        return Reason.TOO_FEW_CUSTOMERS
    if 0 < features.networks < rule.networks_min:
        return Reason.TOO_FEW_NETWORKS
    if features.core_part < _core_part_needed(features):
        return Reason.DILUTED
    if score >= rule.open_score:
        return Reason.CAMPAIGN
    return Reason.HELD if is_open and score >= rule.hold_score else Reason.WEAK


def gates(features: Features, evidence: list[Evidence], rule: CampaignRule, *, is_open: bool) -> list[Gate]:
    """The bounds that ``judge`` compares, as an alert keeps them; an open campaign goes on from the second on."""
    score = sum(item.weight for item in evidence)
    found = [
        Gate("score", score, rule.open_score),
        *([Gate("score_to_go_on", score, rule.hold_score)] if is_open else []),
        Gate("customers", features.customers, rule.customers_min),
        Gate("core_part", features.core_part, _core_part_needed(features)),
    ]
    return found + [Gate("networks", features.networks, rule.networks_min)] * (features.networks > 0)


def _core_part_needed(features: Features) -> float:
    """The part of touched accounts that must be core.

    Where requests fall on accounts as one common rate lets them, an account with one request so far is a member that
    has not come round again, not a bystander: half of what that rate lets be committed is then enough.
    """
    if not 0.0 <= features.evenness <= EVEN_MAX or features.rate <= 0.0:
        return CORE_PART_MIN
    none = math.exp(-features.rate)
    return min(CORE_PART_MIN, 0.5 * (1.0 - none - features.rate * none) / (1.0 - none))


def needed(candidate: Candidate) -> tuple[float, npt.NDArray[np.float64]]:
    """The share of its own requests, and for each account the covered requests, from which on a willing one is named.

    Who came to a known campaign an hour ago is held against an hour of its core.
    """
    time = np.ones(len(candidate.account)) if candidate.time is None else candidate.time
    core_share = float(np.median(candidate.share[candidate.core]))
    core_count = float(np.median(candidate.covered[candidate.core]))
    if candidate.core.sum() < UNDILUTED * len(candidate.account):
        count = np.full(len(time), max(DILUTED_COUNT_MIN, DILUTED_COUNT * core_count))
        return max(NAMED_SHARE_MIN, STERN_SHARE * core_share), count
    part = NAMED_COUNT_EVEN if dispersion(candidate.covered[candidate.core]) <= ONE_RATE else NAMED_COUNT
    least = np.where(time < 1.0, LATE_COUNT_MIN, NAMED_COUNT_MIN)
    return max(NAMED_SHARE_MIN, NAMED_SHARE * core_share), np.maximum(least, part * core_count * time)


def named(candidate: Candidate) -> npt.NDArray[np.bool_]:
    """Which touched accounts are named members, each on its own requests measured against the core's."""
    share, count = needed(candidate)
    chosen: npt.NDArray[np.bool_] = candidate.willing & (candidate.share >= share) & (candidate.covered >= count)
    return chosen


def beyond_doubt(candidate: Candidate) -> npt.NDArray[np.bool_]:
    """Which accounts have shown enough by themselves for an action that a person notices.

    The relative bounds alone fail while a campaign is young, when three uses are the core's median too: of 120 people
    forced to send one to four of its prompts 17 then passed, and none where five uses are needed.
    """
    core_share = float(np.median(candidate.share[candidate.core]))
    core_count = float(np.median(candidate.covered[candidate.core]))
    stern: npt.NDArray[np.bool_] = (candidate.share >= STERN_SHARE * core_share) & (
        candidate.covered >= max(STERN_COUNT_MIN, STERN_COUNT * core_count)
    )
    return stern
