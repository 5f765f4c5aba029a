"""The keys of a rules file, and how its scalars are written.

What lives here: which key sets which attribute of ``Rules``, and the words for what a field takes. What does not:
reading a file (``rules_file``), and bounds (``models/rules``), which are taken from the types of the fields.
"""

from __future__ import annotations

import math
import re
import typing
from collections.abc import Callable
from dataclasses import dataclass
from types import NoneType
from typing import Any

import msgspec

from models.rules import ACCOUNT_RULE_IDS, AccountRule, CampaignRule, NetworksRule, OwnLimits, Rules, Severities, Step

UNITS_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


@dataclass(frozen=True, slots=True)
class Leaf:
    """One scalar of the file: the attribute of ``Rules`` it sets, and the field whose type and bounds hold for it."""

    attribute: str
    owner: type
    name: str


@dataclass(frozen=True, slots=True)
class Fixed:
    """A key that says what a rule looks at: it may be written, and has one value."""

    value: str | list[str]
    why: str = "what a rule looks at is not a setting"


NOTE = object()
"""Text for people, kept nowhere."""
Shape = dict[str, Any]


def _fields(owner: type, prefix: str, **names: str) -> Shape:
    return {key.replace("_", "-"): Leaf(prefix + name, owner, name) for key, name in names.items()}


def _account(rule_id: str, what: tuple[str, str], **more: Any) -> Shape:
    owner = NetworksRule if rule_id == "account_networks" else AccountRule
    kind, counted = what
    condition = _fields(owner, f"{rule_id}.", gte="limit") | more
    return {
        "id": NOTE, "title": NOTE, "description": NOTE, "falsepositives": NOTE,
        **_fields(owner, f"{rule_id}.", mode="mode", level="severity", multiplier="multiplier",
                  signal_lifetime="signal_ms"),
        "correlation": {
            "type": Fixed(kind), "group-by": Fixed(["account_id"]), "timespan": Fixed("24h", WINDOWS),
            "condition": {**condition, "field": Fixed(counted)},
        },
    }  # fmt: skip


WINDOWS = "windows are what is counted, and rules may change while it runs"
_STEP = _fields(Step, "", action="action", multiplier="multiplier", score="score", beyond_doubt="beyond_doubt")
_SIZES = {
    level: {
        name: Leaf(f"campaign.severities.{level}_{name}", Severities, f"{level}_{name}")
        for name in ("accounts", "score")
        if f"{level}_{name}" in Severities.__struct_fields__
    }
    for level in ("critical", "high", "medium")
}
RULES: dict[str, Shape] = {
    "campaign": {
        "id": NOTE, "title": NOTE, "description": NOTE, "falsepositives": NOTE,
        **_fields(CampaignRule, "campaign.", mode="mode", signal_lifetime="signal_ms", update_after="update_ms",
                  update_growth="update_growth", cool_down="cool_down_ms"),
        "correlation": {
            "type": Fixed("cluster_score"), "group-by": Fixed(["template"]), "timespan": Fixed("24h", WINDOWS),
            "condition": _fields(CampaignRule, "campaign.", gte="open_score", hold="hold_score",
                                 customers="customers_min", networks="networks_min",
                                 confirmed_below="confirmed_below"),
        },
        "severity": _SIZES,
        "actions": [_STEP],
    },
    "account_volume": _account("account_volume", ("event_count", "request")),
    "account_reasoning": _account(
        "account_reasoning", ("event_count", "reasoning"),
        percent=Leaf("account_reasoning.percent", AccountRule, "percent"),
    ),
    "account_networks": _account("account_networks", ("value_count", "network_bucket")),
}  # fmt: skip
"""The keys of each rule."""
SHADOW_RULES: dict[str, Shape] = {
    "campaign": {key: value for key, value in RULES["campaign"].items() if key != "mode"},
}
"""A rule tried beside the one in force: its mode is the shadow."""
LIMITS: dict[str, Shape] = {
    name: {"id": NOTE, "correlation": {"condition": {"gte": Leaf(f"own.{name}", OwnLimits, name)}}}
    for name in ACCOUNT_RULE_IDS
}
HEAD: Shape = {
    "title": NOTE, "description": NOTE, "author": NOTE, "date": NOTE, "status": NOTE,
    **_fields(Rules, "", name="name", version="version", mode="mode"),
    "rules": NOTE, "shadow": NOTE, "overrides": NOTE,
}  # fmt: skip
OVERRIDE: Shape = {"tenant": NOTE, "plan": NOTE, "org": NOTE, "reason": NOTE, "mode": HEAD["mode"], "rules": NOTE}


def _plain(hint: Any) -> tuple[Any, msgspec.Meta | None]:
    """The type below annotations and ``| None``, and its bounds."""
    options = [option for option in typing.get_args(hint) if option is not NoneType]
    if NoneType in typing.get_args(hint):
        return _plain(options[0])
    meta = next((item for item in getattr(hint, "__metadata__", ())), None)
    return getattr(hint, "__origin__", hint) if meta else hint, meta


def reader(hint: Any, name: str) -> Callable[[str], Any]:
    """What turns a scalar as written into a value of the field's type; raises ValueError where it is none."""
    plain, _ = _plain(hint)
    if name.endswith("_ms"):
        return duration_ms
    if plain is bool:
        return _flag
    if plain is float:
        return _number
    return int if plain is int else str


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def _flag(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError(text)
    return text == "true"


def expected(hint: Any, name: str) -> str:
    """What a field takes, in words."""
    plain, meta = _plain(hint)
    least, most = (meta.ge, meta.le) if meta else (None, None)
    if name.endswith("_ms") and least is not None and most is not None:
        return f"a duration from {duration_text(int(least))} to {duration_text(int(most))}, with a unit: s, m, h or d"
    if plain in (int, float):
        return f"{'a whole number' if plain is int else 'a number'} from {least:g} to {most:g}"
    if plain is bool:
        return "true or false"
    if typing.get_args(plain):
        return f"one of {', '.join(typing.get_args(plain))}"
    return "1 to 64 letters, digits, _ . or -, the first a letter or digit"


def duration_ms(text: str) -> int:
    """A duration such as `6h` in ms; ValueError where it is none."""
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,6})?)\s?([smhd])", text)
    if not found:
        raise ValueError(text)
    return round(float(found[1]) * UNITS_MS[found[2]])


def duration_text(value_ms: int) -> str:
    """A duration in its largest whole unit."""
    unit = next((unit for unit in ("d", "h", "m", "s") if value_ms % UNITS_MS[unit] == 0), "")
    if value_ms == UNITS_MS["d"]:
        unit = "h"
    return f"{value_ms // UNITS_MS[unit]}{unit}" if unit else f"{value_ms / 1_000:g}s"
