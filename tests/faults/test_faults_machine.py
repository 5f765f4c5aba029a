"""A machine whose clock jumps or whose disks are full: nothing is lost or torn, it is said, and all is made up."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from streams.sinks import running
from streams.sinks.courier import Courier
from streams.sinks.outbox import Outbox, OutboxError
from tests.conftest import absent
from tests.faults.test_faults_workers import alive
from tests.faults.trial import Trial
from tests.letter import SECRET, letter
from tests.servers import ROOT, KafkaServer, Missing
from tests.streams.sinks.notices import story
from tests.streams.sinks.receiver import receiving

pytestmark = [pytest.mark.servers, pytest.mark.faults, pytest.mark.timeout(900)]
Make = Callable[..., Trial]
HOUR_S = 3_600
STORIES = 60


class Disk:
    """A small disk of its own, to be filled and emptied."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ballast = path / "ballast"

    def fill(self) -> None:
        """Nothing more can be written."""
        with self._ballast.open("ab", buffering=0) as file:
            for size in (1 << 20, 1 << 12, 1):
                try:
                    while True:
                        file.write(bytes(size))
                except OSError:
                    continue

    def free(self) -> None:
        self._ballast.unlink()


def mounted(path: Path, megabytes: int) -> Iterator[Disk]:
    """A file system in memory; only root may make one."""
    path.mkdir(parents=True)
    size = f"size={megabytes}m"
    command = ["mount", "-t", "tmpfs", "-o", size, "distilwatch-test", str(path)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        absent(Missing("no small disk: only root may mount one"))
    yield Disk(path)
    subprocess.run(["umount", "--lazy", str(path)], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    yield from mounted(tmp_path / "disk", 16)


@pytest.fixture
def cramped(tmp_path: Path) -> Iterator[tuple[KafkaServer, Disk]]:
    """A broker whose logs are on a disk of their own."""
    disks = mounted(tmp_path / "kafka" / "data", 512)
    disk = next(disks)
    try:
        server = KafkaServer(tmp_path / "kafka")
    except Missing as reason:
        absent(reason)
    server.start()
    yield server, disk
    server.stop()
    next(disks, None)


@pytest.mark.row("11", "the broker's disk is full: nothing is acknowledged, all is made up once there is room")
async def test_the_disk_of_the_broker_is_full(
    cramped: tuple[KafkaServer, Disk], redis_url: str, trial_on: Make
) -> None:
    broker, disk = cramped
    trial = trial_on(broker.bootstrap, redis_url, DISTILWATCH_SNAPSHOT_S="10")
    trial.up("0")
    trial.supervise()

    async def faults() -> None:
        await alive(trial, "0")
        await trial.until(lambda: trial.fed > 2_000, "some input")
        await asyncio.to_thread(disk.fill)
        process = broker.process
        assert process is not None
        await trial.until(lambda: process.poll() is not None, "the broker to give up its only disk", 120)
        fed = trial.fed
        await trial.until(lambda: trial.component("observe").get("state", "") in ("degraded", "starting", ""), "health")
        await asyncio.sleep(10)
        assert trial.fed == fed, "a record was acknowledged that nobody could write"
        disk.free()
        await asyncio.to_thread(broker.start)

    await trial.under(faults(), 40)


@pytest.mark.row("16a", "no room for the kept state of a replay: alerts are whole, the state before stands")
def test_no_room_for_the_state_of_a_replay(disk: Disk, tmp_path: Path) -> None:
    first, second = letter().halves()
    (tmp_path / "first.jsonl").write_bytes(first)
    (tmp_path / "second.jsonl").write_bytes(second)
    (tmp_path / "both.jsonl").write_bytes(letter().file())
    state = disk.path / "state"

    def replay(name: str, *more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "streams", "replay", str(tmp_path / f"{name}.jsonl"), "--quiet", *more]
        environment = os.environ | {"DISTILWATCH_SECRET": SECRET}
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)

    alerts = str(tmp_path / "alerts")
    assert replay("both", "--alerts", alerts).returncode == 0
    whole = (tmp_path / "alerts").read_bytes()
    assert replay("first", "--state", str(tmp_path / "kept")).returncode == 0
    kept = (tmp_path / "kept" / "state.dwb").read_bytes()
    state.mkdir()
    (state / "state.dwb").write_bytes(kept)
    disk.fill()
    refused = replay("second", "--state", str(state), "--alerts", alerts)
    assert refused.returncode == 1
    assert "No space left on device" in refused.stderr
    assert "Traceback" not in refused.stderr
    told = (tmp_path / "alerts").read_bytes()
    assert told
    assert told in whole or set(told.splitlines()) <= set(whole.splitlines())
    assert [path.name for path in state.iterdir()] == ["state.dwb"], "a torn state was left"
    assert (state / "state.dwb").read_bytes() == kept
    disk.free()
    again = replay("second", "--state", str(state), "--alerts", alerts)
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "alerts").read_bytes() == told
    assert (state / "state.dwb").read_bytes() != kept


