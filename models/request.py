"""One request event as it stands in JSON: the canonical form that every adapter maps to.

What lives here: names, types and ranges of the fields. What does not: columns (``columns``) and other producers'
forms (``adapters``). Fields of the contract that no evidence reads yet (``country`` among them, which is never
evidence) are known by name and skipped by the parser.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Annotated, Any, Final

import msgspec

from models import reasons
from models.limits import (
    COUNT_MAX,
    ID_BYTES_MAX,
    PROMPT_CHARACTERS_MAX,
    SKETCH_BYTES_MAX,
    TIME_MAX_MS,
    TIME_MIN_MS,
)
from models.messages import Content, Message, last_turn

Id = Annotated[str, msgspec.Meta(min_length=1, max_length=ID_BYTES_MAX)]
Time = Annotated[int, msgspec.Meta(ge=TIME_MIN_MS, le=TIME_MAX_MS)]
Count = Annotated[int, msgspec.Meta(ge=0, le=COUNT_MAX)] | None


class Request(msgspec.Struct, gc=False):
    """A request event; one of ``prompt``, ``messages`` and ``sketch`` is there in a valid one.

    ``ts`` in ms since the epoch; ``account_created`` in ms or as ISO 8601 text; ``sketch`` in base64.
    """

    event_id: Id
    ts: Time
    account_id: Id
    model: str
    prompt: str | None = None
    org_id: str | None = None
    conversation_id: str | None = None
    turn: Count = None
    system: Content = None
    input_tokens: Count = None
    output_tokens: Count = None
    status: Count = None
    client_ip: str | None = None
    user_agent: str | None = None
    ja4: str | None = None
    payment_id: str | None = None
    email_domain: str | None = None
    api_key_id: str | None = None
    plan: str | None = None
    account_created: int | str | None = None
    tools: Any = None
    refused: bool | None = None
    messages: list[Message] | None = None
    sketch: str | None = None


SKIPPED: Final = frozenset(["operation", "max_tokens", "temperature", "n", "logprobs", "latency_ms", "asn", "country"])
"""Names of the contract that decoding skips."""

FIELDS: Final = Request.__struct_fields__
"""Names of the contract that decoding reads."""

KNOWN: Final = frozenset(FIELDS) | SKIPPED
"""Every name of the contract; any other is counted as unknown."""


def settle(request: Request) -> str | None:
    """Bring a parsed request to its final form in place: messages become prompt, system and turn.

    Returns:
        The reason to refuse it, or None.
    """
    if not (request.event_id.isprintable() and request.account_id.isprintable()):
        return reasons.ID_CONTROL_CHARACTERS
    if _bytes_over(request.event_id) or _bytes_over(request.account_id):
        return reasons.ID_LENGTH
    if request.messages is not None:
        _read_messages(request, request.messages)
    prompt = request.prompt
    if prompt is None:
        if request.sketch is None:
            return "missing_prompt"
        return None if _is_sketch(request.sketch) else reasons.BAD_SKETCH
    if len(prompt) > PROMPT_CHARACTERS_MAX:
        half = PROMPT_CHARACTERS_MAX // 2
        request.prompt = f"{prompt[:half]} {prompt[-half:]}"
    return None


def all_settled(requests: Sequence[Request]) -> bool:
    """Whether ``settle`` would leave every request as it is; in doubt False. A few times cheaper than asking each."""
    ids = "".join([request.event_id for request in requests]) + "".join([request.account_id for request in requests])
    if not (ids.isascii() and ids.isprintable()):  # an id of one byte a character was measured by the parser
        return False
    prompts = [request.prompt for request in requests if request.messages is None and request.prompt is not None]
    return len(prompts) == len(requests) and max(map(len, prompts), default=0) <= PROMPT_CHARACTERS_MAX


def _bytes_over(text: str) -> bool:
    return not text.isascii() and len(text.encode()) > ID_BYTES_MAX


def _read_messages(request: Request, messages: list[Message]) -> None:
    """Fields the event gives itself win over what its messages say."""
    said = last_turn(messages)
    if request.prompt is None:
        request.prompt = said.prompt
    if not request.system:
        request.system = said.system
    if request.turn is None and said.turn:
        request.turn = said.turn
    request.messages = None


def _is_sketch(text: str) -> bool:
    """Whether ``text`` is base64 of a bounded size; what is inside is judged by ``sketch``."""
    if not text or len(text) > SKETCH_BYTES_MAX * 4 // 3 + 4:
        return False
    try:
        base64.b64decode(text, validate=True)
    except ValueError:
        return False
    return True
