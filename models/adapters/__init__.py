"""Other producers' request logs, mapped to the canonical request.

What lives here: how a record's form is recognised, and the table of forms. What does not: each form's names
(``litellm``, ``otel``, ``glasswally``).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from models.adapters import glasswally, litellm, otel
from models.adapters.mapping import Adapter

ADAPTERS: Final[dict[str, Adapter]] = {
    "litellm": litellm.ADAPTER,
    "otel": otel.ADAPTER,
    "glasswally": glasswally.ADAPTER,
}

FORMATS: Final = ("auto", "canonical", *ADAPTERS)
"""What a decoder may be told to expect."""

_CANONICAL_ANY = frozenset(["account_id", "prompt"])


def detect(record: Iterable[Any]) -> str | None:
    """The form of a JSON object by its keys alone, or None; the same keys give the same answer in any stream."""
    keys = frozenset(record)
    if "event_id" in keys or "ts" in keys:
        return "canonical"
    for name, adapter in ADAPTERS.items():
        if any(marker <= keys for marker in adapter.markers):
            return name
    return "canonical" if _CANONICAL_ANY & keys else None
