"""What a stage keeps of its conversation with others: envelopes taken, progress told, and counts.

What lives here: bookkeeping that the stages share, as plain values for their snapshots. What does not: the stages.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import msgspec

from models.admission import UNSET
from models.envelope import Envelope
from models.errors import WireError
from models.orders import Orders
from models.pending import Sources
from streams.stage import Output, Record

Counts = Counter[tuple[str, str]]
"""Events by (outcome, reason)."""


@dataclass(slots=True)
class Said:
    """How far a partition has told the next ones that it has come."""

    watermark_ms: int = UNSET
    idle: bool = False


@dataclass(slots=True)
class Inbox:
    """The envelopes a stage has taken: how far its sources are, and how many envelopes came again."""

    sources: Sources = field(default_factory=lambda: Sources(1))
    next_offset: int = 0
    repeated: int = 0

    def take(self, record: Record) -> Envelope | None:
        """The envelope, with its source's progress noted; None for one that was taken before.

        Raises:
            WireError: torn, or not an envelope; nothing was noted then.
        """
        envelope = Envelope.decode(record.value)
        self.next_offset = record.offset + 1
        if not self.sources.accept(envelope.source, envelope.sequence):
            self.repeated += 1
            return None
        self.sources.update(envelope.source, envelope.watermark_ms, idle=envelope.idle)
        return envelope

    def state(self) -> dict[str, Any]:
        """Plain values for a snapshot."""
        state: dict[str, Any] = msgspec.to_builtins(self)
        return state

    @classmethod
    def of(cls, state: dict[str, Any]) -> Inbox:
        """What ``state`` gave.

        Raises:
            WireError: it is of another shape.
        """
        try:
            return msgspec.convert(state, cls)
        except msgspec.ValidationError as error:
            raise WireError(f"inbox has an unexpected shape: {error}") from error


def plain(counts: Counts) -> list[list[str | int]]:
    """Counts as plain values in a canonical order."""
    return [[outcome, reason, count] for (outcome, reason), count in sorted(counts.items())]


def counted(rows: list[Any]) -> Counts:
    """What ``plain`` gave."""
    return Counter({(outcome, reason): count for outcome, reason, count in rows})


def sent(topic: str, partition: int, envelope: Envelope) -> list[Output]:
    """The records that carry an envelope to one partition."""
    return [Output(topic, partition, None, part.encode()) for part in envelope.parts()]


def left_out(orders: Orders) -> dict[tuple[str, str], int]:
    """Counts of what the allowlist left out, by the kind of its entry."""
    return {("allowed", field): count for field, count in orders.hits_by_field().items()}
