"""The Kafka host: a Faust application whose engines do the work.

What lives here: wiring, start, stop and exit codes. Faust is the shell: supervision and the agents of the low-rate
control topics. The stages run in engines of our own (``engine``), because a record through a Faust stream costs
about 250 us and its tables lose or double state under kill -9.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import faust
from aiokafka.errors import KafkaError
from mode import Service

from models.errors import ConfigError, DistilwatchError
from streams.admin import Admin
from streams.assignor import Share
from streams.config import Settings, client_options
from streams.control import Control, ControlLog
from streams.engine import Engine, EngineError
from streams.health import Component, Health
from streams.metrics import Metrics
from streams.partition import place_of
from streams.redis_signals import Projection
from streams.rules_watch import RulesWatch
from streams.stage import StageSpec
from streams.topics import Topics, count_partitions, create

log = logging.getLogger("distilwatch")

POLL_AGE_MAX_S = 60.0
"""An engine that has not polled for this long is stuck; the supervisor of the process should restart it."""
STUCK_S = 90.0
"""After this long the process ends by itself: its client library may wait for ever for an answer that was lost."""
WATCH_S = 5.0
SILENCE_MAX_S = 10.0
"""Without an answer of the broker for this long the engine says so; what it has waits, and the input with it."""
POISON_SHOWN_S = 600.0
STOP_S = 20.0
StagesFactory = Callable[[Settings, Topics], Sequence[StageSpec]]


Work = Engine | Projection | RulesWatch


class Runner(Service):
    """Lets Faust start, supervise and stop something with ``run`` and ``stop``."""

    def __init__(self, work: Work, **options: Any) -> None:
        super().__init__(**options)
        self.work = work
        self._task: asyncio.Task[None] | None = None

    async def on_start(self) -> None:
        """Run in the background; an error there ends the application."""
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        try:
            await self.work.run()
        except Exception as error:
            # Whatever it was, this process may not go on; texts of unknown errors may quote input.
            known = isinstance(error, DistilwatchError | KafkaError | OSError)
            await self.crash(error if known else EngineError(place_of(error)))

    async def on_stop(self) -> None:
        """Let the work commit, within the bound; a hung one is left to the next owner's fencing."""
        self.work.stop()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=STOP_S - 5)


class Shell(faust.App):
    """A Faust application whose services start with it, not after its consumer group has formed."""

    runners: Sequence[Runner] = ()

    async def on_start(self) -> None:
        """Start the engines first: after kill -9 they need not wait for Faust's own group."""
        await super().on_start()
        for runner in self.runners:
            await self.add_runtime_dependency(runner)


def make_shell(settings: Settings) -> Shell:
    """The Faust application: no web server, no tables, no leader topic."""
    kafka = settings.kafka
    folder = settings.state_dir or Path(tempfile.gettempdir()) / f"distilwatch-{os.getuid()}"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    options: dict[str, Any] = {}
    if kafka.protocol.startswith("SASL") and kafka.password is not None:
        context = client_options(kafka).get("ssl_context")
        options["broker_credentials"] = faust.SASLCredentials(
            username=kafka.username, password=kafka.password.reveal(), mechanism=kafka.mechanism, ssl_context=context
        )
    elif kafka.protocol == "SSL":
        options["broker_credentials"] = faust.SSLCredentials(client_options(kafka)["ssl_context"])
    return Shell(
        # Each process reads all control records from their start, so none shares or resumes a group.
        f"{kafka.group}-control-{kafka.slot}-{time.time_ns():x}",
        broker=[f"kafka://{broker}" for broker in kafka.brokers.split(",")],
        datadir=str(folder / "faust"),
        autodiscover=False,
        web_enabled=False,
        topic_disable_leader=True,
        topic_allow_declare=False,
        table_standby_replicas=0,
        broker_session_timeout=10,
        broker_heartbeat_interval=2.5,
        consumer_auto_offset_reset="earliest",
        **options,
    )


def control_topics(topics: Topics) -> list[str]:
    """What every worker reads whole: what people say, the rules, and the campaigns that are known."""
    return [topics.labels, topics.rules, topics.campaigns]


def add_control(shell: Shell, topics: Topics, metrics: Metrics, log_of_control: ControlLog) -> None:
    """An agent that puts control records into the table; raw bytes, so no content can break it."""
    source = shell.topic(
        *control_topics(topics), key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw"
    )

    async def control(stream: Any) -> None:
        async for event in stream.events():
            message = event.message
            if log_of_control.add(Control(message.topic, message.offset, message.key or b"", message.value or b"")):
                metrics.control_records.labels(message.topic).inc()

    shell.agent(source, name="control")(control)


def end_hard_after(seconds: float) -> None:
    """A part that hangs while it ends does not keep the process: its successor fences whatever it left open."""
    timer = threading.Timer(seconds, os._exit, (1,))
    timer.daemon = True
    timer.start()


def poll_age_s(engine: Engine) -> float:
    """Seconds since the engine last came round."""
    return engine.outside.now_s() - engine.last_poll


def engine_state(engine: Engine) -> Component:
    """Down when it no longer polls, starting while partitions come back, degraded while the broker is silent."""
    age = poll_age_s(engine)
    if age > POLL_AGE_MAX_S:
        return Component("down", f"has not polled for {age:.0f} s")
    if not engine.ready:
        return Component("starting", "waits for its partitions")
    silence = max(age, engine.broker_silence_s)
    if silence > SILENCE_MAX_S:
        return Component("degraded", f"the broker has not answered for {silence:.0f} s: input waits there")
    if engine.poison_age_s < POISON_SHOWN_S:
        return Component("degraded", "records were set aside because they raised: see the rejects topic")
    size, records = engine.restart_work
    return Component(
        "ok", f"{len(engine.live)} partitions; a restart reads {size / 1e6:,.1f} MB, folds {records:,} again"
    )


