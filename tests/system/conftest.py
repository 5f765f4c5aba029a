"""A deployment for each test: real Kafka and Redis, topics made by the command that makes them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.deployment import System


@pytest.fixture
def system(kafka: str, redis_url: str, tmp_path: Path) -> Iterator[System]:
    """Topics of its own and no worker yet; whatever it starts is stopped at the end."""
    system = System(kafka, tmp_path, redis_url)
    created = system.run("topics", "create")
    assert created.returncode == 0, created.stderr
    yield system
    system.close()
