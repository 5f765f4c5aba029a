"""What a replay tells people at its end: the campaigns found, and where every input record went.

What lives here: the words. What does not: the figures (the host counts them) and the files of alerts and
signals (sinks). Alert texts hold names from the input, so everything from outside is made visible first:
a terminal obeys control characters.
"""

from __future__ import annotations

import textwrap
import unicodedata
from datetime import UTC, datetime
from typing import Any

import msgspec

from models.alert import Action, Alert, Evidence, rank

WIDTH_MIN = 40
WIDTH_MAX = 100
REASONS_SHOWN = 4
ALERTS_SHOWN = 50
ACTIONS: tuple[Action, ...] = ("allow", "observe", "throttle", "challenge", "block")
_COLOURS = {"critical": "1;31", "high": "31", "medium": "33", "low": "36", "info": "2"}
_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


class RunSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One run as counted by its host.

    ``rejected`` counts by reason; ``alerts`` holds every alert written, oldest first; ``signals`` counts
    accounts by the action last said about them; ``first_ts`` and ``last_ts`` are event time in ms.
    """

    read: int
    accepted: int
    duplicate: int
    late: int
    rejected: dict[str, int]
    alerts: list[Alert]
    signals: dict[str, int]
    accounts: int
    first_ts: int | None
    last_ts: int | None
    wall_s: float
    allowed: dict[str, int] = {}
    """Covered requests that each entry of the allowlist left out."""

    @property
    def unaccounted(self) -> int:
        """Records read that ended nowhere; anything but 0 is a fault of ours."""
        return self.read - self.accepted - sum(self.rejected.values()) - self.duplicate - self.late


def summarise(result: RunSummary, *, width: int = 80, colour: bool = False) -> str:
    """The end of a run in plain sentences, at most ``width`` columns, ending in a newline."""
    page = _Page(min(max(width, WIDTH_MIN), WIDTH_MAX), colour)
    groups = _group(result.alerts)
    page.say(_headline(result, groups))
    for group in groups[:ALERTS_SHOWN]:
        _tell(page, group)
    if len(groups) > ALERTS_SHOWN:
        page.say(f"{_plural(len(groups) - ALERTS_SHOWN, 'more alert')} not shown here; the alerts file holds all.")
    page.skip()
    page.say(_signals(result), hang=2)
    for line in _accounting(result):
        page.say(line, hang=2)
    return "\n".join(page.lines) + "\n"


class _Page:
    """Lines of bounded width, with or without colour."""

    def __init__(self, width: int, colour: bool) -> None:
        self.lines: list[str] = []
        self._width = width
        self._colour = colour

    def say(self, text: str, *, indent: int = 0, hang: int = 0, style: str = "") -> None:
        wrapped = textwrap.wrap(
            text,
            self._width,
            initial_indent=" " * indent,
            subsequent_indent=" " * (indent + hang),
            break_on_hyphens=False,
        )
        styled = self._colour and style
        self.lines += [f"\x1b[{style}m{line}\x1b[0m" if styled else line for line in wrapped]

    def skip(self) -> None:
        self.lines.append("")


def _group(alerts: list[Alert]) -> list[list[Alert]]:
    """Alerts by what they are about, each oldest first; the group alerted first comes first."""
    groups: dict[str, list[Alert]] = {}
    for alert in sorted(alerts, key=lambda alert: (alert.ts, alert.alert_id)):
        groups.setdefault(alert.dedup_key, []).append(alert)
    return list(groups.values())


def _headline(result: RunSummary, groups: list[list[Alert]]) -> str:
    campaigns = sum(group[-1].cluster_id is not None for group in groups)
    single = len(groups) - campaigns
    found = f"{_plural(campaigns, 'campaign')} found" if campaigns else "No campaign found"
    also = f", and {_plural(single, 'account')} alerted on its own" if single == 1 else ""
    also = f", and {_plural(single, 'account')} alerted on their own" if single > 1 else also
    if result.first_ts is None or result.last_ts is None:
        return f"{found}{also}: no request was accepted."
    return (
        f"{found}{also}, in {_plural(result.accepted, 'request')} by {_plural(result.accounts, 'account')} "
        f"from {moment(result.first_ts)} to {moment(result.last_ts)} UTC."
    )


def _tell(page: _Page, group: list[Alert]) -> None:
    first, last = group[0], group[-1]
    subject = (
        f"Campaign {last.cluster_id}" if last.cluster_id is not None else f"Account {last.account_id or 'unknown'}"
    )
    state = "resolved" if last.status == "resolved" else "open"
    worst = max((alert.severity for alert in group), key=rank)
    page.skip()
    page.say(f"{visible(subject)}: {worst}, {state}{_mode(last)}", style=_COLOURS[worst])
    page.say(visible(last.summary), indent=2)
    seen = f"First seen {moment(first.first_seen)}"
    end = f"By the end: {_plural(last.requests, 'request')} by {_plural(last.accounts, 'account')}."
    if first.status == "open":
        alerted = f"alerted {moment(first.ts)} ({_span(first.ts - first.first_seen)} later)"
        gone = f"Before the alert: {_plural(first.requests, 'request')} by {_plural(first.accounts, 'account')}. "
    else:  # the state of an earlier run was continued, and that run told how much was gone
        alerted, gone = "alerted in an earlier run", ""
    page.say(f"{seen}, {alerted}, last seen {moment(last.last_seen)}.", indent=2)
    page.say(gone + end, indent=2)
    _reasons(page, "For:", last.evidence)
    _reasons(page, "Against:", last.counter_evidence)


def _mode(alert: Alert) -> str:
    return f", rule in {alert.mode} mode" if alert.mode in ("off", "shadow") else ""


def _reasons(page: _Page, title: str, reasons: list[Evidence]) -> None:
    if not reasons:
        page.say(f"{title} nothing found.", indent=2)
        return
    page.say(title, indent=2)
    ranked = sorted(reasons, key=lambda reason: -abs(reason.weight))
    for reason in ranked[:REASONS_SHOWN]:
        page.say(f"- {visible(reason.text)} ({_measure(reason)})", indent=4, hang=2)
    if len(ranked) > REASONS_SHOWN:
        page.say(f"- and {len(ranked) - REASONS_SHOWN} weaker", indent=4)


def _measure(reason: Evidence) -> str:
    return visible(f"{_figure(reason.value)} {reason.unit}, usual {_figure(reason.baseline)}")


def _signals(result: RunSummary) -> str:
    order = [*ACTIONS, *sorted(set(result.signals) - set(ACTIONS))]
    said = [f"{visible(action)} {result.signals[action]:,}" for action in order if result.signals.get(action)]
    return f"Signals to the limiter, by account: {', '.join(said)}." if said else "Signals to the limiter: none."


def _accounting(result: RunSummary) -> list[str]:
    """Read = accepted + rejected + duplicate + late, with the reasons, and loudly where it does not add up."""
    rejected = sum(result.rejected.values())
    ranked = sorted(result.rejected.items(), key=lambda item: (-item[1], item[0]))
    reasons = ", ".join(f"{visible(reason)} {number:,}" for reason, number in ranked)
    lines = [
        f"Read {result.read:,} = accepted {result.accepted:,} + rejected {rejected:,}"
        f"{f' ({reasons})' if reasons else ''} + duplicate {result.duplicate:,} + late {result.late:,}."
    ]
    if result.allowed:
        entries = _plural(len(result.allowed), "entry").replace("entrys", "entries")
        lines.append(f"{entries} of the allowlist left out {_plural(sum(result.allowed.values()), 'request')}.")
    if result.unaccounted:
        lines.append(f"MISMATCH: {result.unaccounted:,} of the records read are not accounted for; please report this.")
    rate = result.read / result.wall_s if result.wall_s > 0 else 0.0
    lines.append(f"Took {_seconds(result.wall_s)}, {rate:,.0f} records/s.")
    return lines


def visible(text: Any) -> str:
    r"""``text`` with control, format and separator characters written as ``\uXXXX``."""
    return "".join(f"\\u{ord(mark):04x}" if unicodedata.category(mark) in _INVISIBLE else mark for mark in str(text))


def _plural(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def _figure(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def moment(ms: int) -> str:
    """A time as people read it, UTC."""
    try:
        return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")
    except (OverflowError, ValueError, OSError):
        return f"{ms} ms"


def _span(ms: int) -> str:
    minutes = round(ms / 60_000)
    if minutes < 60:
        return f"{minutes} min"
    days, rest = divmod(minutes, 24 * 60)
    return f"{days} d {rest // 60} h" if days >= 2 else f"{minutes // 60} h {minutes % 60} min"


def _seconds(wall_s: float) -> str:
    return f"{wall_s:.1f} s" if wall_s < 120 else f"{wall_s / 60:.1f} min"
