"""The pages that can be read: alerts, a case, an account, rules, health, the audit log.

What lives here: one handler a page. What does not: forms (``forms``), and how things are worded (``views``).
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from models.alert import SEVERITIES, Signal
from models.cases import Case
from models.labels import Label
from models.rules import MODES
from streams.console import charts, rules_view, views
from streams.console.audit import Audit
from streams.console.guard import IDENTITY, Refusal
from streams.console.live import Live
from streams.console.rules_store import StoreError
from streams.console.words import clock, count, plural, span
from streams.console.writer import InForce, Writer, here, now_ms
from streams.desk import DeskHost
from streams.rules_text import explained

QUERY_MAX = 128
EVIDENCE_OF_ACCOUNT = 4
ACCOUNT_ID_MAX = 1_024
NO_SIGNAL = {
    False: "Nothing so far: no account has shown enough by itself.",
    True: "Nothing any more: its accounts were let go.",
}
LET_GO = "People have let its accounts go: the detector clears these once it has read that."
EMPTY = {
    "none": "Waiting for the first request. An alert appears here when many accounts that should have nothing to do "
    "with each other send requests cut from the same template, each too few to stand out alone.",
    "reading": "No campaign so far. That takes time: at 25 requests a day an account sends about one an hour, so a "
    "group shows after it has repeated itself.",
    "open": "Nothing to do: no alert is open.",
    "other": "Nothing here.",
    "search": "No alert holds these words. Try a part of an id.",
}


class Reading:
    """Handlers of the pages."""

    def __init__(self, writer: Writer, audit: Audit, live: Live) -> None:
        self._writer = writer
        self._context = writer.context
        self._audit = audit
        self._live = live

    async def now(self, request: web.Request) -> web.Response:
        """What is going on: open alerts, traffic, lag."""
        desk, fleet = self._context.desk, self._context.fleet
        show = request.query.get("show", "open")
        show = show if show in views.SHOWS else "open"
        severity = request.query.get("severity", "")
        severity = severity if severity in SEVERITIES else ""
        query = request.query.get("q", "")[:QUERY_MAX]
        everything = list(desk.desk.cases.values())
        found = sorted(views.matching(views.shown(everything, show), query, severity), key=views.urgency)
        rows, pages = views.paged(found, _number(request), "/", show=show, q=query, severity=severity)
        marks = sorted((case.statements[0].ts, "alert") for case in views.shown(everything, "all"))
        return self._writer.page(
            request,
            "now",
            title=f"{severity} alerts".capitalize() if severity else "Alerts",
            show=show,
            query=query,
            tabs=_tabs(everything, show),
            rows=[views.row_of(case, desk, now_ms()) for case in rows],
            empty=self._empty(show, bool(query or severity)),
            pages=pages,
            chart=charts.traffic(fleet.traffic, marks[-40:], _bucket_name(fleet.bucket_ms)),
            traffic_note=_traffic_note(fleet.source),
            behind=self._behind(),
        )

    def _empty(self, show: str, searched: bool) -> str:
        if searched:
            return EMPTY["search"]
        if show != "open" or self._context.desk.desk.cases:
            return EMPTY["open" if show == "open" else "other"]
        return EMPTY["reading" if self._context.fleet.events or self._context.desk.counts else "none"]

    def _behind(self) -> str:
        late = [stage.behind_ms for stage in self._context.fleet.stages if stage.behind_ms is not None]
        return span(max(late)) if late else ""

    async def alert(self, request: web.Request) -> web.Response:
        """A link from a pager or ticket: to the case."""
        raise web.HTTPSeeOther(views.case_link(request.match_info["key"]))

    async def case(self, request: web.Request) -> web.Response:
        """One alert from its opening to its verdict; a cluster's or statement's id leads to its newest case."""
        desk = self._context.desk
        case = _found(desk, request)
        if case.dedup_key != request.query["key"]:
            raise web.HTTPSeeOther(views.case_link(case.dedup_key))
        about = {case.dedup_key, case.alert.cluster_id} - {None}
        labels = [
            label
            for family in ("silence", "undo")
            for label in desk.desk.labels[family].values()
            if about.intersection(label.subject.values())
        ]
        return self._told(request, desk, case, labels)

    async def shadow(self, request: web.Request) -> web.Response:
        """What a rule in the shadow would have said: to read, nothing to do."""
        desk = self._context.shadow
        if desk is None:
            raise Refusal(404, "This console reads no shadow results. Start it with --shadow FILE, or with --brokers.")
        return self._told(request, desk, _found(desk, request), [])

    def _told(self, request: web.Request, desk: DeskHost, case: Case, labels: list[Label]) -> web.Response:
        """A case in full."""
        alert = case.alert
        signals = [desk.desk.members.signal(account) for account in desk.members(alert.cluster_id or "")]
        evidence, most = views.weighed(alert)
        silence = desk.desk.silenced_by(case, now_ms())
        undone = desk.desk.in_force("undo", {"cluster_id": alert.cluster_id or ""}, now_ms())
        dismissed, runbook = _dismissed(case, undone), alert.runbook_url
        ending = undone is not None or (dismissed and case.status == "closed")
        return self._writer.page(
            request,
            "case",
            acting=desk is self._context.desk,
            case=case,
            alert=alert,
            name=views.name_of(alert),
            opened=case.statements[0],
            opened_accounts=_opened_accounts(case),
            runbook=views.runbook_link(runbook, self._context.settings.docs_url),
            runbook_text=runbook,
            standing=views.standing(case, silence),
            silence=silence,
            undone=undone,
            no_signal=NO_SIGNAL[dismissed],
            evidence=evidence,
            most=most,
            growth=views.growth(case),
            graph=views.attributes(alert),
            actions=views.actions(signals),
            mode=LET_GO if ending else views.MODES[alert.mode],
            history=views.history(case, labels),
            told=views.told(case, sinks=self._context.settings.sinks),
            account_link=views.account_link(alert.account_id or ""),
            here=here(request),
            **_members(request, case, signals, undone),
        )

    async def account(self, request: web.Request) -> web.Response:
        """One account: what the limiter is told, why, and what was done."""
        desk = self._context.desk
        account_id = request.query.get("id", "")
        if not account_id or len(account_id) > ACCOUNT_ID_MAX:
            raise Refusal(404, "Name an account. The members of an alert lead to theirs.")
        view = desk.account(account_id)
        cases = [case for key in view.cases if (case := desk.desk.cases.get(key)) is not None]
        campaign = next((case for case in cases if case.alert.cluster_id), None)
        evidence, most = views.weighed(campaign.alert) if campaign else ([], 1.0)
        labels = [
            label
            for family in ("allow", "profile")
            for label in desk.desk.labels[family].values()
            if label.subject.get("account_id") == account_id
        ]
        return self._writer.page(
            request,
            "account",
            account_id=account_id,
            signal=view.signal,
            left=views.left(view.signal) if view.signal else "",
            allowed=view.allowed,
            standing=views.account_standing(view.signal, view.allowed, desk.desk.clock_ms),
            cluster=_brief(campaign) if campaign else None,
            cases=[_brief(case) for case in cases if case is not campaign],
            evidence=evidence[:EVIDENCE_OF_ACCOUNT],
            most=most,
            templates=campaign.alert.templates if campaign else [],
            history=self._history_of(account_id, view.signal, labels, cases),
            here=here(request),
        )

    @staticmethod
    def _history_of(account_id: str, signal: Signal | None, labels: list[Label], cases: list[Case]) -> list[views.Line]:
        lines = [views.did(label) for label in sorted(labels, key=lambda label: -label.ts)]
        for case in cases:
            about = "its campaign" if case.alert.account_id != account_id else "this account"
            said = case.statements[0]
            lines.append(views.Line("said", clock(said.ts), f"Alert about {about}", case.alert.summary))
        if signal is not None:
            lines.append(views.Line("said", clock(signal.ts), f"Limiter told: {signal.action}", f"by {signal.rule}"))
        return lines

    async def rules(self, request: web.Request) -> web.Response:
        """Rules in force, how people judged their alerts, and what rules in the shadow would have said."""
        everything = sorted(self._context.desk.desk.cases.values(), key=lambda case: case.last.ts)
        given, shadow, store = self._context.rules, self._context.shadow, self._context.store
        text, trouble = "", ""
        if store is not None:
            try:
                live = await store.live()
                text, given = live.text, InForce(live.rules, given.ceiling if given else "enforce")
            except StoreError as error:
                trouble = f"The rules in force cannot be read: {error}."
        newest = everything[-1].alert.rule_version if everything else ""
        apart = sorted(shadow.desk.cases.values(), key=views.urgency) if shadow else []
        rows = [views.row_of(case, shadow, now_ms(), shadow=True) for case in apart[: views.PAGE_ROWS] if shadow]
        return self._writer.page(
            request,
            "rules",
            rules=rules_view.rules(everything, shadow.desk.cases.values() if shadow else [], given),
            explained=rules_view.paragraphs(explained(given.rules, given.ceiling)) if given else [],
            label=given.rules.label if given else "not known here",
            ceiling=given.ceiling if given else "enforce",
            newest=newest,
            text=text,
            trouble=trouble,
            may=store is not None and not trouble and request[IDENTITY].may("rules"),
            modes=MODES,
            told=rules_view.shadow_against_live(everything, shadow.desk.cases.values()) if shadow else [],
            shadow=rows,
            shadows=len(apart),
            follows_shadow=shadow is not None,
        )

    async def allowlist(self, request: web.Request) -> web.Response:
        """Who is left out of every decision, by whom, why and until when; and known bulk users."""
        desk, hits = self._context.desk, self._context.fleet.hits
        found = rules_view.entries(desk.desk.labels["allow"].values(), hits)
        shown, pages = views.paged(found, _number(request), "/allowlist")
        return self._writer.page(
            request,
            "allowlist",
            entries=shown,
            pages=pages,
            hits_known=hits is not None,
            profiles=rules_view.entries(desk.desk.labels["profile"].values(), None)[: views.PAGE_ROWS],
            here=here(request),
        )

    async def health(self, request: web.Request) -> web.Response:
        """Stages, watermark, lag, rejects, and this console itself."""
        desk, fleet = self._context.desk, self._context.fleet
        counts = desk.counts
        own = [
            ("feeds", desk.trouble or "read without trouble"),
            ("alerts read", f"{count(counts['alerts'])}, and {count(counts['alerts_bad'])} that could not be read"),
            ("signals read", f"{count(counts['signals'])}, and {count(counts['signals_bad'])} that could not be read"),
            ("actions read", f"{count(counts['labels'])}, and {count(counts['labels_bad'])} that could not be read"),
            ("alerts kept", f"{count(len(desk.desk.cases))}; {count(desk.desk.dropped)} dropped as long over"),
            ("accounts under a signal", count(len(desk.desk.members))),
            ("tabs that follow", count(self._live.tabs)),
        ]
        rejects = sorted(fleet.rejects.items(), key=lambda item: -item[1])
        return self._writer.page(request, "health", rejects=rejects, own=own)

    async def audit(self, request: web.Request) -> web.Response:
        """Who did what."""
        entries, pages = views.paged(self._audit.entries(), _number(request), "/audit")
        kept = (
            "appended to a file, never changed" if self._audit.kept else "kept in memory only: name a file to keep it"
        )
        return self._writer.page(request, "audit", entries=entries, pages=pages, kept=kept)


def _tabs(cases: list[Case], show: str) -> list[tuple[str, str, int]]:
    """The tabs of the list with their counts; results of the shadow are rare here, as they have a feed of their own."""
    counted = [(key, name, len(views.shown(cases, key))) for key, name in views.SHOWS.items()]
    return [tab for tab in counted if tab[0] != "shadow" or tab[2] or show == "shadow"]


def _found(desk: DeskHost, request: web.Request) -> Case:
    case = desk.case(request.query.get("key", ""))
    if case is None:
        raise Refusal(404, "No alert has this id. It may have been dropped as long over, or not been read yet.")
    return case


def _members(request: web.Request, case: Case, signals: list[Signal | None], undone: Label | None) -> dict[str, Any]:
    """The table of members: those the search finds, a page of them."""
    query = request.query.get("q", "")[:QUERY_MAX]
    found = [signal for signal in signals if signal is not None and query.casefold() in signal.account_id.casefold()]
    page, pages = views.paged(found, _number(request), f"{request.path}#members", key=case.dedup_key, q=query)
    if query:
        note = f"{plural(len(found), 'account')} of {count(len(signals))} with “{query}” in the id"
    elif signals:
        note = f"{plural(len(signals), 'account')} named to the limiter so far, of {count(case.alert.accounts)}"
    else:
        note = NO_SIGNAL[_dismissed(case, undone)]
    return {"members": views.members(page), "members_note": note, "pages": pages, "query": query}


def _dismissed(case: Case, undone: Label | None) -> bool:
    """Whether people have said that its accounts are to be let go."""
    verdict = case.verdict or case.verdict_before
    return undone is not None or (verdict is not None and verdict.verdict not in (None, "confirmed"))


def _brief(case: Case) -> dict[str, str]:
    alert = case.alert
    name = views.name_of(alert)
    return {"link": views.case_link(case.dedup_key), "name": name, "summary": alert.summary or name}


def _opened_accounts(case: Case) -> str:
    first = case.statements[0]
    return f"{count(first.accounts)} when the alert opened" if first != case.last else "so far"


def _number(request: web.Request) -> int:
    text = request.query.get("at", "1")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 7 else 1


def _bucket_name(bucket_ms: int) -> str:
    return f"requests per {span(bucket_ms)}" if bucket_ms > 60_000 else "requests a minute"


def _traffic_note(source: str) -> str:
    return {"demo": "simulated, event time", "workers": "as the workers say, wall clock"}.get(source, "")
