"""The limiter process with grpc's own client and over HTTP: actions, budgets, news, tokens, the death of Redis."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from envoy.service.ratelimit.v3 import rls_pb2, rls_pb2_grpc

from tests.servers import RedisServer, wait_for
from tests.streams.limiter.process import LimiterProcess, call
from tests.streams.limiter.signals import Signals

pytestmark = pytest.mark.servers
OK, OVER = rls_pb2.RateLimitResponse.OK, rls_pb2.RateLimitResponse.OVER_LIMIT


@pytest.fixture(scope="module")
def limiter(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LimiterProcess]:
    signals = Signals(redis_url)
    actions = ("allow", "observe", "throttle", "challenge", "block")
    signals.put([signals.signal(action, action, cluster=None) for action in actions])
    signals.put([signals.signal("only-people", "block", mode="alert")])
    process = LimiterProcess(tmp_path_factory.mktemp("limiter"), signals)
    process.start()
    yield process
    process.stop()
    assert process.process is not None
    assert process.process.returncode == 0


class Client:
    """grpc's own client of the service."""

    def __init__(self, limiter: LimiterProcess, *metadata: tuple[str, str]) -> None:
        self.channel = grpc.insecure_channel(f"127.0.0.1:{limiter.grpc_port}")
        self.stub = rls_pb2_grpc.RateLimitServiceStub(self.channel)
        self.metadata = metadata

    def ask(self, *descriptors: dict[str, str], hits: int = 0, limit: int = 0) -> rls_pb2.RateLimitResponse:
        request = rls_pb2.RateLimitRequest(domain="any", hits_addend=hits)
        for entries in descriptors:
            descriptor = request.descriptors.add()
            for key, value in entries.items():
                descriptor.entries.add(key=key, value=value)
            if limit:
                descriptor.limit.requests_per_unit, descriptor.limit.unit = limit, 2
        return self.stub.ShouldRateLimit(request, timeout=20, metadata=self.metadata)


@pytest.fixture
def client(limiter: LimiterProcess) -> Iterator[Client]:
    found = Client(limiter)
    yield found
    found.channel.close()


def test_each_action_does_what_the_ladder_says(client: Client) -> None:
    codes = {}
    for account in ("allow", "observe", "block", "only-people", "nobody"):
        response = client.ask({"account_id": account})
        codes[account] = response.overall_code
        assert [status.code for status in response.statuses] == [response.overall_code]
    assert codes == {"allow": OK, "observe": OK, "block": OVER, "only-people": OK, "nobody": OK}
    throttled = [client.ask({"account_id": "throttle"}).overall_code for _ in range(20)]
    assert throttled[0] == OK
    assert throttled[-1] == OVER


def test_what_is_behind_the_gateway_hears_of_a_challenge_and_the_caller_of_nothing(client: Client) -> None:
    response = client.ask({"account_id": "challenge"})
    assert response.overall_code == OK
    told = {header.key: header.value for header in response.request_headers_to_add}
    assert told == {"x-distilwatch-action": "challenge", "x-distilwatch-multiplier": "0.1"}
    assert not response.response_headers_to_add
    refused = client.ask({"account_id": "block"})
    assert [header.key for header in refused.response_headers_to_add] == ["retry-after"]
    assert 5 <= int(refused.response_headers_to_add[0].value) <= 65
    assert not refused.request_headers_to_add
    assert refused.dynamic_metadata["reason"] == "block"


def test_unknown_descriptors_pass_and_the_strictest_status_is_the_answer(client: Client) -> None:
    assert client.ask({"remote_address": "10.0.0.1"}, {"path": "/"}).overall_code == OK
    assert client.ask().overall_code == OK
    mixed = client.ask({"model": "m"}, {"account_id": "block", "model": "m"}, {"account_id": "nobody"})
    assert mixed.overall_code == OVER
    assert [status.code for status in mixed.statuses] == [OK, OVER, OK]


