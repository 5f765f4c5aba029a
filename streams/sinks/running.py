"""The courier within another process: started, kept running, measured, stopped.

What lives here: its life, the mark of self-tests, and where its metrics are served. What does not: delivery
(``courier``).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping

from models.canary import CanaryMark
from models.hashing import KeyedHash
from streams.clock import wall_ms
from streams.config import load as load_all
from streams.config import load_core
from streams.health import Component, Health
from streams.sinks.courier import Courier
from streams.sinks.outbox import Outbox, OutboxError
from streams.sinks.settings import load

log = logging.getLogger("distilwatch.sinks")

RETRY_S = 5.0
LATE_MS = 300_000
PORT = "DISTILWATCH_HTTP_PORT"


@contextlib.asynccontextmanager
async def delivering(path: str, env: Mapping[str, str]) -> AsyncIterator[Courier]:
    """A courier for the sinks of a file, delivering until left; its metrics are served where a port is set.

    Raises:
        ConfigError: settings are wrong, or another process delivers from the outbox.
    """
    settings, core = load(path, env), load_core(env)
    mark = CanaryMark(KeyedHash(core.secret.reveal().encode())) if core.secret else None
    outbox = Outbox(settings.outbox)
    courier = Courier(settings, outbox, mark=mark)
    health = Health(load_all(env).http, courier.metrics, {"sinks": lambda: state(courier)}) if env.get(PORT) else None
    task = asyncio.create_task(_keep(courier), name="courier")
    try:
        if health is not None:
            await health.start()
        yield courier
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if health is not None:
            await health.stop()
        outbox.close()


async def _keep(courier: Courier) -> None:
    """A disk that is full for a while ends no delivery for good."""
    while True:
        try:
            await courier.run()
        except* OutboxError as group:
            log.error("delivery rests for %.0f s: %s", RETRY_S, group.exceptions[0])
        await asyncio.sleep(RETRY_S)


def state(courier: Courier) -> Component:
    """Degraded where the disk refuses, or a sink has waited for minutes: people are not being told."""
    now_ms, late = wall_ms(), [courier.outbox.trouble] if courier.outbox.trouble else []
    for sink in courier.settings.sinks:
        tally = courier.outbox.tally(sink.name)
        if tally.oldest_ms is not None and now_ms - tally.oldest_ms > LATE_MS:
            late.append(f"{sink.name}: {tally.waiting} wait")
    return Component("degraded", ", ".join(late)) if late else Component("ok", f"{len(courier.settings.sinks)} sinks")
