"""What an engine needs of the world around it: clients of the broker, two clocks, and a thread.

What lives here: the one seam at which a simulated broker and clock take the place of the real ones. What does not:
any behaviour. The options of the clients are set where they are made, so a stand-in sees them too.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from streams.statelog import LogReader

T = TypeVar("T")


class Aside:
    """One thread beside the loop for steps that would hold it: they run one after another, and all else goes on.

    One and not more: every running thread takes its part of the interpreter from the loop.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "aside")

    def __call__(self, step: Callable[[], T]) -> Awaitable[T]:
        """Run a step there. What it works on must be left alone until it is done."""
        return asyncio.get_running_loop().run_in_executor(self._pool, step)


@dataclass(frozen=True, slots=True)
class Outside:
    """Makers of clients, and clocks in seconds: ``now_s`` never goes back, ``wall_s`` is the time of day.

    ``aside`` makes what runs the long steps of one engine.
    """

    consumer: Callable[..., Any] = AIOKafkaConsumer
    producer: Callable[..., Any] = AIOKafkaProducer
    reader: Callable[..., Any] = LogReader
    now_s: Callable[[], float] = time.monotonic
    wall_s: Callable[[], float] = time.time
    aside: Callable[[], Callable[[Callable[[], Any]], Awaitable[Any]]] = Aside
