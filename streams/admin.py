"""What a worker is told and asked by HTTP beside its health: its rules, and what the allowlist has left out.

What lives here: the calls, and who may make them. What does not: reading a file (``rules_file``), the topic that rules
go through (``rules_topic``), tokens and roles (``console.identity``). Rules that are sent go the way of every other
change, so each partition takes them at one place of its input and keeps its windows; wrong ones change nothing.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

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
from streams.health import OPERATIONS as HEALTH
from streams.metrics import Metrics
from streams.openapi import Answer, Operation, Parameter, Problem, document
from streams.rules_text import changes
from streams.topics import Topics

log = logging.getLogger("distilwatch.admin")

YAML = frozenset({"application/yaml", "application/x-yaml", "text/yaml"})
"""No form of a browser can send these, so no foreign page can send rules in somebody's name."""


class InForce(msgspec.Struct, frozen=True):
    """The rules in force: their name, version and hash, and every value."""

    rules: str
    values: Rules


class Hits(msgspec.Struct, frozen=True):
    """How often each entry of the allowlist was met, by the entry's digest."""

    hits: dict[str, int]


class Changed(msgspec.Struct, frozen=True, omit_defaults=True):
    """What rules that were sent change; ``topic`` and ``offset`` where they were applied."""

    rules: str
    changes: list[dict[str, Any]]
    applied: bool
    topic: str = ""
    offset: int = -1


class Mistake(msgspec.Struct, frozen=True):
    """One mistake in a rules file."""

    line: int
    path: str
    text: str


class Wrong(msgspec.Struct, frozen=True):
    """Every mistake in the rules that were sent, and the rules that stay."""

    problems: list[Mistake]
    kept: str


OPERATIONS: Final = (
    Operation("get", "/v1/rules", "The rules in force", (Answer(200, "the rules", InForce),), guarded=False),
    Operation("get", "/v1/allowlist", "Hits of the allowlist", (Answer(200, "the hits", Hits),), guarded=False),
    Operation(
        "post",
        "/v1/rules",
        "Put rules in force: those of the body, else those of DISTILWATCH_RULES, read again",
        (
            Answer(200, "what they change", Changed),
            Answer(400, "there is no file to read"),
            Answer(403, "this role, site or address may not"),
            Answer(413, "the file is too large"),
            Answer(415, "not sent as YAML"),
            Answer(422, "the rules are wrong; those in force stay", Wrong),
            Answer(503, "not written to the topic; those in force stay"),
        ),
        (Parameter("dry-run", bool, "true says what would change and changes nothing"),),
        takes=(("application/yaml", str),),
        optional=True,
    ),
)


def openapi() -> dict[str, Any]:
    """The OpenAPI document of a worker, from the types."""
    return document("worker", "Health, and the rules that a worker follows.", (*OPERATIONS, *HEALTH))


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
        return _json(Hits({entry_digest(key): count for key, count in sorted(self._hits().items())}))

    async def _show(self, _: web.Request) -> web.Response:
        rules = self.live()
        return _json(InForce(rules.label, rules))

    async def _change(self, request: web.Request) -> web.Response:
        try:
            identity = self._allowed(request)
            data = await self._sent(request)
        except Refused as refused:
            return _json(Problem(str(refused)), refused.status)
        found, before = rules_file.parse(data, self._settings.tenant), self.live()
        if found.rules is None:
            self._metrics.rules_files.labels("refused").inc()
            problems = [Mistake(item.line, item.path, item.text) for item in found.problems]
            return _json(Wrong(problems, before.label), 422)
        changed = changes(before, found.rules)
        if request.query.get("dry-run") == "true":
            return _json(Changed(found.rules.label, changed, applied=False))
        try:
            said = await rules_topic.put(self._settings, found.rules)
        except rules_topic.PublishError as error:
            return _json(Problem(f"{error}; {before.label} stays in force"), 503)
        self._metrics.rules_files.labels("published").inc()
        log.warning(
            "%s (%s) put rules %s in place of %s", identity.name, identity.role, found.rules.label, before.label
        )
        return _json(Changed(found.rules.label, changed, applied=True, topic=said.topic, offset=said.offset))

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