async def tell(courier: Courier) -> None:
    """More than a disk without room has left over."""
    for number in range(STORIES):
        await courier.deliver(story(f"c-{number}"))


@pytest.mark.row("16b", "no room for the outbox: it is said, nothing is lost, all is told once there is room")
async def test_no_room_for_the_outbox(disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "RETRY_S", 0.2)
    settings = tmp_path / "sinks.yaml"
    async with receiving(200) as hook:
        settings.write_text(
            f"outbox: {disk.path}/outbox.db\n"
            f"sinks: {{hook: {{type: webhook, url: '{hook.url}', secret_env: HOOK, allow: [127.0.0.0/8]}}}}\n"
        )
        async with running.delivering(str(settings), {"HOOK": "x"}) as courier:
            await courier.deliver(story("c-first")[:1])
            await hook.until(1)
            disk.fill()
            with pytest.raises(OutboxError, match="full"):
                await tell(courier)
            assert running.state(courier).state == "degraded"
            assert "full" in running.state(courier).detail
            disk.free()
            await tell(courier)
            assert running.state(courier).state == "ok"
            await hook.until(1 + STORIES * len(story()), 60)
    outbox = Outbox(disk.path / "outbox.db")
    assert outbox.tally("hook").waiting == 0
    outbox.close()


@pytest.mark.row("16c", "no room where Faust keeps its files: detection goes on")
async def test_no_room_for_the_files_of_faust(disk: Disk, kafka: str, redis_url: str, trial_on: Make) -> None:
    disk.fill()
    trial = trial_on(kafka, redis_url, DISTILWATCH_STATE_DIR=str(disk.path))
    trial.up("0")
    trial.supervise()
    await trial.under(asyncio.sleep(1), 10)
    assert trial.slots["0"].starts == 1


@pytest.mark.row("22", "the clock of the machine jumps an hour ahead and back")
async def test_the_clock_jumps(broker: KafkaServer, redis_url: str, trial_on: Make, tmp_path: Path) -> None:
    skew = tmp_path / "skew"
    trial = trial_on(broker.bootstrap, redis_url, SKEW_FILE=str(skew))
    trial.command = [sys.executable, "-m", "tests.faults.skewed"]
    at_s = 0

    def jump(seconds: int) -> None:
        nonlocal at_s
        at_s += seconds
        skew.with_suffix(".new").write_text(str(at_s))
        skew.with_suffix(".new").replace(skew)

    jump(0)
    trial.up("0")
    trial.supervise()

    async def faults() -> None:
        await alive(trial, "0")
        for _ in range(8):
            jump(trial.dice.choice([-1, 1]) * trial.dice.randint(1, HOUR_S))
            await asyncio.sleep(trial.dice.uniform(0.2, 2.0))
        jump(-HOUR_S)
        await asyncio.sleep(2)
        assert trial.component("observe")["state"] == "ok"
        broker.signal(signal.SIGSTOP)  # set back, it must still notice that nobody answers
        await trial.until(lambda: trial.component("observe").get("state") == "degraded", "health to say so", 60)
        broker.signal(signal.SIGCONT)
        await trial.until(lambda: trial.component("observe").get("state") == "ok", "health to be well again")

    await trial.under(faults(), 25)
    assert trial.slots["0"].starts == 1
