"""When the engine calls a partition idle: once all there is of it was folded long ago, and never for its own delay.

The client and the clocks are stand-ins: what matters is what the client holds, and says, between two polls.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from aiokafka import TopicPartition

from streams.config import load
from streams.control import ControlLog
from streams.engine import FRESH_POLL_S, Engine
from streams.metrics import Metrics
from streams.outside import Outside
from streams.topics import Topics
from tests.simulation.toy import toy_specs

WHERE = TopicPartition("requests", 0)
IDLE_S = 3.0
DELAY_S = 30.0
END = 7


@dataclass(slots=True)
class Client:
    """What a consumer says of its one partition."""

    stamp_ms: int
    end: int = END
    place: int = END

    def last_poll_timestamp(self, where: TopicPartition) -> int:
        return self.stamp_ms

    def last_stable_offset(self, where: TopicPartition) -> int:
        return self.end

    async def position(self, where: TopicPartition) -> int:
        return self.place


@dataclass(slots=True)
class Case:
    """An engine with one live partition that was heard of, and had input, at ``now_s`` = 1,000."""

    now_s: float = 1_000.0
    client: Client = field(init=False)
    engine: Engine = field(init=False)
    idle: list[bool] = field(default_factory=list)  # what was committed

    def __post_init__(self) -> None:
        self.client = Client(self.stamp_ms)
        outside = Outside(
            consumer=lambda **_: self.client,
            reader=lambda _: None,
            now_s=lambda: self.now_s,
            wall_s=lambda: self.now_s,
        )
        settings = load({"DISTILWATCH_IDLE_MS": str(int(IDLE_S * 1000))})
        self.engine = Engine(toy_specs(Topics(), 1)[0], settings, Metrics(), ControlLog([]), outside)
        quiet = {"idle": False, "changed": False, "has_news": False, "hurried": False, "output_bytes": 0}
        self.engine.live[WHERE] = SimpleNamespace(commit=self.commit, **quiet)  # type: ignore[assignment]
        self.engine._last_input[WHERE] = self.now_s
        assert self.engine.broker_silence_s < FRESH_POLL_S

    @property
    def stamp_ms(self) -> int:
        return int(self.now_s * 1000)

    async def commit(self, *, idle: bool = False) -> None:
        self.idle.append(idle)

    def after(self, seconds: float, **said: Any) -> list[bool]:
        """Time passes, the broker answers with what is said, and the engine looks."""
        self.now_s += seconds
        self.client.stamp_ms = self.stamp_ms
        for name, value in said.items():
            setattr(self.client, name, value)
        asyncio.run(self.engine._commit_when_due(drained=True))
        return self.idle


def test_a_partition_read_to_its_end_is_idle_after_its_time() -> None:
    case = Case()
    assert case.after(IDLE_S - 0.1) == []
    assert case.after(0.1) == [True]


def test_input_that_came_while_a_commit_was_held_up_is_no_silence() -> None:
    case = Case()
    assert case.after(DELAY_S, end=END + 5) == []
    assert case.after(IDLE_S - 0.1, place=END + 5) == []
    assert case.after(0.1) == [True]


def test_an_answer_after_a_long_silence_begins_the_wait_anew() -> None:
    case = Case()
    assert case.after(DELAY_S) == []
    assert case.after(IDLE_S) == [True]


def test_what_lies_in_the_client_is_not_passed_over() -> None:
    case = Case()
    for _ in range(4):
        assert case.after(IDLE_S, end=END + 5) == []
    assert case.after(IDLE_S, place=END + 5) == [True]
