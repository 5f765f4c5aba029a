"""Who may come in and do what: sign-in, roles by route and action, proxies, forged requests, the audit log."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from models.errors import ConfigError
from streams.console.audit import Audit, AuditError, Entry
from streams.console.roles import GRANTS, NEEDS, ROLES, needed
from streams.console.server import Console
from streams.console.settings import ConsoleSettings, checked, listen_of
from streams.console.tokens import add_token, read_tokens, remove_token
from streams.desk import DeskHost, new_label
from tests.streams.console.sample import serving

KEY = "distilwatch:default:campaign:c-5b20e1"
ACTIONS: list[tuple[str, dict[str, str]]] = [
    ("acknowledge", {"dedup_key": KEY}),
    ("close", {"dedup_key": KEY, "verdict": "confirmed"}),
    ("reopen", {"dedup_key": KEY}),
    ("silence", {"dedup_key": KEY, "hours": "4"}),
    ("unsilence", {"dedup_key": KEY}),
    ("allow", {"account_id": "acct_003a10", "hours": "24"}),
    ("disallow", {"account_id": "acct_003a10"}),
    ("allow", {"org_id": "acme", "hours": "24"}),
    ("undo", {"cluster_id": "c-5b20e1", "hours": "24"}),
    ("redo", {"cluster_id": "c-5b20e1"}),
]
MAY = {
    "viewer": set(),
    "analyst": {0, 1, 2, 3, 4, 5, 6, 8, 9},
    "rules": {5, 6, 7},
    "admin": set(range(len(ACTIONS))),
}
"""What each role may do, by place in ACTIONS: written out here, and not taken from the code."""


class Visitor:
    """Somebody with a browser's cookies, or a program with a token."""

    def __init__(self, console: Console, *, token: str = "", headers: dict[str, str] | None = None) -> None:
        self.base = f"http://127.0.0.1:{console.port}"
        bearer = {"Authorization": f"Bearer {token}"} if token else {}
        self.session = aiohttp.ClientSession(
            headers=bearer | (headers or {}), cookie_jar=aiohttp.CookieJar(unsafe=True)
        )

    async def __aenter__(self) -> Visitor:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.session.close()

    async def get(self, path: str, **headers: str) -> tuple[int, str]:
        async with self.session.get(self.base + path, headers=headers) as answer:
            return answer.status, await answer.text()

    async def post(self, path: str, form: dict[str, str], **headers: str) -> tuple[int, str]:
        async with self.session.post(self.base + path, data=form, headers=headers, allow_redirects=False) as answer:
            return answer.status, await answer.text()

    async def csrf(self) -> str:
        page = (await self.get("/"))[1]
        found = re.search(r'name="csrf" value="([0-9a-f]{64})"', page)
        assert found, page
        return found[1]

    async def act(self, kind: str, fields: dict[str, str], **more: str) -> tuple[int, str]:
        csrf = {} if "Authorization" in self.session.headers else {"csrf": await self.csrf()}
        return await self.post("/act", {"kind": kind, "reason": "test", **csrf, **fields, **more})


