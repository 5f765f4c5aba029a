"""Why a record is refused: a closed set of short names, and how a parser's complaint becomes one of them.

What lives here: the names. They are metric labels and go to the rejects topic, so none may carry input. What does
not: the checks (``decode``, ``request``).
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

EMPTY_RECORD: Final = "empty_record"
TOO_LARGE: Final = "too_large"
TOO_DEEP: Final = "too_deep"
TOO_MANY_EVENTS: Final = "too_many_events"
NOT_UTF8: Final = "not_utf8"
BYTE_ORDER_MARK: Final = "byte_order_mark"
LONE_SURROGATE: Final = "lone_surrogate"
NAN: Final = "nan"
NUMBER_RANGE: Final = "number_range"
MALFORMED_JSON: Final = "malformed_json"
NOT_AN_OBJECT: Final = "not_an_object"
UNKNOWN_FORMAT: Final = "unknown_format"
NO_REQUEST: Final = "no_request"
TIME_RANGE: Final = "time_range"
TIME_FUTURE: Final = "time_future"
ID_LENGTH: Final = "id_length"
ID_CONTROL_CHARACTERS: Final = "id_control_characters"
BAD_SKETCH: Final = "bad_sketch"
TRUNCATED_ARCHIVE: Final = "truncated_archive"
CORRUPT_ARCHIVE: Final = "corrupt_archive"
POISON: Final = "poison"  # our own code raised on it

_PLAIN = (
    f"{EMPTY_RECORD} {TOO_LARGE} {TOO_DEEP} {TOO_MANY_EVENTS} {NOT_UTF8} {BYTE_ORDER_MARK} {LONE_SURROGATE} {NAN} "
    f"{NUMBER_RANGE} {MALFORMED_JSON} {NOT_AN_OBJECT} {UNKNOWN_FORMAT} {NO_REQUEST} {TIME_RANGE} {TIME_FUTURE} "
    f"{ID_LENGTH} {ID_CONTROL_CHARACTERS} {BAD_SKETCH} {TRUNCATED_ARCHIVE} {CORRUPT_ARCHIVE} {POISON}"
).split()
_REQUIRED = ("event_id", "ts", "account_id", "model", "prompt")
_TYPED_NAMES = (
    "event_id ts account_id model prompt messages sketch org_id conversation_id turn system input_tokens "
    "output_tokens status client_ip user_agent ja4 payment_id email_domain account_created tools refused"
)
_TYPED = frozenset(_TYPED_NAMES.split())

REASONS: Final[frozenset[str]] = frozenset(
    [*_PLAIN, "wrong_type"]
    + [f"missing_{name}" for name in _REQUIRED]
    + [f"wrong_type_{name}" for name in sorted(_TYPED)]
    + [f"range_{name}" for name in ("turn", "input_tokens", "output_tokens", "status")]
)
"""Every reason there is."""

_FIELD = re.compile(r"at `\$\.(\w+)")
_MISSING = re.compile(r"missing required field `(\w+)`")
_BYTE = re.compile(r"\(byte (\d+)\)")
_NOT_A_NUMBER = re.compile(rb"-?(?:NaN|Infinity)\b")
_SURROGATE = re.compile(rb"\\u[dD][89aAbB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])")
_IDS = frozenset(["event_id", "account_id"])


def reason_of(error: Exception, record: bytes) -> str:
    """The reason, out of ``REASONS``, for what a msgspec decoder raised on ``record``."""
    if isinstance(error, RecursionError):
        return TOO_DEEP
    if isinstance(error, UnicodeError):
        return NOT_UTF8
    text = str(error)
    if isinstance(error, msgspec.ValidationError):
        return _invalid(text)
    if record.startswith(b"\xef\xbb\xbf"):
        return BYTE_ORDER_MARK
    if "surrogate" in text or _SURROGATE.search(record):
        return LONE_SURROGATE
    at = _BYTE.search(text)
    start = max(0, int(at[1]) - 1) if at else 0
    if at and any(_NOT_A_NUMBER.match(record, place) for place in (start, start + 1)):
        return NAN
    return MALFORMED_JSON


def _invalid(text: str) -> str:
    """The reason for well-formed JSON of the wrong shape; only names of our own fields reach it."""
    missing = _MISSING.search(text)
    if missing:
        return f"missing_{missing[1]}" if missing[1] in _REQUIRED else "wrong_type"
    found = _FIELD.search(text)
    field = found[1] if found else ""
    if "out of range" in text and field not in _TYPED:
        return NUMBER_RANGE
    if "`object`, got" in text and not found:
        return NOT_AN_OBJECT
    if "of length" in text and field in _IDS:
        return ID_LENGTH
    bounded = "out of range" in text or "<=" in text or ">=" in text
    if bounded and field == "ts":
        return TIME_RANGE
    name = f"range_{field}" if bounded else f"wrong_type_{field}"
    return name if name in REASONS else "wrong_type"
