"""The commands ``worker`` and ``topics``: the Kafka host with the stages of this project, and its topics.

What lives here: putting host and stages together, and what there is of each topic. What does not: the host (``app``)
and what the stages do (``stages``).
"""

from __future__ import annotations

import asyncio
import gc
import logging
import sys

import msgspec
from aiokafka.errors import KafkaError

from models.errors import DistilwatchError
from streams.app import run_worker
from streams.config import KafkaSettings, Settings, client_options
from streams.stages import factory
from streams.topics import TopicReport, Topics, create, describe

GC_THRESHOLDS = (100_000, 20, 100)
"""A batch makes thousands of records that live for milliseconds and hold no cycles, so cycles are sought seldom."""
SWITCH_S = 0.001
"""How long the thread of evaluations and snapshots keeps the interpreter from the loop, which asks for it after every
wait: with Python's five milliseconds each answer of the broker would cost as much."""


class BrokerError(DistilwatchError):
    """The brokers cannot be reached or refuse; trying again may help."""

    retriable = True


def run(settings: Settings) -> int:
    """Run the Kafka host until it is told to stop.

    Raises:
        ConfigError: a setting is wrong, or topics are missing and may not be created.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    sys.setswitchinterval(SWITCH_S)
    return run_worker(settings, factory)


def run_topics(settings: Settings, *, create_missing: bool, output: str) -> int:
    """Print what there is of each topic; 1 where one is missing or differs from what is needed.

    Raises:
        BrokerError: no broker answers.
    """
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # what goes wrong comes as one error of ours
    reports = _reports(settings, create_missing=create_missing)
    if output == "json":
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(reports), indent=2).decode() + "\n")
    else:
        width = max(len(report.name) for report in reports)
        for report in reports:
            sys.stdout.write(f"{report.name:<{width}}  {report.partitions:>4} partitions  {report.state}\n")
            sys.stdout.writelines(f"{'':<{width}}  {difference}\n" for difference in report.differences)
    return 1 if any(report.state in ("missing", "differs") for report in reports) else 0


def _reports(settings: Settings, *, create_missing: bool) -> list[TopicReport]:
    kafka = settings.kafka
    specs = Topics(kafka.prefix).catalogue()

    async def ask() -> list[TopicReport]:
        clients = client_options(kafka)
        if create_missing:
            return await create(clients, specs, partitions=kafka.partitions, replication=kafka.replication)
        return await describe(clients, specs, partitions=kafka.partitions)

    try:
        return asyncio.run(ask())
    except (KafkaError, ConnectionError, TimeoutError) as error:
        raise BrokerError(f"Kafka at {kafka.brokers}: {error or type(error).__name__}{_hint(kafka)}") from error


def _hint(kafka: KafkaSettings) -> str:
    """Its client says neither that it was refused nor that it spoke the wrong protocol."""
    if kafka.protocol == "PLAINTEXT":
        return "; is it up, and does it take PLAINTEXT?"
    return "; is it up, and do DISTILWATCH_KAFKA_USERNAME, _PASSWORD and _CA_FILE fit?"
