"""The worker over TLS, SCRAM and access lists of a real broker and a real Redis; what a role may not do is refused."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from aiokafka import AIOKafkaProducer
from aiokafka.errors import TopicAuthorizationFailedError

from streams.config import client_options, load
from streams.topics import count_partitions
from tests.conftest import absent
from tests.servers import Missing
from tests.system.deployment import PARTITIONS, System
from tests.system.secure import SecureKafka, SecureRedis, certificates, password_of

pytestmark = [pytest.mark.servers, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[SecureKafka, SecureRedis]]:
    folder = tmp_path_factory.mktemp("secure")
    certificates(folder)
    try:
        broker, store = SecureKafka(folder / "kafka", folder), SecureRedis(folder / "redis", folder)
        broker.start()
        store.start()
    except Missing as reason:
        absent(reason)
    yield broker, store
    store.stop()
    broker.stop()


async def test_every_role_works_and_no_more(secured: tuple[SecureKafka, SecureRedis], tmp_path: Path) -> None:
    broker, store = secured
    system = System(broker.bootstrap, tmp_path, store.url("worker"))
    trust = {"DISTILWATCH_REDIS_CA_FILE": str(broker.certificates / "ca.crt")}
    system.env |= broker.env("admin") | trust
    try:
        made = system.run("topics", "create")
        assert made.returncode == 0, made.stderr
        broker.grant(system.prefix)
        system.env |= broker.env("worker")
        gateway = client_options(load({**system.env, **broker.env("gateway")}).kafka)
        async with AIOKafkaProducer(**gateway) as producer:
            for line in system.lines[:200]:
                await producer.send_and_wait(system.topics.requests, line, key=b"a")
            with pytest.raises(TopicAuthorizationFailedError):
                await producer.send_and_wait(system.topics.alerts, b"forged")
            with pytest.raises(TopicAuthorizationFailedError):
                await producer.send_and_wait(system.topics.labels, b"forged")
        system.start()
        await system.until(lambda: system.counted("distilwatch_observe_events_total") == 200, "200 events", 90)
        await system.until(lambda: '"redis":{"state":"ok"' in system.fetch("/-/ready"), "Redis over TLS")
        topics = system.topics
        for role, topic, sees in (
            ("limiter", topics.requests, {}),
            ("limiter", topics.signals, {topics.signals: PARTITIONS}),
            ("gateway", topics.alerts, {}),
            ("console", topics.observe_state, {}),
        ):
            options = client_options(load({**system.env, **broker.env(role)}).kafka)
            assert await count_partitions(options, [topic]) == sees
        rules = tmp_path / "rules.yaml"
        rules.write_text("name: secured\n")
        for role, code in (("console", 0), ("worker", 0), ("gateway", 1), ("limiter", 1)):
            system.env |= broker.env(role)
            said = system.run("rules", "publish", str(rules))
            assert said.returncode == code, (role, said.stderr)
        system.env |= broker.env("worker")
        await system.until(lambda: "secured/1@" in system.fetch("/v1/rules"), "the rules")
        shown = system.run("config", "show").stdout.decode() + system.logged()
        assert not [role for role in ("worker", "admin") if password_of(role) in shown]
    finally:
        system.close()


def test_the_users_of_redis_keep_to_their_keys_and_commands(secured: tuple[SecureKafka, SecureRedis]) -> None:
    _, store = secured
    trust = {"ssl_ca_certs": str(store.certificates / "ca.crt")}
    worker = redis.Redis.from_url(store.url("worker"), **trust)
    limiter = redis.Redis.from_url(store.url("limiter"), **trust)
    key = "distilwatch:v1:signal:{t}:a"
    worker.hset(key, "action", "throttle")
    assert limiter.hgetall(key) == {b"action": b"throttle"}
    refused = [
        lambda: worker.set("other", "1"),
        lambda: worker.keys("*"),
        lambda: worker.flushall(),
        lambda: worker.config_get("*"),
        lambda: worker.eval("return 1", 0),
        lambda: limiter.hset(key, "action", "allow"),
        lambda: limiter.delete(key),
        lambda: limiter.acl_list(),
    ]
    for call in refused:
        with pytest.raises(redis.exceptions.NoPermissionError):
            call()
    with pytest.raises(redis.exceptions.AuthenticationError):
        redis.Redis.from_url(f"rediss://127.0.0.1:{store.port}/0", **trust).ping()
    with pytest.raises(redis.exceptions.ConnectionError):
        redis.Redis.from_url(store.url("worker")).ping()  # a certificate that nobody here trusts


def test_a_wrong_password_and_a_wrong_file_are_named(secured: tuple[SecureKafka, SecureRedis], tmp_path: Path) -> None:
    broker, store = secured
    system = System(broker.bootstrap, tmp_path, store.url("worker"))
    system.env |= broker.env("worker")
    (tmp_path / "wrong").write_text("not-the-password")
    system.env |= {"DISTILWATCH_KAFKA_PASSWORD_FILE": str(tmp_path / "wrong")}
    done = system.run("topics", "list")
    assert done.returncode == 1
    assert b"DISTILWATCH_KAFKA_USERNAME" in done.stderr
    assert b"not-the-password" not in done.stderr
    system.env |= {"DISTILWATCH_KAFKA_CA_FILE": os.devnull + "/no"}
    done = system.run("topics", "list")
    assert done.returncode == 2
    assert b"DISTILWATCH_KAFKA_CA_FILE" in done.stderr
    system.close()
