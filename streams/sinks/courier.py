"""The courier: takes notifications into the outbox and delivers them, one sink never waiting for another.

What lives here: the loop of each sink. What does not: what is sent (``bodies``, ``slack``), one attempt (``client``),
and when to try again (``models.delivery``).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Iterable

import msgspec

from models.alert import Severity
from models.canary import CanaryMark
from models.cases import Notification
from models.delivery import Answer, judge
from streams.clock import wall_ms
from streams.config import Secret
from streams.sinks import bodies, slack
from streams.sinks.client import Client, Post
from streams.sinks.metrics import SinkMetrics
from streams.sinks.outbox import Outbox, Queued
from streams.sinks.settings import DeliverySettings, SinkSettings

log = logging.getLogger("distilwatch.sinks")

RESEND_S = 60.0
"""Alertmanager keeps alerts in memory only: one that has restarted knows them again a minute later."""
RESENT_MAX = 500
REST_S = 60.0
FORGET_S = 3_600.0
PAUSE_MS_MAX = 60_000
"""The most that one failing notification holds up the others of its sink."""


class Courier:
    """Delivers what ``take`` was given; ``run`` until cancelled."""

    def __init__(
        self,
        settings: DeliverySettings,
        outbox: Outbox,
        *,
        client: Client | None = None,
        metrics: SinkMetrics | None = None,
        mark: CanaryMark | None = None,
        now_ms: Callable[[], int] = wall_ms,
    ) -> None:
        self.settings = settings
        self.outbox = outbox
        self.metrics = metrics or SinkMetrics()
        self._client = client or Client()
        self._mark = mark
        self._now_ms = now_ms
        self._links = bodies.Links(console_url=settings.console_url, docs_url=settings.docs_url)
        self._wakes = {sink.name: asyncio.Event() for sink in settings.sinks}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pauses: dict[str, int] = {}
        for sink in settings.sinks:
            self.metrics.watch(sink.name, self.outbox.tally, now_ms)

    def take(self, notices: Iterable[Notification]) -> int:
        """Put notifications into the outbox, each for the sinks that want it; how many are new.

        They are on disk when this returns. May be called from any thread.

        Raises:
            OutboxError: they are not.
        """
        added = 0
        for notice in notices:
            sinks = self._wanting(notice)
            added += self.outbox.put(
                notice.notification_id,
                bodies.key_of(notice),
                msgspec.json.encode(notice),
                sinks=sinks,
                now_ms=self._now_ms(),
            )
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._wake)
        return added

    async def deliver(self, notices: list[Notification]) -> None:
        """``take`` for callers on the event loop."""
        await asyncio.to_thread(self.take, notices)

    def _wanting(self, notice: Notification) -> list[str]:
        """The sinks that are told; of a self-test's campaign only those that are set to."""
        alert = notice.case.alert if notice.case else None
        mode = alert.mode if alert else "enforce"
        ours = alert is not None and self._mark is not None and self._mark.made(alert)
        return [
            sink.name
            for sink in self.settings.sinks
            if sink.wants(kind=notice.kind, severity=_loudest(notice), mode=mode) and (sink.selftest or not ours)
        ]

    def _wake(self) -> None:
        for wake in self._wakes.values():
            wake.set()

    async def run(self) -> None:
        """Deliver until cancelled."""
        self._loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as group:
            for sink in self.settings.sinks:
                group.create_task(self._serve(sink), name=f"sink-{sink.name}")
                if sink.type == "alertmanager":
                    group.create_task(self._repeat(sink), name=f"resend-{sink.name}")
            group.create_task(self._forget(), name="outbox-forget")

    async def _serve(self, sink: SinkSettings) -> None:
        """Deliver what waits for one sink, the first due first."""
        wake = self._wakes[sink.name]
        while True:
            wake.clear()
            item = await asyncio.to_thread(self.outbox.due, sink.name)
            wait_ms = (item.next_ms if item else 1 << 60) - self._now_ms()
            if item is not None and wait_ms <= 0:
                delivered = await self._deliver(sink, item)
                if not delivered:
                    await asyncio.sleep(self._pause(sink) / 1000)
                continue
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(wake.wait(), min(max(wait_ms, 1) / 1000, REST_S))

    def _pause(self, sink: SinkSettings) -> int:
        """A receiver in trouble is not met with all that waits: each failure doubles the rest before the next."""
        self._pauses[sink.name] = min(max(2 * self._pauses.get(sink.name, 0), 500), PAUSE_MS_MAX)
        return self._pauses[sink.name]

    async def _deliver(self, sink: SinkSettings, item: Queued) -> bool:
        """One attempt and what follows from it; whether the receiver answered well or the item is over."""
        try:
            notice = msgspec.json.decode(item.notice, type=Notification)
        except msgspec.MsgspecError:
            # Written by another version: it can be neither sent nor mended.
            answer = Answer(422, "the outbox holds it in a form that this version does not read")
        else:
            standing = await asyncio.to_thread(self.outbox.standing, sink.name) if sink.type == "alertmanager" else {}
            answer = await self._client.send(
                post(sink, notice, self._links, now_ms=self._now_ms(), before=_read(standing.get(item.dedup_key)))
            )
        judgement = judge(
            answer,
            attempts=item.attempts + 1,
            queued_ms=item.queued_ms,
            now_ms=self._now_ms(),
            chance=random.random(),  # noqa: S311  spreads retries, guards nothing
        )
        if judgement.state == "delivered" and sink.type == "alertmanager" and notice.case is not None:
            kept = None if notice.kind == "resolved" else item.notice
            await asyncio.to_thread(self.outbox.stand, sink.name, item.dedup_key, kept, self._now_ms())
        await asyncio.to_thread(self.outbox.settle, item, judgement, answer.said[:200])
        self.metrics.attempt(sink.name, judgement.state)
        if judgement.state != "waiting":
            self._pauses.pop(sink.name, None)
        if judgement.state != "delivered":
            log.warning("sink %s: %s after attempt %d: %s", sink.name, judgement.state, item.attempts + 1, answer.said)
        return judgement.state != "waiting"

    async def _repeat(self, sink: SinkSettings) -> None:
        """Tell Alertmanager again what still stands."""
        while True:
            await asyncio.sleep(RESEND_S)
            await self.repeat(sink)

    async def repeat(self, sink: SinkSettings) -> None:
        """One such round."""
        now_ms = self._now_ms()
        kept = await asyncio.to_thread(self.outbox.standing, sink.name)
        notices = [notice for data in list(kept.values())[:RESENT_MAX] if (notice := _read(data)) is not None]
        alerts = [alert for notice in notices for alert in bodies.alertmanager(notice, self._links, now_ms=now_ms)]
        if alerts:
            answer = await self._client.send(_posted(sink, alerts))
            if not answer.delivered:
                log.warning("sink %s: what stands could not be repeated: %s", sink.name, answer.said)

    async def _forget(self) -> None:
        while True:
            await asyncio.to_thread(self.outbox.forget, self._now_ms())
            await asyncio.sleep(FORGET_S)


