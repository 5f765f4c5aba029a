"""Two small stages in a row that show every way of losing, doubling or reordering.

What lives here: ``Split`` takes records once by their id and says a direct output at once and rows at ``advance``, and
gives its snapshots in parts; ``Gather`` takes the rows of all splits and says them again. Both chain what they say, and
``Split`` chains also where ``advance`` and ``idle`` fell, so that a replay which differs from the run it repeats shows
in what follows.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any

from models.errors import WireError
from models.pending import Sources
from models.slices import Cut
from streams.stage import Output, Record, StageSpec
from streams.topics import Topics

POISON = b"poison"
PARTS_MAX = 4


def chained(digest: str, row: str) -> str:
    return blake2b(f"{digest}{row}".encode(), digest_size=6).hexdigest()


class Split:
    """Requests of one partition in; rows by key to the gathers."""

    def __init__(self, topics: Topics, partition: int, gathers: int) -> None:
        self.topics, self.partition, self.gathers = topics, partition, gathers
        self.state: dict[str, Any] = {
            "seen": {},
            "counts": {},
            "rows": [],
            "next": 0,
            "idle": False,
            "digest": "",
            "sent": "",
        }
        self.parts: dict[str, list[str]] = {}  # the words seen, as they were written
        self.cuts = 0

    def process(self, records: Sequence[Record]) -> list[Output]:
        outputs = []
        state = self.state
        for record in records:
            state["next"], state["idle"] = record.offset + 1, False
            if record.value == POISON:
                raise ValueError("poison")
            word = record.value.decode()
            self._count("read")
            if word in state["seen"]:
                self._count("duplicate")
                continue
            state["seen"][word] = 1
            self._count("accepted")
            state["digest"] = chained(state["digest"], word)
            state["rows"].append(word)
            if word.endswith("0"):  # an account rule: said at once
                row = json.dumps([self.partition, word, state["digest"]])
                outputs.append(Output(self.topics.signals, None, word.encode(), row.encode()))
        return outputs

    def _count(self, outcome: str) -> None:
        self.state["counts"][outcome] = self.state["counts"].get(outcome, 0) + 1

    def advance(self) -> list[Output]:
        rows, self.state["rows"] = self.state["rows"], []
        if not rows:
            return []
        sequence = 2 * self.state["next"] + self.state["idle"]
        before = self.state["sent"]
        after = self.state["sent"] = self.state["digest"] = chained(self.state["digest"], "advance")
        outputs = []
        for gather in range(self.gathers):
            share = [row for row in rows if int(row[1:]) // 3 % self.gathers == gather]
            value = json.dumps([self.partition, sequence, share, before, after]).encode()
            outputs.append(Output(self.topics.sightings, gather, None, value))
        return outputs

    def idle(self) -> list[Output]:
        self.state["idle"] = True
        self.state["digest"] = chained(self.state["digest"], "idle")
        return []

    def counts(self) -> Counter[str]:
        return Counter(self.state["counts"])

    def snapshot(self) -> bytes:
        raise AssertionError("a stage that gives parts is asked for them")

    def restore(self, data: bytes) -> None:
        raise AssertionError("a stage that gives parts is given them")

    def cut(self) -> Cut:
        """Only the words of this snapshot are new; now and then all are written anew."""
        if len(self.parts) >= PARTS_MAX:
            self.parts = {}
        written = {word for part in self.parts.values() for word in part}
        self.cuts += 1
        new = [word for word in self.state["seen"] if word not in written]
        self.parts |= {f"seen/{self.cuts}": new} if new else {}
        fresh = {f"seen/{self.cuts}": json.dumps(new).encode()} if new else {}
        rest = {**self.state, "seen": {}, "cuts": self.cuts}
        return Cut(json.dumps(rest).encode(), list(self.parts), fresh)

    def join(self, rest: bytes, parts: Mapping[str, bytes]) -> None:
        try:
            self.state = json.loads(rest)
        except ValueError as error:
            raise WireError("not a snapshot of Split") from error
        self.cuts = self.state.pop("cuts")
        self.parts = {name: json.loads(data) for name, data in parts.items()}
        self.state["seen"] = {word: 1 for part in self.parts.values() for word in part}


class Gather:
    """Rows of all splits in, each envelope once; rows out, numbered and chained."""

    def __init__(self, topics: Topics) -> None:
        self.topics = topics
        self.sources = Sources(1)
        self.said = 0
        self.digest = ""
        self.rows: list[str] = []

    def process(self, records: Sequence[Record]) -> list[Output]:
        for record in records:
            source, sequence, rows, _, _ = json.loads(record.value)
            if self.sources.accept(str(source), sequence):
                self.rows += rows
        return []

    def advance(self) -> list[Output]:
        outputs = []
        for row in self.rows:
            self.digest = chained(self.digest, row)
            self.said += 1
            outputs.append(Output(self.topics.alerts, 0, None, json.dumps([row, self.said, self.digest]).encode()))
        self.rows = []
        return outputs

    def idle(self) -> list[Output]:
        return []

    def snapshot(self) -> bytes:
        return json.dumps([self.sources.sequence, self.said, self.digest, self.rows]).encode()

    def restore(self, data: bytes) -> None:
        try:
            self.sources.sequence, self.said, self.digest, self.rows = json.loads(data)
        except ValueError as error:
            raise WireError("not a snapshot of Gather") from error


def toy_specs(topics: Topics, gathers: int) -> list[StageSpec]:
    return [
        StageSpec("split", topics.requests, topics.observe_state, lambda number, of: Split(topics, number, gathers)),
        StageSpec("gather", topics.sightings, topics.fanin_state, lambda number, of: Gather(topics), follows=True),
    ]
