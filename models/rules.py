"""Rules: everything an operator may change about decisions, as one typed, frozen value with a version of its own.

What lives here: thresholds, lifetimes, ladders and modes, their defaults and their bounds. What does not: the file they
are written in (``streams/rules_file``), and what a rule looks at, which no setting changes: windows, template keys and
the weights of evidence stay as they are, so rules may change under a running detector and nothing has to be counted
again. Numbers that a bench tunes keep their home in ``verdict``.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from models.alert import Action, Mode, Severity
from models.verdict import CONFIRMED_BELOW, CORE_CUSTOMERS_MIN, CORE_NETWORKS_MIN, HOLD_SCORE, OPEN_SCORE, STERN_SCORE

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS

MODES: tuple[Mode, ...] = ("off", "shadow", "alert", "enforce")
"""From least to most: of two that apply to a rule the lower wins."""
LIVE: frozenset[Mode] = frozenset({"alert", "enforce"})
"""Modes whose alerts reach people and whose signals reach the limiter; those of ``shadow`` are kept apart."""
NOTICED: tuple[Action, ...] = ("challenge", "block")
"""What a person notices: only for accounts that have shown enough by themselves (``verdict.beyond_doubt``)."""
OVERRIDES_MAX = 1_000

RuleId = Literal["campaign", "account_volume", "account_reasoning", "account_networks"]
RULE_IDS: tuple[RuleId, ...] = ("campaign", "account_volume", "account_reasoning", "account_networks")
ACCOUNT_RULE_IDS = RULE_IDS[1:]

Score = Annotated[float, Meta(ge=0.0, le=60.0)]
Part = Annotated[float, Meta(ge=0.0, le=1.0)]
Count = Annotated[int, Meta(ge=1, le=1_000_000_000)]
Accounts = Annotated[int, Meta(ge=0, le=1_000_000_000)]
Growth = Annotated[float, Meta(ge=1.0, le=100.0)]
SignalMs = Annotated[int, Meta(ge=10 * MINUTE_MS, le=7 * DAY_MS)]
RenewedMs = Annotated[int, Meta(ge=140 * MINUTE_MS, le=7 * DAY_MS)]
"""Half of it outlasts the longest wait between two evaluations (``cadence``): a signal is renewed before it ends."""
QuietMs = Annotated[int, Meta(ge=HOUR_MS, le=28 * DAY_MS)]
Percent = Annotated[int, Meta(ge=0, le=100)]
Name = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z")]
OrgId = Annotated[str, Meta(min_length=1, max_length=256)]


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One rung of the ladder: what the limiter is told from ``score`` on, and the part of the usual limit left."""

    action: Literal["observe", "throttle", "challenge", "block"]
    multiplier: Part
    score: Score = 0.0
    beyond_doubt: bool = False  # only for accounts that have shown enough by themselves


