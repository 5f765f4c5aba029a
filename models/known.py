"""Known campaigns: what Observe may know of an open campaign, so that it can name who joins at once.

What lives here: which templates of a campaign count for that, how much of them an account must show, and the record of
the campaigns topic. What does not: the joining accounts (``joiners``). An account must show at least what an evaluation
asks before it names one (``verdict``, ``clusters``), and where an evaluation would look around for bystanders first,
nothing is published at all: a campaign of one template, or one that decoys are about, is judged by evaluations alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import numpy.typing as npt

from models.alert import Action, Mode
from models.clusters import VARIED, Candidate
from models.compiled import jit
from models.covered import KEYS_MAX as ROW_KEYS_MAX
from models.newcomers import BEGAN_MS, LIKE_CORE, usual_ms
from models.prefetch import AHEAD, prefetch
from models.templates import Counts, Lists, Templates, even_templates
from models.verdict import LATE_COUNT_MIN, NAMED_SHARE_MIN, STERN_SHARE, UNDILUTED, needed
from models.wire import pack, unpack

if TYPE_CHECKING:
    from models.campaigns import Campaigns, Evaluation, Judged

TEMPLATE_PART = 0.5  # of all covered requests under a template that the core must send
KEY_PART = 0.5  # of all covered requests with a key that must be the campaign's, under one template
KEYS_MAX = 16_384  # of one campaign: 160 KiB in a record
CAMPAIGNS_MAX = 64
Ints = npt.NDArray[np.int64]
EARLY_ACTIONS: frozenset[Action] = frozenset({"allow", "observe", "throttle"})


class Terms(msgspec.Struct, frozen=True):
    """What is said to an account that joins, and what it must have shown by itself before."""

    cluster_id: str
    alert_id: str
    mode: Mode
    action: Action
    multiplier: float
    score: float
    decided_ms: int  # when the evaluation took place that this comes from
    count_min: float  # covered requests within a day
    share_min: float  # of the account's own requests
    even_templates: float  # how many templates of one size would mix as much as the core's
    arrived_ms: int  # accounts seen before this do not join; 0 where that says nothing
    pool_ms: int = 0  # while a second pool is coming: an account that began with it after this ...
    pool_share: float = 1.0  # ... and gives it so much is held against the part of ...
    usual_ms: float = 1.0  # ... the core's time that it has had


@dataclass(frozen=True, slots=True)
class Known:
    """One campaign as published: its terms, and the template that each of its keys belongs to."""

    terms: Terms
    keys: npt.NDArray[np.uint64]
    template_of: npt.NDArray[np.uint16]

    def encode(self) -> bytes:
        """As a record of the campaigns topic."""
        arrays: dict[str, npt.NDArray[Any]] = {"keys": self.keys, "template_of": self.template_of}
        return pack("known", 1, msgspec.to_builtins(self.terms), arrays)

    @classmethod
    def decode(cls, data: bytes) -> Known:
        """Read what ``encode`` wrote; raises WireError or ValueError on anything else."""
        meta, arrays = unpack(data, "known", 1)
        keys, template_of = arrays["keys"], arrays["template_of"]
        if keys.dtype != np.uint64 or template_of.dtype != np.uint16 or keys.shape != template_of.shape:
            raise ValueError("keys and templates of a known campaign do not fit one another")
        return cls(msgspec.convert(dict(meta), Terms), keys, template_of)


@jit
def _own(rows: Any, of_row: Ints, own: npt.NDArray[np.bool_], picked: Ints) -> tuple[Ints, Lists]:
    """Template and keys, -1 beyond the last, of those ``picked`` rows that are in a template of its own."""
    template, keys = np.empty(picked.shape[0], np.int64), np.empty((picked.shape[0], ROW_KEYS_MAX), np.int32)
    count = 0
    records = rows["width"]
    for number in range(picked.shape[0]):
        prefetch(records, picked[min(number + AHEAD, picked.shape[0] - 1)])
        at = picked[number]
        if own[of_row[at]]:
            template[count], keys[count] = of_row[at], rows[at]["keys"]
            keys[count, rows[at]["width"] :] = -1
            count += 1
    return template[:count], keys[:count]


@jit
def _template_of_keys(rows: Any, of_row: Ints, own: npt.NDArray[np.bool_], picked: Ints, total: Counts) -> Ints:
    """The own template in whose ``picked`` rows a key has ``KEY_PART`` of all its uses, -1 where there is none."""
    template, keys = _own(rows, of_row, own, picked)
    found = np.full(total.shape[0] + 1, -1, np.int64)  # the last is for -1, no key
    votes = np.zeros(total.shape[0] + 1, np.int64)
    for at in range(template.shape[0]):
        for key in keys[at]:  # a template with most of a key's uses is left over when every other use takes one away
            if votes[key] == 0:
                found[key] = template[at]
            votes[key] += 1 if found[key] == template[at] else -1
    votes[:] = 0
    for at in range(template.shape[0]):
        for key in keys[at]:
            votes[key] += found[key] == template[at]
    for key in range(total.shape[0]):
        if votes[key] == 0 or votes[key] < KEY_PART * total[key]:
            found[key] = -1
    return found[:-1]


def _by_core(templates: Templates, candidate: Candidate) -> npt.NDArray[np.bool_]:
    """Which templates the core sends most of, whoever else in the fleet uses them."""
    core = np.repeat(candidate.core, np.diff(candidate.starts))
    used = templates.of_row[candidate.rows]
    sent = np.bincount(used, weights=core, minlength=len(templates.requests))
    own: npt.NDArray[np.bool_] = templates.gated & (sent > 0) & (sent >= TEMPLATE_PART * templates.requests)
    return own


def keys_of(
    evaluation: Evaluation, candidate: Candidate, hashes: npt.NDArray[np.uint64]
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint16]]:
    """The keys that stand for one template of a campaign each, ascending, and that template's number, from 0."""
    own = _by_core(evaluation.templates, candidate)
    templates = evaluation.templates
    found = _template_of_keys(evaluation.rows, templates.of_row, own, candidate.rows, templates.of_keys)
    picked = np.flatnonzero(found >= 0)
    sizes = np.bincount(found[picked], minlength=len(own))
    picked = picked[sizes[found[picked]] >= 2]  # a request is under a template by two of its keys
    picked = picked[np.argsort(hashes[picked])][:KEYS_MAX]
    _, template_of = np.unique(found[picked], return_inverse=True)
    return hashes[picked], template_of.astype(np.uint16)


