"""Session fixtures: one real Kafka and one real Redis for the whole run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NoReturn

import pytest

from tests.servers import AlertmanagerServer, KafkaServer, Missing, RedisServer


def absent(reason: Missing) -> NoReturn:
    """A missing server fails in CI, where nothing may be skipped, and skips elsewhere with the reason."""
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(str(reason), pytrace=False)
    pytest.skip(str(reason))


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Bootstrap address of a Kafka: the one of KAFKA_BOOTSTRAP_SERVERS, else one started for this run."""
    if running := os.environ.get("KAFKA_BOOTSTRAP_SERVERS"):
        yield running
        return
    try:
        server = KafkaServer(tmp_path_factory.mktemp("kafka"))
    except Missing as reason:
        absent(reason)
    try:
        server.start()
        yield server.bootstrap
    finally:
        server.stop()


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a Redis: the one of REDIS_URL, else one started for this run."""
    if running := os.environ.get("REDIS_URL"):
        yield running
        return
    try:
        server = RedisServer(tmp_path_factory.mktemp("redis"))
        server.start()
    except Missing as reason:
        absent(reason)
    try:
        yield server.url
    finally:
        server.stop()


@pytest.fixture(scope="session")
def alertmanager_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AlertmanagerServer]:
    """An Alertmanager started for this run, which a test may stop and start."""
    server = AlertmanagerServer(tmp_path_factory.mktemp("alertmanager"))
    try:
        server.start()
    except Missing as reason:
        absent(reason)
    try:
        yield server
    finally:
        server.stop()
