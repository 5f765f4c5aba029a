"""Labels and rules on their way to the stages: the compacted control topics as one table in memory.

What lives here: the table, and what of it a partition has not seen. What does not: what a label or rule means. Each
partition takes new records at a commit and writes them into its mark, so a replay repeats them at the same place.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from aiokafka import TopicPartition

from streams.statelog import LogReader

log = logging.getLogger("distilwatch.control")

RECORD_BYTES_MAX = 512 * 1024
"""A mark must hold one record and stay under the broker's limit of 1 MiB."""
SHARE_BYTES = 256 * 1024
"""Control bytes taken into one mark; the rest waits for the next."""


class Control(NamedTuple):
    """One control record; an empty value deletes the key."""

    topic: str
    offset: int
    key: bytes
    value: bytes


class ControlLog:
    """The latest record per key of the control topics (one partition each), in log order."""

    def __init__(self, topics: Sequence[str] = ()) -> None:
        self.next: dict[str, int] = dict.fromkeys(topics, 0)
        self._latest: dict[tuple[str, bytes], Control] = {}
        self._loading = asyncio.Lock()
        self._loaded = False

    def add(self, record: Control) -> bool:
        """Take a record; False where it was known already or is too large to be passed on."""
        if record.offset < self.next.get(record.topic, 0):
            return False
        self.next[record.topic] = record.offset + 1
        if len(record.key) + len(record.value) > RECORD_BYTES_MAX:
            log.error("%s offset %d ignored: over %d bytes", record.topic, record.offset, RECORD_BYTES_MAX)
            return False
        # Taken out and put back, so that the order of the table stays the order of the log.
        self._latest.pop((record.topic, record.key), None)
        self._latest[record.topic, record.key] = record
        return True

    def latest(self, topic: str, key: bytes) -> bytes:
        """The newest value of a key; empty where it has none."""
        found = self._latest.get((topic, key))
        return found.value if found else b""

    def news(self, seen: Mapping[str, int]) -> bool:
        """Whether a partition that has taken records up to ``seen`` (next offset by topic) lacks some."""
        return any(seen.get(topic, 0) < after for topic, after in self.next.items())

    def since(self, seen: Mapping[str, int]) -> tuple[list[Control], dict[str, int]]:
        """Records that the partition lacks, at most one mark's share of each topic, and its new ``seen``."""
        taken: list[Control] = []
        after = dict(seen)
        for topic, end in self.next.items():
            size = 0
            after[topic] = end
            for record in self._latest.values():
                if record.topic != topic or record.offset < seen.get(topic, 0):
                    continue
                size += len(record.key) + len(record.value)
                if taken and size > SHARE_BYTES:
                    after[topic] = record.offset
                    break
                taken.append(record)
        return taken, after

    async def load(self, reader: LogReader) -> None:
        """Read what the topics hold now, so that a fresh partition starts under the rules of today."""
        async with self._loading:
            if self._loaded:
                return
            for topic in list(self.next):
                where = TopicPartition(topic, 0)
                if await reader.partitions(topic) == 0:
                    continue
                start, end = await reader.beginning(where), await reader.end(where)
                async for batch in reader.read(where, start, end):
                    for record in batch:
                        self.add(Control(topic, record.offset, record.key or b"", record.value or b""))
            self._loaded = True
