"""A broker that is slow, thin, silent or cut off: input waits, memory stays flat, health says so, all is made up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import absent
from tests.faults.proxy import Proxy
from tests.faults.trial import Trial
from tests.servers import KafkaServer, Missing, free_port

pytestmark = [pytest.mark.servers, pytest.mark.faults, pytest.mark.timeout(900)]
Make = Callable[..., Trial]
BEHIND = """
listeners=PLAINTEXT://127.0.0.1:{{port}},PROXIED://127.0.0.1:{inner},CONTROLLER://127.0.0.1:{{controller}}
advertised.listeners=PLAINTEXT://127.0.0.1:{{port}},PROXIED://127.0.0.1:{outer}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
"""
RSS_GROWTH_BYTES_MAX = 200 << 20
"""Above what the worker still loads and folds."""


@pytest.fixture
def spoilt(tmp_path: Path) -> Iterator[tuple[KafkaServer, Proxy]]:
    """A broker, and the only way to it that its workers know."""
    inner, outer = free_port(), free_port()
    try:
        server = KafkaServer(tmp_path / "kafka", BEHIND.format(inner=inner, outer=outer))
    except Missing as reason:
        absent(reason)
    server.start()
    proxy = Proxy(outer, inner)
    yield server, proxy
    proxy.close()
    server.stop()


async def feed_through(trial: Trial, spoil: Callable[[], None], proxy: Proxy, degraded: bool) -> None:
    """Feed around the proxy while the worker's own way is spoilt; then heal it and judge."""
    trial.up("0")
    trial.supervise()
    await trial.feed_for(5, upto=0.4)
    await trial.until(lambda: trial.component("observe").get("state") == "ok", "the worker")
    await trial.until(lambda: trial.sum_of("distilwatch_observe_events_total") > 0.3 * trial.fed, "some input")
    before = trial.resident()
    spoil()
    await trial.feed_for(5)
    if degraded:
        await trial.until(lambda: trial.component("observe").get("state") in ("degraded", "starting"), "health", 90)
        assert trial.component("observe")["since"]
    await asyncio.sleep(15)
    if trial.slots["0"].process.poll() is None:
        assert trial.resident() < before + RSS_GROWTH_BYTES_MAX
    proxy.heal()
    await trial.judge()
    await trial.until(lambda: trial.component("observe").get("state") == "ok", "health to be well again")
    await trial.projected()
    await trial.fresh()


@pytest.mark.parametrize(
    ("fault", "degraded"),
    [
        pytest.param("slow", False, marks=pytest.mark.row("6a", "broker 2 s away")),
        pytest.param("thin", True, marks=pytest.mark.row("6b", "broker at 10 kB/s")),
        pytest.param("silent", True, marks=pytest.mark.row("7a", "half-open connections")),
        pytest.param("sliced", False, marks=pytest.mark.row("7b", "connections cut and sliced")),
        pytest.param("away", True, marks=pytest.mark.row("7c", "broker refused")),
    ],
)
async def test_a_spoilt_way_to_the_broker(
    spoilt: tuple[KafkaServer, Proxy], redis_url: str, trial_on: Make, fault: str, degraded: bool
) -> None:
    server, proxy = spoilt
    trial = trial_on(server.bootstrap, redis_url, DISTILWATCH_BROKERS=f"127.0.0.1:{proxy.port}")

    def spoil() -> None:
        if fault == "slow":
            proxy.latency_s = 2.0
        elif fault == "thin":
            proxy.bytes_per_s = 10_000
        elif fault == "silent":
            proxy.silent = True
        elif fault == "away":
            proxy.away = True
            proxy.reset()
        else:
            proxy.slice_bytes = 100
            for _ in range(5):
                proxy.reset()

    await feed_through(trial, spoil, proxy, degraded)
