"""Rules as text: the file that says them, their differences, and what each means in plain words.

What lives here: writing. What does not: reading a file (``rules_file``) and what rules do (``models/rules``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from models.alert import Mode
from models.rules import RULE_IDS, AccountRule, CampaignRule, NetworksRule, OwnLimits, RuleId, Rules
from streams.rules_shape import duration_text

TITLES: dict[RuleId, str] = {
    "campaign": "Accounts that work together through shared templates",
    "account_volume": "One account with the volume of a firm",
    "account_reasoning": "One account that asks for the model's reasoning at volume",
    "account_networks": "One credential on many networks",
}
FALSE_POSITIVES: dict[RuleId, str] = {
    "campaign": "one firm's accounts without an org_id; a class that works through one exercise book",
    "account_volume": "large honest customers",
    "account_reasoning": "research on reasoning; evaluation harnesses",
    "account_networks": "carriers that spread one customer over many addresses; shared keys of a team",
}


def rendered(rules: Rules, notes: Mapping[str, str] | None = None) -> str:
    """The file that says ``rules``; ``notes`` are comments by attribute, such as ``campaign.open_score``."""
    notes = notes or {}
    lines = [
        "# Rules of distilwatch. What is left out stays as shipped; `distilwatch rules explain FILE` says it in words.",
        *(f"# {line}" for line in notes.get("", "").splitlines()),
        f"name: {rules.name}",
        f'version: "{rules.version}"',
        f"mode: {rules.mode}  # off, shadow, alert or enforce; the lower of this, the rule's own and the host's wins",
        "",
        "rules:",
        *_campaign(rules.campaign, notes),
    ]
    for rule_id in RULE_IDS[1:]:
        rule = rules.rule(rule_id)
        if isinstance(rule, AccountRule):
            lines += ["", *_account(rule_id, rule, notes)]
    if rules.shadow is not None:
        lines += ["", "shadow:  # tried beside the rule in force: alerts on the shadow topic, no signals"]
        lines += [line for line in _campaign(rules.shadow, {}) if not line.startswith("    mode:")]
    if rules.plans or rules.orgs:
        lines += ["", "overrides:", *(line for line in _overrides(rules))]
    return "\n".join(lines) + "\n"


def _head(rule_id: RuleId, mode: Mode) -> list[str]:
    return [
        f"  - id: {rule_id}",
        f"    title: {TITLES[rule_id]}",
        f"    falsepositives: {FALSE_POSITIVES[rule_id]}",
        f"    mode: {mode}",
        "    correlation:",
    ]


def _noted(line: str, note: str | None) -> str:
    return f"{line}  # {note}" if note else line


def _campaign(rule: CampaignRule, notes: Mapping[str, str]) -> Iterator[str]:
    yield from _head("campaign", rule.mode)
    yield "      type: cluster_score"
    yield "      group-by: [template]"
    yield "      timespan: 24h"
    yield "      condition:"
    conditions = {
        "gte": ("open_score", f"{rule.open_score:.12g}", "points that open a campaign"),
        "hold": ("hold_score", f"{rule.hold_score:.12g}", "points that keep an open one open"),
        "customers": ("customers_min", rule.customers_min, "in the core"),
        "networks": ("networks_min", rule.networks_min, "in the core, where any is known"),
        "confirmed-below": ("confirmed_below", rule.confirmed_below, "accounts: a smaller one must be found twice"),
    }
    for key, (name, value, note) in conditions.items():
        yield _noted(f"        {key}: {value}", notes.get(f"campaign.{name}", note))
    sizes = rule.severities
    yield "    severity:"
    critical = f"{{accounts: {sizes.critical_accounts}, score: {sizes.critical_score:.12g}}}"
    yield f"      critical: {critical}  # both"
    yield f"      high: {{accounts: {sizes.high_accounts}, score: {sizes.high_score:.12g}}}  # either"
    yield f"      medium: {{accounts: {sizes.medium_accounts}}}"
    yield "    actions:  # the last that applies; multiplier is the part of the usual limit left"
    for step in rule.ladder:
        more = f", score: {step.score:.12g}" if step.score else ""
        more += ", beyond-doubt: true" if step.beyond_doubt else ""
        yield f"      - {{action: {step.action}, multiplier: {step.multiplier:.12g}{more}}}"
    yield f"    signal-lifetime: {duration_text(rule.signal_ms)}"
    yield f"    update-after: {duration_text(rule.update_ms)}"
    yield f"    update-growth: {rule.update_growth:.12g}"
    yield f"    cool-down: {duration_text(rule.cool_down_ms)}"


def _account(rule_id: RuleId, rule: AccountRule, notes: Mapping[str, str]) -> Iterator[str]:
    yield from _head(rule_id, rule.mode)
    yield f"      type: {'value_count' if isinstance(rule, NetworksRule) else 'event_count'}"
    yield "      group-by: [account_id]"
    yield "      timespan: 24h"
    buckets = "of 61 hash buckets: 50 are about 100 networks" if isinstance(rule, NetworksRule) else None
    yield "      condition:"
    yield _noted(f"        gte: {rule.limit}", notes.get(f"{rule_id}.limit", buckets))
    if rule_id == "account_reasoning":
        yield f"        percent: {rule.percent}"
    yield f"    level: {rule.severity}"
    yield f"    multiplier: {rule.multiplier:.12g}  # of the usual limit, in mode enforce"
    yield f"    signal-lifetime: {duration_text(rule.signal_ms)}"


def _overrides(rules: Rules) -> Iterator[str]:
    for plan in rules.plans:
        yield from _limits("plan", plan.plan, plan)
    for org in rules.orgs:
        yield from _limits("org", org.org, org)


def _limits(kind: str, name: str, item: OwnLimits) -> Iterator[str]:
    yield f"  - {kind}: {msgspec.json.encode(name).decode()}"
    yield "    rules:"
    for rule_id in RULE_IDS[1:]:
        limit = getattr(item, rule_id)
        if limit is not None:
            yield f"      - {{id: {rule_id}, correlation: {{condition: {{gte: {limit}}}}}}}"


def flat(rules: Rules) -> dict[str, Any]:
    """Every value by its dotted attribute."""
    found: dict[str, Any] = {}

    def walk(node: Any, prefix: str) -> None:
        if isinstance(node, dict):
            for name, value in node.items():
                walk(value, f"{prefix}{name}.")
        else:
            found[prefix.rstrip(".")] = node

    walk(msgspec.to_builtins(rules), "")
    return found


def differences(first: Rules, second: Rules) -> list[tuple[str, Any, Any]]:
    """What two sets of rules say differently: attribute, value in the first, value in the second."""
    one, other = flat(first), flat(second)
    names = [*one, *(name for name in other if name not in one)]
    return [(name, one.get(name), other.get(name)) for name in names if one.get(name) != other.get(name)]


def changes(first: Rules, second: Rules) -> list[dict[str, Any]]:
    """The same for programs and pages."""
    return [{"name": name, "from": before, "to": after} for name, before, after in differences(first, second)]


def explained(rules: Rules, ceiling: Mode) -> Iterator[str]:
    """What the rules mean, a sentence a line."""
    yield f"{rules.label}, under a host in mode {ceiling}."
    campaign = rules.campaign
    yield f"campaign, {effect(rules.mode_of('campaign', ceiling))}: {TITLES['campaign']}."
    yield (
        f"  A cluster opens at {campaign.open_score:g} points from at least {campaign.customers_min} customers on "
        f"{campaign.networks_min} networks, and stays open down to {campaign.hold_score:g}."
    )
    yield f"  Of fewer than {campaign.confirmed_below} accounts it must be found twice in a row."
    for step in campaign.ladder:
        who = "accounts beyond doubt" if step.beyond_doubt else "named accounts"
        least = f" from {step.score:g} points on" if step.score else ""
        yield f"  To the limiter: {step.action} {who} to {100 * step.multiplier:g} % of their limit{least}."
    yield (
        f"  A signal ends after {duration_text(campaign.signal_ms)} unless renewed; an update comes after "
        f"{duration_text(campaign.update_ms)} or growth by {campaign.update_growth:g}; quiet for "
        f"{duration_text(campaign.cool_down_ms)} it is resolved."
    )
    for rule_id in RULE_IDS[1:]:
        yield from _account_explained(rules, rule_id, ceiling)
    if rules.shadow is not None:
        yield f"In the shadow beside it, a campaign opens at {rules.shadow.open_score:g} points; no signals follow."
    if rules.plans:
        yield f"{len(rules.plans)} plans have limits of their own: {', '.join(item.plan for item in rules.plans)}."
    if rules.orgs:
        yield f"{len(rules.orgs)} organisations have limits of their own: {', '.join(item.org for item in rules.orgs)}."


def _account_explained(rules: Rules, rule_id: RuleId, ceiling: Mode) -> Iterator[str]:
    rule, mode = rules.rule(rule_id), rules.mode_of(rule_id, ceiling)
    if not isinstance(rule, AccountRule):
        return
    yield f"{rule_id}, {effect(mode)}: {TITLES[rule_id]}."
    what = "requests" if rule_id == "account_volume" else "requests that ask for reasoning"
    what = "of 61 buckets of networks" if rule_id == "account_networks" else what
    part = f", {rule.percent} % of all or more" if rule.percent else ""
    yield f"  An account trips it with {rule.limit:,} {what} in 24 hours{part}, once a day; severity {rule.severity}."
    if mode == "enforce":
        lifetime = duration_text(rule.signal_ms)
        yield f"  To the limiter: throttle to {100 * rule.multiplier:g} % of the limit for {lifetime}."


def effect(mode: Mode) -> str:
    """What a mode lets a rule do."""
    return {
        "off": "off: does nothing",
        "shadow": "in the shadow: alerts kept apart, no signals",
        "alert": "alerts people, and signals only observe",
        "enforce": "alerts people and tells the limiter to act",
    }[mode]
