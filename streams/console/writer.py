"""Writes pages: templates with everything escaped, and what stands on every page.

What lives here: the template environment, the head line (vitals) and refusals as pages. What does not: what single
pages show (``pages``).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import quote

from aiohttp import web
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from models.alert import Mode
from models.rules import Rules
from streams.console import charts, words
from streams.console.fleet import Fleet
from streams.console.guard import IDENTITY, Refusal
from streams.console.rules_store import RulesStore
from streams.console.settings import ConsoleSettings
from streams.console.views import severities, shown
from streams.desk import DeskHost

NAVIGATION = (
    ("/", "Alerts", "now"),
    ("/rules", "Rules", "rules"),
    ("/allowlist", "Allowlist", "allowlist"),
    ("/health", "Health", "health"),
)
AUDIT = ("/audit", "Audit", "audit")
THEMES = ("", "dark", "light")
QUIET_MS = 30_000
"""Without an event for so long the head line is marked: a broken pipe and a quiet fleet look the same otherwise."""
DONE = {
    "acknowledge": "Acknowledged. Pagers stay quiet about this alert until it gets worse.",
    "close": "Closed. Your verdict is kept with the alert and counts for its rule.",
    "reopen": "Open again.",
    "silence": "Silenced. Nobody is paged about this until the time is over.",
    "unsilence": "The silence has ended.",
    "allow": "Allowed. The detector leaves it out from now on, and the limiter leaves it alone.",
    "rules": "These rules are in force. Every part of the detector takes them up with its next commit.",
    "disallow": "No longer allowed.",
    "undo": "All its accounts are let go.",
    "redo": "The limiter may act on its accounts again.",
}
HEADINGS = {
    400: "That cannot be done",
    401: "Please sign in",
    403: "Not allowed",
    404: "Nothing here",
    409: "That has no effect now",
    422: "That is not right yet",
    429: "Too many tries",
    503: "Not now",
}


class InForce(NamedTuple):
    """The rules that this console was given, and how far the host lets any of them go."""

    rules: Rules
    ceiling: Mode


@dataclass(slots=True)
class Context:
    """What every page is made from; ``fleet`` is replaced as news of traffic comes."""

    desk: DeskHost
    settings: ConsoleSettings
    fleet: Fleet
    shadow: DeskHost | None = None  # what rules in the shadow say, kept apart
    rules: InForce | None = None
    store: RulesStore | None = None  # where rules are kept, and may be changed


def now_ms() -> int:
    """Wall clock."""
    return time.time_ns() // 1_000_000


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("streams.console", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=words.visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        name: getattr(words, name)
        for name in ("clock", "stamp", "span", "ago", "count", "short", "figure", "points", "plural", "attribute")
    }
    environment.filters |= {
        "atlas": words.atlas,
        "weight": charts.weight,
        "raw": escape,
        "packed": lambda value: Markup(quote(value, safe="", errors="replace")),  # noqa: S704 - quoting leaves no markup
    }
    return environment


class Writer:
    """Makes answers from templates."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self._environment = _environment()

    def page(self, request: web.Request, template: str, /, *, status: int = 200, **values: Any) -> web.Response:
        """A page; ``values`` are what its template names."""
        identity = request.get(IDENTITY)
        theme = request.cookies.get("theme", "")
        theme = theme if theme in THEMES else ""
        navigation = (*NAVIGATION, AUDIT) if identity and identity.may("audit") else NAVIGATION
        common = {
            "page": template,
            "path": here(request),
            "identity": identity,
            "theme": theme,
            "navigation": navigation,
            "done": DONE.get(request.query.get("done", ""), ""),
        }
        text = self._environment.get_template(f"{template}.html").render(
            common | (self.vitals() if identity else {}) | values
        )
        return web.Response(text=text, status=status, content_type="text/html", charset="utf-8")

    def refusal(self, request: web.Request, refusal: Refusal) -> web.Response:
        """A refusal as a page, or as one line for programs."""
        if "Authorization" in request.headers:
            return web.Response(text=refusal.text + "\n", status=refusal.status)
        heading = HEADINGS.get(refusal.status, "That did not work")
        values = {"heading": heading, "text": refusal.text, "back": here(request), "code": refusal.status}
        return self.page(request, "refusal", status=refusal.status, **values)

    def vitals(self) -> dict[str, Any]:
        """What the head line of every page says."""
        desk, fleet = self.context.desk, self.context.fleet
        live = shown(desk.desk.cases.values(), "open")
        clocks = [stamp for stamp in (desk.desk.clock_ms, fleet.last_event_ms) if stamp]
        return {
            "counts": {"open": len(live), "severities": severities(live)},
            "fleet": fleet,
            "seen": self._seen(),
            "clock_ms": max(clocks, default=None),
            "state": self._state(),
        }

    def _seen(self) -> Mapping[str, str]:
        """When the last event came, on the wall clock, which is what shows a pipe that broke."""
        fleet, desk = self.context.fleet, self.context.desk
        now = now_ms()
        if fleet.done:
            return {
                "kind": "",
                "what": "last event",
                "words": "all read",
                "words_long": "The simulation has ended: all events are read.",
            }
        at = fleet.last_seen_ms if fleet.source != "none" else desk.last_read_ms or None
        what = "event" if fleet.source != "none" else "record of the feeds"
        label = "last event" if fleet.source != "none" else "last record"  # a file read just now may be days old
        if at is None:
            return {"kind": "warn", "what": label, "words": "none yet", "words_long": f"No {what} was seen yet."}
        kind = "warn" if fleet.source != "none" and now - at > QUIET_MS else ""
        return {
            "kind": kind,
            "what": label,
            "words": words.ago(at, now),
            "words_long": f"Last {what} seen {words.ago(at, now)}.",
        }

    def _state(self) -> Mapping[str, str]:
        states = {stage.state for stage in self.context.fleet.stages}
        if self.context.desk.trouble:
            return {"kind": "lost", "words": "feeds are not read"}
        if "down" in states:
            return {"kind": "lost", "words": "a part is down"}
        if states & {"degraded", "starting"}:
            return {"kind": "warn", "words": "degraded"}
        return {"kind": "over", "words": "finished"} if self.context.fleet.done else {"kind": "on", "words": "ok"}


def here(request: web.Request) -> str:
    """The address of a page without what only one visit needs; for a form that was sent, the list."""
    if request.method != "GET":
        return "/"
    query = {name: value for name, value in request.query.items() if name != "done"}
    return str(request.rel_url.with_query(query))
