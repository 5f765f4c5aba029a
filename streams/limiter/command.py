"""The command ``limiter``: one process that answers gateways from Redis.

What lives here: putting the parts together, their health, start and end. What does not: what they do.
"""

from __future__ import annotations

import asyncio
import gc
import logging
from typing import Any, Final

import redis.asyncio as redis
from aiohttp import web
from redis.exceptions import RedisError

from models.errors import ConfigError
from streams.config import Secret, Settings
from streams.health import Component, Health
from streams.limiter.checks import Checks
from streams.limiter.grpc_server import GrpcServer
from streams.limiter.http import BODY_BYTES_MAX, CheckApi
from streams.limiter.ledger import BEAT_S, Ledger
from streams.limiter.metrics import LimiterMetrics
from streams.limiter.replica import BLOCK_MS, Replica
from streams.limiter.rls import HEALTH, METHOD, SERVING, RateLimits
from streams.limiter.serving import Listener, check_exposure, end_all, guarded, until_told

log = logging.getLogger("distilwatch.limiter")

GC_THRESHOLDS: Final = (50_000, 20, 100)
"""Checks make no cycles, and are sought seldom: a search among a million signals takes longer than a check may."""
LEDGER_CONNECTIONS: Final = 64


class Limiter:
    """All parts of the process; ports are known after ``start``."""

    def __init__(self, settings: Settings, url: Secret) -> None:
        mine = settings.limiter
        self.metrics = LimiterMetrics()
        timeout_s = mine.timeout_ms / 1000
        self._follower: Any = _client(url, BLOCK_MS / 1000 + 2.0)
        self._drawer: Any = _client(url, max(timeout_s, 0.5), max_connections=LEDGER_CONNECTIONS)
        self.replica = Replica(self._follower, settings.tenant, self.metrics)
        self.ledger = Ledger(self._drawer, settings.tenant, mine.timeout_ms, self._count_draw)
        limits = (float(mine.account_per_minute), float(mine.cluster_per_minute))
        self.checks = Checks(self.replica, self.ledger, self.metrics, tenant=settings.tenant, limits=limits)
        self.checks.onset_ms, self.checks.shadow = mine.onset_s * 1000, mine.shadow
        handlers = {METHOD: RateLimits(self.checks).should_rate_limit, HEALTH: lambda _: SERVING}
        token = mine.token.reveal() if mine.token else ""
        self.grpc = GrpcServer(handlers, token, self._count_refused)
        application = web.Application(
            client_max_size=BODY_BYTES_MAX, middlewares=[guarded(mine.token, self._count_refused)]
        )
        Health(settings.http, self.metrics, {"redis": self._redis_state}).add_to(application)
        CheckApi(self.checks).add_to(application)
        self.http = Listener(application)
        self._settings = settings

    def _count_draw(self, source: str) -> None:
        self.metrics.draws.labels(source).inc()

    def _count_refused(self, reason: str) -> None:
        self.metrics.refused_calls.labels(reason).inc()

    def _redis_state(self) -> Component:
        """Never down: a limiter without Redis still answers, and starting it again would lose what it knows."""
        reason = self.replica.down_reason
        if not self.replica.loaded:
            return Component("starting", reason)
        return Component("degraded", reason) if reason else Component("ok", f"{len(self.replica.held)} signals")

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT."""
        mine, host = self._settings.limiter, self._settings.http.host
        if mine.grpc_port >= 0:
            await self.grpc.start(host, mine.grpc_port)
        await self.http.start(host, mine.http_port)
        log.info("limiter: gRPC on %s:%d, HTTP on %s:%d", host, self.grpc.port, host, self.http.port)
        tasks = [asyncio.create_task(self.replica.run()), asyncio.create_task(self._beat())]
        try:
            await until_told(tasks)
        finally:
            await self.grpc.stop()
            await self.http.stop()
            await end_all(tasks)
            await self._leave()

    async def _beat(self) -> None:
        while True:
            try:
                await self.ledger.beat()
            except (RedisError, OSError, TimeoutError) as error:
                log.debug("not counted: %s", type(error).__name__)
            await asyncio.sleep(BEAT_S)

    async def _leave(self) -> None:
        try:
            await self.ledger.leave()
        except (RedisError, OSError, TimeoutError) as error:
            log.debug("not taken out: %s", type(error).__name__)
        await self._follower.aclose()
        await self._drawer.aclose()


def _client(url: Secret, timeout_s: float, **more: Any) -> Any:
    return redis.Redis.from_url(
        url.reveal(), socket_timeout=timeout_s, socket_connect_timeout=min(timeout_s, 1.0), retry=None, **more
    )


def run(settings: Settings) -> int:
    """Run the limiter in this process until it is told to stop; the exit code.

    Raises:
        ConfigError: no Redis is named, or it would serve beyond this machine without a token.
    """
    if settings.redis.url is None:
        raise ConfigError("set DISTILWATCH_REDIS_URL: the limiter reads its signals from Redis")
    check_exposure(settings.http, settings.limiter.token, "DISTILWATCH_LIMITER_TOKEN")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    limiter = Limiter(settings, settings.redis.url)
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    asyncio.run(limiter.run())
    return 0
