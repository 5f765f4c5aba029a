"""A whole deployment in one thread: worker processes that run the real engine, and faults drawn from a seed.

What lives here: the schedule of faults and the end of a run. What does not: what must hold after it (the tests). A
process dies (kill -9), pauses beyond its session (a zombie when it wakes), ends cleanly, is joined by another, or has
its clock set an hour ahead or back; a process whose engine gave up is started again, as a supervisor would.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from streams.config import Settings
from streams.control import ControlLog
from streams.engine import Engine, EngineError
from streams.metrics import Metrics
from streams.outside import Outside
from streams.stage import StageSpec
from tests.simulation.broker import SESSION_S, Broker, Consumer, Process, Producer, Reader
from tests.simulation.clock import SimulatedLoop

FAULTS = ("kill", "kill", "pause", "stop", "join", "clock", "nothing")
CLOCK_OFF_S = 3_600.0
END_S = 60.0
ASIDE_S = 0.05
T = TypeVar("T")


class Worker:
    """One process: an engine per stage over clients that can die."""

    def __init__(self, world: World) -> None:
        broker = world.broker
        self.process = Process(broker.loop, world.dice)
        outside = Outside(
            consumer=lambda **options: Consumer(broker, self.process, options),
            producer=lambda **options: Producer(broker, self.process, options),
            reader=lambda clients: Reader(broker, self.process),
            now_s=broker.loop.time,
            wall_s=self.process.wall_s,
            aside=lambda: world.aside,
        )
        self.metrics = Metrics()
        control = ControlLog([])
        self.engines = [Engine(spec, world.settings, self.metrics, control, outside) for spec in world.specs]
        self.ended: list[str] = []  # why the engines gave up
        self.task = broker.loop.create_task(self._run())

    async def _run(self) -> None:
        """All engines, until one gives up: then the process ends as a whole, at once."""
        tasks = [asyncio.create_task(engine.run()) for engine in self.engines]
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        failed = [task.exception() for task in done if task.exception()]
        unexpected = [error for error in failed if not isinstance(error, EngineError)]
        if unexpected:
            raise unexpected[0]
        self.ended = [str(error) for error in failed]
        self.process.dead = self.process.dead or bool(failed)

    def stop(self) -> None:
        for engine in self.engines:
            engine.stop()

    @property
    def over(self) -> bool:
        return self.process.dead or self.task.done()


class World:
    """One seed's deployment; ``feed`` gives the input while faults go on."""

    def __init__(
        self, loop: SimulatedLoop, seed: int, settings: Settings, specs: Sequence[StageSpec], partitions: dict[str, int]
    ) -> None:
        self.dice = random.Random(seed)
        self.settings = settings
        self.specs = specs
        self.broker = Broker(loop, self.dice, partitions)
        self.workers: list[Worker] = []
        self.faults: list[str] = []
        self.fed: list[str] = []
        self.poisoned = 0

    async def run(self, feed: Callable[[World], Awaitable[None]], done: Callable[[World], bool]) -> None:
        """Feed under faults, then leave the workers alone until ``done``."""
        self.workers = [Worker(self) for _ in range(self.dice.randint(1, 3))]
        monkey = asyncio.create_task(self._disturb())
        await feed(self)
        monkey.cancel()
        deadline = self.broker.loop.time() + END_S
        while not done(self):
            self._revive(least=1)
            if self.broker.loop.time() > deadline:
                ends = [worker.ended for worker in self.workers[-3:]]
                raise AssertionError(f"no progress after {self.faults}, {len(self.workers)} workers, last {ends}")
            await asyncio.sleep(0.1)

    async def aside(self, step: Callable[[], T]) -> T:
        """A thread in a world of one thread: the step begins and is done while other things happen."""
        await asyncio.sleep(self.dice.uniform(0, ASIDE_S))
        done = step()
        await asyncio.sleep(self.dice.uniform(0, ASIDE_S))
        return done

    async def _disturb(self) -> None:
        while True:
            await asyncio.sleep(self.dice.uniform(0.05, 0.6))
            self._revive(least=self.dice.randint(0, 2))
            running = [worker for worker in self.workers if not worker.over]
            fault = self.dice.choice(FAULTS)
            self.faults.append(fault)
            if fault == "join" and len(running) < 3:
                self.workers.append(Worker(self))
            elif running:
                self._strike(self.dice.choice(running), fault)

    def _strike(self, worker: Worker, fault: str) -> None:
        if fault == "kill":
            worker.process.dead = True
        elif fault == "pause":
            worker.process.paused_until = self.broker.loop.time() + self.dice.uniform(0.1, 3 * SESSION_S)
        elif fault == "stop":
            worker.stop()
        elif fault == "clock":
            worker.process.clock_off_s = self.dice.uniform(-CLOCK_OFF_S, CLOCK_OFF_S)

    def _revive(self, least: int) -> None:
        for worker in self.workers:
            if worker.task.done() and not worker.task.cancelled() and worker.task.exception():
                raise AssertionError("the engine let an unknown error through") from worker.task.exception()
        running = sum(not worker.over for worker in self.workers)
        self.workers += [Worker(self) for _ in range(least - running)]


def simulated(main: Callable[[SimulatedLoop], Awaitable[T]]) -> T:
    """Run one world on its own loop and clock."""
    loop = SimulatedLoop()
    try:
        return loop.run_until_complete(main(loop))
    finally:
        while left := asyncio.all_tasks(loop):
            for task in left:
                task.cancel()
            loop.run_until_complete(asyncio.wait(left, timeout=0.1))
        loop.close()
