"""The console with 1,000 alerts and a cluster of 25,000: first paint in the real Chromium, time to make, and size.

What lives here: the measurement. What does not: what pages hold (``tests/streams/console``). Needs Chromium.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path

import aiohttp

from bench.figures import Figure, report
from models.output import encode_alert, encode_signal
from streams.console.server import Console
from streams.console.views import case_link
from streams.desk_feeds import Item
from tests.servers import find_browser
from tests.streams.console.browser import Tab, open_browser
from tests.streams.console.sample import alert, serving, signal

ALERTS, MEMBERS, RUNS = 1_000, 25_000, 5
PAINT_MS_MAX, PAGE_BYTES_MAX = 1_000, 300_000
PAINTED = 'performance.getEntriesByName("first-contentful-paint")[0]?.startTime'
PAGES = {
    "alerts": "/",
    "case of 25,000": case_link("k-7"),
    "its last members": case_link("k-7") + "&at=1000",
    "account": "/account?id=acct_000007",
    "rules": "/rules",
    "health": "/health",
}


def items() -> list[Item]:
    """What the desk reads."""
    alerts = [alert(f"c-{n:04d}", hours=n / 50, dedup_key=f"k-{n}", accounts=MEMBERS) for n in range(ALERTS)]
    signals = [signal(f"acct_{n:06d}", "c-0007") for n in range(MEMBERS)]
    return [
        *(Item("alerts", "", encode_alert(item)) for item in alerts),
        *(Item("signals", "", encode_signal(item)) for item in signals),
    ]


async def fetched(console: Console, path: str) -> tuple[float, int]:
    """Time until the page is there, in ms, and its size: the slowest of some runs."""
    slowest, size = 0.0, 0
    async with aiohttp.ClientSession() as session:
        for _ in range(RUNS):
            started = time.perf_counter()
            async with session.get(console.url.rstrip("/") + path) as answer:
                size = max(size, len(await answer.read()))
            slowest = max(slowest, 1000 * (time.perf_counter() - started))
    return slowest, size


async def painted(tab: Tab, console: Console, path: str) -> float:
    """First contentful paint in ms, the slowest of some runs, nothing cached."""
    slowest = 0.0
    for _ in range(RUNS):
        await tab.open(console.url.rstrip("/") + path)
        await tab.until(PAINTED)
        slowest = max(slowest, await tab.value(PAINTED))
    return slowest


async def measure() -> list[Figure]:
    """Every page's figures."""
    figures = []
    folder = tempfile.TemporaryDirectory(prefix="distilwatch-bench-")
    with folder as profile:
        async with serving(items()) as (console, _, _), open_browser(find_browser(), Path(profile)) as tab:
            await tab.call("Page.enable")
            await tab.call("Network.setCacheDisabled", cacheDisabled=True)
            for name, path in PAGES.items():
                took_ms, size = await fetched(console, path)
                paint_ms = await painted(tab, console, path)
                figures += [
                    Figure(
                        f"first paint, {name}",
                        paint_ms,
                        "ms",
                        PAINT_MS_MAX,
                        most=True,
                        peer=f"served in {took_ms:.0f} ms",
                    ),
                    Figure(f"size, {name}", size, "bytes", PAGE_BYTES_MAX, most=True),
                ]
    return figures


if __name__ == "__main__":
    print(f"{ALERTS:,} alerts, a cluster of {MEMBERS:,} members; the slowest of {RUNS} loads, one process, one core")
    sys.exit(report(asyncio.run(measure())))
