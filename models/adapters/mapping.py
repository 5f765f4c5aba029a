"""How a table of names turns one flat record into the canonical fields.

What lives here: choosing the first name that is present, and plain conversions. What does not: the tables.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Final

from models.columns import time_ms
from models.event import MISSING
from models.limits import COUNT_MAX

Fields = dict[str, Any]
Sources = Mapping[str, tuple[str, ...]]

_COUNTS: Final = frozenset(["turn", "input_tokens", "output_tokens", "status"])
_AS_IS: Final = frozenset(["messages", "system", "prompt", "tools", "refused", "account_created"])
_MILLISECONDS_FROM = 1e11  # seconds reach this in the year 5138, milliseconds did in 1973


@dataclasses.dataclass(frozen=True)
class Adapter:
    """One producer's form.

    Attributes:
        sources: canonical field -> names in the flat record, the first present one wins.
        markers: sets of top-level keys, any of which gives the form away.
        ignored: names of the form that carry nothing we read.
        expand: top-level object -> flat records, one per request.
        request: flat record -> canonical fields.
        names: every name of the form that is no surprise.
    """

    sources: Sources
    markers: tuple[frozenset[str], ...]
    ignored: frozenset[str]
    expand: Callable[[Fields], list[Fields]]
    request: Callable[[Fields], Fields]
    names: frozenset[str] = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", self.ignored.union(*self.sources.values()))


def chosen(fields: Fields, sources: Sources) -> dict[str, str]:
    """Canonical field -> the name it is read from, for the fields that are present."""
    picked = {}
    for field, names in sources.items():
        for name in names:
            if (value := fields.get(name)) is not None and value not in ("", [], {}):
                picked[field] = name
                break
    return picked


def canonical(fields: Fields, sources: Sources) -> Fields:
    """The canonical fields of a flat record; an optional value of no use is left out, which weakens evidence only."""
    request: Fields = {}
    for field, name in chosen(fields, sources).items():
        value = _convert(field, fields[name])
        if value is not None:
            request[field] = value
    return request


def flattened(record: Fields, parents: tuple[str, ...]) -> Fields:
    """``record`` with the objects under ``parents`` spread out as ``parent.child``."""
    flat = dict(record)
    for parent in parents:
        children = flat.pop(parent, None)
        if isinstance(children, dict):
            flat.update({f"{parent}.{name}": value for name, value in children.items()})
    return flat


def moment_ms(value: Any) -> int | None:
    """A time in ms from seconds, milliseconds (told apart by size), their texts, or ISO 8601 text; None if neither."""
    if isinstance(value, str):
        number = _number(value)
        value = value if number is None else number
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if not isinstance(value, str):
        value = value * 1000 if abs(value) < _MILLISECONDS_FROM else value
    moment = time_ms(value)
    return None if moment == MISSING else moment


def _convert(field: str, value: Any) -> Any:
    if field in _AS_IS:
        return value
    if field == "ts":
        return moment_ms(value)
    if field in _COUNTS:
        number = _number(value) if not isinstance(value, bool) else None
        return int(number) if number is not None and 0 <= number <= COUNT_MAX else None
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    return str(value)


def _number(value: Any) -> float | None:
    """A finite number, or None; texts are read as numbers only where they are short."""
    if not isinstance(value, str | int | float) or (isinstance(value, str) and len(value) > 32):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if abs(number) < float("inf") else None
