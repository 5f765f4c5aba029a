"""The page on which rules are changed: what would change is shown first, and applied only as it was shown.

What lives here: reading the form, the check, the difference, applying. What does not: where rules are kept
(``rules_store``), and the page that only shows them (``pages``).
"""

from __future__ import annotations

from typing import Any, cast

import msgspec
from aiohttp import web

from models.alert import Mode
from models.rules import MODES, RULE_IDS, RuleId, Rules
from streams import rules_file
from streams.console.audit import Audit, Entry, Outcome
from streams.console.guard import FORM, IDENTITY, Refusal
from streams.console.rules_store import Live, RulesStore, StoreError
from streams.console.rules_view import changed, shadow_against_live
from streams.console.writer import Writer, now_ms
from streams.rules_text import changes, rendered

REASON_MAX = 1_000


class RulesPage:
    """Handler of the form; everything it does is in the audit log before it is tried."""

    def __init__(self, writer: Writer, audit: Audit) -> None:
        self._writer = writer
        self._audit = audit

    async def change(self, request: web.Request) -> web.Response:
        """Show what rules would change, or apply what was shown."""
        form, store = request[FORM], self._writer.context.store
        if store is None:
            raise Refusal(
                409, "This console was given no place to put rules: start it with --brokers, or --rules FILE."
            )
        try:
            live = await store.live()
        except StoreError as error:
            raise Refusal(503, f"Nothing was done: {error}.") from error
        text = _text_of(form, live)
        found = rules_file.parse(text.encode(), store.tenant)
        if found.rules is None or form.get("apply") != "yes":
            return self._preview(request, live, text, found)
        await self._apply(request, store, live, (text, found.rules))
        raise web.HTTPSeeOther("/rules?done=rules")

    def _preview(self, request: web.Request, live: Live, text: str, found: rules_file.Read) -> web.Response:
        desk, shadow = self._writer.context.desk, self._writer.context.shadow
        rows = changes(live.rules, found.rules) if found.rules else []
        told = shadow_against_live(desk.desk.cases.values(), shadow.desk.cases.values()) if shadow else []
        return self._writer.page(
            request,
            "change",
            status=422 if found.problems else 200,
            problems=found.problems,
            rows=[changed(row) for row in rows],
            text=text,
            same=found.rules is not None and text == live.text,
            base=live.rules.digest,
            live=live.rules.label,
            label=found.rules.label if found.rules else "",
            told=told if any(row["name"].endswith("mode") for row in rows) else [],
        )

    async def _apply(self, request: web.Request, store: RulesStore, live: Live, new: tuple[str, Rules]) -> None:
        form, (text, rules) = request[FORM], new
        reason = form.get("reason", "")[:REASON_MAX]
        if not reason:
            raise Refusal(400, "Nothing was done: say why. Whoever comes after you reads it.")
        if form.get("base") != live.rules.digest:
            raise Refusal(409, "Nothing was done: the rules have changed since you looked. Go back and look again.")
        rows = changes(live.rules, rules)
        what = f"{live.rules.label} -> {rules.label}: {reason} ({len(rows)} changes: "
        what += ", ".join(row["name"] for row in rows[:10]) + ")"
        self._note(request, rules, what, "asked")
        try:
            await store.put(text, rules)
        except StoreError as error:
            self._note(request, rules, f"{error}", "failed")
            raise Refusal(503, f"The rules were not changed: {error}.") from error

    def _note(self, request: web.Request, rules: Rules, detail: str, outcome: Outcome) -> None:
        who = request[IDENTITY]
        entry = Entry(
            ts=now_ms(),
            who=who.name,
            role=who.role,
            way=who.way,
            peer=request.remote or "",
            what="rules",
            subject={"rules": rules.label},
            detail=detail,
            outcome=outcome,
        )
        self._audit.write(entry)


def _text_of(form: dict[str, Any], live: Live) -> str:
    """The text that a form means: the one that was sent, or that in force with the mode of one rule changed."""
    rule, mode = form.get("rule"), form.get("mode")
    if rule is None:
        text = form.get("file") or form.get("text") or ""
        return str(text).replace("\r\n", "\n")
    if rule not in (*RULE_IDS, "all") or mode not in MODES:
        raise Refusal(400, "There is no such rule or mode.")
    if live.of_others:
        raise Refusal(409, "This file also holds the rules of other tenants: change its text below the table.")
    return rendered(with_mode(live.rules, cast("RuleId", rule), mode))


def with_mode(rules: Rules, rule: str, mode: Mode) -> Rules:
    """The rules with one rule, or all of them, in another mode."""
    if rule == "all":
        return msgspec.structs.replace(rules, mode=mode)
    return msgspec.structs.replace(rules, **{rule: msgspec.structs.replace(getattr(rules, rule), mode=mode)})
