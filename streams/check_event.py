"""What we make of a producer's records: which fields are read from what, which are missing, and what was refused.

What lives here: the report of ``check-event``. What does not: decoding (``models.decode``). Texts of prompts are
never shown, only their lengths.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

import msgspec
import numpy as np

from models import reasons
from models.adapters import mappings
from models.decode import Decoded, Decoder
from models.guard import refusal
from models.hashing import KeyedHash
from models.limits import RECORD_BYTES_MAX
from models.request import FIELDS
from streams.records import RecordFile

WEAKENS: Final = {
    "org_id": "keys of one organisation count as separate customers, so batch jobs look more like campaigns",
    "conversation_id": "follow-up turns cannot be told from new conversations",
    "turn": "first turns cannot be told from later ones",
    "system": "traffic of one product under one system prompt cannot be recognised as such",
    "input_tokens": "volume is judged by requests only",
    "output_tokens": "volume is judged by requests only",
    "status": "retries and blocked requests look like new ones",
    "client_ip": "accounts behind one network are not linked",
    "user_agent": "accounts with one rare client are not linked",
    "ja4": "clients are told apart by their user agent only",
    "payment_id": "accounts that share a payment are not linked",
    "email_domain": "accounts of one rare mail domain are not linked",
    "api_key_id": "a single key of an account cannot be put on the allowlist",
    "plan": "limits of account rules cannot differ by plan",
    "account_created": "bursts of new accounts are not seen",
    "tools": "agents with tools look like plain chat",
    "refused": "probing for refusals is not seen",
}
"""Optional field -> what its absence costs."""

_HINTS = {
    reasons.TIME_RANGE: "ts is integer milliseconds since 1970 in UTC; is it in seconds?",
    "wrong_type_ts": "ts is integer milliseconds since 1970 in UTC, without quotes or a fraction",
    "missing_prompt": "give the last user turn as prompt, or messages, or an edge's sketch",
    "missing_account_id": "without an account nothing can be counted; see the mapping for the names looked for",
    reasons.UNKNOWN_FORMAT: "no known form has these keys; say --format, or map them to the canonical names",
    reasons.ID_CONTROL_CHARACTERS: "ids are printable text: no line breaks, escapes or invisible characters",
    reasons.NAN: "NaN and Infinity are not JSON; leave the field out",
    reasons.NO_REQUEST: "the record holds no model request (tool, agent and other spans are passed over)",
}


class FormatReport(msgspec.Struct):
    """One form found: requests sampled, canonical field -> {name it is read from: times}, fields never present."""

    requests: int
    mapped: dict[str, dict[str, int]]
    missing: dict[str, str]


class Report(msgspec.Struct):
    """The whole finding; ``examples`` is the first record of each reason, from 0.

    ``prompt_bytes`` is the least, median and greatest length of accepted texts.
    """

    path: str
    read: int
    accepted: int
    rejected: int
    formats: dict[str, FormatReport]
    rejects: dict[str, int]
    examples: dict[str, int]
    unknown: list[str]
    prompt_bytes: list[int]


def check_event(path: str, *, format: str = "auto", limit: int = 10_000) -> Report:
    """Decode up to about ``limit`` records of ``path`` and say what became of them.

    Raises:
        ConfigError: the file cannot be opened or the format does not exist.
    """
    # Nothing hashed leaves this function, so any secret serves.
    decoder = Decoder(KeyedHash(b"check-event"), format)
    report = Report(path, 0, 0, 0, {}, {}, {}, [], [])
    counts: dict[str, Counter[tuple[str, str]]] = {}
    sizes: list[int] = []
    taken = 0
    for batch in RecordFile(path).batches():
        decoded = decoder.decode(batch.records, batch.origin)
        decoded.rejects.extend(batch.rejects)
        _count(report, decoded)
        sizes.extend(int(size) for size in decoded.batch.prompt.lengths if size)
        for record in batch.records:
            _count_mappings(record, format, report.formats, counts)
        taken += len(batch.records)
        if taken >= limit:
            break
    for name, found in report.formats.items():
        found.mapped = _nested(counts[name])
        found.missing = {field: cost for field, cost in WEAKENS.items() if field not in found.mapped}
        if "messages" in found.mapped:
            found.missing.pop("turn", None)
    if sizes:
        report.prompt_bytes = [min(sizes), int(np.median(sizes)), max(sizes)]
    return report


def text_of(report: Report) -> str:
    """The report for people."""
    return "\n".join(_described(report)) + "\n"


def run(path: str, *, format: str = "auto", output: str = "human") -> int:
    """Print the report as text or, for ``output="json"``, as JSON.

    Returns:
        0 if every event was accepted and there was one, else 1.

    Raises:
        ConfigError: as ``check_event``.
    """
    report = check_event(path, format=format)
    if output == "json":
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(report)).decode() + "\n")
    else:
        sys.stdout.write(text_of(report))
    return 0 if report.accepted and not report.rejected else 1


def _count(report: Report, decoded: Decoded) -> None:
    report.read += decoded.read
    report.accepted += len(decoded.batch)
    report.rejected += len(decoded.rejects)
    report.unknown.extend(sorted(decoded.unknown))
    for reject in decoded.rejects:
        report.rejects[reject.reason] = report.rejects.get(reject.reason, 0) + 1
        report.examples.setdefault(reject.reason, reject.offset)


def _count_mappings(
    record: bytes, format: str, formats: dict[str, FormatReport], counts: dict[str, Counter[tuple[str, str]]]
) -> None:
    for name, mapped in _requests(record, format):
        formats.setdefault(name, FormatReport(0, {}, {})).requests += 1
        counts.setdefault(name, Counter()).update(mapped.items())


def _requests(record: bytes, format: str) -> Iterator[tuple[str, dict[str, str]]]:
    if refusal(record, RECORD_BYTES_MAX):
        return
    try:
        value: Any = msgspec.json.decode(record)
    except (ValueError, RecursionError):
        return
    for entry in value if isinstance(value, list) else [value]:
        if isinstance(entry, dict):
            yield from mappings(entry, format)


def _nested(counts: Counter[tuple[str, str]]) -> dict[str, dict[str, int]]:
    nested: dict[str, dict[str, int]] = {}
    for (field, name), times in counts.items():
        nested.setdefault(field, {})[name] = times
    return {field: nested[field] for field in FIELDS if field in nested}


def _described(report: Report) -> Iterator[str]:
    path = report.path if report.path.isprintable() else repr(report.path)
    yield f"{path}: {report.read} events read, {report.accepted} accepted, {report.rejected} rejected"
    if report.prompt_bytes:
        least, median, greatest = report.prompt_bytes
        yield f"prompt lengths: {least} to {greatest} bytes, median {median}"
    for name, found in report.formats.items():
        yield f"\nformat {name}: {found.requests} requests"
        for field, names in found.mapped.items():
            sources = ", ".join(f"{source} ({times})" for source, times in sorted(names.items()))
            yield f"  {field:<16} from {sources}"
        yield from (f"  {field:<16} missing: {cost}" for field, cost in found.missing.items())
    if report.unknown:
        yield f"\nunknown names, not read: {', '.join(report.unknown)}"
    for reason, times in sorted(report.rejects.items(), key=lambda entry: -entry[1]):
        hint = f": {_HINTS[reason]}" if reason in _HINTS else ""
        yield f"rejected {times} x {reason}, first in record {report.examples[reason] + 1}{hint}"
