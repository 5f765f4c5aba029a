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
    created: npt.NDArray[np.int64]  # account_created, ms
    input_tokens: npt.NDArray[np.int32]
    output_tokens: npt.NDArray[np.int32]
    status: npt.NDArray[np.int32]  # HTTP status
    refused: npt.NDArray[np.bool_]
    tools: npt.NDArray[np.bool_]
    sketch: dict[int, bytes]  # row -> packed edge sketch, for events without text

    def __len__(self) -> int:
        return len(self.ts)

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
