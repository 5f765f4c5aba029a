"""Health, readiness and metrics over HTTP, on an address of this machine unless told otherwise.

What lives here: the endpoint and the meaning of its answers. What does not: what each component measures.
Healthy (200) says that this process should go on living; ready (200) that it has its partitions and works; the body
names each component, and "degraded" is a working process that somebody should look at.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Final, Literal, Protocol

import msgspec
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from streams.config import HttpSettings
from streams.openapi import Answer, Operation

LOOK_S = 1.0
HEALTHY, READY, METRICS = ("/-/healthy", "/healthz"), ("/-/ready", "/readyz"), "/metrics"
State = Literal["ok", "starting", "degraded", "down"]


class Component(msgspec.Struct, frozen=True):
    """How one part of the process is, and since when or why, in words without any input text."""

    state: State
    detail: str = ""
    since: str = ""  # when the state began, UTC; ``Health`` fills it in


class HealthAnswer(msgspec.Struct, frozen=True):
    """The worst state of all parts, and each of them."""

    status: State
    components: dict[str, Component]


class Measured(Protocol):
    """Whatever keeps its metrics in a registry of its own."""

    registry: CollectorRegistry


def _operations() -> Iterator[Operation]:
    for paths, well, ill in (
        (HEALTHY, "this process should go on living", "a part is down: start the process again"),
        (READY, "it has what it needs, and works", "a part is down or starting"),
    ):
        for path in paths:
            answers = (Answer(200, well, HealthAnswer), Answer(503, ill, HealthAnswer))
            yield Operation("get", path, "How each part of the process is", answers, guarded=False)
    exported = Answer(200, "in the text form of Prometheus", str, "text/plain")
    yield Operation("get", METRICS, "Metrics", (exported,), guarded=False)


OPERATIONS: Final = tuple(_operations())
"""Of every process of ours that serves health."""


class Health:
    """The server; ``checks`` are asked at each request, and ``refresh`` before metrics are read."""

    def __init__(
        self,
        settings: HttpSettings,
        metrics: Measured,
        checks: Mapping[str, Callable[[], Component]],
        also: Callable[[web.Application], None] | None = None,
    ) -> None:
        self.port = settings.port
        self._settings = settings
        self._metrics = metrics
        self._checks = checks
        self._also = also  # adds what else is served under this address
        self._runner: web.AppRunner | None = None
        self._watching: asyncio.Task[None] | None = None
        self._since: dict[str, tuple[State, str]] = {}

    def components(self) -> dict[str, Component]:
        """The state of every part now, and since when it is in it."""
        found = {}
        for name, check in self._checks.items():
            component = check()
            state, since = self._since.get(name, ("", ""))
            if state != component.state:
                since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
                self._since[name] = component.state, since
            found[name] = msgspec.structs.replace(component, since=since)
        return found

    async def _watch(self) -> None:
        """Look also while nobody asks: a state begins when it begins, not when it is first asked for."""
        while True:
            self.components()
            await asyncio.sleep(LOOK_S)

    async def start(self) -> None:
        """Listen; port 0 becomes the port found."""
        if self._settings.port < 0:
            return
        application = web.Application()
        self.add_to(application)
        if self._also is not None:
            self._also(application)
        self._runner = web.AppRunner(application, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._settings.host, self._settings.port)
        await site.start()
        self.port = self._runner.addresses[0][1]
        self._watching = asyncio.create_task(self._watch())

    def add_to(self, application: web.Application) -> None:
        """Serve the paths as part of an application that listens elsewhere."""
        for path in HEALTHY:
            application.router.add_get(path, self._healthy)
        for path in READY:
            application.router.add_get(path, self._ready)
        application.router.add_get(METRICS, self._export)

    async def stop(self) -> None:
        """Close the server."""
        if self._watching is not None:
            self._watching.cancel()
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
        body = msgspec.json.encode(HealthAnswer(worst, components))
        status = 503 if states & set(failing) else 200
        return web.Response(body=body, status=status, content_type="application/json")

    async def _export(self, _: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})
