"""Topics in memory, and a driver that treats stages as the engine does: batches, commits, kills, silent replays.

What lives here: the schedule, drawn from a seed. What does not: Kafka itself (``tests/system``). A kill throws a stage
away and builds the next from the last snapshot, the records since, and the marks at which ``advance`` and ``idle``
ran; outputs of a commit appear all at once or never.
"""

from __future__ import annotations

import random
import zlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from streams.stage import Output, Record, Stage, StageSpec

STAMP_UNKNOWN = -1


class MemoryLog:
    """Committed records by topic and partition."""

    def __init__(self, partitions: dict[str, int]) -> None:
        self.partitions = partitions
        self.records: dict[tuple[str, int], list[Output]] = defaultdict(list)

    def append(self, output: Output) -> None:
        """Write one record; the key decides where no partition is named."""
        count = self.partitions.get(output.topic, 1)
        partition = zlib.crc32(output.key or b"") % count if output.partition is None else output.partition
        assert 0 <= partition < count, f"{output.topic} has no partition {partition}"
        self.records[output.topic, partition].append(output)

    def topic(self, name: str) -> list[Output]:
        """All records of a topic, partition by partition."""
        return [record for partition in range(self.partitions.get(name, 1)) for record in self.records[name, partition]]

    def read(self, topic: str, partition: int, first: int, limit: int) -> list[Record]:
        """Up to ``limit`` records from offset ``first``."""
        found = self.records[topic, partition][first : first + limit]
        return [Record(output.value or b"", first + at, STAMP_UNKNOWN) for at, output in enumerate(found)]


@dataclass(slots=True)
class Owner:
    """One partition of a stage, with what its state topic would hold."""

    spec: StageSpec
    partition: int
    partitions: int
    log: MemoryLog
    stage: Stage = field(init=False)
    offset: int = 0
    idle: bool = False
    outputs: list[Output] = field(default_factory=list)
    saved: tuple[bytes, int] | None = None  # snapshot and its offset
    marks: list[tuple[int, bool]] = field(default_factory=list)  # since then: offset, idle

    def __post_init__(self) -> None:
        self.stage = self.spec.make(self.partition, self.partitions)

    @property
    def unread(self) -> int:
        """Records that wait."""
        return len(self.log.records[self.spec.input_topic, self.partition]) - self.offset

    def take(self, limit: int) -> None:
        """Fold up to ``limit`` records."""
        records = self.log.read(self.spec.input_topic, self.partition, self.offset, limit)
        self.outputs += self.stage.process(records)
        self.offset += len(records)
        self.idle = False

    def commit(self, *, idle: bool = False, snapshot: bool = False) -> None:
        """As ``Partition.commit``."""
        if idle and not self.idle:
            self.outputs += self.stage.idle()
        self.outputs += self.stage.advance()
        self.idle = idle or self.idle
        if snapshot:
            self.saved, self.marks = (self.stage.snapshot(), self.offset), []
        self.marks.append((self.offset, self.idle))
        for output in self.outputs:
            self.log.append(output)
        self.outputs = []

    def kill(self) -> None:
        """Lose everything not committed and come back as ``Partition.open`` does."""
        self.stage = self.spec.make(self.partition, self.partitions)
        self.outputs, self.offset, was_idle = [], 0, False
        if self.saved:
            self.stage.restore(self.saved[0])
            self.offset, was_idle = self.saved[1], self.marks[0][1]
        for offset, idle in self.marks:
            if offset > self.offset:
                self.stage.process(
                    self.log.read(self.spec.input_topic, self.partition, self.offset, offset - self.offset)
                )
                self.offset, was_idle = offset, False
            if idle and not was_idle:
                self.stage.idle()
            was_idle = idle
            self.stage.advance()
        self.idle = was_idle


def drive(specs: Sequence[StageSpec], log: MemoryLog, *, seed: int, kills: float, batch: int = 900) -> None:
    """Run all stages over the log in a random order until nothing is left, every partition idle at the end.

    Args:
        specs: the stages.
        log: with the input in it.
        seed: of the schedule.
        kills: chance of a kill at each step.
        batch: the most records taken at once.
    """
    dice = random.Random(seed)
    owners = [
        Owner(spec, number, log.partitions[spec.input_topic], log)
        for spec in specs
        for number in range(log.partitions[spec.input_topic])
    ]
    while True:
        ready = [owner for owner in owners if owner.unread]
        if not ready:
            waiting = [owner for owner in owners if not owner.idle]
            if not waiting:
                return
            dice.choice(waiting).commit(idle=True)
            continue
        owner = dice.choice(ready)
        owner.take(dice.randint(1, batch))
        if dice.random() < 0.6:
            owner.commit(snapshot=dice.random() < 0.2)
        if dice.random() < kills:
            dice.choice(owners).kill()
