"""The forms: what somebody does about an alert, signing in and out, and the colours.

What lives here: reading forms and carrying them out once, with an entry in the audit log before. What does not: whether
they make sense (``models.desk``) and who may (``roles``).
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

from aiohttp import web
from yarl import URL

from models.errors import ConfigError, DistilwatchError
from models.labels import Label
from streams.console.audit import Audit, Entry, Outcome
from streams.console.guard import FORM, IDENTITY, Refusal
from streams.console.identity import COOKIE, SESSION_MS, Identities, Identity
from streams.console.roles import needed
from streams.console.writer import THEMES, Writer, now_ms
from streams.desk import RefusedError, new_label

SUBJECTS = ("dedup_key", "cluster_id", "account_id", "org_id", "api_key_id", "template", "rule", "severity")
LASTING = frozenset({"silence", "allow", "undo"})
HOURS_MAX = 24 * 366
HOUR_MS = 3_600_000
PAGES = frozenset({"/", "/case", "/shadow", "/account", "/rules", "/allowlist", "/health", "/audit"})
YEAR_S = 366 * 86_400


class Acting:
    """Handlers of the forms."""

    def __init__(self, writer: Writer, audit: Audit, identities: Identities) -> None:
        self._writer = writer
        self._context = writer.context
        self._audit = audit
        self._identities = identities

    async def act(self, request: web.Request) -> web.Response:
        """Do one thing about a case, an account or a cluster, and go back to where it was asked."""
        form, identity = request[FORM], request[IDENTITY]
        label = _label_of(form, identity)
        refusal = self._context.desk.desk.refusal(label)
        if refusal is not None:
            raise Refusal(409, f"Nothing was done: {refusal}.")
        self._note(request, label, "asked")
        try:
            await self._context.desk.act(label)
        except RefusedError as error:
            self._note(request, label, "refused", f": {error}")
            raise Refusal(409, f"Nothing was done: {error}.") from error
        except DistilwatchError as error:
            self._note(request, label, "failed", f": {error}")
            raise Refusal(503, f"It was not recorded: {error}. Try again in a moment.") from error
        raise web.HTTPSeeOther(back(form, done=label.kind))

    def _note(self, request: web.Request, label: Label, outcome: Outcome, more: str = "") -> None:
        identity = request[IDENTITY]
        verdict = f"{label.verdict}: " if label.verdict else ""
        self._audit.write(
            Entry(
                ts=now_ms(),
                who=identity.name,
                role=identity.role,
                way=identity.way,
                peer=request.remote or "",
                what=label.kind,
                subject=label.subject,
                detail=f"{verdict}{label.reason}{more}",
                outcome=outcome,
            )
        )

    async def login_page(self, request: web.Request) -> web.Response:
        """Where a token is asked for."""
        if IDENTITY in request:
            raise web.HTTPSeeOther("/")
        return self._writer.page(request, "login", wrong="", wanted=request.query.get("page", "/"))

    async def login(self, request: web.Request) -> web.Response:
        """Open a session for a right token."""
        form, peer = request[FORM], request.remote or ""
        if self._identities.blocked(peer):
            raise Refusal(429, "Too many wrong tokens from this address. Wait a minute.")
        begun = self._identities.begin(form.get("token", "")[:256], peer)
        if begun is None:
            entry = Entry(ts=now_ms(), who="unknown", role="", way="", peer=peer, what="login", outcome="refused")
            self._audit.write(entry)
            wrong = "No such token, or it has ended. Check that all of it was pasted."
            wanted = form.get("page", "/")
            return self._writer.page(request, "login", status=401, wrong=wrong, wanted=wanted)
        identity, cookie = begun
        self._audit.write(
            Entry(ts=now_ms(), who=identity.name, role=identity.role, way=identity.way, peer=peer, what="login")
        )
        response = web.Response(status=303, headers={"Location": back(form, done="")})
        # Lax and not Strict: a link from a pager must open the page, and no GET changes anything.
        response.set_cookie(
            COOKIE,
            cookie,
            max_age=SESSION_MS // 1000,
            httponly=True,
            samesite="Lax",
            secure=self._context.settings.secure,
            path="/",
        )
        return response

    async def logout(self, request: web.Request) -> web.Response:
        """End the session."""
        identity = request[IDENTITY]
        self._identities.end(request)
        self._audit.write(
            Entry(
                ts=now_ms(),
                who=identity.name,
                role=identity.role,
                way=identity.way,
                peer=request.remote or "",
                what="logout",
            )
        )
        response = web.Response(status=303, headers={"Location": "/"})
        response.del_cookie(COOKIE, path="/")
        return response

    async def theme(self, request: web.Request) -> web.Response:
        """Keep the colours somebody chose."""
        form = request[FORM]
        chosen = form.get("theme", "")
        response = web.Response(status=303, headers={"Location": back(form, done="")})
        response.set_cookie(
            "theme", chosen if chosen in THEMES else "", max_age=YEAR_S, httponly=True, samesite="Lax", path="/"
        )
        return response


def _label_of(form: dict[str, Any], identity: Identity) -> Label:
    """What a form asks for, where this person may ask for it."""
    kind = form.get("kind", "")
    subject = {name: unquote(form[name]) for name in SUBJECTS if form.get(name)}
    if form.get("field") in SUBJECTS and form.get("value"):
        subject[form["field"]] = form["value"]  # as somebody has typed it
    need = needed(kind, subject)
    if need is None:
        raise Refusal(400, "The console does not know this action.")
    if not identity.may(need):
        raise Refusal(403, f"Your role, {identity.role}, may not do this. Ask somebody whose role does.")
    hours = form.get("hours", "")
    expires = None
    if kind in LASTING:
        if not re.fullmatch(r"[1-9]\d{0,3}", hours) or int(hours) > HOURS_MAX:
            raise Refusal(400, "Say for how long: a number of hours, at most a year.")
        expires = now_ms() + int(hours) * HOUR_MS
    verdict = form.get("verdict") if kind == "close" else None
    try:
        return new_label(
            kind, subject, who=identity.name, reason=form.get("reason", ""), expires=expires, verdict=verdict
        )
    except ConfigError as error:
        raise Refusal(400, f"Nothing was done: {error}.") from error


def back(form: dict[str, Any], *, done: str) -> str:
    """Where a form was sent from, if that is a page of ours; else the list."""
    try:
        url = URL(form.get("page", "/"))
    except ValueError:
        url = URL("/")
    if url.is_absolute() or url.path not in PAGES:
        url = URL("/")
    return str(url.update_query(done=done) if done else url)
