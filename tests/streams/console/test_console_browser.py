"""The console in the real Chromium: click paths, keys, live changes, hostile texts, both colours, no other host."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from models.alert import Alert, Attribute, Evidence, Template
from models.labels import encode_label
from models.output import encode_alert, encode_signal
from models.rules import Rules
from streams.console.fleet import Fleet, Stage
from streams.console.rules_store import FileRules
from streams.console.server import Console
from streams.console.views import account_link, case_link
from streams.desk import DeskHost, new_label
from streams.desk_feeds import Item
from streams.rules_file import load
from streams.rules_text import rendered
from tests.servers import Missing, find_browser
from tests.streams.console.browser import Tab, open_browser
from tests.streams.console.sample import START, alert, sample_items, serving, signal

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEY = "distilwatch:default:campaign:c-5b20e1"
HOSTILE = [
    "<script>window.hit=1</script>",
    "<img src=x onerror=window.hit=1>",
    '"><svg onload=window.hit=1>',
    "' autofocus onfocus=window.hit=1 x='",
    "javascript:window.hit=1",
    "</title></style></textarea></svg><iframe srcdoc='<script>parent.hit=1</script>'>",
    "{{ ''.__class__ }}{% raw %}${window.hit=1}",
    "data:text/html,<script>window.hit=1</script>",
    "../../login?page=//evil.example",
    "\u202egnp.exe\u2066\u200b\ufeff\x1b[31m\x00\r\n",
    "%3Cscript%3Ewindow.hit=1%3C/script%3E&amp;lt;",
    "a" * 5_000,
]
FIXED = {
    "status",
    "severity",
    "mode",
    "action",
    "kind",
    "verdict",
    "action_id",
}  # words of the contract: others are refused
WATCH = """addEventListener("securitypolicyviolation", (event) => {
  (window.refused ??= []).push(event.blockedURI + " " + event.violatedDirective);
});"""
FOREIGN = """performance.getEntriesByType("resource").map((entry) => entry.name)
  .filter((name) => new URL(name).origin !== location.origin)"""
LOWEST_CONTRAST = """(() => {
  const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
  const linear = (c) => (c / 255 <= 0.03928 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4);
  const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const ground = (node) => {
    const colour = rgb(getComputedStyle(node).backgroundColor);
    return colour.length === 3 || colour[3] > 0 ? colour : ground(node.parentElement);
  };
  const ink = (node) => getComputedStyle(node)[node instanceof SVGElement ? "fill" : "color"];
  const ratio = (node) => {
    const [high, low] = [rgb(ink(node)), ground(node)].map(light).sort((a, b) => b - a);
    return [(high + 0.05) / (low + 0.05), node.outerHTML.slice(0, 90)];
  };
  const written = (node) => [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim());
  const seen = (node) => node.getClientRects().length > 0 && !node.closest(".hidden, title");
  return [...document.querySelectorAll("body *")]
    .filter((node) => written(node) && seen(node)).map(ratio).sort((a, b) => a[0] - b[0])[0];
})()"""
"""The least contrast of any written text, by the formula of WCAG 2, and where it is."""
SPILLED = """[...document.querySelectorAll("main *")]
  .filter((node) => node.getBoundingClientRect().right > innerWidth + 0.5 && !node.closest(".hidden, svg, .scroll"))
  .map((node) => node.outerHTML.slice(0, 80))"""


READY = "document.body?.dataset.ready === 'yes'"
"""Our script has run, and so the style sheet before it is in."""
HARM = """[
  ...(window.hit ? ["a script ran"] : []), ...(window.refused ?? []),
  ...[...document.querySelectorAll("iframe, img, main script, style, main object")].map((node) => node.outerHTML),
  ...[...document.querySelectorAll("a")].filter((a) => a.origin !== location.origin).map((a) => a.href),
]"""
"""Everything on a page that none of ours holds."""


@pytest.fixture(scope="module")
def chromium() -> str:
    try:
        return find_browser()
    except Missing as reason:
        if os.environ.get("CI") == "true":
            pytest.fail(str(reason))
        pytest.skip(str(reason))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tab(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Tab]:
    async with open_browser(chromium, tmp_path_factory.mktemp("profile")) as tab:
        await tab.call("Page.enable")
        await tab.call("Page.addScriptToEvaluateOnNewDocument", source=WATCH)
        yield tab


@pytest_asyncio.fixture(loop_scope="module")
async def console() -> AsyncIterator[tuple[Console, DeskHost, Any]]:
    async with serving() as served:
        yield served


def url(console: Console, path: str = "/") -> str:
    return console.url.rstrip("/") + path


async def text_of(tab: Tab, selector: str) -> str:
    return str(await tab.value(f"document.querySelector({json.dumps(selector)}).innerText"))


async def click(tab: Tab, selector: str) -> None:
    await tab.value(f"document.querySelector({json.dumps(selector)}).click()")


async def fill(tab: Tab, selector: str, text: str) -> None:
    await tab.value(f"document.querySelector({json.dumps(selector)}).value = {json.dumps(text)}")


async def arrived(tab: Tab, part: str) -> None:
    await tab.until(f"document.body?.dataset.ready === 'yes' && location.href.includes({json.dumps(part)})")


async def test_from_the_list_to_the_case_to_the_verdict(tab: Tab, console) -> None:
    served, desk, _ = console
    await tab.open(url(served))
    await click(tab, ".case .summary")
    await arrived(tab, "/case?key=")
    assert "497 accounts that share 2 templates" in await text_of(tab, "h1")
    await click(tab, "form[data-key-a] button")
    await arrived(tab, "done=acknowledge")
    assert "local is on it" in await text_of(tab, ".standing")
    await click(tab, "#close summary")
    await click(tab, "#close input[value=confirmed]")
    await fill(tab, "#close-reason", "five members: one task, item after item")
    await click(tab, "#close button")
    await arrived(tab, "done=close")
    assert "Closed by local as a real campaign: five members" in await text_of(tab, ".standing")
    assert "Closed as a real campaign by local" in await text_of(tab, "#history")
    assert desk.desk.cases[KEY].status == "closed"
    for path, words in [
        ("/", "Nothing to do"), ("/?show=closed", "a real campaign"), ("/rules", "100 % of 1"),
        ("/audit", "confirmed: five members"), (account_link("acct_003a10"), "497 accounts"),
    ]:  # fmt: skip
        await tab.open(url(served, path))
        assert words in await text_of(tab, "main"), path


async def test_an_account_is_allowed_and_a_cluster_let_go(tab: Tab, console) -> None:
    served, desk, _ = console
    await tab.open(url(served, case_link(KEY)))
    await click(tab, "#undo summary")
    await fill(tab, "#undo-reason", "a class")
    await click(tab, "#undo button")
    await arrived(tab, "done=undo")
    assert "let go by local: a class" in await text_of(tab, "#act")
    await click(tab, "#member-table a")
    await arrived(tab, "/account?id=")
    await fill(tab, "#allow-reason", "our own tests")
    await click(tab, "#allow button")
    await arrived(tab, "done=allow")
    assert "Allowed by local: the limiter leaves it alone." in await text_of(tab, ".standing")
    assert {label.kind for family in desk.desk.labels.values() for label in family.values()} == {"undo", "allow"}


async def test_keys_walk_the_list_and_act(tab: Tab, console) -> None:
    served, desk, feeds = console
    feeds.offer([Item("alerts", "", encode_alert(alert("c-2", hours=29, dedup_key="second", severity="high")))])
    await tab.open(url(served))
    await tab.until("document.querySelectorAll('.case').length === 2")
    await tab.press("j")
    assert "497 accounts" in await text_of(tab, ".case.chosen")
    await tab.press("j")
    assert "214 accounts" in await text_of(tab, ".case.chosen")
    await tab.press("k")
    await tab.press("a")
    await arrived(tab, "done=acknowledge")
    assert desk.desk.cases[KEY].status == "acknowledged"
    await tab.press("?")
    await tab.until("document.querySelector('#help').open")
    await tab.press("Escape")
    await tab.until("!document.querySelector('#help').open")
    await tab.press("j")
    await tab.press("s")
    await arrived(tab, "#silence")
    await tab.until("document.querySelector('#silence').open")
    await tab.press("Escape")
    await tab.until("document.activeElement.tagName !== 'SELECT'")
    await tab.press("c")
    await tab.until("document.querySelector('#close').open")
    await tab.value("document.activeElement.blur()")
    await tab.press("u")
    await tab.until("location.pathname === '/'")


async def test_what_happens_is_shown_without_loading_the_page(tab: Tab, console) -> None:
    served, _, feeds = console
    await tab.open(url(served))
    await tab.value("window.same = true")
    await tab.until("document.body.dataset.followed === 'yes'")
    await fill(tab, "#q", "half a wo")
    feeds.offer([Item("alerts", "", encode_alert(alert("c-new", hours=31, dedup_key="new", summary="Something new.")))])
    await tab.until("document.querySelector('#list').innerText.includes('Something new.')")
    await tab.until("document.querySelector('#announce').textContent.includes('Something new.')")
    feeds.offer([Item("labels", "", encode_label(new_label("acknowledge", {"dedup_key": "new"}, who="bob")))])
    await tab.until("document.querySelector('#list').innerText.includes('acknowledged')")
    served.publish(Fleet(source="workers", events=5, rate=1.0, stages=[Stage(name="x", state="down")]))
    await tab.until("document.querySelector('#vitals').innerText.includes('a part is down')")
    assert await tab.value("window.same && document.querySelector('#q').value") == "half a wo"


async def test_when_the_server_goes_the_page_says_so_and_keeps_what_it_showed(tab: Tab) -> None:
    async with serving() as (served, _, _):
        await tab.open(url(served, case_link(KEY)))
        await tab.until("document.body.dataset.followed === 'yes'")
    await tab.until("['stopped', 'connection lost'].includes(document.querySelector('#live-state').innerText)")
    assert "497 accounts" in await text_of(tab, "h1")


def hostile(text: str) -> list[Item]:
    """Every text of an alert, signal and label is ``text``, wherever the contract allows any."""

    def spoilt(kind: type[msgspec.Struct], given: dict[str, Any]) -> dict[str, Any]:
        return {
            name: (text if name not in FIXED else value) if isinstance(value, str) else value
            for name, value in given.items()
            if name in kind.__struct_fields__
        }

    plain = msgspec.to_builtins(alert())
    lists: dict[str, Any] = {
        "evidence": [Evidence(text, 1.0, 2.0, text, 3.0, text)],
        "counter_evidence": [Evidence(text, 1.0, 2.0, text, -3.0, text)],
        "templates": [Template([text, text], 5, text, 3, 4, START)],
        "attributes": [Attribute(text, text, number) for number in (3, 9)],
        "members_sample": [text],
        "atlas": [text],
    }
    campaign = Alert(**(plain | spoilt(Alert, plain) | lists))
    single = msgspec.structs.replace(
        campaign, dedup_key=text + "2", cluster_id=None, account_id=text, alert_id=text + "2"
    )
    told = signal(text, text, rule=text, alert_id=text)
    short = text[:200].replace("\x00", "")
    labels = [
        new_label("acknowledge", {"dedup_key": short}, who=short[:100] or "x"),
        new_label("silence", {"cluster_id": short}, who=short[:100], reason=short),
        new_label("undo", {"cluster_id": short}, who=short[:100], reason=short),
        new_label("allow", {"account_id": short}, who=short[:100], reason=short),
    ]
    return [
        Item("alerts", text, encode_alert(campaign)),
        Item("alerts", text, encode_alert(single)),
        Item("signals", text, encode_signal(told)),
        *(Item("labels", "", encode_label(label)) for label in labels),
    ]


async def test_hostile_texts_stay_texts(tab: Tab) -> None:
    async with serving([item for text in HOSTILE for item in hostile(text)]) as (served, desk, _):
        assert len(desk.desk.cases) == 2 * len(HOSTILE)
        stages = [Stage(name=text, state="ok", detail=text) for text in HOSTILE]
        rejects = {text: at for at, text in enumerate(HOSTILE)}
        served.publish(Fleet(source="workers", events=1, rate=1.0, rejects=rejects, note=HOSTILE[0], stages=stages))
        paths = ["/", "/?show=all", "/?show=all&at=2", "/rules", "/allowlist", "/health", "/audit"]
        for text in HOSTILE:
            paths += [case_link(text), case_link(text + "2"), account_link(text[:900]), f"/?q={case_link(text)[10:]}"]
        for path in paths:
            await tab.open(url(served, path))
            assert await tab.value(HARM) == [], path


@pytest.mark.parametrize("scheme", ["dark", "light"])
async def test_text_has_enough_contrast_and_nothing_spills(tab: Tab, console, scheme: str) -> None:
    for path in (
        "/?show=all",
        case_link(KEY),
        account_link("acct_003a10"),
        "/rules",
        "/allowlist",
        "/health",
        "/audit",
    ):
        for width in (1440, 390):
            await tab.open(url(console[0], path), scheme=scheme, width=width)
            await tab.value("document.querySelectorAll('details').forEach((node) => { node.open = true; })")
            lowest = await tab.value(LOWEST_CONTRAST)
            assert lowest[0] >= 4.5, (path, lowest)
            assert await tab.value(SPILLED) == [], (path, width)
            assert await tab.value(FOREIGN) == []


async def test_colours_can_be_chosen_against_the_system(tab: Tab, console) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    await tab.open(url(console[0]), scheme="dark")
    dark = await tab.value(ground)
    await click(tab, ".to-light")
    await tab.until(f"document.documentElement?.dataset.theme === 'light' && {READY}")
    assert await tab.value(ground) != dark
    await click(tab, ".to-dark")
    await tab.until(f"document.documentElement?.dataset.theme === 'dark' && {READY}")
    assert await tab.value(ground) == dark


async def test_all_can_be_read_and_done_without_scripts(tab: Tab, console) -> None:
    served, desk, _ = console
    await tab.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        await tab.call("Page.navigate", url=url(served, case_link(KEY)))
        async with asyncio.timeout(20):
            while "497 accounts" not in await document(tab):
                await asyncio.sleep(0.05)
        page = await document(tab)
        for part in ("Why this is an alert", "acct_003a10", "203.0.113.0/24", "Close with a verdict"):
            assert part in page
        root = (await tab.call("DOM.getDocument"))["root"]["nodeId"]
        button = await tab.call("DOM.querySelector", nodeId=root, selector="form[data-key-a] button")
        await tab.call("DOM.focus", nodeId=button["nodeId"])
        await tab.press("\r", key="Enter")
        async with asyncio.timeout(20):
            while desk.desk.cases[KEY].status != "acknowledged":
                await asyncio.sleep(0.05)
    finally:
        await tab.call("Emulation.setScriptExecutionDisabled", value=False)


async def document(tab: Tab) -> str:
    """The page's source; empty while one page gives way to another."""
    try:
        root = (await tab.call("DOM.getDocument"))["root"]["nodeId"]
        return str((await tab.call("DOM.getOuterHTML", nodeId=root))["outerHTML"])
    except AssertionError:
        return ""


