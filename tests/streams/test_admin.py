"""Rules by HTTP without brokers: who may send them, what is answered, and what is refused before it is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from models.labels import entry_digest
from models.rules import CampaignRule, Rules
from streams.admin import Admin
from streams.config import load
from streams.console.roles import ROLES
from streams.console.tokens import add_token
from streams.control import ControlLog
from streams.metrics import Metrics
from streams.rules_file import BYTES_MAX
from streams.rules_text import rendered

STRICT = rendered(Rules(name="strict", campaign=CampaignRule(open_score=60.0))).encode()
YAML = {"Content-Type": "application/yaml"}


def client(**env: str) -> TestClient[Any, Any]:
    settings = load({"DISTILWATCH_BROKERS": "127.0.0.1:1", **env})
    application = web.Application()
    Admin(settings, ControlLog(), Metrics(), lambda: Counter({"allow x": 7})).add_to(application)
    return TestClient(TestServer(application))


@pytest_asyncio.fixture
async def here() -> AsyncIterator[TestClient[Any, Any]]:
    async with client() as found:
        yield found


async def sent(to: TestClient[Any, Any], data: bytes, query: str = "?dry-run=true", **headers: str) -> tuple[int, Any]:
    async with to.post(f"/v1/rules{query}", data=data, headers=headers) as answer:
        return answer.status, await answer.json()


async def test_what_is_wrong_is_named_at_once_and_what_is_right_is_compared(here) -> None:
    status, answer = await sent(here, b"mode: of\nrulse: []\n", **YAML)
    assert (status, [item["line"] for item in answer["problems"]]) == (422, [1, 2])
    assert answer["kept"] == Rules().label
    status, answer = await sent(here, STRICT, **YAML)
    assert (status, answer["applied"]) == (200, False)
    assert {"name": "campaign.open_score", "from": 7.5, "to": 60.0} in answer["changes"]
    status, answer = await sent(here, STRICT, "", **YAML)
    assert (status, "127.0.0.1:1" in answer["error"]) == (503, True)
    assert f"{Rules().label} stays in force" in answer["error"]


async def test_no_form_page_or_name_of_others_can_send_them(here) -> None:
    assert (await sent(here, STRICT, **{"Content-Type": "text/plain"}))[0] == 415
    assert (await sent(here, STRICT, **YAML, **{"Sec-Fetch-Site": "cross-site"}))[0] == 403
    assert (await sent(here, STRICT, **YAML, Host="evil.example"))[0] == 403
    assert (await sent(here, b"#" * (BYTES_MAX + 1), **YAML))[0] == 413
    assert (await sent(here, b""))[0] == 400, "there is no file of the settings to be read again"


async def test_where_tokens_are_asked_for_only_rules_and_admin_may(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    tokens = {role: add_token(path, f"the-{role}", role, now_ms=0, expires=None) for role in ROLES}
    async with client(DISTILWATCH_HTTP_TOKENS=str(path)) as guarded:
        assert (await sent(guarded, STRICT, **YAML))[0] == 401
        assert (await sent(guarded, STRICT, **YAML, Authorization="Bearer dwc_no"))[0] == 401
        answers = {
            role: (await sent(guarded, STRICT, **YAML, Authorization=f"Bearer {token}"))[0]
            for role, token in tokens.items()
        }
    assert answers == {"viewer": 403, "analyst": 403, "rules": 200, "admin": 200}


async def test_beyond_this_machine_nobody_may_without_a_token() -> None:
    async with client(DISTILWATCH_HTTP_HOST="0.0.0.0", DISTILWATCH_HTTP_PUBLIC="true") as public:
        assert (await sent(public, STRICT, **YAML))[0] == 403


async def test_hits_are_told_by_digest(here) -> None:
    async with here.get("/v1/allowlist") as answer:
        assert await answer.json() == {"hits": {entry_digest("allow x"): 7}}