def _loudest(notice: Notification) -> Severity:
    return notice.case.severity_most if notice.case else notice.severity


def _read(data: bytes | None) -> Notification | None:
    try:
        return msgspec.json.decode(data, type=Notification) if data else None
    except msgspec.MsgspecError:
        return None


def post(
    sink: SinkSettings,
    notice: Notification,
    links: bodies.Links,
    *,
    now_ms: int,
    before: Notification | None = None,
) -> Post:
    """What is sent to a sink about a notification."""
    if sink.type == "alertmanager":
        return _posted(sink, bodies.alertmanager(notice, links, now_ms=now_ms, before=before))
    if sink.type == "pagerduty":
        key = sink.secret.reveal() if sink.secret else ""
        return _posted(sink, bodies.pagerduty(notice, links, routing_key=key))
    if sink.type == "slack":
        return _posted(sink, slack.message(notice, links))
    return _posted(sink, bodies.cloudevent(notice, links), signed_s=now_ms // 1000)


def _posted(sink: SinkSettings, body: object, *, signed_s: int | None = None) -> Post:
    data = msgspec.json.encode(body)
    headers: dict[str, str | Secret] = {"Content-Type": "application/json", "User-Agent": "distilwatch"}
    if signed_s is not None and sink.secret is not None:
        headers["Content-Type"] = "application/cloudevents+json"
        headers[bodies.SIGNATURE] = bodies.signature(sink.secret.reveal(), data, signed_s)
    if sink.bearer is not None:
        headers["Authorization"] = Secret(f"Bearer {sink.bearer.reveal()}")
    url = sink.url.reveal()
    if sink.type == "alertmanager":
        url = url.rstrip("/") + "/api/v2/alerts"
    return Post(
        url=Secret(url),
        body=data,
        headers=headers,
        allow=sink.allow,
        timeout_ms=sink.timeout_ms,
        ca_file=sink.ca_file,
        hidden=tuple(secret for secret in (sink.secret, sink.bearer) if secret),
    )
