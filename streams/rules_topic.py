"""The rules topic: right rules onto it, from the command ``rules publish`` and from a worker's rules file.

What lives here: writing and reading the topic, one record per tenant. What does not: what stages do with a record
(``stages``) and how it reaches them (``control``).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from models.errors import DistilwatchError
from models.rules import Rules
from streams.config import Settings, client_options
from streams.control import ControlLog
from streams.statelog import LogReader
from streams.topics import Topics, count_partitions


class PublishError(DistilwatchError):
    """The rules could not be written; trying again may help."""

    retriable = True


@dataclass(frozen=True, slots=True)
class Published:
    """Where the rules stand now."""

    topic: str
    offset: int
    text: str


async def put(settings: Settings, rules: Rules) -> Published:
    """Write the rules as the tenant's record, confirmed by the brokers.

    Raises:
        PublishError: no broker takes them, or the topic is missing.
    """
    topic, clients = Topics(settings.kafka.prefix).rules, client_options(settings.kafka)
    try:
        if topic not in await count_partitions(clients, [topic]):
            raise PublishError(f"{topic} is missing: run `distilwatch topics create`")
        async with AIOKafkaProducer(**clients, acks="all", enable_idempotence=True) as producer:
            sent = await producer.send_and_wait(topic, rules.encode(), key=settings.tenant.encode(), partition=0)
    except (KafkaError, ConnectionError, TimeoutError) as error:
        raise PublishError(f"Kafka at {settings.kafka.brokers}: {error or type(error).__name__}") from error
    text = f"{rules.label} is at {topic} offset {sent.offset}; workers take it up with their next commit"
    return Published(topic, sent.offset, text)


async def get(settings: Settings) -> Rules:
    """The tenant's newest right record; the rules as shipped where there is none.

    Raises:
        PublishError: the brokers do not answer.
    """
    topic = Topics(settings.kafka.prefix).rules
    known, reader = ControlLog([topic]), LogReader(client_options(settings.kafka))
    try:
        await reader.start()
        await known.load(reader)
    except (KafkaError, ConnectionError, TimeoutError) as error:
        raise PublishError(f"Kafka at {settings.kafka.brokers}: {error or type(error).__name__}") from error
    finally:
        await reader.stop()
    found = known.latest(topic, settings.tenant.encode())
    try:
        return Rules.decode(found) if found else Rules()
    except ValueError as error:
        raise PublishError(f"{topic} holds a record that is no rules: put right ones in its place") from error


def run(settings: Settings, rules: Rules) -> Published:
    """``put`` for a command."""
    return asyncio.run(put(settings, rules))
