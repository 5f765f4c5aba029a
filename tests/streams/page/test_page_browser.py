"""The live page in the real Chromium: what it shows, the keyboard, hostile texts, both widths."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from streams.page import LivePage, PageState
from tests.streams.page.page_browser import Tab, find_chromium, open_browser
from tests.streams.page.page_sample import START, alert, sample_state

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOSTILE = [
    "<script>window.hit=1</script>",
    "<img src=x onerror=window.hit=1>",
    '"><svg onload=window.hit=1>',
    "'-alert(1)-'",
    "javascript:window.hit=1",
    "</title></style></textarea><iframe srcdoc='<script>parent.hit=1</script>'>",
    "{{constructor.constructor('window.hit=1')()}}",
    "data:text/html,<script>window.hit=1</script>",
    "__proto__",
    "\u202egnp.exe\u2066\u200b\ufeff\x1b[31m",
    "a" * 5000,
]
FIXED = {"status", "severity", "mode"}  # words of the contract: the server refuses any other
OURS = """HTML HEAD META TITLE LINK SCRIPT BODY HEADER MAIN SECTION ARTICLE DIV SPAN P A H1 H2 H3 UL OL LI DL DT DD
TABLE THEAD TBODY TR TH TD PRE KBD TIME BUTTON NOSCRIPT SVG PATH LINE TEXT POLYLINE POLYGON"""
"""Every kind of element the page draws by itself."""
WATCH = """addEventListener("securitypolicyviolation", (event) => {
  (window.refused ??= []).push(event.blockedURI + " " + event.violatedDirective);
});"""
SPILLED = """[...document.querySelectorAll("main > *")].flatMap((card) => [...card.querySelectorAll("*")]
  .filter((node) => node.getBoundingClientRect().right > card.getBoundingClientRect().right + 0.5)
  .map((node) => card.id + ": " + node.outerHTML.slice(0, 80)))"""
LOWEST_CONTRAST = """(() => {
  const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
  const linear = (c) => (c / 255 <= 0.03928 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4);
  const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const ground = (node) => {
    const colour = rgb(getComputedStyle(node).backgroundColor);
    return colour.length === 3 || colour[3] > 0 ? colour : ground(node.parentElement);
  };
  const ratio = (node) => {
    const [high, low] = [rgb(getComputedStyle(node).color), ground(node)].map(light).sort((a, b) => b - a);
    return [(high + 0.05) / (low + 0.05), node.outerHTML.slice(0, 90)];
  };
  const written = (node) => [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim());
  return [...document.querySelectorAll("body *:not(noscript, svg *)")]
    .filter((node) => written(node) && node.offsetParent).map(ratio).sort((a, b) => a[0] - b[0])[0];
})()"""
"""The least contrast of any written text, by the formula of WCAG 2, and where it is."""


@pytest.fixture(scope="module")
def chromium() -> str:
    path = find_chromium()
    if path is None:
        reason = "chromium is not installed; on Debian: apt-get install chromium"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return path


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tab(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Tab]:
    async with open_browser(chromium, tmp_path_factory.mktemp("profile")) as tab:
        await tab.call("Page.enable")
        await tab.call("Page.addScriptToEvaluateOnNewDocument", source=WATCH)
        yield tab


@pytest.fixture
def page() -> Iterator[LivePage]:
    live = LivePage()
    live.start()
    yield live
    live.stop()


async def text_of(tab: Tab, selector: str) -> str:
    return str(await tab.value(f"document.querySelector({json.dumps(selector)}).innerText"))


async def test_the_empty_page_says_what_one_waits_for(tab: Tab, page: LivePage) -> None:
    await tab.open(page.url)
    panel = await text_of(tab, "#alert")
    assert "Waiting for the first request" in panel
    assert "same template" in panel
    page.publish(PageState(events=10, done=True))
    await tab.until("document.querySelector('#alert').innerText.includes('No campaign was found')")
    assert await text_of(tab, "#live") == "finished"


async def test_the_newest_serious_alert_is_told_in_full(tab: Tab, page: LivePage) -> None:
    page.publish(sample_state())
    await tab.open(page.url)
    panel = await text_of(tab, "#alert")
    for part in [
        "497 accounts that share 2 templates sent 9,418 requests in 21 h 18 min",  # one sentence
        "critical", "06-01 09:12", "21 h 48 min ago", "9,418", "214 when the alert opened",
        "1,103", "requests answered, in 1 h 48 min",  # leaked before the alert
        "Requests are spread over the accounts more evenly", "+3.1", "0.41 variance/mean, usual 6.2",
        "Two thirds of the accounts ramped up slowly", "−0.6",  # noqa: RUF001 - the page writes a minus sign
        "observe: 31 accounts · throttle: 466 accounts", "the limiter acts on these",
        "7c1f09ab33e2d410", "<w> <w> <quote>", "length 61",
        "203.0.113.0/24", "acct_003a10", "24 of 497 accounts", "AML.T0024.002 (extract AI model)",
    ]:  # fmt: skip
        assert part in panel, part
    link = "document.querySelector('#alert a.runbook')"
    assert await tab.value(f"{link}.href") == "https://runbooks.example/distilwatch/campaign"
    assert await tab.value(f"{link}.rel") == "noopener noreferrer"
    assert await tab.value("document.title") == "(2) distilwatch"


async def test_bars_have_their_sign_and_size(tab: Tab, page: LivePage) -> None:
    page.publish(sample_state())
    await tab.open(page.url)
    bars = await tab.value(
        "[...document.querySelectorAll('.fill')].map((bar) => [bar.className, bar.getBoundingClientRect().width])"
    )
    assert [name for name, _ in bars] == ["fill for"] * 6 + ["fill against"]
    widths = [width for _, width in bars]
    assert widths[1] / widths[0] == pytest.approx(2.6 / 3.1, rel=0.03)
    assert widths[6] / widths[0] == pytest.approx(0.6 / 3.1, rel=0.05)


async def test_the_rest_of_the_page_shows_the_state(tab: Tab, page: LivePage) -> None:
    page.publish(sample_state())
    await tab.open(page.url)
    assert "2026-06-02 07:00:07" in await text_of(tab, "header")
    assert "52.3 k/s" in await text_of(tab, "header")
    assert await text_of(tab, "#live") == "live"
    assert "2 updates" in await text_of(tab, "#alert-list")
    clusters = await text_of(tab, "#clusters")
    assert "c-0d44c9" in clusters
    assert "watching" in clusters
    assert await tab.value("document.querySelectorAll('#clusters .spark-line').length") == 3
    assert await tab.value("document.querySelectorAll('#traffic-chart .mark').length") == 3
    assert "malformed_json\t12" in await text_of(tab, "#totals")
    assert (await text_of(tab, "#story-lines")).startswith("06-02 02:00")
    assert "never seen by the detector" in await text_of(tab, "#truth")
    assert await tab.value("window.refused ?? []") == []


async def test_j_and_k_move_and_a_chosen_alert_stays(tab: Tab, page: LivePage) -> None:
    state = sample_state()
    page.publish(state)
    await tab.open(page.url)
    await tab.press("j")
    assert "61 accounts that share 1 template" in await text_of(tab, "#alert .summary")
    assert "told nothing" in await text_of(tab, "#alert")  # its rule is in shadow
    for _ in range(5):
        await tab.press("j")
    assert "One account sent 9,120" in await text_of(tab, "#alert .summary")
    assert "resolved" in await text_of(tab, "#alert .headline")
    await tab.press("k")
    fresh = alert("c-77ffee", hours=30.9, severity="critical", summary="A third group.")
    page.publish(state | {"alerts": [fresh, *state["alerts"]]})
    await tab.until("document.querySelector('#alert-list').innerText.includes('A third group.')")
    assert "61 accounts" in await text_of(tab, "#alert .summary")
    assert await text_of(tab, "#announce") == "New alert: A third group."
    selected = await tab.value("[...document.querySelectorAll('[aria-selected=true]')].map((item) => item.innerText)")
    assert len(selected) == 1
    assert "61 accounts" in selected[0]


async def test_a_link_opens_its_alert_and_a_cluster_opens_its_alert(tab: Tab, page: LivePage) -> None:
    page.publish(sample_state())
    await tab.open(page.url + "#alert=distilwatch%3Adefault%3Acampaign%3Ac-91aa07")
    assert "61 accounts" in await text_of(tab, "#alert .summary")
    await tab.value("document.querySelector('#clusters button').click()")
    assert "497 accounts" in await text_of(tab, "#alert .summary")


def poisoned(value: Any, payload: str, *, key: str = "") -> Any:
    """``value`` with every text and every name of a counted thing replaced by ``payload``."""
    if isinstance(value, dict):
        if key in {"signals", "rejects"}:
            return {payload: 3}
        return {name: poisoned(item, payload, key=name) for name, item in value.items()}
    if isinstance(value, list):
        return [poisoned(item, payload, key=key) for item in value]
    return payload if isinstance(value, str) and key not in FIXED else value


@pytest.mark.parametrize("payload", HOSTILE, ids=lambda text: ascii(text)[:24])
async def test_hostile_texts_stay_text_in_every_field(tab: Tab, page: LivePage, payload: str) -> None:
    plain = msgspec.to_builtins(sample_state())
    for cluster in plain["clusters"]:
        cluster["status"], cluster["severity"] = payload, payload
    page.publish(poisoned(plain, payload))
    await tab.open(page.url)
    await tab.value(
        "new Promise((done) => setTimeout(done, 50))"
    )  # a load handler of an injected element would run now
    assert await tab.value("window.hit") is None
    assert await tab.value("window.refused ?? []") == []
    assert await tab.value("Object.keys(Object.prototype).length") == 0
    tags = await tab.value(
        "[...new Set([...document.querySelectorAll('*')].map((node) => node.tagName.toUpperCase()))]"
    )
    assert set(tags) <= set(OURS.split())
    assert await tab.value("document.scripts.length") == 1
    attributes = await tab.value("[...document.querySelectorAll('*')].flatMap((node) => node.getAttributeNames())")
    assert [name for name in attributes if name.startswith("on")] == []
    links = await tab.value("[...document.querySelectorAll('[href]')].map((node) => node.getAttribute('href'))")
    assert set(links) == {"/static/page.css", "#alert"}
    body = str(await tab.value("document.body.textContent"))
    assert not set("\u202e\u2066\u200b\ufeff\x1b") & set(body)
    if payload.isprintable():
        # Summary, list entry, sentences of evidence, skeletons, members, story, totals: all there to read.
        assert body.count(payload) >= 40


@pytest.mark.parametrize(("width", "height"), [(1280, 900), (390, 844)])
@pytest.mark.parametrize("scheme", ["dark", "light"])
async def test_nothing_leaves_its_card_at_either_width(
    tab: Tab, page: LivePage, tmp_path: Path, width: int, height: int, scheme: str
) -> None:
    page.publish(sample_state())
    await tab.open(page.url, width=width, height=height, scheme=scheme)
    assert await tab.value("document.documentElement.scrollWidth") == width
    spilled = await tab.value(SPILLED)
    assert spilled == []
    await tab.photograph(tmp_path / "page.png")
    assert (tmp_path / "page.png").stat().st_size > 20_000


@pytest.mark.parametrize("scheme", ["dark", "light"])
async def test_text_has_enough_contrast(tab: Tab, page: LivePage, scheme: str) -> None:
    page.publish(sample_state())
    await tab.open(page.url, scheme=scheme)
    lowest = await tab.value(LOWEST_CONTRAST)
    assert lowest[0] >= 4.5, lowest


async def test_when_the_server_goes_the_page_says_so_and_keeps_what_it_showed(tab: Tab) -> None:
    page = LivePage()
    page.start()
    page.publish(sample_state())
    await tab.open(page.url)
    page.stop()
    await tab.until("document.querySelector('#live').innerText === 'stopped'")
    assert "497 accounts" in await text_of(tab, "#alert .summary")


async def test_a_thousand_alerts_and_clusters_draw(tab: Tab, page: LivePage) -> None:
    state = sample_state()
    many = [alert(f"c-{number:04d}", hours=number / 50) for number in range(1000)]
    clusters = [state["clusters"][0] | {"cluster_id": f"c-{number:04d}"} for number in range(1000)]
    page.publish(state | {"alerts": many, "clusters": clusters, "clock_ms": START + 48 * 3_600_000})
    await tab.open(page.url)
    assert await tab.value("document.querySelectorAll('#alert-list li').length") == 200
    assert await text_of(tab, "#alerts-more") == "and 800 more"
    assert await text_of(tab, "#clusters-note") == "40 largest of 1,000"
