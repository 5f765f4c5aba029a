"""Health, readiness and metrics over HTTP, on an address of this machine unless told otherwise.

What lives here: the endpoint and the meaning of its answers. What does not: what each component measures.
Healthy (200) says that this process should go on living; ready (200) that it has its partitions and works; the body
names each component, and "degraded" is a working process that somebody should look at.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, Protocol

import msgspec
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from streams.config import HttpSettings

State = Literal["ok", "starting", "degraded", "down"]


class Component(msgspec.Struct, frozen=True):
    """How one part of the process is, and since when or why, in words without any input text."""

    state: State
    detail: str = ""


class Measured(Protocol):
    """Whatever keeps its metrics in a registry of its own."""

    registry: CollectorRegistry


class Health:
    """The server; ``checks`` are asked at each request, and ``refresh`` before metrics are read."""

    def __init__(
        self, settings: HttpSettings, metrics: Measured, checks: Mapping[str, Callable[[], Component]]
    ) -> None:
        self.port = settings.port
        self._settings = settings
        self._metrics = metrics
        self._checks = checks
        self._runner: web.AppRunner | None = None

    def components(self) -> dict[str, Component]:
        """The state of every part now."""
        return {name: check() for name, check in self._checks.items()}

    async def start(self) -> None:
        """Listen; port 0 becomes the port found."""
        if self._settings.port < 0:
            return
        application = web.Application()
        self.add_to(application)
        self._runner = web.AppRunner(application, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._settings.host, self._settings.port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    def add_to(self, application: web.Application) -> None:
        """Serve the paths as part of an application that listens elsewhere."""
        for path in ("/-/healthy", "/healthz"):
            application.router.add_get(path, self._healthy)
        for path in ("/-/ready", "/readyz"):
            application.router.add_get(path, self._ready)
        application.router.add_get("/metrics", self._export)

    async def stop(self) -> None:
        """Close the server."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _healthy(self, _: web.Request) -> web.Response:
        return self._answer(failing=("down",))

    async def _ready(self, _: web.Request) -> web.Response:
        return self._answer(failing=("down", "starting"))

    def _answer(self, failing: tuple[State, ...]) -> web.Response:
        components = self.components()
        states = {component.state for component in components.values()}
        worst: State = next((state for state in ("down", "starting", "degraded") if state in states), "ok")
        body = msgspec.json.encode({"status": worst, "components": components})
        status = 503 if states & set(failing) else 200
        return web.Response(body=body, status=status, content_type="application/json")

    async def _export(self, _: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})
