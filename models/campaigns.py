"""Campaigns, the third operator: uses of hot keys in, alerts and signals out.

What lives here: when to evaluate, the order of the steps of one evaluation, and expiry. What does not: each step
(``templates``, ``clusters``, ``features``, ``evidence``, ``verdict``, ``identity``, ``announce``). Evaluations happen
at slice ends that depend on the rows alone, so arrival order, batches and speed change no verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from models.admission import SLICE_MS, UNSET
from models.alert import Evidence
from models.announce import Announcer, Decisions
from models.arrivals import Arrivals
from models.cadence import Cadence
from models.clusters import Candidate, Ground, find_candidates, parted
from models.committed import find_committed, repeaters
from models.covered import CoveredEvents
from models.directory import Directory
from models.evidence import CAME_ONCE, weigh
from models.features import Context, Features, measure
from models.identity import Campaign, Memory, is_part
from models.known import known_after, still_known
from models.newcomers import Lookout, find_newcomers, had_time
from models.pending import Pending
from models.relays import as_cluster, find_relays
from models.rules import Rules
from models.sighting import SIGHTING, SightingBatch
from models.slices import Cut
from models.strings import Strings
from models.swarm import SETTLE_MS, find_swarm
from models.templates import Room, Templates, find_templates
from models.verdict import Reason, judge
from models.wire import pack, unpack

ROWS_MIN = 64
GROWTH = 1.0
"""Evaluate once this part of the covered requests is new: what all of them cost is then twice the last."""
PERIOD_MS = 600_000
QUIET_PERIOD_MS = 3_600_000
ACCOUNTS_MIN = 12


@dataclass(slots=True)
class Judged:
    """One cluster at one evaluation, for announcements and for study."""

    candidate: Candidate
    features: Features
    evidence: list[Evidence]
    reason: Reason
    campaign: Campaign | None = None

    score: float = field(init=False)  # the sum of the weights, in points

    def __post_init__(self) -> None:
        self.score = float(sum(item.weight for item in self.evidence))


@dataclass(slots=True)
class Evaluation:
    """Everything one evaluation looked at."""

    now_ms: int
    rows: npt.NDArray[Any]  # not copied: their keys are those of this moment until more is taken in
    templates: Templates
    judged: list[Judged] = field(default_factory=list)
    final: bool = False  # the stream has ended for now


class Campaigns:
    """Clusters over the whole fleet. Pure; one instance sees all hubs."""

    def __init__(self, announcer: Announcer, rules: Rules | None = None) -> None:
        self.announcer = announcer
        self.rules = rules or Rules()  # may be replaced at any time: they hold from the next evaluation on
        self.pending = Pending()
        self.covered = CoveredEvents()
        self.directory = Directory()
        self.memory = Memory()
        self.shadow_memory = Memory()  # of the rule tried in the shadow beside the one in force
        self.known: dict[str, bytes] = {}  # open campaigns as Observe may know them, by id
        self.watermark_ms = UNSET
        self.watch_start_ms = 1 << 62
        self.evaluations = 0
        self.latest: Evaluation | None = None
        self.on_evaluation: Callable[[Evaluation], None] | None = None  # for study: sees every cluster as judged
        self._arrivals = Arrivals(self.directory, self._remembered)
        self._learnt_ms = UNSET
        self._since = Cadence()
        self._since_ms = UNSET  # when the first row since then came to count
        self._evaluated_ms = UNSET
        self._needed = ROWS_MIN
        self._looked_ms = UNSET
        self._lookout = Lookout()
        self._room = Room()

    def process(self, hubs: SightingBatch) -> None:
        """Take uses of hot keys, in any order."""
        self.pending.add(hubs)

    def learn(self, profiles: npt.NDArray[Any], ids: Strings) -> None:
        """Take profiles of accounts, in any order."""
        self._arrivals.add(profiles, ids)

    def order(self, key: str, value: bytes) -> Decisions:
        """Take a record of the labels topic: what it lets go is cleared at once, the rest counts from now on."""
        decisions = Decisions()
        label = self.announcer.orders.take(key, value)
        if label is not None:
            now_ms = max(self.watermark_ms, self._evaluated_ms)
            self.announcer.let_go(self, now_ms, decisions)
            self.known = still_known(self.known, self, now_ms)
            told = {account for account, _ in decisions.signals}
            if label.kind == "allow" and label.subject.get("account_id", "") not in told | {""}:
                decisions.signals.append((label.subject["account_id"], None))  # whichever rule had named it
        return decisions

    def advance(self, watermark_ms: int) -> Decisions:
        """Fold what is complete before ``watermark_ms`` and evaluate where it is due."""
        decisions = Decisions()
        if watermark_ms <= self.watermark_ms:
            return decisions
        self.watermark_ms = watermark_ms
        due = self.pending.release(watermark_ms).united()
        first = 0
        while True:
            moment, end = self._next_look(due, first)
            if moment > watermark_ms:
                break
            self._take(due, first, end)
            first = end
            self._looked_ms = moment
            if self._is_due(moment):
                self._evaluate(moment, decisions)
        self._take(due, first, len(due))
        if watermark_ms - self._learnt_ms >= PERIOD_MS:  # also where nothing is ever evaluated; changes no verdict
            self._learnt_ms = watermark_ms
            self._arrivals.learn(watermark_ms, forget=self._is_idle())  # else the lookout would see how far steps go
        return decisions

    def finish(self) -> Decisions:
        """Nothing follows for now: evaluate what has come since the last evaluation."""
        decisions = Decisions()
        if self._since.rows:
            self._evaluate(max(self.watermark_ms, self._evaluated_ms), decisions, final=True)
        return decisions

    def look(self) -> Evaluation | None:
        """One more evaluation of what is held, for study: a detector that goes on must not be asked."""
        self._evaluate(max(self.watermark_ms, self._evaluated_ms), Decisions(), final=True)
        return self.latest

    def _take(self, due: SightingBatch, first: int, end: int) -> None:
        if end > first:
            part = due if (first, end) == (0, len(due)) else due.take(np.arange(first, end))
            orders, since_ms = self.announcer.orders, int(part.rows["at"][0])
            orders.count(part.rows, since_ms)
            orders.count_keys(part.keys, since_ms)
            self._lookout.take(part, (self.directory, self._evaluated_ms))
            if not self._since.rows:
                self._since_ms = since_ms
            self._since.add(end - first, self.covered.add(part, self.watch_start_ms + SETTLE_MS))

    def _is_due(self, now_ms: int) -> bool:
        """Whether this look is an evaluation: new text is looked at in ten minutes, what is known later."""
        grown = self._since.rows >= self._needed or self._lookout.count >= self._lookout.wanted
        return grown or self._since.is_due(len(self.covered), now_ms - self._evaluated_ms)

    def _next_look(self, due: SightingBatch, first: int) -> tuple[int, int]:
        """When the next look is due and how many rows of ``due`` count before it."""
        at = due.rows["at"]
        waiting = first < len(due)
        idle = self._is_idle()
        if idle and waiting:
            self._arrivals.learn(int(at[first]) // SLICE_MS * SLICE_MS)
        if self._looked_ms == UNSET or (idle and waiting and at[first] > self._looked_ms + QUIET_PERIOD_MS):
            if not waiting:
                return 1 << 62, first
            self._looked_ms = self._evaluated_ms = int(at[first]) // SLICE_MS * SLICE_MS
        if idle and not waiting:
            return 1 << 62, first
        needed = max(self._needed - self._since.rows, 1)
        by_rows = 1 << 62
        if first + needed <= len(due):
            by_rows = (int(at[first + needed - 1]) // SLICE_MS + 1) * SLICE_MS
        arrived = self._lookout.due(due, first, (self.directory, self._evaluated_ms))
        if arrived >= 0:
            by_rows = min(by_rows, (int(at[arrived]) // SLICE_MS + 1) * SLICE_MS)
        # Judged by the first row after the last evaluation, taken or not: else the size of steps would matter.
        quiet = self._looked_ms + QUIET_PERIOD_MS
        first_row = self._since_ms if self._since.rows else int(at[first]) if waiting else quiet
        periods = (max(first_row, self._looked_ms) - self._looked_ms) // PERIOD_MS + 1
        moment = min(by_rows, quiet, self._looked_ms + periods * PERIOD_MS)
        return moment, int(np.searchsorted(at, moment, side="left"))

    def _is_idle(self) -> bool:  # until another row comes
        return not (self._since.rows or len(self.covered) or any(one.open for one in self.memory.campaigns.values()))

    def _evaluate(self, now_ms: int, decisions: Decisions, *, final: bool = False) -> None:
        """One evaluation: templates, clusters, verdicts, announcements."""
        self._since.begin(now_ms - self._evaluated_ms)
        self._evaluated_ms = now_ms
        self._arrivals.learn(now_ms)
        self.watch_start_ms = min(self.watch_start_ms, self.directory.oldest_ms)
        self.covered.expire(now_ms)
        self._needed = max(ROWS_MIN, int(GROWTH * len(self.covered)))
        if self._is_idle():
            return
        self.evaluations += 1
        rows, templates = self._without_allowed(self.covered.events.rows, now_ms)
        self.latest = Evaluation(now_ms, rows, templates, final=final)
        first_at = np.ascontiguousarray(self.covered.keys.rows["first_at"])
        everyone = find_committed(rows, templates)
        settled_ms = self.watch_start_ms + SETTLE_MS
        swarm = find_swarm(rows, templates, repeaters(everyone, len(rows)), (self.directory, first_at, settled_ms))
        known = len(self.directory)
        ground = Ground(rows, templates, everyone, swarm)
        candidates = find_candidates(ground, known, accounts_min=ACCOUNTS_MIN)
        candidates = parted(ground, candidates, self.directory, accounts_min=ACCOUNTS_MIN)
        context = Context(rows, templates, self.directory, first_at, self.watch_start_ms, now_ms)
        for candidate in candidates:
            features = measure(context, candidate)
            evidence = weigh(features)
            reason = judge(features, evidence, self.rules.campaign, is_open=True)
            self.latest.judged.append(Judged(candidate, features, evidence, reason))
        self._find_relays(self.latest)
        self._try_in_shadow(self.latest, decisions)
        self._identify(self.latest)
        if self.on_evaluation is not None:
            self.on_evaluation(self.latest)
        self.announcer.announce(self.latest, self, decisions)
        self.memory.forget(now_ms)
        self._lookout.watch(self.memory.known_keys, now_ms)
        self.known = known_after(self.latest, self)

    def _find_relays(self, latest: Evaluation) -> None:
        """Add the pools that carry other people's texts, each account as one more row that has no template."""
        keys = np.sort(self.directory.days.rows["key"])
        left_out = [keys[self.announcer.orders.allowed(keys, self.directory.customers(keys), latest.now_ms)]]
        for item in latest.judged:
            if item.reason in (Reason.CAMPAIGN, Reason.HELD):
                left_out.append(item.candidate.account[item.candidate.willing])
        times = latest.now_ms, self.watch_start_ms + SETTLE_MS
        for relay in find_relays(latest.rows, self.directory, np.concatenate(left_out), times):
            rows, cluster = as_cluster(relay, len(latest.rows))
            latest.rows = np.concatenate([latest.rows, rows])
            of_row = np.concatenate([latest.templates.of_row, np.full(len(rows), -1)])
            latest.templates = replace(latest.templates, of_row=of_row)
            reason = judge(relay.features, relay.evidence, self.rules.campaign, is_open=True)
            latest.judged.append(Judged(cluster, relay.features, relay.evidence, reason))

    def _try_in_shadow(self, latest: Evaluation, decisions: Decisions) -> None:
        """Judge the same clusters under the rule in the shadow: the same steps with a memory of its own.

        It comes first and takes nothing that the rule in force looks at, so what is enforced does not depend on it.
        """
        tried, live = self.rules.tried(), (self.rules, self.memory)
        if tried is None:
            self.shadow_memory = Memory()
            return
        evaluation = Evaluation(latest.now_ms, latest.rows, latest.templates, final=latest.final)
        for item in latest.judged:
            reason = judge(item.features, item.evidence, tried.campaign, is_open=True)
            evaluation.judged.append(Judged(item.candidate, item.features, item.evidence, reason))
        self.rules, self.memory = tried, self.shadow_memory
        self._identify(evaluation)
        self.announcer.announce(evaluation, self, decisions)
        self.memory.forget(latest.now_ms)
        self.rules, self.memory = live

    def _without_allowed(self, rows: npt.NDArray[Any], now_ms: int) -> tuple[npt.NDArray[Any], Templates]:
        """The rows that are neither of allowed accounts nor under allowed templates, and their templates."""
        orders, keys = self.announcer.orders, self.covered.keys.rows["key"]
        allowed = orders.allowed_rows(rows, now_ms)
        rows = rows[~allowed] if allowed.any() else rows
        templates = find_templates(rows, len(keys), self._room)
        known = orders.allowed_keys(keys, now_ms)
        if not known.any():
            return rows, templates
        held = np.arange(rows["keys"].shape[1]) < rows["width"][:, None]
        under = (known[np.where(held, rows["keys"], 0)] & held).any(axis=1)
        whole = np.isin(templates.of_row, templates.of_row[under & (templates.of_row >= 0)])
        rows = rows[~(under | whole)]
        return rows, find_templates(rows, len(keys), self._room)

    def _identify(self, latest: Evaluation) -> None:
        """Find the campaign that each cluster continues; a new one needs more points, and a small one a second look."""
        possible = [item for item in latest.judged if item.reason in (Reason.CAMPAIGN, Reason.HELD)]
        described = [self._describe(latest.rows, latest.templates, item.candidate) for item in possible]
        waiting: list[npt.NDArray[np.uint64]] = []
        for item, campaign in zip(possible, self.memory.match(described), strict=True):
            item.campaign, item.candidate.time = campaign, None
            if campaign is not None:
                newcomers = find_newcomers(latest.rows, item.candidate, self.directory, campaign.opened_ms)
                item.candidate.time = had_time(latest.rows, item.candidate, newcomers, latest.now_ms)
            if item.reason is Reason.HELD and not (campaign is not None and campaign.episode):
                item.reason = Reason.WEAK
        told = [item.candidate.account for item in possible if item.campaign is not None and item.campaign.open]
        for item in possible:
            if item.campaign is not None or item.reason is not Reason.CAMPAIGN:
                continue
            accounts = item.candidate.account[item.candidate.core]
            if item.features.mean_requests < CAME_ONCE and any(is_part(accounts, others) for others in told):
                item.reason = Reason.EARLY
            elif len(accounts) < self.rules.campaign.confirmed_below:
                waiting.append(accounts)
                item.reason = item.reason if self.memory.seen_before(accounts) else Reason.UNCONFIRMED
        self.memory.waiting = waiting

    def _describe(
        self, rows: npt.NDArray[Any], templates: Templates, candidate: Candidate
    ) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
        """What identity needs of a cluster: its core accounts, its template keys and how often each was used."""
        keys = self.template_keys(rows, candidate)
        return candidate.account[candidate.core], keys[0], keys[1]

    def template_keys(
        self, rows: npt.NDArray[Any], candidate: Candidate
    ) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
        """The keys of the cluster's covered requests with their number of uses."""
        if candidate.keys is None:
            candidate.keys = self.covered.key_uses(rows, candidate.rows)
        return candidate.keys

    def _remembered(self) -> npt.NDArray[np.uint64]:
        """The members of all campaigns known: who they are may be asked for as long as those are remembered."""
        campaigns = [*self.memory.campaigns.values(), *self.shadow_memory.campaigns.values()]
        members = [np.fromiter(campaign.members, np.uint64, len(campaign.members)) for campaign in campaigns]
        return np.concatenate([np.zeros(0, np.uint64), *members])

    def snapshot(self) -> bytes:
        """The whole state."""
        return self._packed(*self.directory.snapshot())

    def restore(self, data: bytes) -> None:
        """Take over a snapshot; raises WireError where it cannot be read."""
        meta, arrays = unpack(data, "campaigns", 2)
        self.directory.restore(meta, arrays)
        self._load(meta, arrays)

    def cut(self) -> Cut:
        """The whole state, the directory in parts."""
        fresh: dict[str, bytes] = {}
        meta, arrays, names = self.directory.cut(fresh)
        return Cut(self._packed(meta, arrays), names, fresh)

    def join(self, rest: bytes, parts: Mapping[str, bytes]) -> None:
        """Take over what ``cut`` gave; raises WireError where it cannot be read."""
        meta, arrays = unpack(rest, "campaigns", 2)
        self.directory.join(meta, arrays, parts)
        self._load(meta, arrays)

    def _packed(self, meta: dict[str, Any], arrays: dict[str, npt.NDArray[Any]]) -> bytes:
        waiting = self.pending.all()
        day, unlearnt = self._arrivals.snapshot()
        arrays |= unlearnt | {
            "events": self.covered.events.rows.view(np.uint8),
            "keys": self.covered.keys.rows.view(np.uint8),
            "pending_rows": waiting.rows.view(np.uint8),
            "pending_keys": waiting.keys,
            "pending_offsets": waiting.offsets,
        }
        own = {
            "watermark": self.watermark_ms,
            "since": self._since.snapshot(),
            "since_ms": self._since_ms,
            "evaluated": self._evaluated_ms,
            "needed": self._needed,
            "looked": self._looked_ms,
            "arrivals": self._lookout.snapshot(),
        }
        own["watch_start"], own["day"] = self.watch_start_ms, day
        told: dict[str, Any] = {"memory": self.memory.snapshot(), "shadow": self.shadow_memory.snapshot()}
        told["orders"] = self.announcer.orders.snapshot()
        told["known"] = self.known
        return pack("campaigns", 2, {**meta, **own, **told}, arrays)

    def _load(self, meta: dict[str, Any], arrays: dict[str, npt.NDArray[Any]]) -> None:
        """Take over all but the directory."""
        self.covered.events.load(arrays["events"].view(self.covered.events.records.dtype))
        self.covered.keys.load(arrays["keys"].view(self.covered.keys.records.dtype))
        rows = arrays["pending_rows"].view(SIGHTING)
        self.pending.load(SightingBatch(rows, arrays["pending_keys"], arrays["pending_offsets"]))
        self._arrivals.restore(meta["day"], arrays)
        self.watermark_ms, self._evaluated_ms = meta["watermark"], meta["evaluated"]
        self._since_ms, self._needed, self._looked_ms = meta["since_ms"], meta["needed"], meta["looked"]
        self._since.restore(meta["since"])
        self.watch_start_ms = meta["watch_start"]
        self.memory.restore(meta["memory"])
        self.shadow_memory.restore(meta["shadow"])
        self.announcer.orders.restore(meta["orders"])
        self._lookout.restore(meta["arrivals"], self.memory.known_keys)
        self.known = dict(meta["known"])
