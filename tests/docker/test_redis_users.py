"""The users of Redis can do what they are for and nothing else."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis
from redis.exceptions import NoPermissionError

from tests.docker.redis_users import GuardedRedis

SIGNAL = "distilwatch:v1:signal:{default}:account"
BUDGET = "distilwatch:v1:budget:{default}:cluster:c-1"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedRedis]:
    started = GuardedRedis(tmp_path_factory.mktemp("guarded"))
    started.start()
    try:
        yield started
    finally:
        started.stop()


ALLOWED = [
    ("worker", ("HSET", SIGNAL, "action", "throttle")),
    ("worker", ("PEXPIRE", SIGNAL, "60000")),
    ("limiter", ("HMGET", SIGNAL, "action")),
    ("limiter", ("HSET", BUDGET, "tokens", "1")),
    ("worker", ("DEL", SIGNAL)),
    ("health", ("PING",)),
]
REFUSED = [
    ("worker", ("SET", "somebody:else", "1")),
    ("worker", ("FLUSHALL",)),
    ("worker", ("CONFIG", "GET", "*")),
    ("worker", ("KEYS", "*")),
    ("worker", ("EVAL", "return 1", "0")),
    ("limiter", ("HSET", SIGNAL, "action", "allow")),
    ("limiter", ("DEL", SIGNAL)),
    ("limiter", ("ACL", "LIST")),
    ("limiter", ("HGET", "somebody:else", "x")),
    ("health", ("GET", SIGNAL)),
]


def asked(server: GuardedRedis, user: str, words: tuple[str, ...]) -> object:
    url = {"worker": server.worker_url, "limiter": server.limiter_url, "health": server.url_of("health", "none")}[user]
    with redis.Redis.from_url(url) as client:
        return client.execute_command(*words)


@pytest.mark.servers
@pytest.mark.parametrize(("user", "words"), ALLOWED, ids=lambda part: part if isinstance(part, str) else part[0])
def test_what_a_user_is_for(server: GuardedRedis, user: str, words: tuple[str, ...]) -> None:
    asked(server, user, words)


@pytest.mark.servers
@pytest.mark.parametrize(("user", "words"), REFUSED, ids=lambda part: part if isinstance(part, str) else part[0])
def test_what_a_user_may_not(server: GuardedRedis, user: str, words: tuple[str, ...]) -> None:
    with pytest.raises(NoPermissionError):
        asked(server, user, words)


@pytest.mark.servers
@pytest.mark.parametrize(
    "url", ["redis://127.0.0.1:{port}/0", "redis://127.0.0.1:{port}/0?username=worker&password=wrong"]
)
def test_nobody_else_comes_in(server: GuardedRedis, url: str) -> None:
    with (
        redis.Redis.from_url(url.format(port=server.port)) as client,
        pytest.raises((redis.AuthenticationError, NoPermissionError)),
    ):
        client.get(SIGNAL)


@pytest.mark.servers
def test_passwords_are_kept_as_hashes(server: GuardedRedis) -> None:
    assert "password-of" not in (server.folder / "users.acl").read_text()
