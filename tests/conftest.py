"""Session fixtures: one real Kafka and one real Redis for the whole run; the verdicts of the rows of faults."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import NoReturn

import pytest

from tests.servers import AlertmanagerServer, KafkaServer, Missing, RedisServer

SEED = int(os.environ.get("DISTILWATCH_FAULT_SEED", "0")) or time.time_ns() % 1_000_000
VERDICTS: list[str] = []


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Note the verdict of a row."""
    report = yield
    row = item.get_closest_marker("row")
    if row and (report.when == "call" or not report.passed):
        VERDICTS.append(
            f"row {row.args[0]:<6} seed {SEED:<7} {report.outcome:<8} {report.duration:6.0f} s  {row.args[1]}"
        )
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line a row."""
    if VERDICTS:
        terminalreporter.section("faults")
        for line in VERDICTS:
            terminalreporter.write_line(line)


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
