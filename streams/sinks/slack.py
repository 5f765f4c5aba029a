"""A notification as a message of Slack: a text for the lock screen and blocks for the channel.

What lives here: the message, within Slack's limits. What does not: sending. Everything that is not ours is escaped:
an account called ``<!channel>`` must not ring the channel.
"""

from __future__ import annotations

from typing import Any

from models.cases import Notification
from streams.sinks.bodies import Links, cut, evidence_lines, stamp, subject_of

HEADER_MAX = 150
SECTION_MAX = 2_900  # of 3,000, as escaping lengthens
MEMBERS_SHOWN = 5
MARKS = {"firing": "🔴", "update": "🟠", "resolved": "🟢", "summary": "🌊"}


def escaped(text: str, most: int = SECTION_MAX) -> str:
    """Text as Slack shows it letter by letter: no mentions, links or formatting of its own."""
    plain = cut(text, most).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return plain[:most].rsplit("&", 1)[0] if len(plain) > most else plain


def _code(text: str) -> str:
    return f"`{escaped(text.replace('`', ''), 128)}`"


def message(notice: Notification, links: Links) -> dict[str, Any]:
    """The body for an incoming webhook."""
    title = f"{MARKS[notice.kind]} [{notice.severity}] {_title(notice)}"
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": {"type": "plain_text", "text": cut(title, HEADER_MAX), "emoji": True}},
        _section(escaped(notice.text)),
    ]
    if notice.case is not None and notice.kind != "resolved":
        blocks += _details(notice)
    if foot := _foot(notice, links):
        blocks.append({"type": "context", "elements": [{"type": "mrkdwn", "text": foot}]})
    text = escaped(f"[{notice.severity}] {_title(notice)}: {notice.text}")
    return {"text": text, "blocks": blocks, "unfurl_links": False, "unfurl_media": False}


def _title(notice: Notification) -> str:
    if notice.case is None:
        return "many alerts at once"
    what = {"firing": "opened", "update": "grew or changed", "resolved": "is over"}[notice.kind]
    return f"{notice.case.alert.rule.replace('_', ' ')} {what}: {subject_of(notice.case.alert)}"


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}


def _details(notice: Notification) -> list[dict[str, Any]]:
    assert notice.case is not None  # noqa: S101  asked by the caller
    alert = notice.case.alert
    facts = {
        "Accounts": f"{alert.accounts:,}",
        "Requests, 24 h": f"{alert.requests:,}",
        "Score": f"{alert.score:g}",
        "Mode": alert.mode,
        "First seen": stamp(alert.first_seen)[:16].replace("T", " "),
    }
    blocks = [
        {"type": "section", "fields": [{"type": "mrkdwn", "text": f"*{name}*\n{fact}"} for name, fact in facts.items()]}
    ]
    against = [f"• against: {escaped(line, 350)}" for line in evidence_lines(alert.counter_evidence, 2)]
    lines = [f"• {escaped(line, 350)}" for line in evidence_lines(alert.evidence, 4)] + against
    if lines:
        blocks.append(_section("\n".join(lines)))
    if alert.members_sample:
        blocks.append(_section("Members: " + ", ".join(map(_code, alert.members_sample[:MEMBERS_SHOWN]))))
    return blocks


def _foot(notice: Notification, links: Links) -> str:
    parts = []
    if url := links.case(notice):
        parts.append(f"<{escaped(url, 1_000)}|Open in the console>")
    if notice.case is not None:
        runbook = links.runbook(notice.case.alert)
        parts.append(f"<{escaped(runbook, 1_000)}|Runbook>" if "://" in runbook else f"Runbook: {escaped(runbook)}")
    return "  ·  ".join(parts)
