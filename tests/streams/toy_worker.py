"""A worker process with one small stage, for the fault tests: counts records per word and says each count once.

Its rows do not depend on where ``advance`` falls; the envelopes around them do, as with the real stages.
Run as ``python -m tests.streams.toy_worker``; settings come from the environment.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import sys
from collections import Counter
from collections.abc import Sequence

from models.errors import WireError
from streams.app import run_worker
from streams.config import Settings, load
from streams.stage import Output, Record, StageSpec
from streams.topics import Topics


class CountWords:
    """State: a count per word and a digest over all that was folded; rows wait until ``advance``."""

    def __init__(self, out_topic: str) -> None:
        self.out_topic = out_topic
        self.words: Counter[str] = Counter()
        self.rows: list[str] = []
        self.digest = b""
        self.watermark_ms = 0
        self.bulk = b"x" * int(os.environ.get("TOY_BULK_BYTES", "0"))

    def process(self, records: Sequence[Record]) -> list[Output]:
        for record in records:
            word = record.value.decode().split(":")[0]
            self.words[word] += 1
            if word == "poison":
                raise ValueError(f"secret words of a prompt: {record.value!r}")
            self._row(f"{word}={self.words[word]}@{record.offset}")
            self.watermark_ms = record.timestamp_ms
        return []

    def control(self, topic: str, key: bytes, value: bytes) -> list[Output]:
        self._row(f"{topic.split('.')[-2]}/{key.decode()}={value.decode()}")
        return []

    def _row(self, row: str) -> None:
        self.digest = hashlib.blake2b(self.digest + row.encode(), digest_size=8).digest()
        self.rows.append(f"{row} {self.digest.hex()}")

    def advance(self) -> list[Output]:
        rows, self.rows = self.rows, []
        return [Output(self.out_topic, 0, None, json.dumps(rows).encode())] if rows else []

    def idle(self) -> list[Output]:
        self._row("idle")
        return []

    def counts(self) -> dict[tuple[str, str], int]:
        return {("accepted", ""): self.words.total()}

    def snapshot(self) -> bytes:
        state = {"words": self.words, "digest": self.digest.hex(), "bulk": len(self.bulk)}
        return json.dumps(state).encode() + b"\n" + self.bulk

    def restore(self, data: bytes) -> None:
        head, _, bulk = data.partition(b"\n")
        try:
            state = json.loads(head)
        except ValueError as error:
            raise WireError("not a toy snapshot") from error
        self.words = Counter(state["words"])
        self.digest = bytes.fromhex(state["digest"])
        self.bulk = bulk


def toy_stages(settings: Settings, topics: Topics) -> list[StageSpec]:
    def make(partition: int, partitions: int) -> CountWords:
        return CountWords(topics.alerts)

    return [StageSpec("toy", topics.requests, topics.observe_state, make)]


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    sys.exit(run_worker(load(os.environ), toy_stages))
