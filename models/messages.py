"""Conversations in the shapes that APIs use, reduced to the last user turn, the system text and the turn number.

What lives here: OpenAI, Anthropic and OpenTelemetry GenAI messages, whose content is a text or a list of parts.
What does not: what the texts mean (``sketch``).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

_USER = frozenset(["user", "human"])
_SYSTEM = frozenset(["system", "developer"])
_TEXT_PARTS = frozenset([None, "text", "input_text"])


class Part(msgspec.Struct, gc=False):
    """One piece of a message; OpenAI and Anthropic put its text in ``text``, OpenTelemetry in ``content``."""

    type: str | None = None
    text: Any = None
    content: Any = None


Content = str | list[Part | str] | None


class Message(msgspec.Struct, gc=False):
    """One message of any role; OpenTelemetry calls its content ``parts``."""

    role: str | None = None
    content: Content | Part = None
    parts: Content = None


class Turn(NamedTuple):
    """What a conversation says now: the last user text, the system text, and how many user texts there were."""

    prompt: str
    system: str
    turn: int


def text_of(content: Content | Part) -> str:
    """The text of a content: parts that are images, tool results or reasoning have none."""
    if isinstance(content, str):
        return content
    if isinstance(content, Part):
        content = [content]
    return "\n".join(filter(None, map(_part_text, content or ())))


def last_turn(messages: list[Message]) -> Turn:
    """The last user text with its context; tool results in the user's role are not turns of the user.

    The turn is 0 where no message is the user's.
    """
    system = [text_of(message.content or message.parts) for message in messages if message.role in _SYSTEM]
    spoken = [text_of(message.content or message.parts) for message in messages if message.role in _USER]
    texts = [text for text in spoken if text]
    turn = len(texts) or min(1, len(spoken))
    return Turn(texts[-1] if texts else "", "\n".join(filter(None, system)), turn)


def _part_text(part: Part | str) -> str:
    if isinstance(part, str):
        return part
    if part.type not in _TEXT_PARTS:
        return ""
    text = part.text if part.text is not None else part.content
    return text if isinstance(text, str) else ""