def test_the_limit_of_a_descriptor_is_what_the_account_usually_has(client: Client, limiter: LimiterProcess) -> None:
    signals = limiter.signals
    signals.put([signals.signal("large", cluster=None), signals.signal("small", cluster=None)])
    wait_for(lambda: limiter.check("small", 0)["action"] == "throttle", "the signals")
    large = [client.ask({"account_id": "large"}, limit=12_000).overall_code for _ in range(100)]
    small = [client.ask({"account_id": "small"}, limit=4).overall_code for _ in range(100)]
    assert large.count(OK) >= 100  # 12,000 a minute, a quarter of it, five seconds of that
    assert small.count(OK) <= 3


def test_all_accounts_of_a_cluster_draw_from_one_budget(client: Client, limiter: LimiterProcess) -> None:
    signals = limiter.signals
    members = [f"member-{number}" for number in range(500)]
    signals.put([signals.signal(member, cluster="c-budget") for member in members], per_minute=240)
    wait_for(lambda: limiter.check(members[-1], 0)["action"] == "throttle", "the signals")
    passed = sum(client.ask({"account_id": member}).overall_code == OK for member in members)
    assert 5 <= passed <= 40  # 240 a minute, a quarter of it, is one a second; five at once
    assert client.ask({"cluster_id": "c-budget"}, hits=1_000).overall_code == OVER


def test_a_tombstone_is_obeyed_at_once_and_a_whole_cluster_too(limiter: LimiterProcess) -> None:
    signals = limiter.signals
    members = [f"undone-{number}" for number in range(2_000)]
    signals.put([signals.signal(member, "block", cluster="c-undo") for member in members])
    wait_for(lambda: all(limiter.check(member)["over"] for member in members[::399]), "the signals")
    signals.clear(*members)
    wait_for(lambda: not any(limiter.check(member)["over"] for member in members[::399]), "the undo", timeout_s=10)


def test_many_checks_at_once(limiter: LimiterProcess) -> None:
    body = {"checks": [{"account_id": "block"}, {"account_id": "nobody"}, {"account_id": "observe", "hits": 0}]}
    status, answer, _ = call(f"{limiter.url}/v1/check", json.dumps(body).encode())
    assert status == 200
    assert [item["over"] for item in answer["answers"]] == [True, False, False]
    assert answer["answers"][0]["alert_id"] == "a-1"
    for wrong in (b"{", b'{"checks":[{"account_id":""}]}', b'{"checks":[{"account":"x"}]}', b"[" * 5_000):
        assert call(f"{limiter.url}/v1/check", wrong)[0] == 400
    too_many = json.dumps({"checks": [{"account_id": "x"}] * 1_001}).encode()
    assert call(f"{limiter.url}/v1/check", too_many)[0] == 400
    assert call(f"{limiter.url}/v1/check", b" " * (2 << 20))[0] == 413
    assert call(f"{limiter.url}/v1/check/x?hits=-1")[0] == 400
    assert call(f"{limiter.url}/v1/check", json.dumps(body).encode(), Content_Encoding="gzip")[0] == 400


def test_the_json_twin_answers_as_the_service(limiter: LimiterProcess) -> None:
    def asked(account: str) -> bytes:
        descriptors = [{"entries": [{"key": "account_id", "value": account}]}]
        return json.dumps({"domain": "d", "descriptors": descriptors}).encode()

    status, answer, _ = call(f"{limiter.url}/json", asked("block"))
    assert (status, answer["overallCode"]) == (429, "OVER_LIMIT")
    status, answer, _ = call(f"{limiter.url}/json", asked("nobody"))
    assert (status, answer) == (200, {"overallCode": "OK", "statuses": [{"code": "OK"}]})
    for wrong in (b"", b"{", b"\xff", b'{"descriptors": 5}', b'{"a":' * 3_000):
        assert call(f"{limiter.url}/json", wrong)[0] == 400


