"""A real Envoy on the config of ``docker/envoy.yaml``, the limiter as its rate limit service, an API behind it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web

from tests.conftest import absent
from tests.servers import EnvoyServer, Missing, wait_for
from tests.streams.limiter.process import LimiterProcess, call
from tests.streams.limiter.signals import Signals
from tests.streams.limiter.upstream import Upstream

pytestmark = pytest.mark.servers


async def echo(request: web.Request) -> web.Response:
    """The API: says which headers reached it."""
    return web.json_response({name.lower(): value for name, value in request.headers.items()})


class Gateway:
    """Envoy, limiter and API."""

    def __init__(self, limiter: LimiterProcess, envoy: EnvoyServer) -> None:
        self.limiter, self.envoy = limiter, envoy

    def get(self, account: str | None, **headers: str) -> tuple[int, dict[str, str], dict[str, str]]:
        if account is not None:
            headers["X_Account_Id"] = account
        status, body, got = call(f"http://127.0.0.1:{self.envoy.port}/v1/messages", **headers)
        return status, body if isinstance(body, dict) else {}, got


@pytest.fixture(scope="module")
def gateway(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder, api = tmp_path_factory.mktemp("gateway"), Upstream(echo)
    signals = Signals(redis_url)
    signals.put([signals.signal("blocked", "block"), signals.signal("challenged", "challenge", cluster="c-2")])
    signals.put([signals.signal(f"member-{number}", cluster="c-3") for number in range(200)], per_minute=480)
    limiter = LimiterProcess(folder / "limiter", signals)
    limiter.start()
    try:
        envoy = EnvoyServer(folder / "envoy", {8000: api.port, 8081: limiter.grpc_port})
        envoy.start()
    except Missing as reason:
        limiter.stop()
        absent(reason)
    found = Gateway(limiter, envoy)
    # Envoy passes everything until its connection to the limiter is up.
    wait_for(lambda: found.get("blocked")[0] == 429, "Envoy to ask the limiter")
    yield found
    for process in (envoy, limiter):
        process.stop()
    api.stop()


def test_a_blocked_account_sees_an_ordinary_429(gateway: Gateway) -> None:
    status, _, headers = gateway.get("blocked")
    assert status == 429
    names = {name.lower() for name in headers}
    assert "retry-after" in names
    assert not {name for name in names if "distilwatch" in name or name.startswith("x-")}


def test_everybody_else_passes(gateway: Gateway) -> None:
    assert gateway.get("nobody")[0] == 200
    assert gateway.get(None)[0] == 200


def test_what_is_behind_envoy_hears_of_a_challenge_and_nobody_outside_can_say_it(gateway: Gateway) -> None:
    status, seen, headers = gateway.get("challenged")
    assert (status, seen["x-distilwatch-action"], seen["x-distilwatch-cluster"]) == (200, "challenge", "c-2")
    assert not [name for name in headers if "distilwatch" in name.lower()]
    _, forged, _ = gateway.get("nobody", X_Distilwatch_Action="allow")
    assert "x-distilwatch-action" not in forged


def test_a_cluster_draws_from_one_budget_through_envoy(gateway: Gateway) -> None:
    statuses = [gateway.get(f"member-{number}")[0] for number in range(200)]
    assert set(statuses) == {200, 429}
    assert 10 <= statuses.count(200) <= 60  # 480 a minute, a quarter of it, is two a second; ten at once


def test_the_access_log_says_why(gateway: Gateway) -> None:
    gateway.get("blocked")

    def logged() -> list[dict[str, str]]:
        lines = (gateway.envoy.folder / "output.log").read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    wait_for(lambda: any(line.get("reason") == "block" for line in logged()), "the access log")


def test_envoy_passes_everything_while_the_limiter_is_away_and_asks_it_again(gateway: Gateway, tmp_path: Path) -> None:
    gateway.limiter.kill()
    assert {gateway.get("blocked")[0] for _ in range(5)} == {200}
    gateway.limiter.start()
    wait_for(lambda: gateway.get("blocked")[0] == 429, "the limiter's return")
