"""From fields to the columns of an ``EventBatch``: the one place that says which namespace each text is hashed in.

What lives here: hashing, defaults of absent fields, and the bounds on what a column keeps. What does not: where the
fields come from (``decode`` for records, a simulator for columns it made itself).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

import numpy as np
import numpy.typing as npt

from models.event import MISSING, EventBatch
from models.hashing import KeyedHash
from models.limits import TIME_MAX_MS, TIME_MIN_MS
from models.network import network_of
from models.strings import Strings

Texts = Sequence[str] | Strings
Numbers = Mapping[str, npt.NDArray[np.generic]]
UInt64 = npt.NDArray[np.uint64]

TEXTS: Final = [
    "event_id",
    "account_id",
    "org_id",
    "prompt",
    "system",
    "conversation_id",
    "model",
    "client_ip",
    "user_agent",
    "ja4",
    "payment_id",
    "email_domain",
    "api_key_id",
    "plan",
]
"""Text fields of a batch; an empty text is an absent field."""

NUMBERS: Final = ["ts", "turn", "account_created", "input_tokens", "output_tokens", "status", "refused", "tools"]
"""Numeric fields of a batch; ``MISSING`` is an absent integer."""

_KEPT: Final = [name for name in TEXTS if name not in ("prompt", "client_ip", "user_agent", "ja4")]
"""Text fields that become one hash each."""


class EventColumns:
    """Builds batches under one secret; equal fields give equal columns wherever they came from.

    Each purpose has its own sub-key, so that equal texts in two fields cannot be linked (or mistaken: an
    organisation is never equal to an account of the same name).
    """

    __slots__ = ("_hashes",)

    def __init__(self, keyed_hash: KeyedHash) -> None:
        names = [*TEXTS, "reject"]
        self._hashes = {name: keyed_hash.derive(b"event:" + name.encode()) for name in names}

    def hashes(self, name: str, texts: Strings) -> UInt64:
        """Hash the column of field ``name``: uint64 of shape ``(n,)``, 0 where absent."""
        if len(texts.data) == 0:
            return np.zeros(len(texts), np.uint64)
        return self._hashes[name].strings(texts)

    def batch(
        self, texts: Mapping[str, Texts], numbers: Numbers, *, sketch: dict[int, bytes] | None = None
    ) -> EventBatch:
        """Build a batch of ``n`` events from columns of length ``n``.

        Args:
            texts: by name out of ``TEXTS``; a column left out is absent from every event.
            numbers: by name out of ``NUMBERS``; ``ts`` is required.
            sketch: packed edge sketches by row.
        """
        count = len(numbers["ts"])
        empty = Strings(np.zeros(0, np.uint8), np.zeros(count + 1, np.int64))
        columns = {name: empty if texts.get(name) is None else _strings(texts[name]) for name in TEXTS}
        columns["email_domain"] = _lowered(columns["email_domain"])
        hashes = {name: self.hashes(name, columns[name]) for name in _KEPT}
        organisation = hashes["org_id"]
        return EventBatch(
            ts=numbers["ts"].astype(np.int64),
            event=hashes["event_id"] ^ hashes["account_id"],  # of one account: partitions would else differ
            account=hashes["account_id"],
            account_id=columns["account_id"],
            customer=np.where(organisation == 0, hashes["account_id"], organisation),
            prompt=columns["prompt"],
            system=hashes["system"],
            conversation=hashes["conversation_id"],
            turn=_integers(numbers, "turn", count),
            model=hashes["model"],
            network=network_of(columns["client_ip"], self._hashes["client_ip"]),
            client=self._client(columns["user_agent"], columns["ja4"]),
            payment=hashes["payment_id"],
            email_domain=hashes["email_domain"],
            api_key=hashes["api_key_id"],
            plan=hashes["plan"],
            created=_created(numbers, count),
            input_tokens=_integers(numbers, "input_tokens", count),
            output_tokens=_integers(numbers, "output_tokens", count),
            status=_integers(numbers, "status", count),
            refused=_flags(numbers, "refused", count),
            tools=_flags(numbers, "tools", count),
            sketch=sketch or {},
        )

    def _client(self, user_agent: Strings, ja4: Strings) -> UInt64:
        """One value for the pair, 0 where both are absent; under two sub-keys the parts cannot cancel out."""
        return self.hashes("user_agent", user_agent) ^ self.hashes("ja4", ja4)


def time_ms(value: float | str | None) -> int:
    """A time in ms since the epoch from ms or ISO 8601 text (UTC where it names no zone); ``MISSING`` if unreadable."""
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value.strip())
            value = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000
        except (ValueError, OverflowError):
            return MISSING
    if value is None or not TIME_MIN_MS <= value <= TIME_MAX_MS:
        return MISSING
    return round(value)


def _strings(texts: Texts) -> Strings:
    return texts if isinstance(texts, Strings) else Strings.of(texts)


def _lowered(texts: Strings) -> Strings:
    """ASCII letters in lower case: domain names do not tell them apart."""
    upper = (texts.data >= ord("A")) & (texts.data <= ord("Z"))
    return Strings(texts.data | (upper.astype(np.uint8) << np.uint8(5)), texts.offsets) if upper.any() else texts


def _integers(numbers: Numbers, name: str, count: int) -> npt.NDArray[np.int32]:
    column = numbers.get(name)
    return np.full(count, MISSING, np.int32) if column is None else column.astype(np.int32)


def _flags(numbers: Numbers, name: str, count: int) -> npt.NDArray[np.bool_]:
    column = numbers.get(name)
    return np.zeros(count, np.bool_) if column is None else column.astype(np.bool_)


def _created(numbers: Numbers, count: int) -> npt.NDArray[np.int64]:
    """Creation times; one outside the possible range is a unit mistake and says nothing."""
    column = numbers.get("account_created")
    if column is None:
        return np.full(count, MISSING, np.int64)
    created = column.astype(np.int64)
    return np.where((created < TIME_MIN_MS) | (created > TIME_MAX_MS), np.int64(MISSING), created)