def test_decisions_come_whole_and_then_as_news(limiter: LimiterProcess) -> None:
    signals, stream = limiter.signals, f"{limiter.url}/v1/decisions/stream"
    signals.put([signals.signal(f"page-{number:02}", cluster="c-page") for number in range(25)])
    wait_for(lambda: limiter.check("page-24", 0)["action"] == "throttle", "the signals")
    _, first, _ = call(f"{stream}?startup=true&limit=10")
    found, page = [item["value"] for item in first["new"]], first
    assert first["reset"] is True
    while page["next"]:
        _, page, _ = call(f"{stream}?startup=true&limit=10&after={page['next']}")
        assert (len(page["new"]) <= 10, page["reset"]) == (True, False)
        found += [item["value"] for item in page["new"]]
    assert found == sorted(set(found))
    assert {f"page-{number:02}" for number in range(25)} <= set(found)
    decision = next(item for item in first["new"] if item["value"] == "allow")
    assert (decision["scope"], decision["scenario"], decision["simulated"]) == ("account", "campaign", False)

    signals.clear("page-00")
    signals.put([signals.signal("fresh", "block")])
    wait_for(lambda: limiter.check("fresh", 0)["action"] == "block", "the news")
    _, news, _ = call(f"{stream}?since={first['cursor']}")
    assert [item["value"] for item in news["deleted"]] == ["page-00"]
    assert [(item["value"], item["type"]) for item in news["new"]] == [("fresh", "block")]
    _, nothing, _ = call(f"{stream}?since={news['cursor']}")
    assert (nothing["new"], nothing["deleted"], nothing["reset"]) == ([], [], False)
    _, lost, _ = call(f"{stream}?since=another-process-7")
    assert lost["reset"] is True
    assert call(f"{stream}?startup=true&limit=99999")[0] == 400


def test_shadow_counts_and_refuses_nothing_and_a_token_is_asked_for(limiter: LimiterProcess, tmp_path: Path) -> None:
    token = "a token of the tests 123"
    settings = {"DISTILWATCH_LIMITER_SHADOW": "true", "DISTILWATCH_LIMITER_TOKEN": token}
    process = LimiterProcess(tmp_path, limiter.signals, **settings)
    process.start()
    try:
        assert call(f"{process.url}/v1/check/block")[0] == 401
        assert call(f"{process.url}/v1/check/block", Authorization="Bearer wrong")[0] == 401
        assert call(f"{process.url}/v1/check/block", Authorization=f"Bearer {token}")[0] == 200
        assert call(f"{process.url}/v1/check/block", X_Api_Key=token)[1]["over"] is False
        assert Client(process, ("authorization", f"Bearer {token}")).ask({"account_id": "block"}).overall_code == OK
        with pytest.raises(grpc.RpcError) as refused:
            Client(process).ask({"account_id": "block"})
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert process.counted("distilwatch_limiter_checks_total", outcome="shadow", reason="block") == 3
        assert process.counted("distilwatch_limiter_refused_calls_total", reason="token") == 3
    finally:
        process.stop()
    assert token not in (tmp_path / "output.log").read_text()


def test_redis_killed_what_is_known_stands_and_the_rest_passes(tmp_path: Path) -> None:
    server = RedisServer(tmp_path / "redis")
    server.start()
    signals = Signals(server.url)
    signals.put([signals.signal("blocked", "block"), signals.signal("member")])
    process = LimiterProcess(tmp_path / "limiter", signals, DISTILWATCH_LIMITER_TIMEOUT_MS="4")
    try:
        process.start()
        client = Client(process)
        server.kill()
        wait_for(lambda: "degraded" in str(call(f"{process.url}/-/healthy")[1]), "the state degraded")
        assert call(f"{process.url}/-/ready")[0] == 200
        assert client.ask({"account_id": "blocked"}).overall_code == OVER
        assert client.ask({"account_id": "nobody"}).overall_code == OK
        for _ in range(20):
            client.ask({"account_id": "member"})
        assert process.counted("distilwatch_limiter_draws_total", source="local") >= 1
        assert process.counted("distilwatch_limiter_redis_up") == 0
        server.start()  # empty: the projection has not filled it yet
        wait_for(lambda: process.counted("distilwatch_limiter_redis_up") == 1, "Redis")
        signals.put([signals.signal("new", "block")])
        wait_for(lambda: process.check("new")["over"], "the new signal")
        assert not process.check("blocked")["over"]
    finally:
        process.stop()
        server.stop()
