"""A thousand seeded runs of the real engine on a simulated broker and clock: nothing lost, nothing doubled, in order.

A failure prints its seed; ``DISTILWATCH_SIMULATION_SEED=<seed>`` runs that one alone, ``..._SEEDS=<n>`` another number.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections import Counter
from dataclasses import replace
from itertools import count

import pytest

from streams.config import load
from streams.topics import Topics
from tests.simulation.broker import written
from tests.simulation.clock import SimulatedLoop
from tests.simulation.toy import POISON, chained, toy_specs
from tests.simulation.world import Worker, World, simulated

TOPICS = Topics()
SEEDS = int(os.environ.get("DISTILWATCH_SIMULATION_SEEDS", "1000"))
ONE = os.environ.get("DISTILWATCH_SIMULATION_SEED")
_LOADED = load(
    {
        "DISTILWATCH_CHECKPOINT_MS": "40",
        "DISTILWATCH_SNAPSHOT_BYTES_PER_S": "2000",
        "DISTILWATCH_IDLE_MS": "300",
        "DISTILWATCH_BATCH_RECORDS": "40",
    }
)
SETTINGS = replace(_LOADED, engine=replace(_LOADED.engine, snapshot_s=0))  # as often as their bytes allow


async def run_seed(loop: SimulatedLoop, seed: int) -> World:
    """Some hundred records in bursts, a tenth twice, a few poisoned, on one to three partitions."""
    splits, gathers = 1 + seed % 3, 1 + seed // 3 % 2
    partitions = {
        TOPICS.requests: splits,
        TOPICS.observe_state: splits,
        TOPICS.sightings: gathers,
        TOPICS.fanin_state: gathers,
        TOPICS.alerts: 1,
        TOPICS.signals: 2,
        TOPICS.rejects: 1,
    }
    world = World(loop, seed, SETTINGS, toy_specs(TOPICS, gathers), partitions)
    dice, numbers = world.dice, count()
    fed = world.fed

    async def feed(world: World) -> None:
        for _ in range(dice.randint(5, 12)):
            for _ in range(dice.randint(1, 25)):
                word = dice.choice(fed) if fed and dice.random() < 0.1 else f"w{next(numbers)}"
                if word not in fed:
                    fed.append(word)
                written(world.broker, TOPICS.requests, [(word.encode(), word.encode())])
            if dice.random() < 0.2:
                written(world.broker, TOPICS.requests, [(f"p{len(fed)}".encode(), POISON)])
                world.poisoned += 1
            await asyncio.sleep(dice.uniform(0.01, 0.5))

    def done(world: World) -> bool:
        return len(world.broker.committed(TOPICS.alerts)) >= len(fed) and settled(world)

    await world.run(feed, done)
    await asyncio.sleep(0.3)
    return world


def settled(world: World) -> bool:
    return len(world.broker.committed(TOPICS.rejects)) >= world.poisoned


def judge(world: World) -> None:
    """Every word once, rows numbered and chained without a break, direct outputs once, poison set aside once."""
    fed = world.fed
    said = [json.loads(entry.value or b"") for entry in world.broker.committed(TOPICS.alerts)]
    assert Counter(row for row, _, _ in said) == Counter(fed)
    direct = [json.loads(entry.value or b"")[1] for entry in world.broker.committed(TOPICS.signals)]
    assert sorted(direct) == sorted(word for word in fed if word.endswith("0"))
    rejects = [json.loads(entry.value or b"") for entry in world.broker.committed(TOPICS.rejects)]
    assert len(rejects) == len({(r["partition"], r["offset"]) for r in rejects}) == world.poisoned
    continued: dict[int, str] = {}
    for entry in world.broker.committed(TOPICS.sightings):
        split, _, _, before, after = json.loads(entry.value or b"")
        if entry.partition == 0:
            assert before == continued.get(split, ""), "a replay differed from the run it repeated"
            continued[split] = after
    gathers = world.broker.partitions[TOPICS.sightings]
    chains = dict.fromkeys(range(gathers), ("", 0))
    for row, number, digest in said:
        gather = int(row[1:]) // 3 % gathers
        before, last = chains[gather]
        assert number == last + 1, "the fold of a partition forked"
        assert digest == chained(before, row), "the fold of a partition forked"
        chains[gather] = digest, number


@pytest.mark.row("all", "seeded interleavings of kills, zombies, rebalances, clocks, duplicates, poison")
@pytest.mark.parametrize("block", range(1 if ONE else 10))
def test_any_interleaving_loses_and_doubles_nothing(block: int) -> None:
    share = SEEDS // 10
    for seed in [int(ONE)] if ONE else range(block * share, (block + 1) * share):
        try:
            judge(simulated(lambda loop, seed=seed: run_seed(loop, seed)))
        except (Exception, asyncio.CancelledError) as error:
            raise AssertionError(f"DISTILWATCH_SIMULATION_SEED={seed} shows it: {error}") from error


def test_a_seed_decides_its_run() -> None:
    def logs() -> list[bytes]:
        world = simulated(lambda loop: run_seed(loop, 7))
        return [entry.value or b"" for entry in world.broker.committed(TOPICS.alerts)] + [repr(world.faults).encode()]

    assert logs() == logs()


@pytest.mark.parametrize("follows", [True, False])
def test_what_follows_commits_once_its_input_is_drained(follows: bool) -> None:
    async def waited(loop: SimulatedLoop) -> float:
        engine = replace(SETTINGS.engine, checkpoint_ms=10_000, idle_ms=600_000)
        split, gather = toy_specs(TOPICS, 1)
        partitions = dict.fromkeys(
            (TOPICS.requests, TOPICS.observe_state, TOPICS.sightings, TOPICS.fanin_state, TOPICS.alerts), 1
        )
        specs = [split, replace(gather, follows=follows)]
        world = World(loop, 1, replace(SETTINGS, engine=engine), specs, partitions)
        world.workers = [Worker(world)]
        await asyncio.sleep(5)
        written(world.broker, TOPICS.requests, [(b"w1", b"w1")])
        while not world.broker.committed(TOPICS.sightings):
            await asyncio.sleep(0.1)
        begun = loop.time()
        while not world.broker.committed(TOPICS.alerts):
            await asyncio.sleep(0.1)
        return loop.time() - begun

    assert (simulated(waited) < 3) is follows
