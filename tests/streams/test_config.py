"""Settings: defaults, every error at once, secrets that never show."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.errors import ConfigError
from streams.config import client_options, known_names, load, unknown_names


def test_defaults_need_no_environment() -> None:
    settings = load({})
    assert settings.kafka.brokers == "127.0.0.1:9092"
    assert settings.http.host == "127.0.0.1"
    assert settings.redis.url is None
    assert settings.secret is None


def test_names_of_running_servers_are_read_and_ours_win() -> None:
    env = {"KAFKA_BOOTSTRAP_SERVERS": "a:1", "REDIS_URL": "redis://a:2"}
    assert load(env).kafka.brokers == "a:1"
    ours = load(env | {"DISTILWATCH_BROKERS": "b:1,c:2", "DISTILWATCH_REDIS_URL": "redis://b"})
    assert ours.kafka.brokers == "b:1,c:2"
    assert ours.redis.url is not None
    assert ours.redis.url.reveal() == "redis://b"


def test_all_errors_come_at_once() -> None:
    broken = {
        "DISTILWATCH_BROKERS": "nowhere",
        "DISTILWATCH_PARTITIONS": "many",
        "DISTILWATCH_REDIS_TTL": "sometimes",
        "DISTILWATCH_HTTP_HOST": "0.0.0.0",
        "DISTILWATCH_SECRET": "short",
        "DISTILWATCH_KAFKA_PROTOCOL": "SASL_SSL",
    }
    with pytest.raises(ConfigError) as caught:
        load(broken)
    lines = str(caught.value).splitlines()
    assert len(lines) == len(broken)
    for name in broken:
        assert any(name in line for line in lines)
    assert "short'" not in str(caught.value)


def test_a_secret_may_come_from_a_file_but_not_from_both(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("correct horse battery\n")
    secret = load({"DISTILWATCH_SECRET_FILE": str(file)}).secret
    assert secret is not None
    assert secret.reveal() == "correct horse battery"
    with pytest.raises(ConfigError, match="keep one"):
        load({"DISTILWATCH_SECRET_FILE": str(file), "DISTILWATCH_SECRET": "correct horse battery"})
    with pytest.raises(ConfigError, match="cannot be read"):
        load({"DISTILWATCH_SECRET_FILE": str(tmp_path / "none")})


def test_no_repr_shows_a_secret() -> None:
    env = {
        "DISTILWATCH_SECRET": "canary-canary-canary",
        "REDIS_URL": "redis://:canary@h",
        "DISTILWATCH_KAFKA_PASSWORD": "canary",
    }
    assert "canary" not in repr(load(env))


def test_other_addresses_need_the_flag() -> None:
    env = {"DISTILWATCH_HTTP_HOST": "0.0.0.0", "DISTILWATCH_HTTP_PUBLIC": "true"}
    assert load(env).http.host == "0.0.0.0"


def test_misspelt_names_are_reported() -> None:
    assert unknown_names({"DISTILWATCH_BROKER": "x", "DISTILWATCH_BROKERS": "x", "HOME": "/"}) == ["DISTILWATCH_BROKER"]
    assert "DISTILWATCH_SECRET_FILE" in known_names()


def test_sasl_reaches_the_clients() -> None:
    env = {
        "DISTILWATCH_KAFKA_PROTOCOL": "SASL_PLAINTEXT",
        "DISTILWATCH_KAFKA_USERNAME": "worker",
        "DISTILWATCH_KAFKA_PASSWORD": "pass",
    }
    options = client_options(load(env).kafka)
    assert options["sasl_plain_username"] == "worker"
    assert options["sasl_plain_password"] == "pass"