@pytest.fixture
def tokens(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    path = tmp_path / "tokens.json"
    return path, {role: add_token(path, f"the-{role}", role, now_ms=0, expires=None) for role in ROLES}


@pytest_asyncio.fixture
async def guarded(tokens, tmp_path: Path) -> AsyncIterator[tuple[Console, DeskHost, dict[str, str]]]:
    settings = ConsoleSettings(port=0, tokens=tokens[0], audit=tmp_path / "audit.jsonl")
    async with serving(settings=settings) as (console, desk, _):
        yield console, desk, tokens[1]


def routes_of(console: Console) -> list[tuple[str, str, str | None]]:
    return [(route.method, route.path, route.needs) for route in console.routes]


async def test_without_signing_in_nothing_but_the_sign_in_page_is_shown(guarded) -> None:
    console, _, _ = guarded
    async with Visitor(console) as visitor:
        for method, path, needs in routes_of(console):
            path = path.replace("{name}", "console.css").replace("{key}", KEY)
            if method == "POST":
                status, page = await visitor.post(path, {"kind": "close", "token": "wrong"})
                assert status == 401, path
            else:
                status, page = await visitor.get(path)
                assert ("Access token" in page) == (path == "/login" or needs is not None), path
            assert "497 accounts" not in page
            assert "acct_" not in page


@pytest.mark.parametrize("role", ROLES)
async def test_every_route_by_role(guarded, role: str) -> None:
    console, _, tokens = guarded
    allowed = {
        "viewer": {"read"}, "analyst": {"read", "audit"}, "rules": {"read", "audit"}, "admin": {"read", "audit"},
    }[role]  # fmt: skip
    async with Visitor(console, token=tokens[role]) as visitor:
        for method, path, needs in routes_of(console):
            if method == "POST" or path in ("/live", "/alerts/{key}", "/static/{name}", "/account", "/shadow"):
                continue
            path = {"/case": f"/case?key={KEY}"}.get(path, path)
            status, page = await visitor.get(path)
            assert (status == 200) == (needs is None or needs in allowed), (role, path, status)
            assert path.startswith("/-/") or ("Audit</a>" in page) == ("audit" in allowed), path
        status, _ = await visitor.get("/audit")
        assert status == (200 if "audit" in allowed else 403)


@pytest.mark.parametrize("role", ROLES)
async def test_every_action_by_role(tokens, tmp_path: Path, role: str) -> None:
    for at, (kind, fields) in enumerate(ACTIONS):
        settings = ConsoleSettings(port=0, tokens=tokens[0], audit=tmp_path / f"audit-{at}.jsonl")
        async with serving(settings=settings) as (console, desk, _), Visitor(console, token=tokens[1][role]) as visitor:
            if kind == "reopen":
                async with Visitor(console, token=tokens[1]["admin"]) as admin:
                    assert (await admin.act(*ACTIONS[1]))[0] == 303
            before = sum(len(family) for family in desk.desk.labels.values())
            status, text = await visitor.act(kind, fields)
            done = sum(len(family) for family in desk.desk.labels.values()) - before
            if at in MAY[role]:
                assert status == 303, (kind, text)
                said = [label for family in desk.desk.labels.values() for label in family.values()]
                assert any(label.who == f"the-{role}" and label.kind == kind for label in said)
            else:
                assert (status, done) == (403, 0), (kind, fields)


def test_the_matrix_names_every_action_and_role() -> None:
    assert {kind for kind, _ in ACTIONS} == set(NEEDS)
    assert set(MAY) == set(GRANTS)
    assert needed("profile", {"account_id": "a"}) is None
    assert needed("allow", {"account_id": "a", "org_id": "b"}) == "allow_wide"


async def sign_in(visitor: Visitor, token: str) -> int:
    return (await visitor.post("/login", {"token": token, "page": "/rules"}))[0]


async def test_a_browser_signs_in_acts_and_signs_out(guarded) -> None:
    console, desk, tokens = guarded
    async with Visitor(console) as visitor:
        assert "Access token" in (await visitor.get(f"/case?key={KEY}"))[1]
        async with visitor.session.post(
            visitor.base + "/login",
            data={"token": tokens["analyst"], "page": f"/case?key={KEY}"},
            allow_redirects=False,
        ) as answer:
            cookie = answer.headers["Set-Cookie"]
            assert answer.status == 303
            assert answer.headers["Location"].startswith("/case?key=")
        assert "HttpOnly" in cookie
        assert "SameSite=Lax" in cookie
        assert tokens["analyst"] not in cookie
        assert (await visitor.act("acknowledge", {"dedup_key": KEY}))[0] == 303
        assert "the-analyst is on it" in (await visitor.get(f"/case?key={KEY}"))[1]
        assert (await visitor.post("/logout", {"csrf": await visitor.csrf()}))[0] == 303
        assert "Access token" in (await visitor.get("/"))[1]
    assert desk.desk.cases[KEY].status == "acknowledged"


async def test_a_removed_token_ends_its_sessions(guarded, tokens) -> None:
    console, _, texts = guarded
    async with Visitor(console) as visitor:
        assert await sign_in(visitor, texts["viewer"]) == 303
        assert (await visitor.get("/rules"))[0] == 200
        remove_token(tokens[0], "the-viewer")
        assert "Access token" in (await visitor.get("/rules"))[1]


async def test_a_removed_token_ends_its_live_stream_before_the_next_word(guarded, tokens) -> None:
    console, desk, texts = guarded
    async with Visitor(console, token=texts["viewer"]) as visitor, visitor.session.get(visitor.base + "/live") as live:
        async with asyncio.timeout(10):
            await live.content.readuntil(b"}\n\n")
            remove_token(tokens[0], "the-viewer")
            await desk.act(new_label("acknowledge", {"dedup_key": KEY}, who="kim"))
            assert await live.content.read() == b""


async def test_a_token_ends_by_its_date(tmp_path: Path) -> None:
    text = add_token(tmp_path / "t", "old", "admin", now_ms=0, expires=1)
    settings = ConsoleSettings(port=0, tokens=tmp_path / "t", audit=tmp_path / "a")
    async with serving(settings=settings) as (console, _, _), Visitor(console, token=text) as visitor:
        assert (await visitor.get("/"))[0] == 401


async def test_guessing_is_stopped_and_kept(guarded, tmp_path: Path) -> None:
    console, _, tokens = guarded
    async with Visitor(console) as visitor:
        answers = [await sign_in(visitor, f"guess-{number}") for number in range(12)]
        assert answers == [401] * 10 + [429] * 2
        assert await sign_in(visitor, tokens["admin"]) == 429
    entries = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    assert len(entries) == 13
    assert {entry["outcome"] for entry in entries} == {"refused"}
    assert "guess" not in (tmp_path / "audit.jsonl").read_text()


@pytest.mark.parametrize("csrf", ["", "0" * 64, "é", None])
async def test_a_form_without_the_right_token_does_nothing(guarded, csrf: str | None) -> None:
    console, desk, tokens = guarded
    async with Visitor(console) as visitor:
        await sign_in(visitor, tokens["admin"])
        form = {"kind": "acknowledge", "dedup_key": KEY, **({} if csrf is None else {"csrf": csrf})}
        for path in ("/act", "/theme", "/logout"):
            status, page = await visitor.post(path, form)
            assert status == 403, path
            assert "forged" in page
        assert (await visitor.get("/rules"))[0] == 200
    assert desk.desk.cases[KEY].status == "open"


async def test_a_token_of_another_session_is_no_use(guarded) -> None:
    console, desk, tokens = guarded
    async with Visitor(console) as one, Visitor(console) as other:
        await sign_in(one, tokens["admin"])
        await sign_in(other, tokens["admin"])
        form = {"kind": "acknowledge", "dedup_key": KEY, "csrf": await other.csrf()}
        assert (await one.post("/act", form))[0] == 403
    assert desk.desk.cases[KEY].status == "open"


async def test_without_a_sign_in_forms_are_guarded_too() -> None:
    async with serving() as (console, desk, _), Visitor(console) as visitor:
        form = {"kind": "acknowledge", "dedup_key": KEY}
        assert (await visitor.post("/act", form))[0] == 403
        form["csrf"] = await visitor.csrf()
        assert (await visitor.post("/act", form, **{"Sec-Fetch-Site": "cross-site"}))[0] == 403
        assert desk.desk.cases[KEY].status == "open"
        assert (await visitor.post("/act", form))[0] == 303
        assert desk.desk.cases[KEY].status == "acknowledged"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("evil.example", 421), ("127.0.0.1.evil.example:80", 421), ("", 421), ("localhost:1", 200), ("[::1]:8", 200),
        ("127.0.0.1", 200), ("watch.example", 200), ("watch.example.evil.example", 421),
    ],
)  # fmt: skip
async def test_foreign_names_for_this_address_are_refused(host: str, status: int) -> None:
    settings = ConsoleSettings(port=0, base_url="https://watch.example")
    async with serving(settings=settings) as (console, _, _), Visitor(console) as visitor:
        assert (await visitor.get("/", Host=host))[0] == status
        assert ("497 accounts" in (await visitor.get("/", Host=host))[1]) == (status == 200)


