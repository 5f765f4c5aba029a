"""The desk host on files: it follows them as they grow, acts, tells once, and comes back as it was."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from models.alert import Alert, Signal
from models.cases import Notification
from models.errors import ConfigError
from models.labels import encode_label
from models.output import encode_alert, signal_line
from streams import desk as module
from streams.desk import DeskHost, FeedNames, RefusedError, new_label
from streams.desk_feeds import LINE_BYTES_MAX, Growing
from streams.sinks.outbox import OutboxError
from tests.models.desk_records import campaign, label, of_account, signal

pytestmark = pytest.mark.timeout(60)
KEY = campaign().dedup_key


class Desk:
    """Three files in a folder, and hosts on them."""

    def __init__(self, folder: Path) -> None:
        self.names = FeedNames(folder / "a.jsonl", folder / "s.jsonl", folder / "l.jsonl")
        self.folder = folder
        self.sent: list[Notification] = []

    def write(self, *alerts: Alert) -> None:
        assert self.names.alerts is not None
        with self.names.alerts.open("ab") as file:
            file.writelines(encode_alert(alert) + b"\n" for alert in alerts)

    def name(self, *signals: tuple[str, Signal | None]) -> None:
        assert self.names.signals is not None
        with self.names.signals.open("ab") as file:
            file.writelines(signal_line(*item) + b"\n" for item in signals)

    async def deliver(self, found: list[Notification]) -> None:
        self.sent += found

    @contextlib.asynccontextmanager
    async def host(self, **options: Any) -> AsyncIterator[DeskHost]:
        host = DeskHost(self.names.open(), **{"state_dir": self.folder / "state", "deliver": self.deliver} | options)
        await host.start()
        try:
            yield host
        finally:
            await host.stop()


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


async def until(condition: Any) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.02)


def run(coroutine: Any) -> Any:
    return asyncio.run(coroutine)


def test_what_is_there_is_read_before_start_returns_and_what_comes_is_followed(desk):
    desk.write(campaign())
    desk.name(("ann", signal("ann")), ("bob", signal("bob")))

    async def story() -> None:
        async with desk.host() as host:
            assert [case.dedup_key for case in host.cases()] == [KEY]
            assert host.members("c-1") == ["ann", "bob"]
            before = host.events_since(0).last
            desk.write(campaign("c-2", severity="high"))
            desk.name(("ann", None))
            await until(lambda: len(host.cases()) == 2 and host.members("c-1") == ["bob"])
            news = await host.wait_for_news(before, 5)
            assert news.complete
            assert {("case", campaign("c-2").dedup_key), ("cluster", "c-1")} <= {
                (change.kind, change.key) for change in news.changes
            }
            assert host.account("bob").cases == [KEY]
            assert host.account("ann").signal is None
            await until(lambda: len(desk.sent) == 2)

    run(story())


def test_an_action_is_written_and_applied_once_it_is_read_back(desk):
    desk.write(campaign())

    async def story() -> None:
        async with desk.host() as host:
            about = {"dedup_key": KEY}
            (case,) = await host.act(new_label("acknowledge", about, who="kim"))
            assert (case.status, case.acknowledged and case.acknowledged.who) == ("acknowledged", "kim")
            with pytest.raises(RefusedError, match="only an open one"):
                await host.act(new_label("acknowledge", about, who="kim"))
            await host.act(new_label("close", about, who="lee", reason="a class", verdict="benign_automation"))
            assert host.cases()[0].status == "closed"
            assert [found.kind for found in desk.sent][:1] == ["firing"]
        async with desk.host(state_dir=None) as other:
            assert other.cases()[0].status == "closed"
            assert other.cases()[0].verdict.seen.accounts == 50

    run(story())


def test_a_restart_tells_nothing_twice(desk):
    desk.write(campaign(), campaign("c-2"))

    async def story() -> None:
        for _ in range(3):
            async with desk.host():
                await asyncio.sleep(0.3)

    run(story())
    assert sorted(found.notification_id for found in desk.sent) == ["firing:a-c-1-1:-", "firing:a-c-2-1:-"]


@pytest.mark.parametrize("restarted", [False, True])
def test_what_no_disk_took_is_said_and_told_later(desk, restarted, monkeypatch):
    monkeypatch.setattr(module, "TICK_S", 0.05)
    desk.write(campaign())
    full = [True]

    async def deliver(found: list[Notification]) -> None:
        if full:
            raise OutboxError("the disk is full")
        await desk.deliver(found)

    async def story() -> None:
        async with desk.host(deliver=deliver) as host:
            await until(lambda: "full" in host.trouble)
            if not restarted:
                full.clear()
                await until(lambda: desk.sent)
                assert not host.trouble
        full.clear()
        async with desk.host(deliver=deliver):
            await until(lambda: desk.sent)

    run(story())
    assert [found.notification_id for found in desk.sent] == ["firing:a-c-1-1:-"]


def test_bad_lines_are_counted_and_passed_over(desk, tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b'{"no":1}\n\xff\n' + encode_alert(campaign()) + b"\n")
    (tmp_path / "s.jsonl").write_bytes(b'{"tombstone":1}\n[]\n')
    (tmp_path / "l.jsonl").write_bytes(b"{}\n" + encode_label(label("acknowledge")) + b"\n" + b"x" * 20_000 + b"\n")

    async def story() -> None:
        async with desk.host() as host:
            assert host.counts == {"alerts": 1, "alerts_bad": 2, "signals_bad": 2, "labels": 1, "labels_bad": 2}
            assert host.cases()[0].status == "acknowledged"

    run(story())


def test_a_half_written_line_waits_and_a_replaced_file_is_read_again(tmp_path):
    path = tmp_path / "a.jsonl"
    file = Growing(path)
    assert file.lines() == ([], False)
    path.write_bytes(b"one\ntw")
    assert file.lines()[0] == [b"one"]
    with path.open("ab") as more:
        more.write(b"o\n")
    assert file.lines()[0] == [b"two"]
    path.write_bytes(b"1\n")
    assert file.lines()[0] == [b"1"]


def test_a_line_without_end_is_given_up(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"x" * (2 * LINE_BYTES_MAX + 10) + b"y\nnext\n")
    file = Growing(path)
    found = []
    for _ in range(4):
        found += file.lines()[0]
    assert found == [b"next"]
    assert file.oversized == 1


def test_news_that_is_no_longer_kept_is_said_to_be_incomplete(desk):
    desk.write(campaign())

    async def story() -> None:
        async with desk.host() as host:
            assert host.events_since(0).complete
            assert not host.events_since(10_000).complete
            for _ in range(10_001):
                host._note("case", KEY)
            assert not host.events_since(0).complete

    run(story())


def test_a_silence_and_an_account_alert(desk):
    desk.write(of_account("ann"))

    async def story() -> None:
        async with desk.host() as host:
            await host.act(new_label("silence", {"account_id": "bob"}, who="kim", reason="a test"))
            assert len(host.desk.silences(0)) == 1

    run(story())


def test_wrong_use_is_named(desk, tmp_path):
    with pytest.raises(ConfigError, match="--alerts"):
        FeedNames().open()
    with pytest.raises(ConfigError, match="needs a reason"):
        new_label("allow", {"account_id": "ann"}, who="kim")
    with pytest.raises(ConfigError, match="kind"):
        new_label("dance", {"account_id": "ann"}, who="kim")
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "desk.json").write_text("{")

    async def story() -> None:
        async with desk.host():
            pass

    with pytest.raises(ConfigError, match="move it away"):
        run(story())
