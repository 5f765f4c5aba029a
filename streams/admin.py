"""What a worker is told and asked by HTTP beside its health: its rules, and what the allowlist has left out.

What lives here: the calls, and who may make them. What does not: reading a file (``rules_file``), the topic that rules
go through (``rules_topic``), tokens and roles (``console.identity``). Rules that are sent go the way of every other
change, so each partition takes them at one place of its input and keeps its windows; wrong ones change nothing.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec
from aiohttp import web

from models.labels import entry_digest
from models.rules import Rules
from streams import rules_file, rules_topic
from streams.clock import wall_ms
from streams.config import LOOPBACK, Settings
from streams.console.guard import host_of
from streams.console.identity import Identities, Identity
from streams.console.settings import ConsoleSettings
from streams.control import ControlLog
from streams.metrics import Metrics
from streams.rules_text import changes
from streams.topics import Topics

log = logging.getLogger("distilwatch.admin")

YAML = frozenset({"application/yaml", "application/x-yaml", "text/yaml"})
"""No form of a browser can send these, so no foreign page can send rules in somebody's name."""


class Refused(Exception):
    """A call that is not served, with its status."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Admin:
    """The calls; ``hits`` counts what was left out, by the key of the allowlist's entry."""

    def __init__(
        self, settings: Settings, control: ControlLog, metrics: Metrics, hits: Callable[[], Counter[str]]
    ) -> None:
        self._settings = settings
        self._control = control
        self._metrics = metrics
        self._hits = hits
        self._identities = Identities(ConsoleSettings(tokens=settings.http.tokens), wall_ms)

    def add_to(self, application: web.Application) -> None:
        """Serve the calls as part of an application that listens elsewhere."""
        application.router.add_get("/v1/rules", self._show)
        application.router.add_post("/v1/rules", self._change)
        application.router.add_get("/v1/allowlist", self._allowlist)

    def live(self) -> Rules:
        """The rules that this worker has read from the topic, else those shipped."""
        value = self._control.latest(Topics(self._settings.kafka.prefix).rules, self._settings.tenant.encode())
        try:
            return Rules.decode(value) if value else Rules()
        except ValueError:
            return Rules()  # as the stages do, which count it

    async def _allowlist(self, _: web.Request) -> web.Response:
        """Hits by the digest of each entry: like metrics, it names nobody to those who do not know the entry."""
        return _json({"hits": {entry_digest(key): count for key, count in sorted(self._hits().items())}})

    async def _show(self, _: web.Request) -> web.Response:
        rules = self.live()
        return _json({"rules": rules.label, "values": rules})

    async def _change(self, request: web.Request) -> web.Response:
        try:
            identity = self._allowed(request)
            data = await self._sent(request)
        except Refused as refused:
            return _json({"error": str(refused)}, refused.status)
        found, before = rules_file.parse(data, self._settings.tenant), self.live()
        if found.rules is None:
            self._metrics.rules_files.labels("refused").inc()
            problems = [{"line": item.line, "path": item.path, "text": item.text} for item in found.problems]
            return _json({"problems": problems, "kept": before.label}, 422)
        answer: dict[str, Any] = {"rules": found.rules.label, "changes": changes(before, found.rules)}
        if request.query.get("dry-run") == "true":
            return _json(answer | {"applied": False})
        try:
            said = await rules_topic.put(self._settings, found.rules)
        except rules_topic.PublishError as error:
            return _json({"error": f"{error}", "kept": before.label}, 503)
        self._metrics.rules_files.labels("published").inc()
        log.warning(
            "%s (%s) put rules %s in place of %s", identity.name, identity.role, found.rules.label, before.label
        )
        return _json(answer | {"applied": True, "topic": said.topic, "offset": said.offset})

    def _allowed(self, request: web.Request) -> Identity:
        """Who asks, where they may change rules.

        Raises:
            Refused: nobody that we know, not of that role, or not from here.
        """
        tokens = self._settings.http.tokens
        if tokens is None and (self._settings.http.host not in LOOPBACK or host_of(request.host) not in LOOPBACK):
            raise Refused(403, "without DISTILWATCH_HTTP_TOKENS rules are taken on 127.0.0.1 and under its names alone")
        if request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
            raise Refused(403, "this call came from another site")
        identity = self._identities.of(request)
        if identity is None:
            raise Refused(401, "send a token of DISTILWATCH_HTTP_TOKENS as `Authorization: Bearer`")
        if not identity.may("rules"):
            raise Refused(403, f"the role {identity.role} may not change rules: rules or admin may")
        return identity

    async def _sent(self, request: web.Request) -> bytes:
        """The file that was sent; where none was, that of the settings.

        Raises:
            Refused: it is too large, of another type, or there is none.
        """
        if not request.can_read_body:
            path = self._settings.rules
            if path is None:
                raise Refused(400, "send a rules file, or set DISTILWATCH_RULES to the one to be read again")
            try:
                return path.read_bytes()
            except OSError as error:
                raise Refused(400, f"cannot read {path}: {error.strerror}") from error
        if request.content_type not in YAML:
            raise Refused(415, "send the file with `Content-Type: application/yaml`")
        data = bytearray()
        async for part in request.content.iter_chunked(1 << 16):
            data += part
            if len(data) > rules_file.BYTES_MAX:
                raise Refused(413, f"larger than {rules_file.BYTES_MAX // 1024} KiB")
        return bytes(data)


def _json(value: Any, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), status=status, content_type="application/json")
