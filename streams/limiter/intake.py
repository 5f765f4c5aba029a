"""The command ``intake``: ``POST /v1/events`` into the requests topic.

What lives here: the endpoint, its bounds and its answers, the producer. What does not: what a record is (``bodies``).

It is a process of its own and not part of the limiter: it handles prompts, which the limiter never sees, and needs
Kafka, without which the limiter must go on. Every record is answered for: written and confirmed by the brokers, or
refused with a reason. A producer may send a body again at any time; the same ``event_id`` counts once.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import msgspec
from aiohttp import web
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from models.limits import RECORD_BYTES_MAX
from models.request import Request
from streams.config import Settings, client_options
from streams.health import OPERATIONS as HEALTH
from streams.health import Component, Health
from streams.limiter.bodies import NOT_RECORDS, Record, Sorter, split
from streams.limiter.metrics import IntakeMetrics
from streams.limiter.serving import Listener, answer_json, check_exposure, end_all, guarded, until_told
from streams.openapi import JSON, Answer, Operation, Problem, document
from streams.topics import Topics

log = logging.getLogger("distilwatch.intake")

SEND_S: Final = 10.0
"""The longest a body waits for the brokers; then its producer is asked to come again."""
SHOWN_MAX: Final = 100
"""Refused records named in an answer; all are counted."""
BACKOFF_S: Final = 1.0
PATH: Final = "/v1/events"


class Refused(msgspec.Struct, frozen=True):
    """A record that was not taken: its place in the body and why."""

    index: int
    reason: str


class IntakeAnswer(msgspec.Struct, frozen=True):
    """What became of a body's records."""

    accepted: int
    rejected: int
    rejects: list[Refused]


OPERATIONS: Final = (
    Operation(
        "post",
        PATH,
        "Request events: one, an array, or one a line; in any known form, gzip or plain",
        (
            Answer(200, "the accepted ones are confirmed by the brokers", IntakeAnswer),
            Answer(400, "no record was good", IntakeAnswer),
            Answer(413, "the body is too large, as sent or once expanded"),
            Answer(429, "too much is on its way to Kafka", retry=True),
            Answer(503, "Kafka is not reached or did not confirm: send the body again", retry=True),
        ),
        takes=((JSON, Request | list[Request]), ("application/x-ndjson", str)),
    ),
)


def openapi() -> dict[str, Any]:
    """The OpenAPI document, from the types."""
    text = "Where gateways send request events. A body may be sent again: the same event_id counts once."
    return document("intake", text, (*OPERATIONS, *HEALTH))