def projection_state(projection: Projection) -> Component:
    """Degraded while Redis is away: detection goes on, limiters keep what they have until it ends."""
    if projection.down_reason:
        return Component("degraded", f"{projection.down_reason}; {projection.pending} keys wait")
    return Component("ok", f"{projection.pending} keys wait")


async def end_where_stuck(engines: Sequence[Engine]) -> None:
    """End the process hard once an engine no longer comes round; the next one starts from the last commit."""
    while True:
        await asyncio.sleep(WATCH_S)
        for engine in engines:
            if poll_age_s(engine) > STUCK_S:
                log.error("ended: %s has not come round for %.0f s", engine.spec.name, poll_age_s(engine))
                os._exit(1)


class Worker:
    """Everything one process runs, in starting order."""

    def __init__(self, settings: Settings, stages: StagesFactory, counts: Mapping[str, int]) -> None:
        """``counts`` are the partitions of each topic."""
        self.settings = settings
        self.topics = Topics(settings.kafka.prefix)
        self.metrics = Metrics()
        self.control = ControlLog(control_topics(self.topics))
        specs = stages(settings, self.topics)
        shares = [Share(spec.input_topic, counts[spec.input_topic], spec.weight) for spec in specs]
        self.engines = [Engine(spec, settings, self.metrics, self.control, shares=shares) for spec in specs]
        self.projection = Projection(settings, self.metrics) if settings.redis.url else None
        self.shell = make_shell(settings)
        add_control(self.shell, self.topics, self.metrics, self.control)
        self.rules = RulesWatch(settings, settings.rules, self.metrics) if settings.rules else None
        work: list[Work | None] = [*self.engines, self.projection, self.rules]
        self.shell.runners = [Runner(item) for item in work if item is not None]
        admin = Admin(settings, self.control, self.metrics, self._hits)
        self.health = Health(settings.http, self.metrics, self._checks(), admin.add_to)
        self._stopping = False
        for engine in self.engines:
            self.metrics.observe_events(engine.spec.name, engine.counts)
            self.metrics.poll_age.labels(engine.spec.name).set_function(partial(poll_age_s, engine))

    def _hits(self) -> Counter[str]:
        return sum((engine.hits() for engine in self.engines), Counter[str]())

    def _checks(self) -> dict[str, Callable[[], Component]]:
        checks: dict[str, Callable[[], Component]] = {
            engine.spec.name: partial(engine_state, engine) for engine in self.engines
        }
        checks["process"] = self._process_state
        if self.projection is not None:
            checks["redis"] = partial(projection_state, self.projection)
        return checks

    def _process_state(self) -> Component:
        return Component("starting", "is stopping") if self._stopping else Component("ok")

    async def run(self) -> int:
        """Run until SIGTERM or SIGINT (0) or until a part may not go on (1)."""
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, ended.set)
        if self.rules is not None:
            loop.add_signal_handler(signal.SIGHUP, self.rules.reload)
            await self.rules.publish()  # before the engines: their first record is under the rules of the file
        await self.health.start()
        try:
            await self.shell.start()
            watching = asyncio.create_task(end_where_stuck(self.engines))
            await self._until_end(ended)
            watching.cancel()
            crashed = self.shell.crash_reason
            self._stopping = True
            end_hard_after(STOP_S + 5)
            for runner in self.shell.runners:
                runner.work.stop()  # all at once: their last commits run side by side
            await asyncio.wait_for(self.shell.stop(), STOP_S)
        finally:
            await self.health.stop()
        if crashed is not None:
            log.error("ended: %s", crashed)
        return 1 if crashed else 0

    async def _until_end(self, ended: asyncio.Event) -> None:
        stopped = asyncio.create_task(self.shell.wait_until_stopped())
        asked = asyncio.create_task(ended.wait())
        await asyncio.wait([stopped, asked], return_when=asyncio.FIRST_COMPLETED)
        for task in (stopped, asked):
            task.cancel()


async def _run(settings: Settings, stages: StagesFactory) -> int:
    kafka, topics = settings.kafka, Topics(settings.kafka.prefix)
    clients = client_options(kafka)
    if kafka.create_topics:
        await create(clients, topics.catalogue(), partitions=kafka.partitions, replication=kafka.replication)
    counts = await count_partitions(clients, [spec.name for spec in topics.catalogue()])
    missing = [spec.name for spec in topics.catalogue() if spec.name not in counts]
    if missing:
        raise ConfigError(f"topics are missing, run `distilwatch topics create`: {', '.join(missing)}")
    # A sender must know how many partitions its receiver really has, whatever the setting for new topics says.
    actual = replace(kafka, partitions=counts[topics.sightings])
    return await Worker(replace(settings, kafka=actual), stages, counts).run()


def run_worker(settings: Settings, stages: StagesFactory) -> int:
    """Run the Kafka host in this process until SIGTERM or SIGINT; the exit code (0 clean, 1 not).

    Args:
        settings: what ``config.load`` gave.
        stages: gives the stages in data order, called once with settings whose ``kafka.partitions`` is the real count.

    Raises:
        ConfigError: a setting is wrong, or topics are missing.
    """
    try:
        return asyncio.run(_run(settings, stages))
    except ConfigError:
        raise
    except (DistilwatchError, KafkaError, TimeoutError) as error:
        log.error("ended: %s: %s", type(error).__name__, error)
        return 1
