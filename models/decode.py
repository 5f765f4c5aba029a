"""Bytes to events: every record becomes request events or rejects, and nothing raises.

What lives here: the order of checks, the fast path of the canonical form, and the count of what was read. What does
not: names of other forms (``adapters``), hashing of fields (``columns``), reading files or topics (``streams``).

A record is one Kafka message or one line. It holds one event, or several (an array, an OTLP batch); a record that
cannot be parsed counts as one. So ``read = accepted + rejected``, in events, always. What a record becomes depends on
its bytes alone: not on the records around it, nor on the batch it came in.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from models import reasons
from models.adapters import ADAPTERS, FORMATS, detect
from models.columns import TEXTS, EventColumns, time_ms
from models.errors import ConfigError
from models.event import MISSING, EventBatch, Reject
from models.flat import Flat, FlatReader
from models.guard import refusals
from models.hashing import KeyedHash
from models.limits import EVENTS_PER_RECORD_MAX, RECORD_BYTES_MAX, TIME_MAX_MS, TIME_MIN_MS, UNKNOWN_NAMES_MAX
from models.messages import Content, text_of
from models.network import network_of, network_text
from models.request import FIELDS, KNOWN, Request, all_settled, settle
from models.strings import Strings

__all__ = ["Decoded", "Decoder", "Origin", "network_of", "network_text"]

_SAMPLED_FIRST: Final = 512
_SAMPLED_EVERY: Final = 64  # a plain parse costs about 4 us: 0.06 us an event on average
_INTEGERS: Final = ("ts", "turn", "input_tokens", "output_tokens", "status")
_NAME = re.compile(r"[A-Za-z0-9_.:/-]{1,64}")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a batch of records came from; ``offsets`` where they do not simply count up from ``offset_first``."""

    topic: str
    partition: int
    offset_first: int
    offsets: Sequence[int] | None = None

    def offset_of(self, row: int) -> int:
        """The offset (in a file: the line, from 0) of record ``row`` of the batch."""
        return self.offset_first + row if self.offsets is None else int(self.offsets[row])


@dataclass(frozen=True, slots=True)
class Decoded:
    """What a batch of records became.

    ``rows`` is int64 of shape ``(len(batch),)``: the index of each event's record. ``unknown`` names the fields that
    were first met in this batch. ``formats`` counts accepted events by form.
    """

    batch: EventBatch
    rejects: list[Reject]
    unknown: dict[str, int]
    rows: npt.NDArray[np.int64]
    formats: dict[str, int]

    @property
    def read(self) -> int:
        """Events seen: accepted and rejected."""
        return len(self.batch) + len(self.rejects)


