"""The harness itself: what it starts answers as the real thing."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from tests import servers


@pytest.mark.servers
async def test_kafka_takes_a_record(kafka: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        await admin.create_topics([NewTopic("harness", 1, 1)])
    finally:
        await admin.close()
    async with AIOKafkaProducer(bootstrap_servers=kafka) as producer:
        assert (await producer.send_and_wait("harness", b"x")).offset == 0


@pytest.mark.servers
def test_redis_keeps_a_hash_with_a_lifetime(redis_url: str) -> None:
    client = redis.Redis.from_url(redis_url)
    client.hset("harness", "field", "value")
    client.pexpire("harness", 60_000)
    assert client.hget("harness", "field") == b"value"
    assert 0 < client.pttl("harness") <= 60_000


def test_a_missing_maven_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(servers, "JARS", tmp_path / "none")
    monkeypatch.delenv("KAFKA_HOME", raising=False)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(servers.Missing, match="apt-get install maven"):
        servers.find_jars()
