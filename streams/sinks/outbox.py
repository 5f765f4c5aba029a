"""The outbox: what must be delivered, in a file that survives the process, each notification once per sink.

What lives here: the table and its questions. What does not: attempts (``courier``) and their judgement
(``models.delivery``). A notification is on disk before ``put`` returns and leaves ``waiting`` only after an answer, so
kill -9 at any moment loses none; it may repeat the one that was under way, which receivers join by its key.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from models.delivery import Judgement
from models.errors import ConfigError, DistilwatchError

WAITING_MAX = 10_000
"""Per sink; beyond it the oldest that wait are given up: the news is in the newest."""
KEPT_MS = 30 * 86_400_000
"""How long a delivered notification is remembered, so that a repeat is known for one."""
STANDING_MS = 14 * 86_400_000
NOTICE_BYTES_MAX = 1 << 20
VERSION = 1
TABLES = """
CREATE TABLE IF NOT EXISTS notices (
    row INTEGER PRIMARY KEY AUTOINCREMENT,
    notice_id TEXT NOT NULL, sink TEXT NOT NULL, dedup_key TEXT NOT NULL, notice BLOB NOT NULL,
    state TEXT NOT NULL DEFAULT 'waiting', queued_ms INTEGER NOT NULL, next_ms INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0, said TEXT NOT NULL DEFAULT '', UNIQUE (sink, notice_id)
);
CREATE INDEX IF NOT EXISTS waiting ON notices (sink, dedup_key, row) WHERE state = 'waiting';
CREATE INDEX IF NOT EXISTS over ON notices (next_ms) WHERE state <> 'waiting';
CREATE TABLE IF NOT EXISTS standing (
    sink TEXT NOT NULL, dedup_key TEXT NOT NULL, notice BLOB NOT NULL, since_ms INTEGER NOT NULL,
    PRIMARY KEY (sink, dedup_key)
) WITHOUT ROWID;
"""
DUE = """
SELECT row, notice_id, dedup_key, notice, attempts, queued_ms, next_ms FROM notices AS one
WHERE sink = ? AND state = 'waiting' AND NOT EXISTS (
    SELECT 1 FROM notices WHERE sink = one.sink AND dedup_key = one.dedup_key AND state = 'waiting' AND row < one.row
) ORDER BY next_ms, row LIMIT 1
"""
"""Of one case only the oldest that waits: an end never overtakes its beginning."""


INSERT = """
INSERT OR IGNORE INTO notices (notice_id, sink, dedup_key, notice, queued_ms, next_ms) VALUES (?, ?, ?, ?, ?, ?)
"""
BOUND = """
UPDATE notices SET state = 'dead', said = 'too many wait', next_ms = ? WHERE row IN (
    SELECT row FROM notices WHERE sink = ? AND state = 'waiting' ORDER BY row DESC LIMIT -1 OFFSET ?
)
"""
COUNTS = "SELECT state, COUNT(*) FROM notices WHERE sink = ? GROUP BY state"
OLDEST = "SELECT MIN(queued_ms) FROM notices WHERE sink = ? AND state = 'waiting'"
SAID = "SELECT said FROM notices WHERE sink = ? AND state <> 'delivered' AND said <> '' ORDER BY row DESC LIMIT 1"


class OutboxError(DistilwatchError):
    """The outbox cannot be written; what was put may be lost."""

    retriable = True


@dataclass(frozen=True, slots=True)
class Queued:
    """One notification for one sink, and when its next attempt is due."""

    row: int
    notice_id: str
    dedup_key: str
    notice: bytes
    attempts: int
    queued_ms: int
    next_ms: int


@dataclass(frozen=True, slots=True)
class Tally:
    """Where the notifications of one sink stand."""

    waiting: int = 0
    delivered: int = 0
    dead: int = 0
    oldest_ms: int | None = None
    said: str = ""


class Outbox:
    """One file of SQLite; may be called from any thread. One process at a time delivers from it."""

    def __init__(self, path: Path, *, owner: bool = True) -> None:
        """Open the file, or make it.

        Args:
            path: the file; its folder must exist.
            owner: whether this process delivers; False only reads.

        Raises:
            ConfigError: it cannot be opened, or another process delivers from it.
        """
        self.path = path
        self.trouble = ""  # why the last change could not be written
        self._lock = threading.Lock()
        self._held = self._hold(path) if owner else None
        try:
            mode = "rwc" if owner else "ro"
            self._base = sqlite3.connect(
                f"file:{path.absolute()}?mode={mode}", uri=True, check_same_thread=False, timeout=5.0
            )
            if owner:
                self._prepare()
        except (sqlite3.Error, OSError) as error:
            self.close()
            raise ConfigError(f"the outbox {path} cannot be opened: {error}; choose another file") from error

    def _prepare(self) -> None:
        os.chmod(self.path, 0o600)
        version = self._base.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, VERSION):
            raise ConfigError(
                f"the outbox {self.path} is of version {version}, this one writes {VERSION}: move it away"
            )
        self._base.execute("PRAGMA journal_mode = WAL")
        self._base.execute("PRAGMA synchronous = FULL")  # on disk also after power is lost
        with self._base:
            self._base.executescript(TABLES)
            self._base.execute(f"PRAGMA user_version = {VERSION}")

    def _hold(self, path: Path) -> int:
        """A lock that ends with the process, however it ends."""
        try:
            held = os.open(f"{path}.lock", os.O_CREAT | os.O_RDWR, 0o600)
        except OSError as error:
            raise ConfigError(f"the outbox {path} cannot be opened: {error.strerror}; choose another file") from error
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(held)
            raise ConfigError(
                f"another process delivers from the outbox {path}: stop it, or name another file"
            ) from error
        return held

    def close(self) -> None:
        """Close the file and let another process have it."""
        if hasattr(self, "_base"):
            self._base.close()
        if self._held is not None:
            os.close(self._held)
            self._held = None

    def put(self, notice_id: str, dedup_key: str, notice: bytes, *, sinks: Iterable[str], now_ms: int) -> int:
        """Queue a notification for sinks; how many had not been given it before.

        Raises:
            OutboxError: it is not on disk.
        """
        if len(notice) > NOTICE_BYTES_MAX:
            raise OutboxError(f"a notification of {len(notice)} bytes is larger than {NOTICE_BYTES_MAX}")
        added = 0
        with self._change():
            for sink in sinks:
                added += self._base.execute(INSERT, (notice_id, sink, dedup_key, notice, now_ms, now_ms)).rowcount
                self._base.execute(BOUND, (now_ms, sink, WAITING_MAX))
        return added

    @contextlib.contextmanager
    def _change(self) -> Iterator[None]:
        """One transaction; raises OutboxError where it is not on disk."""
        try:
            with self._lock, self._base:
                yield
            self.trouble = ""
        except sqlite3.Error as error:
            self.trouble = f"the outbox {self.path} cannot be written: {error}"
            raise OutboxError(self.trouble) from error

    def due(self, sink: str) -> Queued | None:
        """The notification whose attempt is due first, be it in the future; None where none waits."""
        with self._lock:
            row = self._base.execute(DUE, (sink,)).fetchone()
        return Queued(*row) if row else None

    def settle(self, item: Queued, judgement: Judgement, said: str) -> None:
        """Note what became of an attempt."""
        with self._change():
            self._base.execute(
                "UPDATE notices SET state = ?, next_ms = ?, attempts = attempts + 1, said = ? WHERE row = ?",
                (judgement.state, judgement.next_ms, said, item.row),
            )

    def stand(self, sink: str, dedup_key: str, notice: bytes | None, now_ms: int) -> None:
        """Keep what a sink must be told again and again; None ends it."""
        with self._change():
            if notice is None:
                self._base.execute("DELETE FROM standing WHERE sink = ? AND dedup_key = ?", (sink, dedup_key))
            else:
                values = (sink, dedup_key, notice, now_ms)
                self._base.execute("INSERT OR REPLACE INTO standing VALUES (?,?,?,?)", values)

    def standing(self, sink: str) -> dict[str, bytes]:
        """What a sink must be told again, by key."""
        with self._lock:
            rows = self._base.execute("SELECT dedup_key, notice FROM standing WHERE sink = ?", (sink,)).fetchall()
        return dict(rows)

    def forget(self, now_ms: int) -> None:
        """Drop what is over and old."""
        with self._change():
            self._base.execute("DELETE FROM notices WHERE state <> 'waiting' AND next_ms < ?", (now_ms - KEPT_MS,))
            self._base.execute("DELETE FROM standing WHERE since_ms < ?", (now_ms - STANDING_MS,))

    def tally(self, sink: str) -> Tally:
        """Where the notifications of a sink stand, and the last answer of one that is not delivered."""
        with self._lock:
            counts = dict(self._base.execute(COUNTS, (sink,)).fetchall())
            oldest = self._base.execute(OLDEST, (sink,)).fetchone()[0]
            said = self._base.execute(SAID, (sink,)).fetchone()
        return Tally(
            counts.get("waiting", 0), counts.get("delivered", 0), counts.get("dead", 0), oldest, said[0] if said else ""
        )
