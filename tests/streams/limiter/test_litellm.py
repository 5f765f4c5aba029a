"""A real LiteLLM proxy on ``docker/litellm.yaml``: keys are refused by their signals, and calls become events."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from models.decode import Decoder, Origin
from models.hashing import KeyedHash
from models.sketch import Sketcher
from models.sketching import sketch_events
from models.strings import Strings
from tests.conftest import absent
from tests.letter import CANARY, SECRET
from tests.servers import LitellmServer, Missing, find_litellm, wait_for
from tests.streams.limiter.process import call
from tests.streams.limiter.signals import Signals
from tests.streams.limiter.upstream import Upstream

pytestmark = [pytest.mark.servers, pytest.mark.timeout(400)]
MODULES = ("streams.limiter.litellm_guardrail", "streams.limiter.litellm_events")
"""Loaded by LiteLLM from its configuration, and only there."""
PROMPT = f"Explain {CANARY} step by step, please"


class World:
    """The proxy, the model behind it, and the intake that takes its events."""

    def __init__(self, folder: Path, signals: Signals, send: str) -> None:
        self.asked: list[dict[str, Any]] = []
        self.bodies: list[bytes] = []
        self.refuse_next = 1
        self.model, self.intake = Upstream(self._complete), Upstream(self._take)
        env = {
            "DISTILWATCH_REDIS_URL": signals.url,
            "DISTILWATCH_TENANT": signals.tenant,
            "DISTILWATCH_SECRET": SECRET,
            "DISTILWATCH_LIMITER_TIMEOUT_MS": "1000",
            "DISTILWATCH_INTAKE_URL": f"http://127.0.0.1:{self.intake.port}/v1/events",
            "DISTILWATCH_INTAKE_SEND": send,
        }
        self.proxy = LitellmServer(folder, self.model.port, env)
        self.proxy.start()

    async def _complete(self, request: web.Request) -> web.Response:
        self.asked.append(await request.json())
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": f"no {CANARY}"}}
        usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
        answer = {"id": "x", "object": "chat.completion", "created": 1, "model": "fake"}
        return web.json_response(answer | {"choices": [choice], "usage": usage})

    async def _take(self, request: web.Request) -> web.Response:
        if self.refuse_next:  # the sender must come again
            self.refuse_next -= 1
            return web.json_response({}, status=503)
        self.bodies.append(await request.read())
        return web.json_response({"accepted": 1, "rejected": 0, "rejects": []})

    def chat(self, key: str) -> tuple[int, Any, dict[str, str]]:
        messages = [{"role": "system", "content": f"be kind {CANARY}"}, {"role": "user", "content": PROMPT}]
        body = json.dumps({"model": "fake", "messages": messages}).encode()
        url = f"http://127.0.0.1:{self.proxy.port}/v1/chat/completions"
        return call(url, body, Authorization=f"Bearer {key}", Content_Type="application/json")

    def events(self) -> list[dict[str, Any]]:
        return [event for body in self.bodies for event in json.loads(body)]

    def stop(self) -> None:
        for part in (self.proxy, self.model, self.intake):
            part.stop()


@pytest.fixture(scope="module")
def signals(redis_url: str) -> Signals:
    found = Signals(redis_url)
    found.put([found.signal("blocked", "block"), found.signal("challenged", "challenge", cluster="c-2")])
    found.put([found.signal(f"member-{number}", cluster="c-3") for number in range(30)], per_minute=96)
    return found


@pytest.fixture(scope="module")
def world(signals: Signals, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    try:
        find_litellm(install=os.environ.get("CI", "").lower() == "true")
    except Missing as reason:
        absent(reason)
    found = World(tmp_path_factory.mktemp("litellm"), signals, "sketch")
    yield found
    found.stop()


def test_a_blocked_key_sees_an_ordinary_429_and_no_model(world: World) -> None:
    status, answer, headers = world.chat("blocked")
    assert status == 429, answer
    assert "distilwatch" not in json.dumps(answer).lower()
    assert "retry-after" in {name.lower() for name in headers}
    assert world.asked == []


def test_everybody_else_is_answered(world: World) -> None:
    status, answer, _ = world.chat("nobody")
    assert status == 200, answer
    assert answer["choices"][0]["message"]["content"] == f"no {CANARY}"
    assert world.chat("challenged")[0] == 200


def test_keys_of_a_cluster_draw_from_one_budget(world: World) -> None:
    statuses = [world.chat(f"member-{number}")[0] for number in range(30)]
    assert set(statuses) == {200, 429}
    assert statuses[0] == 200


def test_calls_become_events_without_their_text(world: World) -> None:
    world.chat("somebody")
    wait_for(lambda: any(event["account_id"] == "somebody" for event in world.events()), "the event", 60)
    event = next(event for event in world.events() if event["account_id"] == "somebody")
    assert (event["model"], event["input_tokens"], event["output_tokens"], event["status"]) == (
        "openai/fake",
        7,
        3,
        200,
    )
    assert not [body for body in world.bodies if CANARY.encode() in body]
    assert not {"prompt", "messages", "system"} & set(event)
    # The worker takes the sketch for what the text would have been.
    record = json.dumps(event).encode()
    decoded = Decoder(KeyedHash(SECRET.encode())).decode([record], Origin("t", 0, 0))
    sketcher = Sketcher(SECRET.encode())
    found = sketch_events(sketcher, decoded.batch)
    assert (len(found.events), len(found.bad)) == (1, 0)
    assert found.sketches.digest[0] == sketcher.sketch(Strings.of([PROMPT])).digest[0]
    assert len(base64.b64decode(event["sketch"])) < 1_000
