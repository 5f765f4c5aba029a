"""Delivery end to end: outbox, retries, order, restarts; on receivers of this machine and a real Alertmanager."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import generate_latest

from models.canary import CanaryMark
from models.hashing import KeyedHash
from streams.clock import wall_ms
from streams.config import Secret
from streams.sinks.bodies import SIGNATURE, signature
from streams.sinks.courier import Courier
from streams.sinks.outbox import Outbox
from streams.sinks.settings import DeliverySettings, SinkSettings
from tests.servers import AlertmanagerServer
from tests.streams.sinks.notices import flood, sink, story
from tests.streams.sinks.receiver import receiving


def courier_of(path: Path, *sinks: SinkSettings) -> Courier:
    settings = DeliverySettings(sinks=sinks, console_url="https://watch.example.net", outbox=path / "outbox.db")
    return Courier(settings, Outbox(settings.outbox))


@asynccontextmanager
async def running(courier: Courier) -> AsyncIterator[Courier]:
    task = asyncio.create_task(courier.run())
    try:
        yield courier
    finally:
        task.cancel()
        await asyncio.wait([task])
        courier.outbox.close()


async def settled(courier: Courier, name: str, waiting: int = 0) -> None:
    async with asyncio.timeout(20):
        while courier.outbox.tally(name).waiting > waiting:
            await asyncio.sleep(0.02)


async def test_every_sink_gets_the_whole_story_in_order(tmp_path: Path) -> None:
    async with receiving(202) as pager, receiving(200) as chat, receiving(200) as hook:
        courier = courier_of(tmp_path, sink("pagerduty", pager.url), sink("slack", chat.url), sink("webhook", hook.url))
        assert courier.take([*story(), flood()]) == 12
        assert courier.take(story()) == 0
        async with running(courier):
            for name in ("pagerduty", "slack", "webhook"):
                await settled(courier, name)
    assert [event["event_action"] for event in pager.bodies()] == ["trigger", "trigger", "resolve", "trigger"]
    assert [body["type"].split(".")[3] for body in hook.bodies()] == ["firing", "update", "resolved", "summary"]
    assert "is over" in chat.bodies()[2]["text"]


async def test_a_webhook_is_signed_over_what_arrives(tmp_path: Path) -> None:
    async with receiving(200) as hook:
        courier = courier_of(tmp_path, sink("webhook", hook.url, secret=Secret("shared"), bearer=Secret("token")))
        courier.take(story()[:1])
        async with running(courier):
            await settled(courier, "webhook")
    headers, body = hook.seen[0]
    time_s = int(headers[SIGNATURE].split(",")[0].removeprefix("t="))
    assert headers[SIGNATURE] == signature("shared", body, time_s)
    assert abs(time_s - wall_ms() // 1000) < 600
    assert headers["Authorization"] == "Bearer token"
    assert headers["Content-Type"] == "application/cloudevents+json"


async def test_trouble_is_ridden_out_and_counted(tmp_path: Path) -> None:
    async with receiving(503, 202) as pager:
        courier = courier_of(tmp_path, sink("pagerduty", pager.url))
        courier.take(story()[:1])
        async with running(courier):
            await settled(courier, "pagerduty")
            delivered = 'distilwatch_sink_attempts_total{outcome="delivered",sink="pagerduty"} 1.0'
            while delivered not in (exported := generate_latest(courier.metrics.registry).decode()):
                await asyncio.sleep(0.01)  # counted just after it is on disk
    assert len(pager.seen) == 2
    assert pager.seen[0][1] == pager.seen[1][1]
    assert 'distilwatch_sink_attempts_total{outcome="waiting",sink="pagerduty"} 1.0' in exported


async def test_a_body_that_is_refused_holds_up_nobody(tmp_path: Path) -> None:
    async with receiving(400, 202) as pager:
        courier = courier_of(tmp_path, sink("pagerduty", pager.url))
        courier.take([*story("c-1")[:1], *story("c-2")[:1]])
        async with running(courier):
            await settled(courier, "pagerduty")
        tally = courier_of(tmp_path, sink("pagerduty", pager.url)).outbox.tally("pagerduty")
    assert (tally.delivered, tally.dead) == (1, 1)
    assert tally.said.startswith("400")


async def test_a_sink_that_is_away_does_not_hold_up_another(tmp_path: Path) -> None:
    async with receiving(200) as chat:
        away = sink("pagerduty", "http://127.0.0.1:9/")
        courier = courier_of(tmp_path, away, sink("slack", chat.url))
        courier.take(story())
        async with running(courier):
            await settled(courier, "slack")
            assert courier.outbox.tally("pagerduty").waiting == 3


async def test_after_a_restart_the_rest_is_delivered_and_nothing_twice(tmp_path: Path) -> None:
    notices = story("c-1") + story("c-2")
    async with receiving(202) as pager:
        first = courier_of(tmp_path, sink("pagerduty", pager.url))
        first.take(notices[:3])
        async with running(first):
            await settled(first, "pagerduty")
        second = courier_of(tmp_path, sink("pagerduty", pager.url))
        second.take(notices)
        async with running(second):
            await settled(second, "pagerduty")
    assert len(pager.seen) == 6
    assert [body["event_action"] for body in pager.bodies()] == ["trigger", "trigger", "resolve"] * 2


async def test_what_another_version_wrote_is_given_up_and_named(tmp_path: Path) -> None:
    async with receiving(202) as pager:
        courier = courier_of(tmp_path, sink("pagerduty", pager.url))
        courier.outbox.put("n", "k", b'{"later":true}', sinks=["pagerduty"], now_ms=wall_ms())
        courier.take(story()[:1])
        async with running(courier):
            await settled(courier, "pagerduty")
            assert "does not read" in courier.outbox.tally("pagerduty").said
    assert len(pager.seen) == 1


async def test_only_who_wants_it_is_told(tmp_path: Path) -> None:
    quiet = sink("slack", "http://127.0.0.1:9/", severity="critical", name="quiet")
    ends = sink("slack", "http://127.0.0.1:9/", kinds=frozenset({"resolved"}), name="ends")
    courier = courier_of(tmp_path, quiet, ends)
    courier.take(story())
    # The first statement is of medium severity; once it was critical, its end is told as well.
    assert courier.outbox.tally("quiet").waiting == 2
    assert courier.outbox.tally("ends").waiting == 1


# The real Alertmanager.


def held(server: AlertmanagerServer, **labels: str) -> list[dict[str, Any]]:
    """Active alerts with these labels."""
    with urllib.request.urlopen(f"{server.url}/api/v2/alerts?active=true", timeout=10) as answer:
        alerts = json.load(answer)
    return [alert for alert in alerts if labels.items() <= alert["labels"].items()]


@pytest.mark.servers
async def test_alertmanager_shows_a_campaign_from_its_opening_to_its_end(
    alertmanager_server: AlertmanagerServer, tmp_path: Path
) -> None:
    courier = courier_of(tmp_path, sink("alertmanager", alertmanager_server.url))
    async with running(courier):
        for notice, severities in zip(story("c-life"), (["medium"], ["critical"], []), strict=True):
            courier.take([notice])
            await settled(courier, "alertmanager")
            found = held(alertmanager_server, cluster_id="c-life")
            assert [alert["labels"]["severity"] for alert in found] == severities
            for alert in found:
                assert alert["status"]["state"] == "active"
                assert alert["labels"]["alertname"] == "DistilwatchCampaign"
                assert alert["annotations"]["accounts"].isdigit()
                assert alert["generatorURL"].startswith("https://watch.example.net/alerts/")
        assert courier.outbox.standing("alertmanager") == {}


@pytest.mark.servers
async def test_alertmanager_knows_what_stands_again_after_its_restart(
    alertmanager_server: AlertmanagerServer, tmp_path: Path
) -> None:
    settings = sink("alertmanager", alertmanager_server.url)
    courier = courier_of(tmp_path, settings)
    async with running(courier):
        courier.take(story("c-restart")[:2])
        await settled(courier, "alertmanager")
        assert len(held(alertmanager_server, cluster_id="c-restart")) == 1
        alertmanager_server.kill()
        alertmanager_server.start()
        assert held(alertmanager_server, cluster_id="c-restart") == []
        await courier.repeat(settings)
        (alert,) = held(alertmanager_server, cluster_id="c-restart")
        assert alert["labels"]["severity"] == "critical"
        courier.take(story("c-restart")[2:])
        await settled(courier, "alertmanager")
        assert held(alertmanager_server, cluster_id="c-restart") == []


@pytest.mark.servers
async def test_alertmanager_takes_a_flood_and_a_strange_name(
    alertmanager_server: AlertmanagerServer, tmp_path: Path
) -> None:
    courier = courier_of(tmp_path, sink("alertmanager", alertmanager_server.url))
    courier.take([flood(), *story('c-"}\n<b>\u202e')[:1]])
    async with running(courier):
        await settled(courier, "alertmanager")
        assert courier.outbox.tally("alertmanager").dead == 0
    assert len(held(alertmanager_server, alertname="DistilwatchFlood")) == 1


async def test_a_self_test_rings_nobody_who_has_not_asked_for_it(tmp_path: Path) -> None:
    mark = CanaryMark(KeyedHash(b"a secret of sixteen bytes"))
    sinks = (sink("pagerduty", "http://127.0.0.1:9/"), sink("slack", "http://127.0.0.1:9/", selftest=True))
    settings = DeliverySettings(sinks=sinks, outbox=tmp_path / "outbox.db")
    courier = Courier(settings, Outbox(settings.outbox), mark=mark)
    await courier.deliver(story("c-canary", members_sample=[mark.account("r", 1)]))
    assert courier.outbox.tally("pagerduty").waiting == 0
    assert courier.outbox.tally("slack").waiting == 3
    courier.take(story("c-1", members_sample=["distilwatch-selftest-r-0123456789abcdef-0001"]))
    assert courier.outbox.tally("pagerduty").waiting == 3
