"""The OpenAPI documents are right by the standard's own schema, complete, and true of the running processes."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import jsonschema
import pytest
from aiohttp import web
from openapi_spec_validator import validate

from streams import admin
from streams.config import load
from streams.health import Health
from streams.limiter import http, intake
from streams.limiter.checks import Checks
from streams.limiter.metrics import LimiterMetrics
from streams.topics import create
from tests.servers import free_port, wait_for
from tests.streams.limiter.process import LimiterProcess, call
from tests.streams.limiter.signals import Signals
from tests.streams.limiter.test_bodies import A
from tests.streams.limiter.test_intake import TOKEN, IntakeProcess
from tests.streams.test_cli import run

DOCUMENTS: dict[str, dict[str, Any]] = {
    "limiter": http.openapi(),
    "intake": intake.openapi(),
    "worker": admin.openapi(),
}
NEVER = {(path, "503") for path in ("/-/healthy", "/healthz")}
"""Limiter and intake have no part that is ever down: starting them again would lose what they know."""


def conforms(name: str, method: str, path: str, status: int, body: object) -> None:
    """Fails where the document does not have this answer, or the answer is not as it says."""
    responses = DOCUMENTS[name]["paths"][path][method]["responses"]
    assert str(status) in responses, (method, path, status, body)
    ((_, media),) = responses[str(status)]["content"].items()
    jsonschema.validate(body, {**media["schema"], "components": DOCUMENTS[name]["components"]})


class Witness:
    """Calls a process, compares each answer with its document, and remembers which answers it has seen."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.seen: set[tuple[str, str]] = set()

    def __call__(self, url: str, path: str, status: int, body: bytes | None = None, **headers: str) -> Any:
        """``path`` may have a query, and values in place of parameters."""
        bare = path.partition("?")[0]
        known = next(
            item for item in DOCUMENTS[self.name]["paths"] if re.fullmatch(re.sub(r"\{\w+\}", ".+", item), bare)
        )
        got, answer, _ = call(url + path, body, **headers)
        assert got == status, (path, got, answer)
        conforms(self.name, "get" if body is None else "post", known, got, answer)
        self.seen.add((known, str(got)))
        return answer

    def missing(self) -> set[tuple[str, str]]:
        """Answers of the document that were not seen."""
        paths = DOCUMENTS[self.name]["paths"]
        listed = {
            (path, status) for path in paths for operation in paths[path].values() for status in operation["responses"]
        }
        return listed - self.seen - NEVER


@pytest.mark.parametrize("name", list(DOCUMENTS))
def test_the_command_writes_a_right_document(name: str) -> None:
    done = run("openapi", name)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == json.loads(json.dumps(DOCUMENTS[name]))
    validate(json.loads(done.stdout))


def applications() -> Iterator[tuple[str, web.Application]]:
    settings = load({})
    health = Health(settings.http, LimiterMetrics(), {})
    limiter = web.Application()
    http.CheckApi(cast(Checks, None)).add_to(limiter)
    health.add_to(limiter)
    yield "limiter", limiter
    yield "intake", intake.Intake(settings)._application
    worker = web.Application()
    admin.Admin(settings, *cast(Any, [None] * 3)).add_to(worker)
    health.add_to(worker)
    yield "worker", worker


def test_every_route_is_documented_and_the_reverse() -> None:
    for name, application in applications():
        served = {
            (route.method.lower(), re.sub(r":[^}]+", "", route.resource.canonical))
            for route in application.router.routes()
            if route.resource is not None and route.method != "HEAD"
        }
        paths = DOCUMENTS[name]["paths"]
        assert served == {(method, path) for path in paths for method in paths[path]}, name


