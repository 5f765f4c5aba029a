"""The defaults of our libraries that lose, leak or open something: each is overridden, and stays so."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from streams.app import make_shell
from streams.config import load
from streams.control import ControlLog
from streams.engine import Engine
from streams.metrics import Metrics
from streams.outside import Outside
from streams.partition import Partition, Quarantine
from streams.redis_signals import Projection
from streams.stage import StageSpec
from streams.topics import Topics
from tests.servers import ROOT
from tests.streams.toy_worker import CountWords

TOPICS = Topics()
SPEC = StageSpec("toy", TOPICS.requests, TOPICS.observe_state, lambda number, of: CountWords(TOPICS.alerts))


class Told:
    """Stands for a client and keeps what it was told."""

    def __init__(self, *clients: Any, **options: Any) -> None:
        self.options = options

    async def start(self) -> None:
        """Nothing to connect."""

    async def partitions(self, topic: str) -> int:
        return 1

    async def beginning(self, where: Any) -> int:
        return 0

    def subscribe(self, topics: list[str], listener: Any) -> None:
        """Nothing comes."""


@pytest.fixture
def engine() -> Engine:
    outside = Outside(consumer=Told, producer=Told, reader=Told)
    return Engine(SPEC, load({}), Metrics(), ControlLog(), outside)


def test_the_consumer_never_commits_resets_or_reads_what_was_aborted(engine: Engine) -> None:
    options = engine._consumer.options
    assert options["enable_auto_commit"] is False  # the mark is the progress
    assert options["auto_offset_reset"] == "none"  # never silently to the newest
    assert options["isolation_level"] == "read_committed"
    assert options["session_timeout_ms"] == 10_000
    assert options["max_partition_fetch_bytes"] > 1 << 20  # a record of the broker's limit is never passed over
    assert options["group_instance_id"]  # a restart is no rebalance


async def test_the_producer_is_transactional_with_an_id_per_partition(engine: Engine) -> None:
    await engine._start_consumer()
    options = Partition(engine._host, 0, Quarantine())._producer.options
    # A transactional id makes aiokafka idempotent and wait for all replicas in sync; it refuses anything else.
    assert options["transactional_id"] == "distilwatch.distilwatch.toy-0"
    assert "acks" not in options
    assert options["transaction_timeout_ms"] == 60_000


def test_faust_serves_nothing_keeps_no_tables_and_makes_no_topics(tmp_path: Path) -> None:
    conf = make_shell(load({"DISTILWATCH_STATE_DIR": str(tmp_path)})).conf
    assert not conf.web_enabled
    assert not conf.topic_allow_declare
    assert conf.topic_disable_leader
    assert conf.table_standby_replicas == 0
    assert conf.broker_session_timeout == 10


async def test_redis_calls_end_soon_and_are_not_retried_inside_the_client() -> None:
    projection = Projection(load({"DISTILWATCH_REDIS_URL": "redis://127.0.0.1:1/0"}), Metrics())
    told = projection._redis.connection_pool.connection_kwargs
    assert told["socket_timeout"] == told["socket_connect_timeout"] == 0.8
    assert told["retry"] is None


def test_brokers_stamp_requests_themselves() -> None:
    configs = {spec.name: spec.config for spec in TOPICS.catalogue()}
    assert configs[TOPICS.requests]["message.timestamp.type"] == "LogAppendTime"


async def test_certificates_of_redis_are_checked_by_every_client(tmp_path: Path) -> None:
    authority = tmp_path / "ca.crt"
    authority.write_text("")
    settings = load(
        {"DISTILWATCH_REDIS_URL": "rediss://u:canary-pass@h:1/0", "DISTILWATCH_REDIS_CA_FILE": str(authority)}
    )
    told = Projection(settings, Metrics())._redis.connection_pool.connection_kwargs
    assert told["ssl_ca_certs"] == str(authority)
    assert "canary-pass" not in repr(settings)


def test_the_access_lists_name_every_topic() -> None:
    script = (ROOT / "docker" / "security" / "kafka-acls.sh").read_text()
    found = re.findall(r'\$\(topics ([^)]*)\)|^state="(.*)"', script, re.MULTILINE)
    named = {name for pair in found for name in " ".join(pair).split()}
    assert named - {"$state"} == {spec.name.split(".")[1] for spec in TOPICS.catalogue()}
