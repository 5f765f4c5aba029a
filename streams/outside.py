"""What an engine needs of the world around it: clients of the broker, and two clocks.

What lives here: the one seam at which a simulated broker and clock take the place of the real ones. What does not:
any behaviour. The options of the clients are set where they are made, so a stand-in sees them too.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from streams.statelog import LogReader


@dataclass(frozen=True, slots=True)
class Outside:
    """Makers of clients, and clocks in seconds: ``now_s`` never goes back, ``wall_s`` is the time of day."""

    consumer: Callable[..., Any] = AIOKafkaConsumer
    producer: Callable[..., Any] = AIOKafkaProducer
    reader: Callable[..., Any] = LogReader
    now_s: Callable[[], float] = time.monotonic
    wall_s: Callable[[], float] = time.time
