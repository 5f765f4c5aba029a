"""Other producers' request logs, mapped to the canonical request.

What lives here: how a record's form is recognised, and the table of forms. What does not: each form's names
(``litellm``, ``otel``, ``glasswally``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from models.adapters import glasswally, litellm, otel
from models.adapters.mapping import Adapter, Fields, chosen
from models.request import FIELDS

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


def mappings(record: Fields, format: str = "auto") -> Iterator[tuple[str, dict[str, str]]]:
    """What each request in a JSON object is read from: its form, and canonical field -> name in the record."""
    name = detect(record) if format == "auto" else format
    if name in ADAPTERS:
        for fields in ADAPTERS[name].expand(record):
            yield name, chosen(fields, ADAPTERS[name].sources)
    elif name:
        present = {field for field, value in record.items() if value not in (None, "", [], {})}
        yield name, {field: field for field in FIELDS if field in present}
