"""The courier in another process: marked self-tests, metrics, and a disk that is full for a while."""

from __future__ import annotations

import asyncio
import urllib.request
from pathlib import Path

import pytest

from models.canary import CanaryMark
from models.errors import ConfigError
from models.hashing import KeyedHash
from streams.sinks import running
from streams.sinks.outbox import OutboxError
from tests.letter import SECRET
from tests.servers import free_port
from tests.streams.sinks.notices import story
from tests.streams.sinks.receiver import receiving


def settings(folder: Path, url: str) -> str:
    (folder / "s.yaml").write_text(
        f"outbox: {folder}/outbox.db\n"
        f"sinks: {{hook: {{type: webhook, url: '{url}', secret_env: HOOK, allow: [127.0.0.0/8]}}}}\n"
    )
    return str(folder / "s.yaml")


def fetched(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
        return str(answer.read().decode())


async def test_it_delivers_and_serves_its_metrics(tmp_path: Path) -> None:
    port = free_port()
    async with receiving(200) as hook:
        env = {"HOOK": "x", "DISTILWATCH_SECRET": SECRET, "DISTILWATCH_HTTP_PORT": str(port)}
        async with running.delivering(settings(tmp_path, hook.url), env) as courier:
            mark = CanaryMark(KeyedHash(SECRET.encode()))
            await courier.deliver(story("c-ours", members_sample=[mark.account("r", 1)]))
            await courier.deliver(story())
            await hook.until(3)
            metrics = await asyncio.to_thread(fetched, port, "/metrics")
            ready = await asyncio.to_thread(fetched, port, "/-/ready")
    assert len(hook.seen) == 3
    assert 'distilwatch_sink_waiting_notifications{sink="hook"}' in metrics
    assert "1 sinks" in ready


async def test_trouble_with_the_disk_ends_no_delivery_for_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "RETRY_S", 0.05)
    async with receiving(200) as hook, running.delivering(settings(tmp_path, hook.url), {"HOOK": "x"}) as courier:
        settle, failures = courier.outbox.settle, [1]

        def failing(*arguments: object) -> None:
            if failures:
                failures.pop()
                raise OutboxError("the disk is full")
            settle(*arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(courier.outbox, "settle", failing)
        await courier.deliver(story()[:1])
        await hook.until(2)  # the one under way comes twice, which its id tells
    assert len({body for _, body in hook.seen}) == 1


async def test_wrong_settings_are_told_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="HOOK is not set"):
        async with running.delivering(settings(tmp_path, "http://127.0.0.1:9"), {}):
            pass
