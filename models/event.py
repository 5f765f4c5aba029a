"""The request event as columns, and the reject: what a host hands to the first operator.

What lives here: the canonical meaning of every field after decoding. What does not: how bytes become
columns (``decode``, ``adapters``) and how texts become sketches (``sketch``).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from models.strings import Strings

MISSING = -1
"""Value of an integer field that the event did not carry."""


class Reject(msgspec.Struct, frozen=True):
    """One input record that did not become an event: why, where and how large, never its content."""

    reason: str
    topic: str
    partition: int
    offset: int
    digest: str
    size: int


@dataclass(slots=True)
class EventBatch:
    """``n`` accepted request events in arrival order; every array has shape ``(n,)``.

    Hashes are keyed 64-bit values; 0 means the field was absent. Integers are ``MISSING`` where absent.
    """

    ts: npt.NDArray[np.int64]  # event time, ms since the epoch
    event: npt.NDArray[np.uint64]  # hash of event_id
    account: npt.NDArray[np.uint64]  # hash of account_id
    account_id: Strings
    customer: npt.NDArray[np.uint64]  # hash of org_id where known, else equal to account
    prompt: Strings  # text of the last user turn; empty where an edge sent a sketch
    system: npt.NDArray[np.uint64]  # hash of the system text
    conversation: npt.NDArray[np.uint64]
    turn: npt.NDArray[np.int32]  # 1 = first
    model: npt.NDArray[np.uint64]
    network: npt.NDArray[np.uint64]  # /24 or /48 of client_ip: see `decode.network_of`
    client: npt.NDArray[np.uint64]  # hash of (user_agent, ja4)
    payment: npt.NDArray[np.uint64]
    email_domain: npt.NDArray[np.uint64]
    api_key: npt.NDArray[np.uint64]  # hash of api_key_id
    plan: npt.NDArray[np.uint64]
    created: npt.NDArray[np.int64]  # account_created, ms
    input_tokens: npt.NDArray[np.int32]
    output_tokens: npt.NDArray[np.int32]
    status: npt.NDArray[np.int32]  # HTTP status
    refused: npt.NDArray[np.bool_]
    tools: npt.NDArray[np.bool_]
    sketch: dict[int, bytes]  # row -> packed edge sketch, for events without text

    def __len__(self) -> int:
        return len(self.ts)

    @classmethod
    def empty(cls) -> EventBatch:
        """A batch of no events."""
        values: dict[str, Any] = {name: np.zeros(0, dtype) for name, dtype in _DTYPES.items()}
        return cls(**values, account_id=Strings.of([]), prompt=Strings.of([]), sketch={})

    @classmethod
    def concat(cls, batches: list[EventBatch]) -> EventBatch:
        """All events of ``batches``, in order."""
        values: dict[str, Any] = {name: np.concatenate([getattr(batch, name) for batch in batches]) for name in _DTYPES}
        for name in _TEXTS:
            values[name] = Strings.concat([getattr(batch, name) for batch in batches])
        sketch: dict[int, bytes] = {}
        first = 0
        for batch in batches:
            sketch.update({first + row: data for row, data in batch.sketch.items()})
            first += len(batch)
        return cls(**values, sketch=sketch)

    def arrays(self, prefix: str) -> dict[str, npt.NDArray[Any]]:
        """Every column but ``prompt`` and ``sketch`` as named arrays, for a snapshot: the text itself is not kept."""
        columns = {prefix + name: getattr(self, name) for name in _DTYPES}
        return columns | {prefix + "id_data": self.account_id.data, prefix + "id_offsets": self.account_id.offsets}

    @classmethod
    def from_arrays(cls, arrays: dict[str, npt.NDArray[Any]], prefix: str) -> EventBatch:
        """Build the events again from what ``arrays`` gave; their prompts are empty."""
        values: dict[str, Any] = {name: arrays[prefix + name] for name in _DTYPES}
        ids = Strings(arrays[prefix + "id_data"], arrays[prefix + "id_offsets"])
        prompts = Strings(np.zeros(0, np.uint8), np.zeros(len(ids) + 1, np.int64))
        return cls(**values, account_id=ids, prompt=prompts, sketch={})

    def take(self, rows: npt.NDArray[np.integer]) -> EventBatch:
        """The events at ``rows``, in that order."""
        values: dict[str, Any] = {}
        for field in fields(self):
            column = getattr(self, field.name)
            if isinstance(column, dict):
                place = {int(row): index for index, row in enumerate(rows)} if column else {}
                values[field.name] = {place[row]: data for row, data in column.items() if row in place}
            else:
                values[field.name] = column.take(rows) if isinstance(column, Strings) else column[rows]
        return EventBatch(**values)


_DTYPES: dict[str, type[np.generic]] = {
    "ts": np.int64,
    "event": np.uint64,
    "account": np.uint64,
    "customer": np.uint64,
    "system": np.uint64,
    "conversation": np.uint64,
    "turn": np.int32,
    "model": np.uint64,
    "network": np.uint64,
    "client": np.uint64,
    "payment": np.uint64,
    "email_domain": np.uint64,
    "api_key": np.uint64,
    "plan": np.uint64,
    "created": np.int64,
    "input_tokens": np.int32,
    "output_tokens": np.int32,
    "status": np.int32,
    "refused": np.bool_,
    "tools": np.bool_,
}
_TEXTS = ("account_id", "prompt")
