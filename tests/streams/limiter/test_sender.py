"""The sender against a server that refuses, is away, or takes events: nothing is lost up to the bound, then counted."""

from __future__ import annotations

import asyncio
import json

import pytest
from aiohttp import web

from streams.limiter import sender
from streams.limiter.sender import EventSender
from tests.models.test_edge import PAYLOAD
from tests.servers import free_port


class Intake:
    """Answers with the given statuses in turn, then 200."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.events: list[dict[str, object]] = []
        self.tokens: set[str] = set()
        self.runner: web.AppRunner | None = None

    async def start(self, port: int = 0) -> str:
        application = web.Application()
        application.router.add_post("/v1/events", self._take)
        self.runner = web.AppRunner(application)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", port).start()
        return f"http://127.0.0.1:{self.runner.addresses[0][1]}/v1/events"

    async def _take(self, request: web.Request) -> web.Response:
        self.tokens.add(request.headers.get("Authorization", ""))
        status = self.statuses.pop(0) if self.statuses else 200
        if status == 200:
            self.events += json.loads(await request.read())
        return web.Response(status=status)

    async def stop(self) -> None:
        if self.runner is not None:
            await self.runner.cleanup()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "LINGER_S", 0.01)
    monkeypatch.setattr(sender, "BACKOFF_S", (0.01, 0.05))


def payload(number: int) -> dict[str, object]:
    return PAYLOAD | {"id": f"call-{number}"}


async def settled(sending: EventSender) -> None:
    while sending._task is not None and not sending._task.done():
        await asyncio.sleep(0.01)


async def test_every_event_arrives_although_the_intake_refuses_at_first() -> None:
    intake = Intake(503, 429)
    sending = EventSender(await intake.start(), token="the token", format="litellm", sketcher=None)
    for number in range(250):
        sending.put(payload(number))
    await settled(sending)
    assert [event["event_id"] for event in intake.events] == [f"call-{number}" for number in range(250)]
    assert intake.tokens == {"Bearer the token"}
    assert (sending.counts["sent"], sending.counts["retried"]) == (250, 2)
    assert all("prompt" in event for event in intake.events)
    sending.put(payload(250))  # it starts again after a rest
    await settled(sending)
    assert len(intake.events) == 251
    await intake.stop()


async def test_an_intake_that_is_away_costs_no_more_than_the_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "QUEUE_MAX", 150)
    port, intake = free_port(), Intake()
    sending = EventSender(f"http://127.0.0.1:{port}/v1/events", token="", format="litellm", sketcher=None)
    for number in range(200):
        sending.put(payload(number))
    assert sending.counts["dropped"] == 50
    await asyncio.sleep(0.1)
    await intake.start(port)
    await settled(sending)
    assert len(intake.events) == sending.counts["sent"] == 150
    await intake.stop()


async def test_what_is_no_call_and_what_is_refused_for_good_is_counted() -> None:
    intake = Intake(400)
    sending = EventSender(await intake.start(), token="", format="litellm", sketcher=None)
    sending.put({"nothing": "we know"})
    sending.put(payload(1))
    await settled(sending)
    assert (sending.counts["unreadable"], sending.counts["refused"]) == (1, 1)
    await intake.stop()
