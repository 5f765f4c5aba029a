"""What the rows of the table of faults start for themselves: a broker, a Redis, a deployment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import absent
from tests.faults.trial import Trial
from tests.servers import KafkaServer, Missing, RedisServer


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[KafkaServer]:
    """A broker of the test's own, to be ended and spoilt."""
    try:
        server = KafkaServer(tmp_path / "kafka")
    except Missing as reason:
        absent(reason)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis of the test's own."""
    server = RedisServer(tmp_path / "redis")
    try:
        server.start()
    except Missing as reason:
        absent(reason)
    yield server
    server.stop()


@pytest.fixture
def trial_on(tmp_path: Path) -> Iterator[Callable[..., Trial]]:
    """Makes a deployment on a broker and a Redis."""
    made: list[Trial] = []

    def make(bootstrap: str, redis_url: str, **env: str) -> Trial:
        trial = Trial(bootstrap, tmp_path, redis_url, **env)
        created = trial.run("topics", "create")
        assert created.returncode == 0, created.stderr
        made.append(trial)
        return trial

    yield make
    for trial in made:
        trial.close()