async def test_a_supervisor_may_ask_by_any_name_and_learns_one_word(guarded) -> None:
    console, desk, _ = guarded
    async with Visitor(console) as visitor:
        for path in ("/-/healthy", "/-/ready"):
            assert await visitor.get(path, Host="10.1.2.3:8322") == (200, "ok\n")
        desk.feeds.trouble = "Kafka: secret-host:9092 is away"
        assert await visitor.get("/-/ready", Host="10.1.2.3:8322") == (503, "feeds are not read\n")


async def proxied(networks: tuple[str, ...], headers: list[tuple[str, str]]) -> tuple[int, str]:
    settings = ConsoleSettings(port=0, proxies=networks)
    async with (
        serving(settings=settings) as (console, _, _),
        Visitor(console) as visitor,
        visitor.session.get(visitor.base + "/audit", headers=headers) as answer,
    ):
        return answer.status, await answer.text()


async def test_a_proxy_is_believed_only_where_it_is_named() -> None:
    alice = [("X-Forwarded-User", "alice"), ("X-Forwarded-Role", "analyst")]
    status, page = await proxied(("127.0.0.1/32",), alice)
    assert status == 200
    assert "alice, analyst" in page
    assert (await proxied(("10.0.0.0/8",), alice))[0] == 401
    assert (await proxied(("127.0.0.1/32",), [("X-Forwarded-User", "alice")]))[0] == 403  # no role named: viewer
    assert (await proxied(("127.0.0.1/32",), []))[0] == 401
    assert (await proxied(("127.0.0.1/32",), [*alice, ("X-Forwarded-Role", "admin")]))[0] == 401
    assert (await proxied(("127.0.0.1/32",), [("X-Forwarded-User", "alice"), ("X-Forwarded-Role", "root")]))[0] == 401


