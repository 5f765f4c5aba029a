"""Announcements: from verdicts to the alerts and signals that leave the system.

What lives here: what is said when (open, update, resolved), and to which accounts a signal goes. What does not:
whether a cluster is a campaign (``verdict``). One alert a campaign, with updates only when it has grown by half,
become more severe, or six hours have passed with new members.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

from models.alert import Action, Alert, Attribute, Mode, Signal, Status, Template, more_severe
from models.clusters import Candidate
from models.hashing import KeyedHash
from models.identity import Campaign
from models.network import network_text
from models.newcomers import POOL_MIN
from models.orders import Orders
from models.rules import HOUR_MS, LIVE, CampaignRule
from models.verdict import Reason, beyond_doubt, gates, named

if TYPE_CHECKING:
    from models.campaigns import Campaigns, Evaluation, Judged

RULE: Literal["campaign"] = "campaign"
ATLAS = ["AML.T0024.002", "AML.T0008.005", "AML.T0021"]
RUNBOOK = "docs/runbook.md#campaign"
MEMBERS_SAMPLE = 20
TEMPLATES_SHOWN = 10
ATTRIBUTES_SHOWN = 5


@dataclass(slots=True)
class Decisions:
    """What one step decided, in order; a signal of None clears what the account was told."""

    alerts: list[Alert] = field(default_factory=list)
    signals: list[tuple[str, Signal | None]] = field(default_factory=list)
    early: list[tuple[str, Signal | None]] = field(default_factory=list)  # the same before an evaluation: ``joiners``

    def extend(self, other: Decisions) -> None:
        """Append everything of ``other``."""
        self.alerts.extend(other.alerts)
        self.signals.extend(other.signals)
        self.early.extend(other.early)


class Announcer:
    """Writes alerts and signals; ids are keyed hashes of what they speak of, so repeats collapse."""

    def __init__(self, keyed_hash: KeyedHash, *, tenant: str = "default", mode: Mode = "enforce") -> None:
        self.orders = Orders(keyed_hash)
        self._hash = keyed_hash.derive(b"alert")
        self._tenant = tenant
        self._ceiling = mode  # of the host; the rules may say less
        self._rule = CampaignRule()
        self._version = ""
        self._mode = mode

    def announce(self, evaluation: Evaluation, state: Campaigns, decisions: Decisions) -> None:
        """Turn one evaluation into alerts and signals, and note in ``state.memory`` what was said."""
        self._rule, self._version = state.rules.campaign, state.rules.label
        self._mode = state.rules.mode_of(RULE, self._ceiling)
        self._switch(evaluation.now_ms, state, decisions)
        live = set()
        for judged in evaluation.judged:
            if judged.reason not in (Reason.CAMPAIGN, Reason.HELD) or self._mode == "off":
                continue
            judged.campaign = campaign = judged.campaign or self._new(evaluation, judged, state)
            live.add(campaign.cluster_id)
            self._continue(evaluation, judged, campaign, state, decisions)
        for campaign in list(state.memory.campaigns.values()):
            quiet = evaluation.now_ms - campaign.last_seen_ms
            if campaign.open and campaign.cluster_id not in live and quiet >= self._rule.cool_down_ms:
                hours = self._rule.cool_down_ms / HOUR_MS
                self._resolve(evaluation.now_ms, campaign, state, decisions, f"Quiet for {hours:g} hours")

    def _switch(self, now_ms: int, state: Campaigns, decisions: Decisions) -> None:
        """Follow a change of mode: what was said in another one is ended there, and signals are said anew.

        A campaign told to people is not left open for ever when its rule goes into the shadow, and one that leaves the
        shadow is an alert at once, not at its next growth.
        """
        for campaign in state.memory.campaigns.values():
            before = campaign.mode or self._mode
            if not campaign.open or before == self._mode:
                continue
            if {before, self._mode} <= LIVE:
                campaign.members = dict.fromkeys(campaign.members, 0)
            else:
                self._resolve(now_ms, campaign, state, decisions, f"The rule went from {before} to {self._mode}")

    def _new(self, evaluation: Evaluation, judged: Judged, state: Campaigns) -> Campaign:
        rows = judged.candidate.rows
        stamps = evaluation.rows["ts"][rows]
        first_seen = int(stamps.min())
        oldest = int(evaluation.rows["key"][rows[stamps == first_seen]].min())
        cluster_id = "c-" + self._hash.digest(oldest, "cluster")
        while cluster_id in state.memory.campaigns:
            cluster_id = "c-" + self._hash.digest(self._hash.text(f"{cluster_id} {evaluation.now_ms}"), "cluster")
        if not judged.features.templates:  # a relay's rows are of the moments at which its days were told of
            first_seen = int(state.directory.first_seen(judged.candidate.account).min())
        campaign = Campaign(cluster_id, evaluation.now_ms, first_seen, evaluation.now_ms, open=False)
        campaign.members, campaign.keys = {}, {}
        state.memory.campaigns[cluster_id] = campaign
        return campaign

    def _continue(
        self, evaluation: Evaluation, judged: Judged, campaign: Campaign, state: Campaigns, decisions: Decisions
    ) -> None:
        """Say what is new about a campaign that goes on."""
        now = evaluation.now_ms
        candidate = judged.candidate
        chosen = named(candidate)
        accounts = candidate.account[chosen]
        keys, _ = state.template_keys(evaluation.rows, candidate)
        campaign.keys.update(dict.fromkeys(keys.tolist(), now))
        campaign.last_seen_ms = int(evaluation.rows["ts"][candidate.rows].max())
        requests = int(candidate.covered.sum())
        size = len(campaign.members.keys() | set(accounts.tolist()) | set(candidate.account[candidate.core].tolist()))
        severity = self._rule.severity_of(size, judged.score)
        dismissed = self.orders.is_dismissed(campaign.cluster_id, severity)
        if dismissed and not campaign.open:
            return  # its identity is kept, and nothing is said while it is no more severe than what was judged
        status: Status | None = None
        campaign.mode = self._mode
        if not campaign.open:
            status, campaign.open = "open", True
            campaign.episode += 1
            campaign.updates = 0
            campaign.requests_before = requests
        alert_id = self.alert_id(campaign)
        fresh = len(_beside(campaign, accounts))
        if dismissed or self.orders.is_undone(campaign.cluster_id, now):
            for account in accounts.tolist():
                campaign.members.setdefault(account, 0)
        else:
            self._signal(judged, campaign, state, decisions, (accounts, beyond_doubt(candidate)[chosen], now, alert_id))
        louder = campaign.said_severity and more_severe(severity, campaign.said_severity)
        grown = size >= self._rule.update_growth * max(campaign.said_accounts, 1)
        more = fresh > 0 or requests >= self._rule.update_growth * campaign.said_requests
        aged = now - campaign.said_ms >= self._rule.update_ms and more
        ended = evaluation.final and size > campaign.said_accounts
        newcomers = self._newcomers(candidate, campaign, state)
        if status is None and not dismissed and (grown or louder or aged or ended or len(newcomers)):
            status = "update"
            campaign.updates += 1
        if status is not None:
            campaign.said_accounts, campaign.said_severity, campaign.said_ms = size, severity, now
            campaign.said_requests = requests
            shown = newcomers if len(newcomers) else accounts
            alert = self._alert(evaluation, judged, campaign, state, (status, shown))
            decisions.alerts.append(replace(alert, summary=alert.summary + _new_pool(newcomers)))

    def _newcomers(self, candidate: Candidate, campaign: Campaign, state: Campaigns) -> npt.NDArray[np.uint64]:
        """The accounts of a second pool, once, when there are enough of them; who came earlier is of the first."""
        mask = np.zeros(len(candidate.account), np.bool_) if candidate.time is None else candidate.time < 1.0
        new = candidate.account[mask]
        new = new[state.directory.first_seen(new) > campaign.settled_ms]
        fresh = new[~np.isin(new, np.fromiter(campaign.members, np.uint64, len(campaign.members)))]
        if len(fresh) < POOL_MIN:
            campaign.second_pool = campaign.second_pool and len(new) >= POOL_MIN
            return fresh[:0]
        if campaign.second_pool:
            return fresh[:0]
        campaign.second_pool = True
        return fresh

    def let_go(self, state: Campaigns, now_ms: int, decisions: Decisions) -> None:
        """Clear the accounts that a label has just taken out of the limiter's reach."""
        freed = self.orders.freed_by_key(state.covered.events.rows, now_ms)
        for campaign in state.memory.campaigns.values():
            members = np.array(sorted(campaign.members), np.uint64)
            allowed = self.orders.allowed(members, state.directory.customers(members), now_ms)
            allowed |= np.isin(members, freed)
            severity = campaign.said_severity or "info"
            if self.orders.is_undone(campaign.cluster_id, now_ms) or self.orders.is_dismissed(
                campaign.cluster_id, severity
            ):
                told = members[[campaign.members[account] > 0 for account in members.tolist()]]
                campaign.members = dict.fromkeys(campaign.members, 0)
            else:
                told = members[allowed]
            for account in members[allowed].tolist():
                del campaign.members[account]
            if (campaign.mode or self._mode) in LIVE:  # in which its accounts were told
                decisions.signals.extend((account_id, None) for account_id in state.directory.account_ids(told))

    def alert_id(self, campaign: Campaign) -> str:
        """One id for one statement: the campaign, its episode and how often it was updated."""
        text = f"{RULE} {campaign.cluster_id} {campaign.episode}"
        return "a-" + self._hash.digest(self._hash.text(text), "alert")

    def _signal(
        self,
        judged: Judged,
        campaign: Campaign,
        state: Campaigns,
        decisions: Decisions,
        told: tuple[npt.NDArray[np.uint64], npt.NDArray[np.bool_], int, str],
    ) -> None:
        """Give every named account a signal, or renew one that is half over."""
        accounts, stern, now, alert_id = told
        expires = now + self._rule.signal_ms
        soon = now + self._rule.signal_ms // 2
        due = [at for at, account in enumerate(accounts.tolist()) if campaign.members.get(account, 0) < soon]
        ids = state.directory.account_ids(accounts[due])
        campaign.members.update(dict.fromkeys(accounts[due].tolist(), expires))
        told_to = [self.action(judged, stern=sternly) for sternly in (False, True)]
        for account_id, sternly in zip(ids, stern[due].tolist(), strict=True):
            action, multiplier = told_to[sternly]
            signal = Signal(
                account_id=account_id,
                cluster_id=campaign.cluster_id,
                action=action,
                multiplier=multiplier,
                score=round(judged.score, 3),
                rule=RULE,
                alert_id=alert_id,
                mode=self._mode,
                ts=now,
                expires=expires,
                seq=now,
            )
            if self._mode in LIVE:
                decisions.signals.append((account_id, signal))

    @property
    def mode(self) -> Mode:
        """In which campaigns are told since the last evaluation."""
        return self._mode

    @property
    def is_live(self) -> bool:
        """Whether signals are given."""
        return self._mode in LIVE

    def action(self, judged: Judged, *, stern: bool) -> tuple[Action, float]:
        """What the limiter is told: only ``enforce`` asks it to act."""
        return self._rule.action_of(judged.score, stern=stern) if self._mode == "enforce" else ("observe", 1.0)

    def _alert(
        self,
        evaluation: Evaluation,
        judged: Judged,
        campaign: Campaign,
        state: Campaigns,
        said: tuple[Status, npt.NDArray[np.uint64]],
    ) -> Alert:
        status, accounts = said
        candidate = judged.candidate
        shown = accounts if len(accounts) else candidate.account[candidate.core]
        sample = state.directory.account_ids(np.sort(shown)[:MEMBERS_SAMPLE])
        requests = int(candidate.covered.sum())
        severity = self._rule.severity_of(_size(campaign, candidate), judged.score)
        return Alert(
            alert_id=self.alert_id(campaign) if status != "update" else f"{self.alert_id(campaign)}.{campaign.updates}",
            dedup_key=f"distilwatch:{self._tenant}:{RULE}:{campaign.cluster_id}:{campaign.episode}",
            status=status,
            severity=severity,
            mode=self._mode,
            rule=RULE,
            rule_version=self._version,
            cluster_id=campaign.cluster_id,
            ts=evaluation.now_ms,
            first_seen=campaign.first_seen_ms,
            last_seen=campaign.last_seen_ms,
            score=round(judged.score, 3),
            accounts=_size(campaign, candidate),
            requests=requests,
            window="24h",
            members_sample=sample,
            evidence=[item for item in judged.evidence if item.weight > 0],
            counter_evidence=[item for item in judged.evidence if item.weight < 0],
            templates=self._templates(evaluation, judged, state),
            attributes=_attributes(self._hash, judged, state),
            atlas=ATLAS,
            summary=_summary(campaign, judged, requests),
            runbook_url=RUNBOOK,
            gates=gates(judged.features, judged.evidence, self._rule, is_open=status != "open"),
        )

    def template_digest(self, key: int) -> str:
        """A template key as alerts show it."""
        return self._hash.digest(key, "template")

    def _templates(self, evaluation: Evaluation, judged: Judged, state: Campaigns) -> list[Template]:
        """The most used templates as keyed digests."""
        candidate, templates = judged.candidate, evaluation.templates
        of_row = templates.of_row[candidate.rows]
        shown = candidate.templates[np.argsort(-templates.requests[candidate.templates], kind="stable")]
        found = []
        for number in shown[:TEMPLATES_SHOWN]:
            mine = evaluation.rows[candidate.rows[of_row == number]]
            held = np.arange(mine["keys"].shape[1]) < mine["width"][:, None]
            numbers, uses = np.unique(mine["keys"][held], return_counts=True)
            keys = state.covered.keys.records["key"][numbers]
            best = keys[np.lexsort((keys, -uses))][:4]
            tokens = int(mine["tokens"].mean())
            found.append(
                Template(
                    digests=[self.template_digest(int(key)) for key in best],
                    length=tokens,
                    skeleton=f"{len(keys)} shared five-word runs in prompts of about {tokens} words",
                    accounts=len(np.unique(mine["account"])),
                    requests=len(mine),
                    first_seen=int(mine["ts"].min()),
                )
            )
        return found

    def _resolve(self, now_ms: int, campaign: Campaign, state: Campaigns, decisions: Decisions, why: str) -> None:
        """Close an episode in the mode it was told in, and clear its accounts."""
        campaign.open = False
        mode = cast(Mode, campaign.mode or self._mode)
        alert = Alert(
            alert_id=f"{self.alert_id(campaign)}.resolved",
            dedup_key=f"distilwatch:{self._tenant}:{RULE}:{campaign.cluster_id}:{campaign.episode}",
            status="resolved",
            severity="info",
            mode=mode,
            rule=RULE,
            rule_version=self._version,
            cluster_id=campaign.cluster_id,
            ts=now_ms,
            first_seen=campaign.first_seen_ms,
            last_seen=campaign.last_seen_ms,
            score=0.0,
            accounts=len(campaign.members),
            requests=0,
            window="24h",
            members_sample=[],
            evidence=[],
            counter_evidence=[],
            templates=[],
            attributes=[],
            atlas=ATLAS,
            summary=f"{why}; the {len(campaign.members):,} accounts of {campaign.cluster_id} are cleared.",
            runbook_url=RUNBOOK,
        )
        decisions.alerts.append(alert)
        accounts = np.array(sorted(campaign.members), np.uint64)
        if mode in LIVE:
            decisions.signals.extend((account_id, None) for account_id in state.directory.account_ids(accounts))
        campaign.members = {}


