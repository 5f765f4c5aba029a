"""How a stage is written out: its operator's state inside what the stage itself must remember.

What lives here: the two forms, whole and in parts, for every stage of the Kafka host. What does not: what a stage
remembers beside its operator (``stages``), and where the parts go (``parts``).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Protocol

from models.slices import Cut


class Operator(Protocol):
    """What is kept of each operator."""

    def snapshot(self) -> bytes:
        """The whole state."""

    def restore(self, data: bytes) -> None:
        """Take over a snapshot."""

    def cut(self) -> Cut:
        """The whole state in parts."""

    def join(self, rest: bytes, parts: Mapping[str, bytes]) -> None:
        """Take over what ``cut`` gave."""


class Kept(ABC):
    """A stage around ``operator``."""

    def __init__(self, operator: Operator) -> None:
        self._operator = operator

    @abstractmethod
    def _packed(self, operator: bytes) -> bytes:
        """The stage with its operator's state."""

    @abstractmethod
    def _load(self, data: bytes, restore: Callable[[bytes], None]) -> None:
        """The reverse of ``_packed``."""

    def snapshot(self) -> bytes:
        """The whole state."""
        return self._packed(self._operator.snapshot())

    def restore(self, data: bytes) -> None:
        """Take over a snapshot; raises WireError where it cannot be read."""
        self._load(data, self._operator.restore)

    def cut(self) -> Cut:
        """The whole state in parts."""
        cut = self._operator.cut()
        return replace(cut, rest=self._packed(cut.rest))

    def join(self, rest: bytes, parts: Mapping[str, bytes]) -> None:
        """Take over what ``cut`` gave; raises WireError where it cannot be read."""
        self._load(rest, lambda operator: self._operator.join(operator, parts))