@pytest.mark.parametrize(
    ("settings", "hint"),
    [
        (ConsoleSettings(host="0.0.0.0"), "without a sign-in"),
        (ConsoleSettings(host="192.0.2.7"), "--tokens FILE"),
        (ConsoleSettings(host="0.0.0.0", tokens=Path("t")), "--base-url"),
        (ConsoleSettings(proxies=("0.0.0.0/0",)), "trusts everybody"),
        (ConsoleSettings(proxies=("proxy.example",)), "--trust-proxy proxy.example"),
        (ConsoleSettings(base_url="watch.example"), "--base-url"),
        (ConsoleSettings(workers=("file:///etc/passwd",)), "--worker"),
        (ConsoleSettings(user_header="a b"), "no name of a header"),
    ],
)
def test_settings_that_would_open_the_door_are_refused(settings: ConsoleSettings, hint: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(hint)):
        checked(settings)


@pytest.mark.parametrize("text", ["", "x", "127.0.0.1:", ":80", "127.0.0.1:99999", "a:b:1"])
def test_an_address_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--listen"):
        listen_of(text)
    assert listen_of("[::1]:80") == ("::1", 80)
    assert listen_of("8080") == ("127.0.0.1", 8080)


def test_the_file_of_tokens_holds_no_token_and_only_its_owner_may_write_it(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    text = add_token(path, "alice", "analyst", now_ms=5, expires=None)
    assert path.stat().st_mode & 0o777 == 0o600
    assert text not in path.read_text()
    assert text.startswith("dwc_")
    assert len(text) > 40
    with pytest.raises(ConfigError, match="remove it first"):
        add_token(path, "alice", "viewer", now_ms=5, expires=None)
    for name in ("", "a b", "<script>", "x" * 65):
        with pytest.raises(ConfigError, match="no name"):
            add_token(path, name, "viewer", now_ms=5, expires=None)
    path.chmod(0o666)
    with pytest.raises(ConfigError, match="chmod 600"):
        read_tokens(path)
    path.write_text("[{}]")
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="token add"):
        read_tokens(path)


async def test_every_action_is_in_the_log_before_it_happens_and_shown(guarded, tmp_path: Path) -> None:
    console, _, tokens = guarded
    async with Visitor(console, token=tokens["analyst"]) as visitor:
        await visitor.act("close", {"dedup_key": KEY, "verdict": "false_positive"}, reason="a class <b>")
        await visitor.act("undo", {"cluster_id": "c-5b20e1", "hours": "1"})
        assert (await visitor.act("acknowledge", {"dedup_key": KEY}))[0] == 409
        page = (await visitor.get("/audit"))[1]
    entries = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    assert [(entry["who"], entry["what"], entry["outcome"]) for entry in entries] == [
        ("the-analyst", "close", "asked"),
        ("the-analyst", "undo", "asked"),
    ]
    assert entries[0]["detail"] == "false_positive: a class <b>"
    assert entries[0]["subject"] == {"dedup_key": KEY}
    assert "a class &lt;b&gt;" in page


