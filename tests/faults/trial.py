"""A deployment under faults: a supervisor that starts ended workers again, a steady feed, and the oracle.

What lives here: what every row shares: the undisturbed run of the same events, and what must hold after a fault. What
does not: the faults (the tests). The seed decides every choice; ``DISTILWATCH_FAULT_SEED`` repeats a run.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import signal
import subprocess
import time
import urllib.request
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path

from aiokafka import AIOKafkaProducer

from tests.servers import free_port
from tests.system.deployment import Decided, System

SEED = int(os.environ.get("DISTILWATCH_FAULT_SEED", "0")) or time.time_ns() % 1_000_000
SESSION_S = 3.0
_expected: list[Decided] = []


@dataclass(slots=True)
class Slot:
    """One worker's place: its process is started again whenever it ends, while it is wanted."""

    process: subprocess.Popen[bytes]
    port: int
    wanted: bool = True
    starts: int = 1
    codes: list[int] = field(default_factory=list)


class Trial(System):
    """Real workers that a monkey may end."""

    def __init__(self, bootstrap: str, folder: Path, redis_url: str, **env: str) -> None:
        super().__init__(bootstrap, folder, redis_url)
        self.dice = random.Random(SEED)
        self.env |= {
            "DISTILWATCH_SESSION_MS": str(int(SESSION_S * 1000)),
            "DISTILWATCH_IDLE_MS": "12000",
            "DISTILWATCH_SNAPSHOT_S": "2",
            "DISTILWATCH_BATCH_RECORDS": "500",
        } | env
        self.slots: dict[str, Slot] = {}
        self.fed = 0
        self._tasks: list[asyncio.Task[None]] = []

    def undisturbed(self) -> Decided:
        """What a replay of the same events decides; one replay serves all rows."""
        if not _expected:
            _expected.append(self.replayed())
            assert _expected[0].alerts
        return _expected[0]

    def up(self, name: str) -> Slot:
        """A worker in this slot, kept running."""
        if name in self.slots:
            self.slots[name].wanted = True
        else:
            port = free_port()
            self.slots[name] = Slot(self.start(name, DISTILWATCH_HTTP_PORT=str(port)), port)
        return self.slots[name]

    def supervise(self) -> None:
        """From now on ended workers are started again."""
        self._tasks.append(asyncio.create_task(self._supervise()))

    async def _supervise(self) -> None:
        while True:
            await asyncio.sleep(0.1)
            for name, slot in self.slots.items():
                if slot.process.poll() is not None and slot.wanted:
                    slot.codes.append(int(slot.process.returncode))
                    slot.process = self.start(name, DISTILWATCH_HTTP_PORT=str(slot.port))
                    slot.starts += 1

    def down(self, name: str) -> None:
        """End a worker cleanly and leave it ended."""
        self.slots[name].wanted = False
        self.slots[name].process.send_signal(signal.SIGTERM)

    async def pause(self, name: str, seconds: float) -> None:
        """A zombie in the making."""
        process = self.slots[name].process
        process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(seconds)
        process.send_signal(signal.SIGCONT)

    async def feed_for(self, seconds: float, upto: float = 1.0, fault: asyncio.Future[None] | None = None) -> None:
        """The letter up to a part of it, spread over a time; waits for the broker as long as it takes.

        While ``fault`` goes on, the last tenth trickles: no fault finds an idle fleet.
        """
        end = int(upto * len(self.lines))
        steps = max(1, int(seconds / 0.5))
        size = max(1, (end - self.fed) // steps + 1)
        async with AIOKafkaProducer(
            bootstrap_servers=self.bootstrap, linger_ms=20, enable_idempotence=True, request_timeout_ms=120_000
        ) as producer:
            while self.fed < end:
                trickle = fault is not None and not fault.done() and self.fed > 0.9 * end
                part = range(self.fed, min(end, self.fed + (2 if trickle else size)))
                sent = [
                    await producer.send(self.topics.requests, self.lines[at], key=self.accounts[at].encode())
                    for at in part
                ]
                await asyncio.gather(*sent)
                self.fed = part.stop
                await asyncio.sleep(0.5)

    def at(self, slot: Slot, path: str) -> str:
        """A page of one worker; empty while it does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{slot.port}{path}", timeout=3) as answer:
                return str(answer.read().decode())
        except urllib.error.HTTPError as error:
            return str(error.read().decode())
        except OSError:
            return ""

    def component(self, name: str, slot: str = "0") -> dict[str, str]:
        """How one part of a worker says it is; empty while it does not answer."""
        page = self.at(self.slots[slot], "/-/ready")
        return dict(json.loads(page)["components"].get(name, {})) if page.startswith("{") else {}

    def sum_of(self, metric: str, **labels: str) -> float:
        """A metric summed over all workers."""
        total = 0.0
        for slot in self.slots.values():
            for line in self.at(slot, "/metrics").splitlines():
                found = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line)
                wanted = found and found[1] == metric
                if wanted and all(f'{name}="{value}"' in (found[2] or "") for name, value in labels.items()):
                    total += float(found[3])
        return total

    def conserved(self) -> bool:
        """read = accepted + rejected + duplicate + late, over all workers, now."""
        return self.sum_of("distilwatch_observe_events_total") == self.fed

    async def judge(self) -> None:
        """Everything fed is accounted for, and every decision is that of the undisturbed run, once."""
        expected = await asyncio.to_thread(self.undisturbed)
        await self.until(self.conserved, "read = accepted + rejected + duplicate + late", 180)
        found = await self.settled(expected)
        assert found.alerts == expected.alerts, self.logged()[-3000:]
        assert found.signals == expected.signals
        assert self.conserved()

    async def under(self, fault: Coroutine[None, None, None], seconds: float) -> None:
        """Feed the letter while the fault happens, then judge."""
        going = asyncio.ensure_future(fault)
        feeding = asyncio.create_task(self.feed_for(seconds, fault=going))
        await going
        await feeding
        await self.judge()

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        super().close()