def _is_plain(judged: Judged) -> bool:
    """Whether an account can be judged without looking around: several templates, and few who only came by."""
    candidate = judged.candidate
    undiluted = candidate.core.sum() >= UNDILUTED * len(candidate.account)
    return bool(undiluted) and judged.features.several_templates >= VARIED


def describe(judged: Judged, evaluation: Evaluation, state: Campaigns) -> Known | None:
    """What to publish of an open campaign; None where only an evaluation may name its accounts."""
    announcer, candidate, campaign = state.announcer, judged.candidate, judged.campaign
    if campaign is None or not campaign.open or not _is_plain(judged):
        return None
    keys, template_of = keys_of(evaluation, candidate, state.covered.keys.rows["key"])
    if len(np.unique(template_of)) < 2:
        return None
    action, multiplier = announcer.action(judged, stern=False)
    core = candidate.core
    core_share = float(np.median(candidate.share[core]))
    second_pool = candidate.time is not None and bool((candidate.time < 1.0).any())
    came_along = judged.features.new_accounts >= VARIED
    terms = Terms(
        cluster_id=campaign.cluster_id,
        alert_id=announcer.alert_id(campaign),
        mode=announcer.mode,
        action=action if action in EARLY_ACTIONS else "throttle",
        multiplier=multiplier,
        score=round(judged.score, 3),
        decided_ms=evaluation.now_ms,
        count_min=max(float(LATE_COUNT_MIN), float(needed(candidate)[1].max())),
        share_min=max(NAMED_SHARE_MIN, STERN_SHARE * core_share),
        even_templates=even_templates(
            evaluation.templates.of_row[candidate.rows[np.repeat(core, np.diff(candidate.starts))]]
        ),
        arrived_ms=campaign.first_seen_ms - BEGAN_MS if came_along else 0,
        pool_ms=campaign.opened_ms if second_pool else 0,
        pool_share=LIKE_CORE * core_share,
        usual_ms=usual_ms(evaluation.rows, candidate, evaluation.now_ms),
    )
    return Known(terms, keys, template_of)


def still_known(known: dict[str, bytes], state: Campaigns, now_ms: int) -> dict[str, bytes]:
    """Those of ``known`` that are open and that nobody has let go."""
    orders, campaigns = state.announcer.orders, state.memory.campaigns
    kept = {}
    for cluster_id, value in known.items():
        campaign = campaigns.get(cluster_id)
        if campaign is None or not campaign.open or orders.is_undone(cluster_id, now_ms):
            continue
        if not orders.is_dismissed(cluster_id, campaign.said_severity or "info"):
            kept[cluster_id] = value
    return kept


def known_after(evaluation: Evaluation, state: Campaigns) -> dict[str, bytes]:
    """The known campaigns after an evaluation, by id: those it saw anew, and open ones it did not see as before."""
    if not state.announcer.is_live:
        return {}
    known = dict(state.known)
    for judged in evaluation.judged:
        if judged.campaign is None:
            continue
        cluster_id = judged.campaign.cluster_id
        known.pop(cluster_id, None)
        found = describe(judged, evaluation, state) if len(known) < CAMPAIGNS_MAX else None
        if found is not None:
            known[cluster_id] = found.encode()
    return still_known(known, state, evaluation.now_ms)