async def test_what_cannot_be_logged_is_not_done(tokens, tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    settings = ConsoleSettings(port=0, tokens=tokens[0], audit=folder / "audit.jsonl")
    async with serving(settings=settings) as (console, desk, _), Visitor(console, token=tokens[1]["admin"]) as visitor:
        status, text = await visitor.act("acknowledge", {"dedup_key": KEY})
        assert status == 503
        assert "audit log cannot be written" in text
        assert desk.desk.cases[KEY].status == "open"


def test_the_log_is_read_back_without_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    entry = Entry(ts=1, who="a", role="admin", way="open", peer="", what="close")
    Audit(path).write(entry)
    with path.open("ab") as file:
        file.write(b'{"ts":2,"who"')
    again = Audit(path)
    assert again.entries() == [entry]
    again.write(entry)
    assert Audit(path).entries() == [entry, entry]
    with pytest.raises(AuditError):
        Audit(tmp_path / "gone" / "audit.jsonl").write(entry)
    with pytest.raises(ConfigError, match="--audit"):
        Audit(tmp_path)


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ({"kind": "profile", "account_id": "a"}, 400), ({"kind": "nonsense"}, 400), ({}, 400),
        ({"kind": "close", "dedup_key": KEY, "verdict": "maybe"}, 400), ({"kind": "close", "dedup_key": KEY}, 400),
        ({"kind": "close", "dedup_key": KEY, "verdict": "confirmed", "reason": ""}, 400),
        ({"kind": "silence", "dedup_key": KEY, "hours": "0"}, 400),
        ({"kind": "silence", "dedup_key": KEY, "hours": "99999"}, 400),
        ({"kind": "silence", "dedup_key": KEY, "hours": "-4"}, 400), ({"kind": "silence", "dedup_key": KEY}, 400),
        ({"kind": "acknowledge", "dedup_key": "unknown"}, 409), ({"kind": "acknowledge", "account_id": "a"}, 400),
        ({"kind": "reopen", "dedup_key": KEY}, 409), ({"kind": "close", "reason": "x" * 1_001, "dedup_key": KEY}, 400),
        ({"kind": "close", "reason": "x" * 600_000}, 413), ({f"field-{n}": "x" for n in range(30)}, 413),
    ],
)  # fmt: skip
async def test_forms_that_make_no_sense_are_refused_and_do_nothing(form: dict[str, str], status: int) -> None:
    async with serving() as (console, desk, _), Visitor(console) as visitor:
        full: dict[str, Any] = {"reason": "r", "csrf": await visitor.csrf(), **form}
        assert (await visitor.post("/act", full))[0] == status
        assert desk.desk.cases[KEY].status == "open"
        assert not any(desk.desk.labels.values())


MULTIPART = "multipart/form-data"
URLENCODED = "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"x", {"Content-Type": MULTIPART}), (b"x", {"Content-Type": f"{MULTIPART}; boundary=b"}),
        (b'--b\r\nContent-Disposition: form-data; name="kind"\r\n\r\nx', {"Content-Type": f"{MULTIPART}; boundary=b"}),
        (b"kind=x", {"Content-Type": f"{URLENCODED}; charset=none"}), (b"\xff", {"Content-Type": URLENCODED}),
        (b"zz", {"Content-Type": URLENCODED, "Content-Encoding": "gzip"}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/act", "/login", "/rules"])
async def test_what_is_no_form_is_refused_as_a_page(path: str, body: bytes, headers: dict[str, str]) -> None:
    """Forms are read before anybody has signed in: a torn one must not be a fault of ours, with a trace in the log."""
    async with serving() as (console, _, _), aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{console.port}{path}"
        async with session.post(url, data=body, headers=headers, skip_auto_headers=["Content-Encoding"]) as answer:
            assert answer.status == 400
            assert "That form cannot be read" in await answer.text()
            assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    "page", ["//evil.example", "https://evil.example/", "/\\evil.example", "/act", "\x00", "http://["]
)
async def test_no_form_leads_away(page: str) -> None:
    async with serving() as (console, _, _), Visitor(console) as visitor:
        form = {"kind": "acknowledge", "dedup_key": KEY, "csrf": await visitor.csrf(), "page": page}
        async with visitor.session.post(visitor.base + "/act", data=form, allow_redirects=False) as answer:
            assert answer.status == 303
            assert answer.headers["Location"] == "/?done=acknowledge"