def _size(campaign: Campaign, candidate: Candidate) -> int:
    """Accounts of a campaign: those it named, and those of its core that have yet to repeat themselves."""
    return len(campaign.members) + len(_beside(campaign, candidate.account[candidate.core]))


def _beside(campaign: Campaign, accounts: npt.NDArray[np.uint64]) -> set[int]:
    """Those of ``accounts`` that the campaign has not named."""
    return set(accounts.tolist()) - campaign.members.keys()


def _summary(campaign: Campaign, judged: Judged, requests: int) -> str:
    """The first sentence the person on call reads."""
    features = judged.features
    templates = f"through {features.templates} shared template{'s' if features.templates != 1 else ''}"
    if not features.templates:
        templates = "behind one client build, on texts that have nothing in common"
    size, named_now = _size(campaign, judged.candidate), len(campaign.members)
    return (
        f"{size:,} accounts work together {templates}: {requests:,} requests in 24 hours, "
        f"{campaign.requests_before:,} before the first alert; {named_now:,} of the accounts named so far."
    )


def _new_pool(newcomers: npt.NDArray[np.uint64]) -> str:
    """The sentence that tells of a second pool, which the sample of members then shows."""
    if not len(newcomers):
        return ""
    return (
        f" A new pool: {len(newcomers):,} accounts that nobody had seen before now send from its templates; each is"
        " named when it repeats itself."
    )


def _attributes(keyed: KeyedHash, judged: Judged, state: Campaigns) -> list[Attribute]:
    """What several core accounts have in common, the most shared first."""
    known = state.directory.rows(judged.candidate.account[judged.candidate.core])
    profiles: Any = state.directory.profiles.records[known[known >= 0]]
    found = []
    for kind in ("payment", "network", "client", "email_domain"):
        values, counts = np.unique(profiles[kind][profiles[kind] != 0], return_counts=True)
        order = np.lexsort((values, -counts))[:ATTRIBUTES_SHOWN]
        for value, count in zip(values[order], counts[order], strict=True):
            if count >= 3:
                text = network_text(int(value)) if kind == "network" else keyed.digest(int(value), kind)
                found.append(Attribute(kind, text, int(count)))
    return found
