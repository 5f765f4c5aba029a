"""The feeds of the desk: alerts, signals and labels, from files that grow or from Kafka topics.

What lives here: reading each feed from its beginning and on, and appending labels so that they outlive this process.
What does not: what follows from a record (``models/desk``). Both kinds of feed give the same items.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from models.errors import ConfigError, DistilwatchError
from models.labels import Label, encode_label
from streams.topics import Topics, count_partitions

log = logging.getLogger("distilwatch.desk")

POLL_S = 0.25
CHUNK_BYTES = 1 << 20
LINE_BYTES_MAX = 1 << 20
"""An alert with all its evidence is some 20 kB; a longer line than this is no record of ours."""
RETRY_S = 2.0


class FeedError(DistilwatchError):
    """A feed cannot be read or written now; trying again may help."""

    retriable = True


class Item(NamedTuple):
    """One record; ``value`` None is a tombstone of ``key``."""

    feed: str
    key: str
    value: bytes | None


class Feeds(Protocol):
    """Where a desk reads and where it writes labels."""

    caught_up: bool
    """Whether all that was there at the start has been given."""
    trouble: str
    """Why nothing can be read at the moment; empty where all is well."""

    async def start(self) -> None:
        """Connect; raises FeedError or ConfigError where that cannot succeed."""

    async def poll(self) -> list[Item]:
        """The next records in order, after a short wait if there are none."""

    async def append(self, label: Label) -> None:
        """Write a label so that it is not lost; raises FeedError."""

    async def stop(self) -> None:
        """Disconnect."""


class Growing:
    """One file, read line by line as it grows; where it was cut or replaced it is read from its start again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.oversized = 0
        self._offset = 0
        self._identity: tuple[int, int] | None = None
        self._rest = b""
        self._skipping = False

    def lines(self) -> tuple[list[bytes], bool]:
        """The next whole lines, and whether there may be more at once."""
        try:
            with self.path.open("rb") as file:
                facts = os.fstat(file.fileno())
                if (facts.st_dev, facts.st_ino) != self._identity or facts.st_size < self._offset:
                    self._identity = (facts.st_dev, facts.st_ino)
                    self._offset, self._rest, self._skipping = 0, b"", False
                file.seek(self._offset)
                data = file.read(CHUNK_BYTES)
        except FileNotFoundError:
            return [], False
        self._offset += len(data)
        *whole, self._rest = (self._rest + data).split(b"\n")
        if self._skipping and whole:
            whole, self._skipping = whole[1:], False
        if len(self._rest) > LINE_BYTES_MAX:
            self._rest, self._skipping = b"", True
            self.oversized += 1
        return [line for line in whole if line.strip()], len(data) == CHUNK_BYTES


class FileFeeds:
    """Feeds of ``replay --alerts --signals`` and of an append-only file of labels; any may be absent."""

    def __init__(self, alerts: Path | None, signals: Path | None, labels: Path | None) -> None:
        self.caught_up = False
        self.trouble = ""
        paths = {"labels": labels, "signals": signals, "alerts": alerts}
        self._files = {feed: Growing(path) for feed, path in paths.items() if path is not None}
        self._labels = labels

    async def start(self) -> None:
        """Look whether what is there may be read."""
        for file in self._files.values():
            if file.path.is_dir() or (file.path.exists() and not os.access(file.path, os.R_OK)):
                raise ConfigError(f"cannot read {file.path}; name a file of JSON lines that this user may read")

    async def poll(self) -> list[Item]:
        """The next chunk of every file."""
        items: list[Item] = []
        more = False
        try:
            for feed, file in self._files.items():
                lines, unread = file.lines()
                more |= unread
                items += [_item(feed, line) for line in lines]
            self.trouble = ""
        except OSError as error:
            self.trouble = f"{error.filename}: {error.strerror}"
        if not more:
            self.caught_up = True
        await asyncio.sleep(0 if items or more else POLL_S)
        return items

    async def append(self, label: Label) -> None:
        """Append one line and wait for the disk; other processes may append to the same file."""
        if self._labels is None:
            raise ConfigError("no file for what you say: name one with --actions FILE")
        try:
            await asyncio.to_thread(_append, self._labels, encode_label(label) + b"\n")
        except OSError as error:
            raise FeedError(f"cannot write {self._labels}: {error.strerror}") from error

    async def stop(self) -> None:
        """Nothing is kept open."""


