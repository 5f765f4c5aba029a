"""The self-test proves the whole way, and names the hop where it ends; on real Kafka and Redis with a real worker."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import redis

from models.canary import CanaryMark
from models.hashing import KeyedHash
from streams.selftest import embedded
from streams.selftest.canary import GAP_MS, Canary
from streams.selftest.hops import Way
from streams.topics import create
from tests.docker.redis_users import GuardedRedis
from tests.letter import SECRET
from tests.models.desk_records import campaign, signal
from tests.servers import ROOT, Process, free_port, wait_for
from tests.streams.test_cli import clean, run
from tests.system.deployment import System

MARK = CanaryMark(KeyedHash(SECRET.encode()))


def test_the_detector_of_this_process_finds_the_canary() -> None:
    done = run("selftest", "-o", "json", DISTILWATCH_SECRET=SECRET)
    told = json.loads(done.stdout)
    assert done.returncode == 0, told
    assert [hop["name"] for hop in told["hops"]] == ["decoded", "alert", "signals", "apart"]
    assert "120 of 120 accounts named" in told["hops"][2]["text"]


@pytest.mark.parametrize(
    ("alerts", "accounts", "failing"),
    [
        ([], [], "alert"),
        ([campaign(members_sample=[MARK.account("r", 1)])], [], "signals"),
        ([campaign(members_sample=[MARK.account("r", 1)])], [MARK.account("r", 1), "a customer"], "apart"),
        ([campaign(members_sample=[MARK.account("r", 1), "a customer"])], [MARK.account("r", 1)], "apart"),
    ],
)
def test_the_hop_that_fails_is_named(
    alerts: list, accounts: list[str], failing: str, capsys: pytest.CaptureFixture[str]
) -> None:
    way = Way()
    embedded._judge(way, MARK, alerts, {account: signal(account) for account in accounts})
    assert way.told("human") == 1
    assert f"FAILED at: {failing}" in capsys.readouterr().out


def test_no_two_runs_share_anything_and_none_has_an_address() -> None:
    def all_of(run_id: str) -> list[dict]:
        return [msgspec.json.decode(record) for _, _, record in Canary(run_id, MARK).requests(0, 2 * GAP_MS)]

    one, other = all_of("one"), all_of("two")
    assert len(one) > 200
    for name in ("event_id", "account_id", "payment_id", "prompt"):
        assert {event[name] for event in one}.isdisjoint({event[name] for event in other})
    words = [{" ".join(event["prompt"].split()[at : at + 5]) for event in one for at in range(40)}]
    assert all(" ".join(event["prompt"].split()[:5]) not in words[0] for event in other)
    assert all("client_ip" not in event and "org_id" not in event for event in one)
    assert all(MARK.knows(event["account_id"]) for event in one)
    assert one == all_of("one")


def asked(system: System, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "streams", "selftest", "--brokers", system.bootstrap, *words]
    return subprocess.run(
        command, cwd=ROOT, env=clean(**(system.env | env)), capture_output=True, text=True, timeout=120, check=False
    )


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[GuardedRedis]:
    """A Redis with the users of the containers."""
    server = GuardedRedis(tmp_path / "redis")
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.mark.servers
async def test_the_hop_that_is_missing_is_named_and_hurry_is_refused(
    kafka: str, redis_url: str, tmp_path: Path
) -> None:
    system = System(kafka, tmp_path, redis_url)
    try:
        await create({"bootstrap_servers": kafka}, system.topics.catalogue(), partitions=2)
        nobody = await asyncio.to_thread(asked, system, "--timeout", "4")
        refused = await asyncio.to_thread(asked, system, "--isolated", "--timeout", "4")
    finally:
        system.close()
    assert nobody.returncode == 1
    assert "FAILED at: alert" in nobody.stdout
    assert "is a worker running" in nobody.stdout
    assert refused.returncode == 2
    assert "holds requests" in refused.stderr


@pytest.mark.servers
async def test_a_running_worker_is_proved_from_requests_to_a_limiter(
    kafka: str, guarded: GuardedRedis, tmp_path: Path
) -> None:
    """Worker and limiter each with the rights that the containers give them and no more."""
    system = System(kafka, tmp_path, guarded.worker_url)
    system.env["DISTILWATCH_IDLE_MS"] = "2000"
    try:
        await create({"bootstrap_servers": kafka}, system.topics.catalogue(), partitions=2)
        system.start()
        done = await asyncio.to_thread(asked, system, "--isolated", "--timeout", "100", "-o", "json")
        hops = {hop["name"]: hop for hop in json.loads(done.stdout)["hops"]}
        assert done.returncode == 0, (hops, system.logged()[-2000:])
        assert list(hops) == ["brokers", "requests", "alert", "signals", "apart", "redis"]
        assert all(hop["state"] == "ok" for hop in hops.values())
        assert SECRET not in done.stdout + done.stderr
        await asyncio.to_thread(limited, guarded, system, tmp_path)
    finally:
        system.close()


def limited(guarded: GuardedRedis, system: System, folder: Path) -> None:
    """A limiter holds back an account of the canary, and draws on the budget of its cluster."""
    with redis.Redis.from_url(guarded.limiter_url) as client:
        named = dict(client.zscan(f"distilwatch:v1:index:{{{system.prefix}}}")[1])
    limiter, port = Process(folder / "limiter"), free_port()
    environment = {"DISTILWATCH_REDIS_URL": guarded.limiter_url, "DISTILWATCH_TENANT": system.prefix}
    words = [f"{name}={value}" for name, value in environment.items()]
    command = [sys.executable, "-m", "streams", "limiter", "--grpc-port", "-1", "--http-port", str(port)]
    limiter.launch(["env", f"PYTHONPATH={ROOT}", *words, *command], port)
    try:
        wait_for(lambda: "ok" in page(port, "/-/ready"), "the limiter")
        account_id = next(iter(named)).decode()
        assert json.loads(page(port, f"/v1/check/{account_id}"))["action"] in ("throttle", "challenge")
        assert json.loads(page(port, "/v1/check/somebody"))["action"] == "allow"
        drawn = re.findall(r'distilwatch_limiter_draws_total\{source="(\w+)"\} ([1-9])', page(port, "/metrics"))
        assert [source for source, _ in drawn] == ["redis"]
    finally:
        limiter.stop()


def page(port: int, path: str) -> str:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return str(answer.read().decode())
    except OSError:
        return ""


def test_without_brokers_or_a_secret_it_says_so() -> None:
    done = run("selftest", "--brokers", "127.0.0.1:9", DISTILWATCH_SECRET=SECRET)
    assert done.returncode == 1
    assert b"FAILED at: brokers" in done.stdout
    done = run("selftest", "--brokers", "127.0.0.1:9")
    assert done.returncode == 2
    assert b"set DISTILWATCH_SECRET to the worker's" in done.stderr