class Severities(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How loud an alert is, by accounts and points: *critical* takes both, *high* takes either, *medium* accounts."""

    critical_accounts: Accounts = 1_000
    critical_score: Score = 6.0
    high_accounts: Accounts = 100
    high_score: Score = 8.0
    medium_accounts: Accounts = 30


class CampaignRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When a cluster is a campaign, how loud that is said, and what the limiter is told of its accounts."""

    mode: Mode = "enforce"
    open_score: Score = OPEN_SCORE
    hold_score: Score = HOLD_SCORE
    customers_min: Annotated[int, Meta(ge=12, le=1_000_000)] = CORE_CUSTOMERS_MIN
    networks_min: Annotated[int, Meta(ge=1, le=1_000_000)] = CORE_NETWORKS_MIN
    confirmed_below: Accounts = CONFIRMED_BELOW
    severities: Severities = Severities()
    ladder: tuple[Step, ...] = (Step("throttle", 0.25), Step("challenge", 0.1, STERN_SCORE, beyond_doubt=True))
    signal_ms: RenewedMs = 6 * HOUR_MS
    """A signal ends by itself; it is renewed past its half while its account still takes part."""
    update_ms: Annotated[int, Meta(ge=MINUTE_MS, le=28 * DAY_MS)] = 6 * HOUR_MS
    update_growth: Growth = 1.5
    cool_down_ms: QuietMs = DAY_MS

    def action_of(self, score: float, *, stern: bool) -> tuple[Action, float]:
        """What the limiter is told, and the part of the usual limit left: the last rung that applies."""
        chosen: tuple[Action, float] = ("observe", 1.0)
        for step in self.ladder:
            if score >= step.score and (stern or not step.beyond_doubt):
                chosen = step.action, step.multiplier
        return chosen

    def severity_of(self, accounts: int, score: float) -> Severity:
        """How loud the alert is, by the size of the campaign and the margin of the evidence."""
        steps = self.severities
        if accounts >= steps.critical_accounts and score >= steps.critical_score:
            return "critical"
        if accounts >= steps.high_accounts or score >= steps.high_score:
            return "high"
        return "medium" if accounts >= steps.medium_accounts else "low"


class AccountRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What one account may do in a day.

    By default it tells people and not the limiter: volume is what a limiter sees by itself, and a large honest customer
    looks the same.
    """

    mode: Mode = "alert"
    limit: Count
    percent: Percent = 0  # of all its requests that must be of the kind counted
    severity: Severity = "low"
    multiplier: Part = 0.5  # of the usual limit, in mode enforce
    signal_ms: SignalMs = 6 * HOUR_MS


class NetworksRule(AccountRule, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Networks are counted in hash buckets of 61, so 50 of them are about 100 networks in a day."""

    limit: Annotated[int, Meta(ge=2, le=61)]


class OwnLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Limits of account rules for some accounts; None leaves the rule's own."""

    account_volume: Count | None = None
    account_reasoning: Count | None = None
    account_networks: Annotated[int, Meta(ge=2, le=61)] | None = None


class OrgLimits(OwnLimits, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Limits for the accounts of one organisation, before those of their plan."""

    org: OrgId


class PlanLimits(OwnLimits, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Limits for the requests of one plan or tier, as events name it."""

    plan: OrgId


class Rules(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All rules in force; equal rules have equal versions, whatever file they came from."""

    name: Name = "default"
    version: Name = "1"
    mode: Mode = "enforce"
    campaign: CampaignRule = CampaignRule()
    account_volume: AccountRule = AccountRule(limit=50_000)
    account_reasoning: AccountRule = AccountRule(limit=500, percent=80, severity="medium")
    account_networks: NetworksRule = NetworksRule(limit=50)
    orgs: tuple[OrgLimits, ...] = ()
    plans: tuple[PlanLimits, ...] = ()
    shadow: CampaignRule | None = None  # tried beside ``campaign``, in mode shadow whatever it says

    @property
    def digest(self) -> str:
        """A hash of the content: 12 hexadecimal digits."""
        return hashlib.blake2b(msgspec.json.encode(self, order="sorted"), digest_size=6).hexdigest()

    @property
    def label(self) -> str:
        """What every alert carries as its ``rule_version``."""
        return f"{self.name}/{self.version}@{self.digest}"

    def rule(self, name: RuleId) -> CampaignRule | AccountRule:
        """The rule of that id."""
        found: CampaignRule | AccountRule = getattr(self, name)
        return found

    def mode_of(self, name: RuleId, ceiling: Mode = "enforce") -> Mode:
        """How far a rule goes: the lowest of its own mode, that of all rules and the host's."""
        return lowest(self.rule(name).mode, self.mode, ceiling)

    def tried(self) -> Rules | None:
        """The rules as they would be with the one in the shadow in its place, or None where none is tried."""
        if self.shadow is None or self.mode == "off":
            return None
        rule = msgspec.structs.replace(self.shadow, mode="shadow")
        return msgspec.structs.replace(self, campaign=rule, shadow=None)

    def encode(self) -> bytes:
        """The rules as a record of the rules topic."""
        return msgspec.json.encode(self, order="sorted")

    @classmethod
    def decode(cls, data: bytes) -> Rules:
        """Read what ``encode`` gave.

        Raises:
            ValueError: it is not that, a value is out of bounds, or values contradict each other.
        """
        rules = msgspec.json.decode(data, type=cls)
        found = conflicts(rules)
        if found:
            raise ValueError("; ".join(f"{place}: {text}" for place, text in found))
        return rules


def lowest(*modes: Mode) -> Mode:
    """Of several modes the one that goes least far."""
    return min(modes, key=MODES.index)


def conflicts(rules: Rules) -> list[tuple[str, str]]:
    """What single bounds cannot tell: the place, as a dotted path of attributes, and what is wrong there."""
    found = _conflicts(rules.campaign, "campaign")
    if rules.shadow is not None:
        found += _conflicts(rules.shadow, "shadow")
    orgs = [item.org for item in rules.orgs]
    if len(set(orgs)) < len(orgs):
        found.append(("orgs", "an organisation is named twice: keep one entry"))
    if len(orgs) > OVERRIDES_MAX:
        found.append(("orgs", f"more than {OVERRIDES_MAX} organisations"))
    plans = [item.plan for item in rules.plans]
    if len(set(plans)) < len(plans):
        found.append(("plans", "a plan is named twice: keep one entry"))
    if len(plans) > OVERRIDES_MAX:
        found.append(("plans", f"more than {OVERRIDES_MAX} plans"))
    return found


def _conflicts(campaign: CampaignRule, place: str) -> list[tuple[str, str]]:
    found = []
    if campaign.hold_score > campaign.open_score:
        found.append((f"{place}.hold_score", f"must not be above the score that opens, {campaign.open_score:g}"))
    steps = campaign.severities
    sizes = (steps.medium_accounts, steps.high_accounts, steps.critical_accounts)
    if list(sizes) != sorted(sizes):
        found.append((f"{place}.severities", "accounts must rise from medium over high to critical"))
    scores = [step.score for step in campaign.ladder]
    if scores != sorted(scores):
        found.append((f"{place}.ladder", "order the actions by rising score: the last that applies is taken"))
    for at, step in enumerate(campaign.ladder):
        if step.action in NOTICED and not step.beyond_doubt:
            found.append((f"{place}.ladder.{at}", f"a {step.action} is noticed by a person: add `beyond-doubt: true`"))
    return found