def _append(path: Path, line: bytes) -> None:
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        end = file.seek(0, os.SEEK_END)
        if end and not _ends_a_line(path, end):
            line = b"\n" + line  # a writer was killed in the middle: its half line stays alone
        file.write(line)
        file.flush()
        os.fsync(file.fileno())


def _ends_a_line(path: Path, end: int) -> bool:
    with path.open("rb") as file:
        file.seek(end - 1)
        return file.read(1) == b"\n"


class _Tombstone(msgspec.Struct):
    account_id: str
    tombstone: bool


_TOMBSTONE = msgspec.json.Decoder(_Tombstone)


def _item(feed: str, line: bytes) -> Item:
    """A line of a file as the record it would be on its topic."""
    if feed == "signals" and b'"tombstone"' in line:
        try:
            said = _TOMBSTONE.decode(line)
        except msgspec.MsgspecError:
            return Item(feed, "", line)
        return Item(feed, said.account_id, None if said.tombstone else line)
    return Item(feed, "", line)


class KafkaFeeds:
    """Feeds of the topics alerts, signals and labels, from their beginning, committed records alone.

    ``shadow`` reads the alerts of rules in the shadow in their place.
    """

    def __init__(self, clients: Mapping[str, Any], topics: Topics, *, shadow: bool = False) -> None:
        self.caught_up = False
        self.trouble = ""
        self._clients = dict(clients)
        self._feeds = {topics.labels: "labels", topics.signals: "signals", topics.alerts: "alerts"}
        if shadow:
            self._feeds = {topics.shadow: "alerts"}
        self._labels_topic = topics.labels
        self._consumer: AIOKafkaConsumer | None = None
        self._producer: AIOKafkaProducer | None = None
        self._ends: dict[TopicPartition, int] = {}

    async def start(self) -> None:
        """Connect and find out how much there is."""
        try:
            await self._connect()
        except (KafkaError, ConnectionError, TimeoutError) as error:
            await self.stop()
            raise FeedError(f"Kafka at {self._clients.get('bootstrap_servers')}: {error}") from error
        except DistilwatchError:
            await self.stop()
            raise

    async def _connect(self) -> None:
        counts = await count_partitions(self._clients, list(self._feeds))
        missing = [topic for topic in self._feeds if topic not in counts]
        if missing:
            raise ConfigError(f"topics are missing, run `distilwatch topics create`: {', '.join(missing)}")
        places = [TopicPartition(topic, number) for topic in self._feeds for number in range(counts[topic])]
        self._consumer = AIOKafkaConsumer(
            **self._clients,
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
        )
        await self._consumer.start()
        self._consumer.assign(places)
        await self._consumer.seek_to_beginning(*places)
        self._ends = await self._consumer.end_offsets(places)

    async def poll(self) -> list[Item]:
        """The next records of any topic; after an error everything is read again, which changes nothing known."""
        try:
            if self._consumer is None:
                await self._connect()
            items = await self._read()
            self.trouble = ""
        except (KafkaError, ConnectionError, TimeoutError, ConfigError) as error:
            self.trouble = f"Kafka: {error or type(error).__name__}"
            log.warning("feeds: %s", self.trouble)
            await self._disconnect()
            await asyncio.sleep(RETRY_S)
            return []
        return items

    async def _read(self) -> list[Item]:
        consumer = self._consumer
        if consumer is None:
            return []
        batches = await consumer.getmany(timeout_ms=int(POLL_S * 1000), max_records=2_000)
        items = [
            Item(self._feeds[where.topic], (record.key or b"").decode("utf-8", "replace"), record.value or None)
            for where, records in batches.items()
            for record in records
        ]
        self._ends = {where: end for where, end in self._ends.items() if await consumer.position(where) < end}
        self.caught_up |= not self._ends
        return items

    async def append(self, label: Label) -> None:
        """Write to the labels topic and wait for the brokers."""
        try:
            if self._producer is None:
                producer = AIOKafkaProducer(**self._clients, enable_idempotence=True, request_timeout_ms=10_000)
                await producer.start()
                self._producer = producer
            await self._producer.send_and_wait(self._labels_topic, encode_label(label), key=label.key.encode())
        except (KafkaError, ConnectionError, TimeoutError) as error:
            raise FeedError(f"the label was not written to {self._labels_topic}: {error}") from error

    async def _disconnect(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await consumer.stop()

    async def stop(self) -> None:
        """Disconnect from the brokers."""
        await self._disconnect()
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.stop()
