"""Rules and the allowlist in the console: shown before applied, who may, what is logged, what is refused."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
import pytest_asyncio

from models.labels import Limits, entry_digest
from models.output import encode_alert
from models.rules import CampaignRule, Rules
from streams.console.fleet import Fleet
from streams.console.roles import ROLES
from streams.console.rules_store import FileRules
from streams.console.server import Console
from streams.console.settings import ConsoleSettings
from streams.console.tokens import add_token
from streams.desk import DeskHost, new_label
from streams.desk_feeds import Item
from streams.rules_file import load
from streams.rules_text import rendered
from tests.streams.console.sample import alert, serving
from tests.streams.console.test_console_access import Visitor

LOOSER = Rules(campaign=CampaignRule(open_score=5.0))


class Place:
    """A console with a rules file, tokens by role, and its audit log."""

    def __init__(self, console: Console, desk: DeskHost, folder: Path, tokens: dict[str, str]) -> None:
        self.console, self.desk, self.folder, self.tokens = console, desk, folder, tokens

    @property
    def rules(self) -> Rules:
        return load(str(self.folder / "rules.yaml"))

    def logged(self) -> list[dict[str, Any]]:
        path = self.folder / "audit.jsonl"
        entries = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return [entry for entry in entries if entry["what"] in ("rules", "/rules")]

    async def send(self, role: str, **form: str) -> tuple[int, str]:
        async with Visitor(self.console, token=self.tokens[role]) as visitor:
            return await visitor.post("/rules", form)


@pytest_asyncio.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    tokens = {role: add_token(tmp_path / "t", f"the-{role}", role, now_ms=0, expires=None) for role in ROLES}
    (tmp_path / "rules.yaml").write_text(rendered(Rules()))
    settings = ConsoleSettings(port=0, tokens=tmp_path / "t", audit=tmp_path / "audit.jsonl")
    tried = alert("c-77", mode="shadow", dedup_key="k:c-77", members_sample=["new"], templates=[])
    shadow = [Item("alerts", "s", encode_alert(tried))]
    store = FileRules(tmp_path / "rules.yaml", "default")
    async with serving(settings=settings, shadow=shadow, store=store) as (console, desk, _):
        yield Place(console, desk, tmp_path, tokens)


async def test_what_would_change_is_shown_and_applied_as_shown(place: Place) -> None:
    status, page = await place.send("rules", text=rendered(LOOSER))
    assert status == 200
    assert "campaign.open_score" in page
    assert "<del>7.5</del>" in page
    assert "<ins>5.0</ins>" in page
    assert (place.rules, place.logged()) == (Rules(), []), "looking changes nothing"
    apply = {"apply": "yes", "text": rendered(LOOSER), "base": Rules().digest}
    assert (await place.send("rules", **apply))[0] == 400, "it wants a reason"
    assert place.rules == Rules()
    assert (await place.send("rules", **apply, reason="the backtest lost none"))[0] == 303
    assert place.rules == LOOSER
    (entry,) = place.logged()
    assert (entry["who"], entry["subject"]) == ("the-rules", {"rules": LOOSER.label})
    assert "the backtest lost none (1 changes: campaign.open_score)" in entry["detail"]
    status, page = await place.send("admin", **apply, reason="again")
    assert (status, "have changed since you looked" in page) == (409, True)


async def test_every_error_is_shown_and_nothing_put(place: Place) -> None:
    status, page = await place.send("rules", text="mode: of\r\nrulse: []\r\n", apply="yes", reason="x")
    assert status == 422
    assert "2 errors" in page
    assert "did you mean `rules`?" in page
    assert "rulse: []" in page, "what was typed is still there"
    assert (place.rules, place.logged()) == (Rules(), [])


async def test_one_mode_is_changed_from_the_table(place: Place) -> None:
    status, page = await place.send("rules", rule="campaign", mode="shadow")
    assert (status, "Nobody is told of it any more" in page) == (200, True)
    assert "of 1 alert in the shadow 0 were also told to people; in force it would add 1" in page
    async with Visitor(place.console, token=place.tokens["viewer"]) as visitor:
        page = (await visitor.get("/rules"))[1]
    assert "in force it would add 1" in page
    for form in ({"rule": "campaign", "mode": "no"}, {"rule": "no", "mode": "off"}):
        assert (await place.send("rules", **form))[0] == 400
    own = place.folder / "rules.yaml"
    own.write_text(rendered(Rules()) + "overrides:\n  - tenant: staging\n    mode: shadow\n")
    status, page = await place.send("rules", rule="campaign", mode="shadow")
    assert (status, "rules of other tenants" in page) == (409, True), "they would be lost"


@pytest.mark.parametrize("role", ROLES)
async def test_who_may_change_rules(place: Place, role: str) -> None:
    may = role in ("rules", "admin")
    form = {"apply": "yes", "text": rendered(LOOSER), "base": Rules().digest, "reason": "x"}
    assert (await place.send(role, **form))[0] == (303 if may else 403)
    assert place.rules == (LOOSER if may else Rules())
    assert [entry["outcome"] for entry in place.logged()] == ["asked" if may else "refused"]
    async with Visitor(place.console, token=place.tokens[role]) as visitor:
        assert ("Look first" in (await visitor.get("/rules"))[1]) == may


async def test_a_file_is_sent_and_a_forged_form_is_not_taken(place: Place) -> None:
    async with Visitor(place.console) as visitor:
        await visitor.post("/login", {"token": place.tokens["rules"]})
        form = {"apply": "yes", "text": rendered(LOOSER), "base": Rules().digest, "reason": "x"}
        for csrf in ({}, {"csrf": "0" * 64}):
            assert (await visitor.post("/rules", form | csrf))[0] == 403
        data = aiohttp.FormData({"csrf": await visitor.csrf(), "text": "mode: off"})
        data.add_field("file", rendered(LOOSER).encode(), filename="r.yaml", content_type="application/yaml")
        async with visitor.session.post(visitor.base + "/rules", data=data) as answer:
            page = await answer.text()
        assert (answer.status, "<ins>5.0</ins>" in page) == (200, True)
        bad = aiohttp.FormData({"csrf": await visitor.csrf()})
        bad.add_field("file", b"\xff\xfe", filename="r.yaml")
        async with visitor.session.post(visitor.base + "/rules", data=bad) as answer:
            assert answer.status == 400
    assert place.rules == Rules()


async def test_a_file_that_went_bad_is_said_and_not_replaced(place: Place) -> None:
    (place.folder / "rules.yaml").write_text("mode: of\n")
    async with Visitor(place.console, token=place.tokens["admin"]) as visitor:
        status, page = await visitor.get("/rules")
    assert (status, "cannot be read" in page, "Look first" in page) == (200, True, False)
    status, _ = await place.send("admin", apply="yes", text=rendered(LOOSER), base=Rules().digest, reason="x")
    assert (status, (place.folder / "rules.yaml").read_text()) == (503, "mode: of\n")


async def test_without_a_place_for_rules_none_are_changed() -> None:
    async with serving() as (console, _, _), Visitor(console) as visitor:
        form = {"csrf": await visitor.csrf(), "rule": "campaign", "mode": "off"}
        assert (await visitor.post("/rules", form))[0] == 409
        assert "no place to put rules" in (await visitor.get("/rules"))[1]
        console.publish(Fleet(source="demo"))
        assert "The demo runs on the rules as shipped" in (await visitor.get("/rules"))[1]


async def test_the_allowlist_shows_owner_reason_end_and_hits_and_takes_by_role(place: Place) -> None:
    soon = 90 * 86_400_000
    said = new_label(
        "allow", {"api_key_id": "key-<7>"}, who="kim", reason="our batch", expires=4_102_444_800_000 - soon
    )
    await place.desk.act(said)
    bulk = msgspec.to_builtins(Limits(requests_24h=200_000, requests_times=2.0))
    await place.desk.act(new_label("profile", {"org_id": "acme"}, who="lee", reason="nightly", limits=bulk))
    place.console.publish(Fleet(source="workers", hits={entry_digest(said.key): 1_234}))
    await asyncio.sleep(0)
    async with Visitor(place.console, token=place.tokens["viewer"]) as visitor:
        page = (await visitor.get("/allowlist"))[1]
    for text in ("key-&lt;7&gt;", "kim", "our batch", "1,234", "200,000 requests a day; 2 times its own"):
        assert text in page
    assert "Take off" not in page
    form = {"field": "api_key_id", "value": "key %41", "hours": "24"}
    for role, status in (("viewer", 403), ("analyst", 403), ("rules", 303)):
        async with Visitor(place.console, token=place.tokens[role]) as visitor:
            assert (await visitor.act("allow", form))[0] == status, role
    assert place.desk.desk.in_force("allow", {"api_key_id": "key %41"}, 0) is not None, "as it was typed"
    async with Visitor(place.console, token=place.tokens["analyst"]) as visitor:
        assert (await visitor.act("allow", {"field": "account_id", "value": "a", "hours": "24"}))[0] == 303
        assert (await visitor.act("disallow", {"api_key_id": "key %2541"}))[0] == 403
    async with Visitor(place.console, token=place.tokens["rules"]) as visitor:
        assert (await visitor.act("disallow", {"api_key_id": "key %2541"}))[0] == 303
        status, page = await visitor.act("allow", {"field": "api_key_id", "value": "sk-live-1", "hours": "24"})
        assert (status, "looks like the key itself" in page) == (400, True)
