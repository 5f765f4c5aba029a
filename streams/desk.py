"""The desk host: keeps a desk in step with its feeds, for the console, the sinks and the command line.

What lives here: following the feeds, acting on behalf of a person, news for live pages, and keeping what was told over
a restart. What does not: the decisions (``models/desk``), reading and writing (``desk_feeds``), sending (sinks).

What a person says is applied once it has been read back from its topic or file: then the detector has it too.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
import uuid
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from models.alert import SEVERITIES, Signal
from models.cases import Case, Notification
from models.desk import Desk, DeskLimits, read_alert
from models.errors import ConfigError, DistilwatchError, WireError
from models.labels import Label, checked, read_label
from models.members import read_signal
from streams.clock import wall_ms
from streams.config import KafkaSettings, client_options
from streams.desk_feeds import FeedError, Feeds, FileFeeds, Item, KafkaFeeds
from streams.sinks.outbox import OutboxError
from streams.topics import Topics
from streams.whole_file import write_whole

log = logging.getLogger("distilwatch.desk")

CHANGES_MAX = 10_000
TICK_S = 5.0
"""Silences end and updates come due by time alone, so the desk looks this often without any news."""
READ_BACK_S = 15.0
STATE_FILE = "desk.json"
DIGEST = re.compile(r"[0-9a-f]{16}")
Deliver = Callable[[list[Notification]], Awaitable[None]]
"""Takes notifications over for good: once it returns they are the outbox's, and the desk holds them for sent."""


class RefusedError(DistilwatchError):
    """What a person asked for makes no sense now; the message says why."""


class Change(NamedTuple):
    """One piece of news: ``kind`` is case, cluster, account or label, ``key`` which one."""

    number: int
    kind: str
    key: str
    at_ms: int


class News(NamedTuple):
    """Changes after a number; where some are no longer kept, ``complete`` is false and a page must load anew."""

    last: int
    changes: list[Change]
    complete: bool


class AccountView(msgspec.Struct, kw_only=True):
    """All the desk knows of one account."""

    account_id: str
    signal: Signal | None
    cluster_id: str | None
    cases: list[str]  # dedup keys of cases about it or its cluster
    allowed: Label | None
    profile: Label | None


@dataclass(frozen=True, slots=True)
class FeedNames:
    """Where the feeds are: files, or Kafka where ``kafka`` is given."""

    alerts: Path | None = None
    signals: Path | None = None
    actions: Path | None = None
    kafka: KafkaSettings | None = None

    def open(self) -> Feeds:
        """The feeds, not yet started; raises ConfigError where nothing is named."""
        if self.kafka is not None:
            return KafkaFeeds(client_options(self.kafka), Topics(self.kafka.prefix))
        if self.alerts is None and self.actions is None and self.signals is None:
            raise ConfigError("name the feeds: --brokers HOST:PORT, or --alerts FILE with --signals and --actions")
        return FileFeeds(self.alerts, self.signals, self.actions)


def new_label(kind: str, subject: dict[str, str], *, who: str, **more: Any) -> Label:
    """A label of now, checked; raises ConfigError, which says what is wrong with it."""
    if kind == "allow" and not DIGEST.fullmatch(subject.get("template", "0" * 16)):
        raise ConfigError("a template is named by a digest of 16 hexadecimal digits, as an alert shows it")
    if kind == "silence" and subject.get("severity", "high") not in SEVERITIES:
        raise ConfigError(f"there is no severity {subject['severity']!r}: one of {', '.join(SEVERITIES)}")
    facts = {"action_id": uuid.uuid4().hex, "ts": wall_ms(), "who": who, "kind": kind, "subject": subject}
    try:
        return checked(
            msgspec.convert(facts | {name: value for name, value in more.items() if value is not None}, Label)
        )
    except msgspec.ValidationError as error:
        raise ConfigError(f"{kind}: {error}") from error