@pytest.mark.servers
def test_a_limiter_answers_as_its_document_says(redis_url: str, tmp_path: Path) -> None:
    signals, witness = Signals(redis_url), Witness("limiter")
    signals.put([signals.signal("throttled"), signals.signal("blocked", "block", cluster=None)])
    known = {"X_Api_Key": TOKEN}
    limiter = LimiterProcess(tmp_path / "known", signals, DISTILWATCH_LIMITER_TOKEN=TOKEN)
    signals_of_none = Signals(redis_url)
    signals_of_none.url = f"redis://127.0.0.1:{free_port()}/0"
    alone = LimiterProcess(tmp_path / "alone", signals_of_none)
    limiter.start()
    alone.start_only()
    try:
        wait_for(lambda: call(f"{alone.url}/-/healthy")[0] == 200, "the limiter without Redis")
        for path in ("/v1/check/throttled", "/v1/decisions/stream?startup=true", "/openapi.json"):
            witness(limiter.url, path, 200, **known)
            witness(limiter.url, path, 401)
        assert call(f"{alone.url}/openapi.json")[1] == json.loads(json.dumps(DOCUMENTS["limiter"]))
        assert witness(limiter.url, "/v1/check/nobody?hits=0", 200, **known)["action"] == "allow"
        witness(limiter.url, "/v1/check/nobody?hits=many", 400, **known)
        checks = b'{"checks":[{"account_id":"throttled"},{"account_id":"nobody","hits":0}]}'
        assert len(witness(limiter.url, "/v1/check", 200, checks, **known)["answers"]) == 2
        asked = b'{"domain":"any","descriptors":[{"entries":[{"key":"account_id","value":"%s"}]}]}'
        witness(limiter.url, "/json", 200, asked % b"nobody", **known)
        witness(limiter.url, "/json", 429, asked % b"blocked", **known)
        for path in ("/v1/check", "/json"):
            witness(limiter.url, path, 400, b"[", **known)
            witness(limiter.url, path, 401, b"[")
            witness(limiter.url, path, 413, b" " * (http.BODY_BYTES_MAX + 1), **known)
        witness(limiter.url, "/json", 400, b'"a text"', **known)
        for query in ("limit=0", "startup=null"):
            witness(limiter.url, f"/v1/decisions/stream?{query}", 400, **known)
        witness(alone.url, "/v1/decisions/stream", 503)
        for path in ("/-/healthy", "/healthz", "/-/ready", "/readyz", "/metrics"):
            witness(limiter.url, path, 200)
        for path in ("/-/ready", "/readyz"):
            witness(alone.url, path, 503)
    finally:
        limiter.stop()
        alone.stop()
    assert witness.missing() == set()


@pytest.mark.servers
def test_an_intake_answers_as_its_document_says(kafka: str, tmp_path: Path) -> None:
    witness = Witness("intake")
    bounds = {"DISTILWATCH_INTAKE_BODY_BYTES": "8000", "DISTILWATCH_INTAKE_PENDING_BYTES": "4000"}
    process = IntakeProcess(tmp_path / "known", kafka, DISTILWATCH_INTAKE_TOKEN=TOKEN, **bounds)
    alone = IntakeProcess(tmp_path / "alone", f"127.0.0.1:{free_port()}")
    made = create({"bootstrap_servers": kafka}, process.topics.catalogue(), partitions=1)
    asyncio.run(made)
    process.start()
    alone.start()
    known = {"Authorization": f"Bearer {TOKEN}"}
    try:
        wait_for(process.ready, "the intake")
        assert witness(process.url, "/v1/events", 200, A, **known)["accepted"] == 1
        assert witness(process.url, "/v1/events", 400, b"{}", **known)["rejected"] == 1
        witness(process.url, "/v1/events", 401, A)
        witness(process.url, "/v1/events", 413, b" " * 8001, **known)
        witness(process.url, "/v1/events", 429, gzip.compress(A), Content_Encoding="gzip", **known)
        witness(alone.url, "/v1/events", 503, A)
        for path in ("/-/healthy", "/healthz", "/-/ready", "/readyz", "/metrics"):
            witness(process.url, path, 200)
        for path in ("/-/ready", "/readyz"):
            witness(alone.url, path, 503)
    finally:
        process.stop()
        alone.stop()
    assert witness.missing() == set()
