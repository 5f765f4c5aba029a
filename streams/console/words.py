"""How the console writes times, counts and texts of others: plain words, UTC, nothing invisible.

What lives here: formatting of single values. What does not: pages (``templates``) and drawings (``charts``). Texts
come from events and people; whatever could reorder or hide what stands beside it is written out instead.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

TEXT_MAX = 2_000
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u115f\u1160\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f"
    "\ufeff\ufff9-\ufffb\U000e0000-\U000e0fff]"
)
ATLAS = {
    "AML.T0024.002": "extract AI model",
    "AML.T0024": "exfiltration through the inference API",
    "AML.T0040": "inference API access",
    "AML.T0008.005": "AI service proxies",
    "AML.T0021": "establish accounts",
    "AML.T0012": "valid accounts",
    "AML.T0034.000": "excessive queries",
}
ATTRIBUTES = {
    "payment": "payment method",
    "network": "network",
    "client": "client build",
    "email_domain": "mail domain",
}


def visible(value: Any) -> Any:
    """A text with its invisible and reordering characters written as ``[U+202E]``, cut to a readable length."""
    if not isinstance(value, str) or hasattr(value, "__html__"):
        return value
    shown = HIDDEN.sub(lambda found: f"[U+{ord(found[0]):04X}]", value[: TEXT_MAX + 1])
    return shown if len(value) <= TEXT_MAX else f"{shown[:TEXT_MAX]}… ({len(value):,} characters)"


def moment(ts_ms: float | None) -> datetime | None:
    """The time of a stamp; None where no calendar has it."""
    try:
        return None if ts_ms is None else datetime.fromtimestamp(ts_ms / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def clock(ts_ms: float | None, *, form: str = "%a %d %b %H:%M") -> str:
    """A time for people, UTC, without the year."""
    at = moment(ts_ms)
    return at.strftime(form) if at else "unknown"


def stamp(ts_ms: float | None) -> str:
    """A time in full, to copy."""
    return clock(ts_ms, form="%Y-%m-%d %H:%M:%S UTC")


def span(ms: float) -> str:
    """A length of time in its two largest units."""
    ms = max(0.0, ms)
    if ms < MINUTE:
        return f"{ms / 1000:.0f} s"
    if ms < HOUR:
        return f"{ms // MINUTE:.0f} min"
    if ms < DAY:
        hours, minutes = divmod(ms // MINUTE, 60)
        return f"{hours:.0f} h {minutes:.0f} min" if minutes else f"{hours:.0f} h"
    days, hours = divmod(ms // HOUR, 24)
    return f"{days:.0f} d {hours:.0f} h" if hours else f"{days:.0f} d"


def ago(ts_ms: float | None, now_ms: float | None) -> str:
    """How long before ``now_ms`` a time lies."""
    if ts_ms is None or now_ms is None:
        return "unknown"
    return "just now" if now_ms - ts_ms < 2_000 else f"{span(now_ms - ts_ms)} ago"


def count(value: float | None) -> str:
    """A whole number with separators."""
    return "unknown" if value is None else f"{value:,.0f}"


def short(value: float | None) -> str:
    """A number to three figures with k or M."""
    if value is None:
        return "unknown"
    for size, unit in ((1e9, " G"), (1e6, " M"), (1e4, " k")):
        if abs(value) >= size:
            return f"{value / (1e3 if unit == ' k' else size):.3g}{unit}"
    return f"{value:,.0f}"


def figure(value: float) -> str:
    """A measured value to three figures."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def points(value: float) -> str:
    """Points of evidence with their sign."""
    return f"{'−' if value < 0 else '+'}{figure(abs(value))}"  # noqa: RUF001 - a minus sign, for people


def plural(value: float, word: str, many: str | None = None) -> str:
    """A count with its noun."""
    return f"{count(value)} {word if value == 1 else many or word + 's'}"


def attribute(kind: str) -> str:
    """What people call a kind of shared attribute."""
    return ATTRIBUTES.get(kind, kind.replace("_", " "))


def atlas(technique: str) -> str:
    """A MITRE ATLAS technique with its meaning."""
    return f"{technique} ({ATLAS[technique]})" if technique in ATLAS else technique