class Decoder:
    """Decodes batches of records; its only state is the set of unknown names already reported.

    Args:
        keyed_hash: under whose secret fields are hashed.
        format: one of ``FORMATS``; ``auto`` recognises each record by its keys.
        record_bytes_max: larger records are refused unread.

    Raises:
        ConfigError: the format does not exist.
    """

    def __init__(
        self, keyed_hash: KeyedHash, format: str = "auto", *, record_bytes_max: int = RECORD_BYTES_MAX
    ) -> None:
        if format not in FORMATS:
            raise ConfigError(f"format {format!r} does not exist; use one of {', '.join(FORMATS)}")
        self.columns = EventColumns(keyed_hash)
        self._flat = FlatReader(self.columns)
        self._format = format
        self._bytes_max = record_bytes_max
        self._typed = msgspec.json.Decoder(Request)
        self._plain = msgspec.json.Decoder()
        self._reported: set[str] = set()
        self._decoded = 0

    def decode(self, records: Sequence[bytes | None], origin: Origin) -> Decoded:
        """Decode ``records``; cost is linear in their bytes, and a bad record costs only itself."""
        work = _Work()
        flat = self._flat.read(records, self._bytes_max) if self._format in ("auto", "canonical") else None
        rows = range(len(records)) if flat is None else np.flatnonzero(~flat[1]).tolist()
        if rows:
            self._decode_rows(records, rows, work)
        others = sum(work.formats.values())
        canonical = len(work.requests) - others + (0 if flat is None else len(flat[0]))
        if canonical:
            work.formats["canonical"] = canonical
        accepted = np.zeros(len(records), np.bool_) if flat is None else flat[1].copy()
        accepted[work.rows] = True
        self._sample(records, accepted, work)
        return self._finish(records, origin, work, flat)

    def _decode_rows(self, records: Sequence[bytes | None], rows: Sequence[int], work: _Work) -> None:
        """Decode the records at ``rows`` with the parser."""
        chosen = records if len(rows) == len(records) else [records[row] for row in rows]
        refused = {rows[at]: reason for at, reason in refusals(chosen, self._bytes_max).items()}
        for row, reason in refused.items():
            work.refuse(row, reason)
        rest = [(row, record or b"") for row, record in zip(rows, chosen, strict=True) if row not in refused]
        if self._format in ("auto", "canonical"):
            self._decode_typed(rest, work)
        else:
            for row, record in rest:
                self._decode_other(record, row, work)

    def _decode_typed(self, records: list[tuple[int, bytes]], work: _Work) -> None:
        """Decode records most of which are one canonical event each; their settling waits for the end."""
        decode, requests, rows = self._typed.decode, work.requests, work.rows
        for row, record in records:
            try:
                requests.append(decode(record))
            except (ValueError, RecursionError):
                self._decode_other(record, row, work)
            else:
                rows.append(row)
        if not all_settled(requests):
            work.requests, work.rows = [], []
            for row, request in zip(rows, requests, strict=True):
                work.settle(row, request)

    def _decode_other(self, record: bytes, row: int, work: _Work) -> None:
        """Decode a record that is not one canonical event: another form, an array, or a bad record."""
        try:
            value = self._plain.decode(record)
        except (ValueError, RecursionError) as error:
            work.refuse(row, reasons.reason_of(error, record))
            return
        entries = value if isinstance(value, list) else [value]
        if len(entries) > EVENTS_PER_RECORD_MAX:
            work.refuse(row, reasons.TOO_MANY_EVENTS)
            return
        before = work.counted
        for entry in entries:
            if isinstance(entry, dict):
                self._decode_object(entry, row, work)
            else:
                work.refuse(row, reasons.NOT_AN_OBJECT)
        if work.counted == before:
            work.refuse(row, reasons.NO_REQUEST)

    def _decode_object(self, entry: dict[str, Any], row: int, work: _Work) -> None:
        name = detect(entry) if self._format == "auto" else self._format
        if name is None:
            work.refuse(row, reasons.UNKNOWN_FORMAT)
            return
        if name == "canonical":
            self._note(entry.keys() - KNOWN, work)
            self._convert(entry, row, work)
            return
        adapter = ADAPTERS[name]
        for fields in adapter.expand(entry):
            self._note(fields.keys() - adapter.names, work)
            if self._convert(adapter.request(fields), row, work):
                work.formats[name] = work.formats.get(name, 0) + 1

    def _convert(self, fields: dict[str, Any], row: int, work: _Work) -> bool:
        """Accept or refuse one event of canonical fields; says which."""
        try:
            request = msgspec.convert(fields, Request)
        except (ValueError, RecursionError) as error:
            work.refuse(row, reasons.reason_of(error, b""))
            return False
        return work.settle(row, request)

    def _sample(self, records: Sequence[bytes | None], accepted: npt.NDArray[np.bool_], work: _Work) -> None:
        """Look for unknown names in the first canonical records and then in every 64th."""
        start, stop = self._decoded, self._decoded + len(records)
        self._decoded = stop
        first = range(start, min(stop, _SAMPLED_FIRST))
        later = range(-(-max(start, _SAMPLED_FIRST) // _SAMPLED_EVERY) * _SAMPLED_EVERY, stop, _SAMPLED_EVERY)
        for row in [index - start for chosen in (first, later) for index in chosen]:
            if not accepted[row]:
                continue
            try:
                value = self._plain.decode(records[row] or b"")
            except (ValueError, RecursionError):  # an unknown field the fast path skipped unread
                continue
            if isinstance(value, dict) and detect(value) == "canonical":
                self._note(value.keys() - KNOWN, work)

    def _note(self, names: set[str] | frozenset[str], work: _Work) -> None:
        """Count each unknown name once; a name that could hold a text is counted without being repeated."""
        for name in names:
            shown = name if _NAME.fullmatch(name) else "(unprintable)"
            if shown not in self._reported and len(self._reported) < UNKNOWN_NAMES_MAX:
                self._reported.add(shown)
                work.unknown[shown] = 1

    def _finish(self, records: Sequence[bytes | None], origin: Origin, work: _Work, flat: Flat | None) -> Decoded:
        refused = sorted(work.refused, key=itemgetter(0))
        contents = [records[row] or b"" for row, _ in refused]
        digests = self.columns.hashes("reject", Strings.of_bytes(contents)).tolist()
        rejects = [
            Reject(reason, origin.topic, origin.partition, origin.offset_of(row), f"{digest:016x}", len(content))
            for (row, reason), content, digest in zip(refused, contents, digests, strict=True)
        ]
        batch, rows = to_batch(work.requests, self.columns), np.array(work.rows, np.int64)
        if flat is not None:
            batch, rows = _merged(batch, rows, flat)
        return Decoded(batch, rejects, work.unknown, rows, work.formats)


def _merged(parsed: EventBatch, rows: npt.NDArray[np.int64], flat: Flat) -> tuple[EventBatch, npt.NDArray[np.int64]]:
    """The events of both readers in the order of their records."""
    batch, taken = flat
    if not len(parsed):
        return batch, np.flatnonzero(taken)
    rows = np.concatenate([rows, np.flatnonzero(taken)])
    order = np.argsort(rows, kind="stable")
    return EventBatch.concat([parsed, batch]).take(order), rows[order]


class _Work:
    """What one call of ``decode`` has gathered so far."""

    __slots__ = ("formats", "refused", "requests", "rows", "unknown")

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.rows: list[int] = []
        self.refused: list[tuple[int, str]] = []
        self.unknown: dict[str, int] = {}
        self.formats: dict[str, int] = {}

    def refuse(self, row: int, reason: str) -> None:
        self.refused.append((row, reason))

    def settle(self, row: int, request: Request) -> bool:
        """Accept or refuse a parsed event; says which."""
        reason = settle(request)
        if reason is None:
            self.requests.append(request)
            self.rows.append(row)
        else:
            self.refused.append((row, reason))
        return reason is None

    @property
    def counted(self) -> int:
        return len(self.requests) + len(self.refused)


def to_batch(requests: list[Request], columns: EventColumns) -> EventBatch:
    """The columns of settled requests, in order."""
    if not requests:
        return EventBatch.empty()
    values = zip(*map(msgspec.structs.astuple, requests), strict=True)
    fields: dict[str, Sequence[Any]] = dict(zip(FIELDS, values, strict=True))
    fields["system"] = [_system(value) for value in fields["system"]]
    texts = {name: [value or "" for value in fields[name]] for name in TEXTS}
    numbers: dict[str, npt.NDArray[np.generic]] = {name: _integers(fields[name]) for name in _INTEGERS}
    numbers["account_created"] = _times(fields["account_created"])
    for name in ("refused", "tools"):
        numbers[name] = np.array([bool(value) for value in fields[name]], np.bool_)
    sketch = {
        row: base64.b64decode(request.sketch)
        for row, request in enumerate(requests)
        if request.sketch and not request.prompt
    }
    return columns.batch(texts, numbers, sketch=sketch)


def _system(content: Content) -> str:
    return content if isinstance(content, str) else text_of(content) if content else ""


def _times(values: Sequence[int | str | None]) -> npt.NDArray[np.int64]:
    return _integers(
        [
            value if isinstance(value, int) and TIME_MIN_MS <= value <= TIME_MAX_MS else time_ms(value)
            for value in values
        ]
    )


def _integers(values: Sequence[int | None]) -> npt.NDArray[np.int64]:
    """The values, ``MISSING`` where there is none."""
    return np.fromiter([MISSING if value is None else value for value in values], np.int64, len(values))