async def test_a_cluster_of_25000_members_can_be_searched(tab: Tab) -> None:
    items = sample_items() + [Item("signals", "", encode_signal(signal(f"acct_{n:06d}"))) for n in range(25_000)]
    async with serving(items) as (served, _, _):
        await tab.open(url(served, case_link(KEY)))
        await fill(tab, "#member-q", "acct_0249")
        await tab.value("document.querySelector('#members form').requestSubmit()")
        await arrived(tab, "q=acct_0249")
        assert "100 accounts of 25,0" in await text_of(tab, "#member-table")
        await click(tab, "#members .pager a[rel=next]")
        await arrived(tab, "at=2")
        assert "acct_024925" in await text_of(tab, "#member-table")


@pytest_asyncio.fixture(loop_scope="module")
async def with_rules(tmp_path: Path) -> AsyncIterator[tuple[Console, Path]]:
    path = tmp_path / "rules.yaml"
    path.write_text(rendered(Rules()))
    async with serving(store=FileRules(path, "default")) as (served, _, _):
        yield served, path


async def test_a_mode_is_looked_at_and_then_changed(tab: Tab, with_rules) -> None:
    served, path = with_rules
    await tab.open(url(served, "/rules"))
    await tab.value("document.querySelector('#rules select').value = 'shadow'")
    await click(tab, "#rules form.inline button")
    await tab.until(f"document.querySelector('.changes') && {READY}")
    assert await text_of(tab, ".changes ins") == "shadow"
    assert "Nobody is told of it any more" in await text_of(tab, ".changes")
    assert load(str(path)) == Rules()
    for scheme in ("dark", "light"):
        await tab.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        lowest = await tab.value(LOWEST_CONTRAST)
        assert lowest[0] >= 4.5, (scheme, lowest)
        assert await tab.value(SPILLED) == []
    await fill(tab, "#rules-reason", "trying it first")
    await click(tab, "#change form button.main")
    await tab.until(f"document.querySelector('.notice') && {READY}")
    assert "These rules are in force" in await text_of(tab, ".notice")
    assert load(str(path)).campaign.mode == "shadow"
    assert "shadow" in await text_of(tab, "#rules tbody tr")


async def test_hostile_rules_stay_texts(tab: Tab, with_rules) -> None:
    served, path = with_rules
    for text in HOSTILE:
        shown = json.dumps(f"{text}: {text}\nmode: {text}\nname: {text}\n</textarea>{text}")
        await tab.open(url(served, "/rules"))
        await tab.value(
            "document.querySelector('#change details').open = true,"
            f"document.querySelector('#rules-text').value = {shown},"
            "document.querySelector('#change form').requestSubmit()"
        )
        await tab.until(f"document.querySelector('.problems') && {READY}")
        assert await tab.value(HARM) == [], text
    assert load(str(path)) == Rules()