class DeskHost:
    """A desk that follows its feeds in the background until stopped."""

    def __init__(
        self,
        feeds: Feeds,
        *,
        limits: DeskLimits | None = None,
        state_dir: Path | None = None,
        deliver: Deliver | None = None,
    ) -> None:
        self.desk = Desk(limits)
        self.feeds = feeds
        self.counts: Counter[str] = Counter()  # records by feed, and unreadable ones as "alerts_bad" and so on
        self.last_read_ms = 0
        self._deliver = deliver
        self._state = None if state_dir is None else state_dir / STATE_FILE
        self._changes: deque[Change] = deque(maxlen=CHANGES_MAX)
        self._number = 0
        self._news = asyncio.Condition()
        self._dirty = True
        self._due_at = 0.0
        self._untold: list[Notification] = []
        self._unwritten = ""  # why something could not be kept on disk
        self._ready = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Read all there is, then go on in the background.

        Raises:
            ConfigError: feeds or kept state cannot be used; the message names the fix.
            FeedError: the brokers do not answer.
        """
        self._load()
        await self.feeds.start()
        self._task = asyncio.create_task(self._follow(), name="desk")
        ready = asyncio.create_task(self._ready.wait())
        await asyncio.wait([self._task, ready], return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if self._task.done():
            self._task.result()

    async def stop(self) -> None:
        """End and keep what was told."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            if not self._untold:  # what is kept says that all was told
                self._save()
        await self.feeds.stop()

    @property
    def trouble(self) -> str:
        """Why the desk does not follow its feeds at the moment; empty where it does."""
        if self._task is not None and self._task.done() and not self._task.cancelled():
            return f"ended: {self._task.exception()}"
        return self.feeds.trouble or self._unwritten

    async def _follow(self) -> None:
        while True:
            items = await self.feeds.poll()
            if items:
                self._take(items)
                async with self._news:
                    self._news.notify_all()
            if self.feeds.caught_up:
                await self._tell()
                self._ready.set()

    def _take(self, items: list[Item]) -> None:
        """Fold records; a bad one is counted and passed over."""
        self.last_read_ms = wall_ms()
        self._dirty = True
        clusters: set[str] = set()
        for item in items:
            known = _TAKERS[item.feed](self, item, clusters)
            self.counts[item.feed if known else f"{item.feed}_bad"] += 1
        for cluster_id in sorted(clusters):
            self._note("cluster", cluster_id)

    def _take_alert(self, item: Item, _: set[str]) -> bool:
        alert = read_alert(item.value or b"")
        if alert is None:
            return False
        case = self.desk.take_alert(alert)
        if case is not None:
            self._note("case", case.dedup_key)
        return True

    def _take_signal(self, item: Item, clusters: set[str]) -> bool:
        signal = None if item.value is None else read_signal(item.value)
        if signal is None and item.value is not None:
            return False
        account_id = signal.account_id if signal else item.key
        for cluster_id in (self.desk.members.cluster_of(account_id), signal.cluster_id if signal else None):
            if cluster_id is not None:
                clusters.add(cluster_id)
        self.desk.take_signal(account_id, signal)
        return bool(account_id)

    def _take_label(self, item: Item, _: set[str]) -> bool:
        label = read_label(item.value or b"")
        if label is None:
            return False
        for case in self.desk.take_label(label):
            self._note("case", case.dedup_key)
        self._note("label", label.key)
        return True

    def _note(self, kind: str, key: str) -> None:
        self._number += 1
        self._changes.append(Change(self._number, kind, key, self.last_read_ms))

    async def _tell(self) -> None:
        """Hand over what is due, then keep that it was."""
        if not self._dirty and time.monotonic() < self._due_at:
            return
        self._dirty, self._due_at = False, time.monotonic() + TICK_S
        found = [*self._untold, *self.desk.due(wall_ms())]
        self._untold = []
        if found and self._deliver is not None:
            try:
                await self._deliver(found)
            except OutboxError as error:  # a disk may be full for a while: the next round tries again
                self._untold, self._unwritten = found, str(error)
                return
            self._unwritten = ""
            self._save()
        for notification in found:
            if notification.case is not None:
                self._note("case", notification.case.dedup_key)

    async def act(self, label: Label) -> list[Case]:
        """Say something on behalf of a person; the cases about it, once the feeds have given it back.

        Raises:
            RefusedError: it would have no effect; the message says why.
            FeedError: it could not be written, or was written and not read back in time.
        """
        refusal = self.desk.refusal(label)
        if refusal is not None:
            raise RefusedError(refusal)
        case = self.desk.cases.get(label.subject.get("dedup_key", ""))
        if case is not None and label.seen is None and label.family != "silence":
            label = msgspec.structs.replace(label, seen=case.seen)
        await self.feeds.append(label)
        try:
            async with asyncio.timeout(READ_BACK_S), self._news:
                await self._news.wait_for(lambda: self.desk.knows(label.action_id))
        except TimeoutError:
            raise FeedError(f"{label.kind} was written and not read back within {READ_BACK_S:.0f} s") from None
        return [case] if case is not None else []

    def cases(self) -> list[Case]:
        """All cases, what wants somebody first, the newest first among equals."""
        order = {"open": 0, "acknowledged": 1, "resolved": 2, "closed": 3}
        return sorted(self.desk.cases.values(), key=lambda case: (order[case.status], -case.last.ts, case.dedup_key))

    def case(self, name: str) -> Case | None:
        """A case by its dedup key, by the id of any of its statements, or by its cluster (then the newest)."""
        exact = self.desk.cases.get(name)
        if exact is not None:
            return exact
        found = [
            case
            for case in self.desk.cases.values()
            if name == case.alert.cluster_id or any(name == said.alert_id for said in case.statements)
        ]
        return max(found, key=lambda case: case.last.order, default=None)

    def members(self, cluster_id: str) -> list[str]:
        """The accounts that are named with a cluster now."""
        return self.desk.members.of(cluster_id)

    def account(self, account_id: str) -> AccountView:
        """All that is known of an account."""
        signal = self.desk.members.signal(account_id)
        cluster_id = signal.cluster_id if signal else None
        about = [
            case.dedup_key
            for case in self.cases()
            if account_id == case.alert.account_id or (cluster_id is not None and cluster_id == case.alert.cluster_id)
        ]
        return AccountView(
            account_id=account_id,
            signal=signal,
            cluster_id=cluster_id,
            cases=about,
            allowed=self.desk.in_force("allow", {"account_id": account_id}, wall_ms()),
            profile=self.desk.in_force("profile", {"account_id": account_id}, wall_ms()),
        )

    def events_since(self, number: int) -> News:
        """The changes after ``number``."""
        kept = self._changes[0].number if self._changes else self._number + 1
        changes = [change for change in self._changes if change.number > number]
        return News(self._number, changes, complete=number >= kept - 1 and number <= self._number)

    async def wait_for_news(self, number: int, timeout_s: float) -> News:
        """The same, after waiting up to ``timeout_s`` for the first change."""
        try:
            async with asyncio.timeout(timeout_s), self._news:
                await self._news.wait_for(lambda: self._number > number)
        except TimeoutError:
            pass
        return self.events_since(number)

    def _load(self) -> None:
        if self._state is None or not self._state.exists():
            return
        try:
            self.desk.restore(self._state.read_bytes())
        except (WireError, OSError) as error:
            raise ConfigError(f"{self._state} cannot be continued: {error}; move it away to start afresh") from error

    def _save(self) -> None:
        """Keep the desk so that there is either the old or the new state, whatever happens."""
        if self._state is None:
            return
        try:
            write_whole(self._state, self.desk.snapshot())
            self._unwritten = ""
        except OSError as error:  # what was told is also in the outbox, which tells nothing twice
            self._unwritten = f"{self._state} cannot be written: {error.strerror}"
            log.error("%s", self._unwritten)


_TAKERS: dict[str, Callable[[DeskHost, Item, set[str]], bool]] = {
    "alerts": DeskHost._take_alert,
    "signals": DeskHost._take_signal,
    "labels": DeskHost._take_label,
}
