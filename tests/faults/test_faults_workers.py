"""Workers and brokers that die, pause, come and go: decisions stay those of the undisturbed run."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.trial import SESSION_S, Trial
from tests.servers import ROOT, KafkaServer, RedisServer

pytestmark = [pytest.mark.servers, pytest.mark.timeout(900)]
Make = Callable[..., Trial]
STOPPED_S = 30.0
"""The worker's own bound on its end is 25 s."""


async def alive(trial: Trial, name: str) -> None:
    """Wait until a worker has its partitions: a fault before that would test the start alone."""
    slot = trial.slots[name]
    await trial.until(lambda: '"observe":{"state":"ok"' in trial.at(slot, "/-/ready"), f"worker {name}", 120)


async def kill_some(trial: Trial, count: int) -> None:
    """kill -9 at a random moment after the worker has read something again."""
    for _ in range(count):
        name = trial.dice.choice(list(trial.slots))
        await alive(trial, name)
        await asyncio.sleep(trial.dice.uniform(0.0, 1.0))
        trial.slots[name].process.send_signal(signal.SIGKILL)
        await asyncio.sleep(0.3)


async def ended_unready(trial: Trial, name: str) -> None:
    """SIGTERM; the worker says that it is not ready until it is gone."""
    slot = trial.slots[name]
    process, said = slot.process, []
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(STOPPED_S):
        while process.poll() is None:
            if page := await asyncio.to_thread(trial.at, slot, "/-/ready"):
                said.append(json.loads(page)["components"]["process"]["state"])
            await asyncio.sleep(0.005)
    assert "starting" in said, "it never said that it is not ready"
    assert "ok" not in said[said.index("starting") :], "it said that it is ready again"


@pytest.mark.row("1 3 12", "short: kills, a zombie, Redis dead and back")
async def test_a_short_run_of_faults_changes_no_decision(kafka: str, store: RedisServer, trial_on: Make) -> None:
    trial = trial_on(kafka, store.url)

    async def faults() -> None:
        await kill_some(trial, 1)
        store.kill()
        await alive(trial, "0")
        await trial.pause("0", SESSION_S * 1.7)
        store.start()
        await kill_some(trial, 1)

    trial.up("0")
    trial.supervise()
    await trial.under(faults(), 14)
    await trial.until(lambda: trial.component("redis").get("state") == "ok", "Redis to be filled again")


@pytest.mark.faults
@pytest.mark.row("1", "30 kills of a worker mid-batch")
async def test_thirty_kills(kafka: str, redis_url: str, trial_on: Make) -> None:
    trial = trial_on(kafka, redis_url)
    trial.up("0")
    trial.up("1")
    trial.supervise()
    await trial.under(kill_some(trial, 30), 150)
    assert trial.sum_of("distilwatch_restores_total") > 0


@pytest.mark.faults
@pytest.mark.row("2", "SIGTERM under load: exit 0, not ready first")
async def test_sigterm_under_load(kafka: str, redis_url: str, trial_on: Make) -> None:
    trial = trial_on(kafka, redis_url)
    trial.up("0")
    trial.supervise()

    async def faults() -> None:
        for _ in range(5):
            await alive(trial, "0")
            await ended_unready(trial, "0")
            await asyncio.sleep(trial.dice.uniform(1, 5))

    await trial.under(faults(), 40)
    assert set(trial.slots["0"].codes) == {0}


@pytest.mark.faults
@pytest.mark.row("3", "10 pauses beyond the session: zombies are fenced")
async def test_ten_zombies(kafka: str, redis_url: str, trial_on: Make) -> None:
    trial = trial_on(kafka, redis_url)
    trial.up("0")
    trial.up("1")
    trial.supervise()

    async def faults() -> None:
        for _ in range(10):
            name = trial.dice.choice(["0", "1"])
            await alive(trial, name)
            await trial.pause(name, SESSION_S * trial.dice.uniform(1.1, 2.5))

    await trial.under(faults(), 100)


@pytest.mark.faults
@pytest.mark.row("4", "rebalance storm: workers join and leave for 3 minutes")
async def test_a_storm_of_rebalances(kafka: str, redis_url: str, trial_on: Make) -> None:
    trial = trial_on(kafka, redis_url)
    for name in ("0", "1", "2"):
        trial.up(name)
    trial.supervise()

    async def faults() -> None:
        for _ in range(36):
            await asyncio.sleep(5)
            name = trial.dice.choice(["1", "2"])
            if trial.slots[name].wanted:
                trial.down(name)
            else:
                trial.up(name)

    await trial.under(faults(), 170)
    assert trial.slots["0"].starts == 1, "a worker that nobody touched ended"


@pytest.mark.faults
@pytest.mark.row("5", "6 bounces of the broker")
async def test_six_bounces(broker: KafkaServer, redis_url: str, trial_on: Make) -> None:
    trial = trial_on(broker.bootstrap, redis_url)
    trial.up("0")
    trial.supervise()

    async def faults() -> None:
        for _ in range(5):
            await alive(trial, "0")
            await asyncio.sleep(trial.dice.uniform(0, 3))
            broker.kill()
            await asyncio.sleep(trial.dice.uniform(1, 5))
            await asyncio.to_thread(broker.start)
        await alive(trial, "0")
        broker.kill()
        unwell = ("degraded", "starting")
        await trial.until(lambda: trial.component("observe").get("state") in unwell, "health to say so", 60)
        await asyncio.to_thread(broker.start)

    await trial.under(faults(), 60)


@pytest.mark.faults
@pytest.mark.row("scale", "scale out and back: 1, 2, 1 workers")
async def test_one_two_one(kafka: str, redis_url: str, trial_on: Make) -> None:
    trial = trial_on(kafka, redis_url)
    trial.up("0")
    trial.supervise()

    async def faults() -> None:
        await alive(trial, "0")
        trial.up("1")
        await alive(trial, "1")
        await asyncio.sleep(5)
        trial.down("1")

    await trial.under(faults(), 30)
    assert trial.slots["0"].starts == 1
    assert trial.slots["1"].process.wait(30) == 0


def other_version(folder: Path) -> Path:
    """This code, but for the version that it writes into its snapshots and accepts in them."""
    for package in ("models", "streams"):
        shutil.copytree(ROOT / package, folder / package)  # with the times of its files, which its compiled code needs
    stages = folder / "streams" / "stages.py"
    text, found = re.subn(r"^VERSION = \d+$", "VERSION = 77", stages.read_text(), flags=re.MULTILINE)
    assert found == 1, "where are the versions of the stages now?"
    stages.write_text(text)
    return folder


@pytest.mark.faults
@pytest.mark.row("33", "another version rolled out and back under load, both side by side")
async def test_another_version(kafka: str, redis_url: str, trial_on: Make, tmp_path: Path) -> None:
    trial = trial_on(kafka, redis_url)
    other = other_version(tmp_path / "other")
    trial.up("0")
    trial.up("1")
    trial.supervise()

    async def roll(name: str, root: Path) -> None:
        await alive(trial, name)
        trial.roots[name] = root
        starts = trial.slots[name].starts
        trial.slots[name].process.send_signal(signal.SIGTERM)
        await trial.until(lambda: trial.slots[name].starts > starts, f"worker {name} to start again")
        await alive(trial, name)
        await asyncio.sleep(SESSION_S)  # both work side by side, and snapshots of both are in the log

    async def faults() -> None:
        for name, root in (("0", other), ("1", other), ("1", ROOT), ("0", ROOT)):
            await roll(name, root)

    await trial.under(faults(), 60)
    assert "snapshot refused" in trial.logged()
