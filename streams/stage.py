"""What the Kafka engine runs: one stage per input partition, a deterministic fold over that partition.

What lives here: the contract between engine and stage. What does not: the stages (``stages``) and the engine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

from models.orders import Orders
from models.slices import Cut


class Record(NamedTuple):
    """One input record; ``timestamp_ms`` is the broker's stamp, ``value`` empty for a tombstone."""

    value: bytes
    offset: int
    timestamp_ms: int


class Output(NamedTuple):
    """One record to write; ``partition`` None lets the key decide, ``value`` None is a tombstone."""

    topic: str
    partition: int | None
    key: bytes | None
    value: bytes | None


class Stage(Protocol):
    """A pure fold: what it returns depends on its records, and on the calls of ``advance`` and ``idle``, alone.

    How records are grouped into ``process`` calls must not matter. The engine records where it called ``advance``
    and ``idle``, and repeats them there when it replays after a crash, so envelope numbers come out equal.
    An envelope number derived from ``Record.offset`` (rather than a counter) keeps rising even when the state
    had to be rebuilt without those marks; a stage that numbers otherwise loses outputs downstream in that case.
    """

    def process(self, records: Sequence[Record]) -> list[Output]:
        """Fold the records in; an exception quarantines the record that raises it (see ``partition``)."""

    def advance(self) -> list[Output]:
        """Flush what is complete; called before each transaction."""

    def idle(self) -> list[Output]:
        """Called once when the partition has had no input for the idle time; a new record ends the state."""

    def snapshot(self) -> bytes:
        """The whole state, versioned."""

    def restore(self, data: bytes) -> None:
        """Replace the state of a fresh stage; WireError if it cannot be read."""


@runtime_checkable
class Observed(Protocol):
    """What a stage may offer besides, for metrics: both survive restores because they are part of the fold."""

    watermark_ms: int

    def counts(self) -> Mapping[tuple[str, str], int]:
        """Events so far by (outcome, reason), such as ("rejected", "bad_json") or ("accepted", "")."""


@runtime_checkable
class Allowing(Protocol):
    """What a stage offers that leaves out what the allowlist names: the entries, with how often each was met."""

    orders: Orders


@runtime_checkable
class Controlled(Protocol):
    """What a stage offers that wants labels and rules; a stage without it is not given them."""

    def control(self, topic: str, key: bytes, value: bytes) -> list[Output]:
        """Take one record of a control topic (full topic name; an empty value deletes the key)."""


@runtime_checkable
class Sliced(Protocol):
    """What a stage offers whose state is large: snapshots in parts, each part written once.

    ``join`` on a fresh stage leads to the state at ``cut``. A stage may keep what it has given since the last ``cut``,
    so after one that did not come to be committed it must not be used any more.
    """

    def cut(self) -> Cut:
        """The whole state: what changes, the names of all parts, and the parts that were not given before."""

    def join(self, rest: bytes, parts: Mapping[str, bytes]) -> None:
        """Replace the state of a fresh stage; WireError if it cannot be read."""


@dataclass(frozen=True, slots=True)
class StageSpec:
    """Where a stage reads, where its state goes, and how one is made for (partition, partitions)."""

    name: str
    input_topic: str
    state_topic: str
    make: Callable[[int, int], Stage]
    hurried_topic: str = ""  # an output of this topic does not wait for the next checkpoint
    follows: bool = False  # its input is what another stage has committed: few records, each a batch of many rows
    weight: float = 1.0  # of all stages' processor time, the part of its partitions together
