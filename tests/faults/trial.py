"""A deployment under faults: a supervisor that starts ended workers again, a steady feed, and its judge.

What lives here: what every row shares: feeding, looking, and when to ask the ``oracle``. What does not: the faults (the
tests). The seed decides every choice; ``DISTILWATCH_FAULT_SEED`` repeats a run.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import signal
import subprocess
import urllib.request
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from models.errors import WireError
from streams.statelog import RecoveryError
from tests.conftest import SEED
from tests.faults.oracle import (
    OUTCOMES,
    Outcome,
    Place,
    check_commits,
    check_rejects,
    hashes_of,
    in_redis,
    outcome_of,
    outcome_of_files,
)
from tests.servers import ROOT, free_port
from tests.system.deployment import PARTITIONS, System

SESSION_S = 3.0
WATCH_S = 5.0
FRESH_S = 30.0
"""After a fault is over a fresh request must be through within this."""
_expected: list[Outcome] = []


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
        self.roots: dict[str, Path] = {}  # the tree of a slot, where it runs other code than this
        self.fed = 0
        self.bad: dict[int, str] = {}  # lines that must be rejected, and why
        self.places: dict[Place, int] = {}  # the line at each place that the broker acknowledged
        self._tasks: list[asyncio.Task[None]] = []

    def undisturbed(self) -> Outcome:
        """What a replay of the same events decides; one replay serves all rows."""
        if not _expected:
            self.replayed()
            _expected.append(outcome_of_files(self.folder / "alerts", self.folder / "signals", self.prefix))
            assert _expected[0].alerts
            assert _expected[0].standing
        return _expected[0]

    def up(self, name: str) -> Slot:
        """A worker in this slot, kept running."""
        if name in self.slots:
            self.slots[name].wanted = True
        else:
            port = free_port()
            self.slots[name] = Slot(self.start(name, DISTILWATCH_HTTP_PORT=str(port)), port)
        return self.slots[name]

    def start(self, slot: str = "0", **env: str) -> subprocess.Popen[bytes]:
        self.root = self.roots.get(slot, ROOT)
        return super().start(slot, **env)

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
                for line, at in zip(part, await asyncio.gather(*sent), strict=True):
                    self.places[at.partition, at.offset] = line
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
        """A metric summed over all workers; the labels are patterns."""
        total = 0.0
        for slot in self.slots.values():
            for line in self.at(slot, "/metrics").splitlines():
                found = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line)
                wanted = found and found[1] == metric
                if wanted and all(re.search(f'{name}="({value})"', found[2] or "") for name, value in labels.items()):
                    total += float(found[3])
        return total

    def resident(self, slot: str = "0") -> int:
        """Bytes of memory of a worker."""
        status = Path(f"/proc/{self.slots[slot].process.pid}/statm").read_text()
        return int(status.split()[1]) * 4096

    def conserved(self) -> bool:
        """read = accepted + rejected + duplicate + late, over all workers, now."""
        return self.sum_of("distilwatch_observe_events_total", outcome="|".join(OUTCOMES)) == self.fed

    async def outcome(self, expected: Outcome) -> Outcome:
        """What was decided once it is all there and nothing more has come for a while."""
        for _ in range(60):
            if (await outcome_of(self)).size >= expected.size:
                break
            await asyncio.sleep(1)
        await asyncio.sleep(2)
        return await outcome_of(self)

    async def judge(self) -> None:
        """Everything fed is accounted for, and every decision is that of the undisturbed run, whole, once, in order."""
        expected = await asyncio.to_thread(self.undisturbed)
        await self.accounted()
        found = await self.outcome(expected)
        assert found == expected, f"{found.unlike(expected)}\n{self.logged()[-3000:]}"
        await self.until(self.conserved, "the counts to stay", FRESH_S)  # a worker may be taking partitions over

    async def accounted(self) -> None:
        """Every record that the broker acknowledged was read once and is accepted, or left out by name."""
        await self.until(self.conserved, "read = accepted + rejected + duplicate + late", 180)
        assert len(self.places) == self.fed
        await check_rejects(self, {place: self.bad[line] for place, line in self.places.items() if line in self.bad})
        assert await check_commits(self, previous=not self.roots)

    async def fresh(self) -> None:
        """A request of somebody new in every partition is through soon."""
        last = json.loads(self.lines[-1])
        before = self.sum_of("distilwatch_observe_events_total", outcome="accepted")
        async with AIOKafkaProducer(bootstrap_servers=self.bootstrap) as producer:
            for number in range(PARTITIONS):
                who = {"account_id": f"fresh-{number}", "org_id": f"fresh-{number}", "event_id": f"fresh-{number}"}
                value = json.dumps(last | who).encode()
                await producer.send_and_wait(self.topics.requests, value, partition=number)
        self.fed += PARTITIONS
        await self.until(self.conserved, "a fresh request", FRESH_S)
        assert self.sum_of("distilwatch_observe_events_total", outcome="accepted") == before + PARTITIONS

    async def projected(self) -> None:
        """Redis holds the standing signal of every account, whole, and nothing else."""
        wanted = hashes_of(self.undisturbed())
        await self.until(lambda: in_redis(self) == wanted, "every signal in Redis, and no other", 60)
        await self.until(lambda: self.component("redis").get("state") == "ok", "health to say so")

    async def _watch_commits(self) -> None:
        while True:
            await asyncio.sleep(WATCH_S)
            away = (KafkaError, RecoveryError)  # the broker may be what the fault takes away
            foreign = (WireError,) if self.roots else ()
            with suppress(*away, *foreign):
                await check_commits(self)

    async def under(self, fault: Coroutine[None, None, None], seconds: float) -> None:
        """Feed the letter while the fault happens, watch that what is committed adds up, then judge."""
        watching = asyncio.create_task(self._watch_commits())
        self._tasks.append(watching)
        going = asyncio.ensure_future(fault)
        feeding = asyncio.create_task(self.feed_for(seconds, fault=going))
        await going
        await feeding
        assert not watching.done(), watching.exception()
        await self.judge()
        await self.projected()
        await self.fresh()

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        super().close()