class Intake:
    """The process; ``port`` is known after the start."""

    def __init__(self, settings: Settings) -> None:
        mine = settings.intake
        self.metrics = IntakeMetrics()
        self._settings = settings
        self._topic = Topics(settings.kafka.prefix).requests
        self._producer: AIOKafkaProducer | None = None
        self._down_reason = "not connected yet"
        self._pending = 0
        self._sorting = ThreadPoolExecutor(1, "intake")
        self._sorter = Sorter()
        self._application = web.Application(
            client_max_size=mine.body_bytes,
            middlewares=[guarded(mine.token, lambda _: self._count_body(401))],
        )
        self._application.router.add_post(PATH, self._events)
        Health(settings.http, self.metrics, {"kafka": self._kafka_state}).add_to(self._application)
        self.listener = Listener(self._application)

    def _kafka_state(self) -> Component:
        if self._producer is None:
            return Component("starting", self._down_reason)
        return Component("degraded", self._down_reason) if self._down_reason else Component("ok")

    def _count_body(self, status: int) -> None:
        self.metrics.bodies.labels(str(status)).inc()

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT."""
        host, port = self._settings.http.host, self._settings.intake.port
        await self.listener.start(host, port)
        log.info("intake: HTTP on %s:%d", host, self.listener.port)
        connecting = asyncio.create_task(self._connect())
        try:
            await until_told([connecting])
        finally:
            await self.listener.stop()
            await end_all([connecting])
            if self._producer is not None:
                await self._producer.stop()
            self._sorting.shutdown(wait=False)

    async def _connect(self) -> None:
        """Connect to the brokers, for ever if need be, and then wait to be ended."""
        while self._producer is None:
            producer = AIOKafkaProducer(
                **client_options(self._settings.kafka),
                acks="all",
                enable_idempotence=True,
                compression_type="zstd",
                linger_ms=5,
                max_request_size=2 * RECORD_BYTES_MAX,
                request_timeout_ms=int(SEND_S * 1000),
            )
            try:
                await producer.start()
            except (KafkaError, OSError) as error:
                self._down_reason = type(error).__name__
                await producer.stop()
                await asyncio.sleep(BACKOFF_S)
            else:
                self._producer, self._down_reason = producer, ""
        await asyncio.Event().wait()

    async def _events(self, request: web.Request) -> web.Response:
        """One body; its bytes count as pending until the brokers have confirmed its records."""
        answer = await self._answer(request)
        self._count_body(answer.status)
        return answer

    async def _answer(self, request: web.Request) -> web.Response:
        if self._producer is None:
            return _later(503, "Kafka is not reached")
        # What is announced counts before it is read; a body that may become anything counts as the largest.
        unknown = request.content_length is None or "Content-Encoding" in request.headers
        size = self._settings.intake.body_bytes if unknown else request.content_length or 0
        if size > self._settings.intake.body_bytes:
            return _too_large(self._settings.intake.body_bytes)
        if self._pending + size > self._settings.intake.pending_bytes:
            return _later(429, "too much is on its way to Kafka")
        self._hold(size)
        try:
            body = await request.read()
            return await self._take(self._producer, body)
        except web.HTTPRequestEntityTooLarge:  # announced less, or grew when it was decompressed
            return _too_large(self._settings.intake.body_bytes)
        except web.RequestPayloadError:  # not in the encoding that its headers name
            self.metrics.records.labels("rejected", NOT_RECORDS).inc()
            return answer_json(400, IntakeAnswer(0, 1, [Refused(0, NOT_RECORDS)]))
        finally:
            self._hold(-size)

    def _hold(self, size: int) -> None:
        self._pending += size
        self.metrics.pending_bytes.set(self._pending)

    async def _take(self, producer: AIOKafkaProducer, body: bytes) -> web.Response:
        """Sort the records, write the good ones, answer for all."""
        found = await asyncio.get_running_loop().run_in_executor(self._sorting, lambda: self._sorter.sort(split(body)))
        try:
            async with asyncio.timeout(SEND_S):
                await self._send(producer, found.good)
        except (KafkaError, OSError, TimeoutError) as error:
            self._down_reason = type(error).__name__
            self.metrics.records.labels("unconfirmed", "kafka").inc(len(found.good))
            return _later(503, "Kafka did not confirm: send the body again")
        self._down_reason = ""
        self.metrics.records.labels("accepted", "").inc(len(found.good))
        for reason, count in Counter(found.bad.values()).items():
            self.metrics.records.labels("rejected", reason).inc(count)
        named = [Refused(index, reason) for index, reason in sorted(found.bad.items())[:SHOWN_MAX]]
        answer = IntakeAnswer(len(found.good), len(found.bad), named)
        return answer_json(400 if found.bad and not found.good else 200, answer)

    async def _send(self, producer: Any, records: list[Record]) -> None:
        futures = [await producer.send(self._topic, record.value, key=record.account_id.encode()) for record in records]
        await asyncio.gather(*futures)


def _later(status: int, why: str) -> web.Response:
    return answer_json(status, Problem(why), Retry_After="2")


def _too_large(limit: int) -> web.Response:
    return answer_json(413, Problem(f"a body has {limit} bytes at most: send fewer records at once"))


def run(settings: Settings) -> int:
    """Run the intake in this process until it is told to stop; the exit code.

    Raises:
        ConfigError: it would serve beyond this machine without a token.
    """
    check_exposure(settings.http, settings.intake.token, "DISTILWATCH_INTAKE_TOKEN")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # health says whether Kafka is reached
    asyncio.run(Intake(settings).run())
    return 0
