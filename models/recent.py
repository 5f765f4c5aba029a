"""What a reader has read lately: bounded in number and in age.

What lives here: the cache, with time as an argument. What does not: reading.
"""

from __future__ import annotations

from typing import Generic, TypeVar

Value = TypeVar("Value")


class Recent(Generic[Value]):
    """Values by key, each for ``life_ms``; the oldest makes room when ``entries_max`` are held."""

    def __init__(self, life_ms: int, entries_max: int) -> None:
        self._life_ms = life_ms
        self._entries_max = entries_max
        self._entries: dict[str, tuple[int, Value]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: str, now_ms: int) -> tuple[Value] | None:
        """The value in a tuple of its own, as None may be one; None where nothing is known any more."""
        found = self._entries.get(key)
        if found is None:
            return None
        if now_ms < found[0]:
            return (found[1],)
        del self._entries[key]
        return None

    def put(self, key: str, value: Value, now_ms: int) -> None:
        """Keep a value that was true at ``now_ms``."""
        self._entries.pop(key, None)
        if self._life_ms <= 0:
            return
        while len(self._entries) >= self._entries_max:
            del self._entries[next(iter(self._entries))]
        self._entries[key] = (now_ms + self._life_ms, value)

    def forget(self, key: str) -> None:
        """Read it again next time."""
        self._entries.pop(key, None)
