"""The engine on a real broker under faults: outputs are those of one uninterrupted run, none twice, none lost."""

from __future__ import annotations

import asyncio
import hashlib
import json
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from streams.stage import Record
from tests.servers import free_port, wait_for
from tests.streams.toy_worker import CountWords
from tests.streams.workers import Fleet

pytestmark = [pytest.mark.servers, pytest.mark.timeout(180)]


@pytest.fixture
def fleet(kafka: str, tmp_path: Path) -> Iterator[Fleet]:
    fleet = Fleet(kafka, tmp_path)
    yield fleet
    fleet.close()


def oracle(values: list[bytes]) -> list[str]:
    """The rows of one run over the same records, without faults."""
    stage = CountWords("out")
    stage.process([Record(value, offset, 0) for offset, value in enumerate(values) if b"poison" not in value])
    return stage.rows


def words(start: int, count: int) -> list[bytes]:
    return [b"w%d:%d" % (number % 7, number) for number in range(start, start + count)]


async def ended(process: subprocess.Popen[bytes], timeout_s: float = 40.0) -> int:
    await asyncio.to_thread(wait_for, lambda: process.poll() is not None, "the end of the worker", timeout_s)
    return int(process.returncode)


async def test_three_kills_lose_and_double_nothing(fleet: Fleet) -> None:
    await fleet.create()
    fed: list[bytes] = []
    for step in range(4):
        process = fleet.start(TOY_BULK_BYTES="1500000")
        for _ in range(6):
            batch = words(len(fed), 500)
            fed += batch
            await fleet.produce(batch)
            await asyncio.sleep(0.3)
        if step < 3:
            await fleet.rows(until=len(fed) - 1500)
            process.kill()
            process.wait(20)
    rows = await fleet.rows(until=len(fed))
    assert rows == oracle(fed), fleet.logged()[-3000:]


def scrape(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


async def test_sigterm_commits_and_exits_clean(fleet: Fleet) -> None:
    await fleet.create()
    port = free_port()
    process = fleet.start(DISTILWATCH_CHECKPOINT_MS="10000", DISTILWATCH_HTTP_PORT=str(port))
    await asyncio.to_thread(wait_for, lambda: scrape(port, "/-/ready")[0] == 200, "readiness")
    await fleet.produce(words(0, 400))
    read = 'distilwatch_input_records_total{stage="toy"} 400.0'
    await asyncio.to_thread(wait_for, lambda: read in scrape(port, "/metrics")[1], "400 records read")
    assert scrape(port, "/healthz")[0] == 200
    assert json.loads(scrape(port, "/readyz")[1])["components"]["toy"]["state"] == "ok"
    assert 'distilwatch_toy_events_total{outcome="accepted"' in scrape(port, "/metrics")[1]
    process.send_signal(signal.SIGTERM)
    assert await ended(process) == 0, fleet.logged()[-3000:]
    assert await fleet.rows(until=400, timeout_s=2) == oracle(words(0, 400))


def chained(rows: list[str]) -> bool:
    """Whether every row carries the digest over all rows before it: one fold, whoever wrote them."""
    digest = b""
    for row in rows:
        text, said = row.rsplit(" ", 1)
        digest = hashlib.blake2b(digest + text.encode(), digest_size=8).digest()
        if said != digest.hex():
            return False
    return True


async def test_idle_and_control_records_are_part_of_the_fold(fleet: Fleet) -> None:
    await fleet.create()
    env = {"DISTILWATCH_IDLE_MS": "700", "DISTILWATCH_SNAPSHOT_S": "600"}
    await fleet.produce([b"first"], fleet.topics.rules, b"k")
    await fleet.produce(words(0, 10))
    process = fleet.start(**env)
    rows = await fleet.rows(until=12)
    assert rows[0].startswith("rules/"), "rules that exist are in force before the first record"
    await fleet.produce([b"second"], fleet.topics.labels, b"k")
    rows = await fleet.rows(until=13)
    process.kill()
    process.wait(20)
    fleet.start(**env)
    await fleet.produce(words(10, 10))
    rows = await fleet.rows(until=24)
    texts = [row.split(" ")[0] for row in rows]
    assert chained(rows), rows
    assert texts.count("idle") == 2
    assert texts.count("rules/k=first") == texts.count("labels/k=second") == 1
    assert sum("@" in text for text in texts) == 20


async def test_compressed_batches_are_read(fleet: Fleet) -> None:
    await fleet.create()
    fed = words(0, 80)
    for step, kind in enumerate(("gzip", "lz4", "snappy", "zstd")):
        await fleet.produce(fed[20 * step : 20 * step + 20], compression_type=kind)
    fleet.start()
    assert await fleet.rows(until=80) == oracle(fed), fleet.logged()[-3000:]


async def test_a_zombie_is_fenced_and_ends(fleet: Fleet) -> None:
    await fleet.create()
    fed = words(0, 500)
    await fleet.produce(fed)
    zombie = fleet.start("a")
    await fleet.rows(until=500)
    other = fleet.start("b")
    zombie.send_signal(signal.SIGSTOP)
    fed += words(500, 500)
    await fleet.produce(fed[500:])
    await fleet.rows(until=1000)
    zombie.send_signal(signal.SIGCONT)
    fed += words(1000, 500)
    await fleet.produce(fed[1000:])
    assert await ended(zombie) != 0, fleet.logged()[-3000:]
    assert await fleet.rows(until=1500) == oracle(fed)
    assert other.poll() is None


@pytest.mark.row("25", "poison: set aside once, never quoted, the others flow")
async def test_poison_is_set_aside_and_never_quoted(fleet: Fleet) -> None:
    await fleet.create()
    fed = [*words(0, 40), b"poison:canary", *words(41, 40), b"poison:canary", *words(82, 40)]
    await fleet.produce(fed)
    port = free_port()
    process = fleet.start(DISTILWATCH_HTTP_PORT=str(port))
    assert await fleet.rows(until=120) == oracle(fed), fleet.logged()[-3000:]
    counted = scrape(port, "/metrics")[1]
    assert 'distilwatch_toy_events_total{outcome="rejected",reason="poison",stage="toy"} 2.0' in counted
    said = json.loads(scrape(port, "/readyz")[1])["components"]["toy"]
    assert said["state"] == "degraded"
    assert said["since"].endswith("Z")
    rejects = await fleet.values(fleet.topics.rejects, enough=lambda found: len(found) >= 2)
    assert [(json.loads(r)["reason"], json.loads(r)["offset"]) for r in rejects] == [("poison", 40), ("poison", 81)]
    process.kill()
    process.wait(20)
    fleet.start()
    fed += words(122, 10)
    await fleet.produce(fed[122:])
    assert await fleet.rows(until=130) == oracle(fed), fleet.logged()[-3000:]
    assert "canary" not in fleet.logged() + "".join(map(str, rejects))
