"""The console's server: its addresses, and its life in an event loop.

What lives here: the table of routes, static files, following the desk's news, start and stop. What does not: what pages
hold (``pages``), forms (``forms``), refusing (``guard``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from importlib import resources

from aiohttp import web

from models.errors import ConfigError
from streams.console import workers
from streams.console.audit import Audit
from streams.console.fleet import Fleet
from streams.console.forms import Acting
from streams.console.guard import PROBES, Guard, Refusal, Route
from streams.console.identity import Identities
from streams.console.live import Beat, Live
from streams.console.pages import Reading
from streams.console.rules_page import RulesPage
from streams.console.rules_store import RulesStore
from streams.console.settings import ConsoleSettings, checked
from streams.console.views import shown
from streams.console.writer import Context, InForce, Writer, now_ms
from streams.desk import DeskHost

FORM_BYTES_MAX = 524_288  # a rules file of 256 KiB fits, also where every second byte is escaped
NEWS_S = 5.0
FILES = {"console.css": "text/css", "console.js": "text/javascript", "icon.svg": "image/svg+xml"}


class Console:
    """Serves a desk to people. The desk is started and stopped by whoever made it."""

    def __init__(
        self,
        desk: DeskHost,
        settings: ConsoleSettings,
        *,
        shadow: DeskHost | None = None,
        rules: InForce | None = None,
        store: RulesStore | None = None,
    ) -> None:
        self.settings = checked(settings)
        self.port = settings.port
        self._context = Context(desk, settings, Fleet(), shadow, rules, store)
        self._audit = Audit(settings.audit)
        self._writer = Writer(self._context)
        self._identities = Identities(settings, now_ms)
        self._live = Live(self._beat, lambda request: self._identities.of(request) is not None)
        self._guard = Guard(settings, self._identities, self._audit, now_ms, self._writer.refusal)
        folder = resources.files("streams.console").joinpath("static")
        self._files = {name: folder.joinpath(name).read_bytes() for name in FILES}
        self._runner: web.AppRunner | None = None
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def url(self) -> str:
        """The console's address for people; known after ``start`` where the port is 0."""
        host = f"[{self.settings.host}]" if ":" in self.settings.host else self.settings.host
        return self.settings.base_url.rstrip("/") + "/" if self.settings.base_url else f"http://{host}:{self.port}/"

    @property
    def routes(self) -> Sequence[Route]:
        """Every address, and what it takes to use it."""
        reading = Reading(self._writer, self._audit, self._live)
        acting = Acting(self._writer, self._audit, self._identities)
        return (
            Route("GET", "/", "read", reading.now),
            Route("GET", "/case", "read", reading.case),
            Route("GET", "/alerts/{key}", "read", reading.alert),  # what pagers and tickets link to
            Route("GET", "/shadow", "read", reading.shadow),
            Route("GET", "/account", "read", reading.account),
            Route("GET", "/rules", "read", reading.rules),
            Route("POST", "/rules", "rules", RulesPage(self._writer, self._audit).change),
            Route("GET", "/allowlist", "read", reading.allowlist),
            Route("GET", "/health", "read", reading.health),
            Route("GET", "/audit", "audit", reading.audit),
            Route("GET", "/live", "read", self._live.serve),
            Route("POST", "/act", "read", acting.act),  # and what the action itself needs
            Route("POST", "/logout", "read", acting.logout),
            Route("POST", "/theme", "read", acting.theme),
            Route("GET", "/login", None, acting.login_page),
            Route("POST", "/login", None, acting.login),
            Route("GET", "/static/{name}", None, self._file),
            *(Route("GET", path, None, self._probe) for path in PROBES),
        )

    async def start(self) -> None:
        """Listen, and follow the desk and the workers.

        Raises:
            ConfigError: the address cannot be had.
        """
        app = web.Application(middlewares=[self._guard.middleware], client_max_size=FORM_BYTES_MAX)
        for route in self.routes:
            app.router.add_route(route.method, route.path, self._guard.handler(route))
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=2.0)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self.settings.host, self.settings.port).start()
        except (OSError, OverflowError) as error:
            await self._runner.cleanup()
            where = f"{self.settings.host}:{self.settings.port}"
            raise ConfigError(f"the console cannot listen on {where}: choose another port, or 0") from error
        self.port = self._runner.addresses[0][1]
        self._tasks = [asyncio.create_task(self._follow_desk(), name="console-news")]
        if self.settings.workers:
            self._tasks.append(asyncio.create_task(workers.follow(self.settings.workers, self.publish)))

    async def stop(self) -> None:
        """Tell the tabs, and close."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._live.close()
        if self._runner is not None:
            await self._runner.cleanup()

    def publish(self, fleet: Fleet) -> None:
        """Show this traffic and these stages from now on."""
        self._context.fleet = fleet
        self._live.wake()

    async def _follow_desk(self) -> None:
        desk, last = self._context.desk, -1
        while True:
            news = await desk.wait_for_news(last, NEWS_S)
            if news.last != last:
                last = news.last
                self._live.wake()

    def _beat(self, version: int) -> Beat:
        live = [case for case in shown(self._context.desk.desk.cases.values(), "open") if case.status == "open"]
        newest = max(live, key=lambda case: (case.statements[0].ts, case.dedup_key), default=None)
        return Beat(version, len(live), newest.alert.summary[:300] if newest else "")

    async def _probe(self, request: web.Request) -> web.Response:
        """200 while the feeds are followed; 503 with one word where they are not."""
        well = not self._context.desk.trouble
        return web.Response(text="ok\n" if well else "feeds are not read\n", status=200 if well else 503)

    async def _file(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in FILES:
            raise Refusal(404, "There is no such file.")
        return web.Response(body=self._files[name], content_type=FILES[name], charset="utf-8")
