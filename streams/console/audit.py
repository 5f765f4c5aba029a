"""The audit log: who did what and when, one JSON object a line, only ever appended to.

What lives here: writing it and reading its end. What does not: the actions (``streams.desk``). An entry is on disk
before the action is tried, so nothing can be done that leaves no trace; a second one says where it failed.
"""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path
from typing import Literal

import msgspec

from models.errors import ConfigError, DistilwatchError

ENTRIES_SHOWN = 1_000
TAIL_BYTES = 1 << 20
Outcome = Literal["asked", "refused", "failed"]


class AuditError(DistilwatchError):
    """The log cannot be written; nothing may be done without it."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One thing somebody did or tried; ``ts`` is wall clock in ms."""

    ts: int
    who: str
    role: str
    way: str
    peer: str
    what: str
    subject: dict[str, str] = {}
    detail: str = ""
    outcome: Outcome = "asked"


class Audit:
    """Appends to a file, or keeps the newest entries in memory where none is named (the demo)."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._entries: deque[Entry] = deque(maxlen=ENTRIES_SHOWN)
        self._torn = False
        if path is not None and path.exists():
            try:
                found, self._torn = _tail(path)
            except OSError as error:
                raise ConfigError(f"{path} cannot be read: {error.strerror}; name another with --audit") from error
            self._entries.extend(found)

    @property
    def kept(self) -> bool:
        """Whether it outlives this process."""
        return self._path is not None

    def write(self, entry: Entry) -> None:
        """Append one entry, on disk when this returns.

        Raises:
            AuditError: it could not be written.
        """
        if self._path is not None:
            line = b"\n" * self._torn + msgspec.json.encode(entry) + b"\n"
            try:
                handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
                try:
                    written = os.write(handle, line)
                    os.fsync(handle)
                finally:
                    os.close(handle)
            except OSError as error:
                raise AuditError(f"the audit log cannot be written ({error.strerror}): nothing was done") from error
            if written != len(line):
                raise AuditError("the audit log cannot be written (disk full?): nothing was done")
            self._torn = False
        self._entries.append(entry)

    def entries(self) -> list[Entry]:
        """The newest entries, the newest first."""
        return list(reversed(self._entries))


def _tail(path: Path) -> tuple[list[Entry], bool]:
    """The last entries of a file, and whether its last line was torn; lines that are no entries are left out."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - TAIL_BYTES))
        data = file.read()
    lines = data.splitlines()
    found = []
    for line in lines[-ENTRIES_SHOWN:]:
        try:
            found.append(msgspec.json.decode(line, type=Entry))
        except (msgspec.MsgspecError, UnicodeDecodeError):
            continue
    return found, bool(data) and not data.endswith(b"\n")
