"""The reader against a real Redis: signals, the cache's bound, and a Redis that is killed, hangs or returns."""

from __future__ import annotations

import asyncio
import inspect
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from streams.limiter.reader import AsyncReader, Reader, Verdict
from streams.redis_keys import signal_key
from tests.servers import ROOT, RedisServer
from tests.streams.limiter.signals import Signals

pytestmark = pytest.mark.servers

Check = Callable[[str], Verdict]
HOSTS = pytest.mark.parametrize("host", [Reader, AsyncReader])


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    found = RedisServer(tmp_path)
    found.start()
    yield found
    found.stop()


class Asked:
    """Either host behind plain calls, on a loop of its own."""

    def __init__(self, host: type[Any], url: str, **options: Any) -> None:
        self.loop = asyncio.new_event_loop()
        self.reader = host(url, **options)

    def __call__(self, account: str) -> Verdict:
        found = self.reader.check(account)
        return self.loop.run_until_complete(found) if inspect.isawaitable(found) else found


@HOSTS
def test_it_reads_what_the_projection_writes(redis_url: str, host: type[Any]) -> None:
    signals = Signals(redis_url)
    signals.put([signals.signal("a"), signals.signal("b", "block"), signals.signal("c", "challenge", mode="alert")])
    asked = Asked(host, redis_url, tenant=signals.tenant, timeout_ms=2_000)
    found = asked("a")
    assert (found.action, found.multiplier, found.source) == ("throttle", 0.25, "redis")
    assert found.held is not None
    assert found.held.cluster_id == "c-1"
    assert asked("b").action == "block"
    assert asked("c")[:2] == ("allow", 1.0)  # only mode enforce asks anybody to act
    assert asked("nobody") == Verdict("allow", 1.0, None, "redis")
    assert asked("nobody").source == "cache"


@HOSTS
def test_a_removed_signal_is_gone_within_the_bound(redis_url: str, host: type[Any]) -> None:
    signals = Signals(redis_url)
    signals.put([signals.signal("a")])
    cached = Asked(host, redis_url, tenant=signals.tenant, timeout_ms=2_000, cache_ms=300)
    always = Asked(host, redis_url, tenant=signals.tenant, timeout_ms=2_000, cache_ms=0)
    assert cached("a").action == always("a").action == "throttle"
    signals.clear("a")
    assert always("a").action == "allow"
    time.sleep(0.3)
    assert cached("a").action == "allow"


@HOSTS
def test_redis_killed_means_allow_counted_and_redis_back_is_used(server: RedisServer, host: type[Any]) -> None:
    signals = Signals(server.url)
    signals.put([signals.signal("a", "block")])
    asked = Asked(host, server.url, tenant=signals.tenant, timeout_ms=2_000, cache_ms=0)
    assert asked("a").action == "block"
    server.kill()
    assert [asked("a").action for _ in range(50)] == ["allow"] * 50
    assert asked.reader.counts["error"] >= 3
    assert asked.reader.counts["open"] >= 40
    server.start()
    signals.put([signals.signal("a", "block")])
    deadline = time.monotonic() + 20
    while asked("a").action != "block":
        assert time.monotonic() < deadline
        time.sleep(0.02)


@HOSTS
def test_a_redis_that_hangs_costs_the_time_out_three_times(server: RedisServer, host: type[Any]) -> None:
    asked = Asked(host, server.url, timeout_ms=4, cache_ms=0)
    server.signal(signal.SIGSTOP)
    assert {asked("a").action for _ in range(20)} == {"allow"}
    assert asked.reader.counts["timeout"] >= 3
    assert asked.reader.counts["timeout"] + asked.reader.counts["error"] + asked.reader.counts["open"] == 20
    assert asked.reader.counts["open"] >= 10


@HOSTS
def test_rubbish_is_allowed_counted_and_not_kept(redis_url: str, host: type[Any]) -> None:
    signals = Signals(redis_url)
    signals.redis.hset(signal_key(signals.tenant, "a"), mapping={"action": "explode", "multiplier": "x"})
    asked = Asked(host, redis_url, tenant=signals.tenant, timeout_ms=2_000)
    assert [asked("a").source for _ in range(2)] == ["unreadable"] * 2
    assert asked("a").action == "allow"


def test_the_example_of_the_page_runs(redis_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    page = (ROOT / "docs" / "limiter.md").read_text()
    (example,) = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert example.count("redis://127.0.0.1:6379/0") == 1
    exec(compile(example.replace("redis://127.0.0.1:6379/0", redis_url), "limiter.md", "exec"), {})
    assert capsys.readouterr().out.startswith("allow 1.0 ")


def test_the_page_shows_the_configuration_that_runs() -> None:
    page = (ROOT / "docs" / "limiter.md").read_text()
    (shown,) = re.findall(r"^```yaml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert shown in (ROOT / "docker" / "litellm.yaml").read_text()
