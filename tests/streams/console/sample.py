"""Records of a large and a small campaign and an account alert, and a console that serves them."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from models.alert import Alert, Attribute, Evidence, Signal, Template
from models.output import encode_alert, encode_signal
from models.rules import Rules
from streams.console.embedded import MemoryFeeds
from streams.console.rules_store import RulesStore
from streams.console.server import Console
from streams.console.settings import ConsoleSettings
from streams.console.writer import InForce
from streams.desk import DeskHost
from streams.desk_feeds import Item

START = 1_780_272_000_000  # 2026-06-01 00:00 UTC
HOUR = 3_600_000

EVIDENCE = [
    Evidence(
        "load_dispersion",
        0.41,
        6.2,
        "variance/mean",
        3.1,
        "Requests are spread over the accounts more evenly than chance would.",
    ),
    Evidence(
        "template_fan_in",
        468.0,
        9.0,
        "accounts per template",
        2.6,
        "One template reached 468 accounts in 6 h; templates of its age reach 9.",
    ),
    Evidence(
        "slot_partition",
        0.002,
        0.31,
        "share of repeats",
        1.9,
        "Almost no item was sent by two accounts: a work list dealt out once.",
    ),
    Evidence("follow_up_turns", 0.0, 0.42, "share of requests", 1.2, "No account asked a follow-up question."),
    Evidence("shared_payment", 37.0, 1.2, "accounts per payment", 0.9, "37 accounts share one means of payment."),
    Evidence("account_youth", 9.0, 210.0, "days", 0.4, "Half of the accounts are younger than 9 days."),
]
COUNTER = [Evidence("ramp", 0.7, 0.1, "share", -0.6, "Two thirds of the accounts ramped up slowly, as customers do.")]
TEMPLATES = [
    Template(
        ["7c1f09ab33e2d410", "a0e27716fd55c3b9"],
        61,
        "<w> <w> <w>: <num> <w> <w> <json>\n<w> <w> <quote> <w> <w> <w>",
        468,
        2730,
        START + 9 * HOUR,
    ),
    Template(["04d7be0081c65f2a"], 38, "<w> <w> <code> <w> <w> <url> <w>", 190, 611, START + 10 * HOUR),
]
ATTRIBUTES = [
    Attribute("payment", "k:9d1188c2", 37),
    Attribute("network", "203.0.113.0/24", 22),
    Attribute("client", "k:51fe02aa", 415),
]


def alert(cluster: str | None = "c-5b20e1", *, status: str = "open", hours: float = 11.0, **changes: Any) -> Alert:
    """An alert with every field of the contract filled."""
    values: dict[str, Any] = {
        "alert_id": f"al-{cluster}-{status}-{hours}",
        "dedup_key": f"distilwatch:default:campaign:{cluster}",
        "status": status,
        "severity": "high",
        "mode": "enforce",
        "rule": "campaign",
        "rule_version": "3f9a21c0",
        "cluster_id": cluster,
        "ts": int(START + hours * HOUR),
        "first_seen": START + 9 * HOUR + 12 * 60_000,
        "last_seen": int(START + hours * HOUR - 20_000),
        "score": 9.4,
        "accounts": 214,
        "requests": 1103,
        "window": "24h",
        "members_sample": [f"acct_{number:06x}" for number in range(0x3A10, 0x3A10 + 24 * 977, 977)],
        "evidence": EVIDENCE,
        "counter_evidence": COUNTER,
        "templates": TEMPLATES,
        "attributes": ATTRIBUTES,
        "atlas": ["AML.T0024.002", "AML.T0040", "AML.T0021"],
        "summary": "214 accounts that share 2 templates sent 1,103 requests in 1 h 48 min, "
        "evenly and without one follow-up.",
        "runbook_url": "https://runbooks.example/distilwatch/campaign",
    }
    return Alert(**(values | changes))


def sample_alerts() -> list[Alert]:
    """Newest first, as the host keeps them."""
    small = {
        "severity": "medium",
        "accounts": 61,
        "requests": 402,
        "score": 5.2,
        "mode": "shadow",
        "counter_evidence": [],
        "summary": "61 accounts that share 1 template sent 402 requests in 7 h, none of them twice the same.",
    }
    single = {
        "account_id": "acct_f00d42",
        "severity": "low",
        "accounts": 1,
        "requests": 9120,
        "templates": [],
        "attributes": [],
        "dedup_key": "distilwatch:default:firehose:acct_f00d42",
        "rule": "firehose",
        "mode": "alert",
        "members_sample": ["acct_f00d42"],
        "summary": "One account sent 9,120 requests in an hour, 40 times its plan's usual.",
    }
    return [
        alert(
            status="update",
            hours=30.5,
            severity="critical",
            accounts=497,
            requests=9418,
            score=14.8,
            summary="497 accounts that share 2 templates sent 9,418 requests in 21 h 18 min, "
            "evenly and without one follow-up.",
        ),
        alert("c-91aa07", hours=26.25, **small),
        alert(None, status="resolved", hours=22.0, **single),
        alert(None, status="open", hours=20.0, **single),
        alert(status="update", hours=15.0, severity="high", accounts=402, requests=3900, score=11.9),
        alert(),
    ]


def signal(account_id: str, cluster: str | None = "c-5b20e1", **changes: Any) -> Signal:
    """A signal with every field of the contract filled."""
    values: dict[str, Any] = {
        "account_id": account_id,
        "cluster_id": cluster,
        "action": "throttle",
        "multiplier": 0.25,
        "score": 9.4,
        "rule": "campaign",
        "alert_id": "al-1",
        "mode": "enforce",
        "ts": START + 30 * HOUR,
        "expires": START + 36 * HOUR,
        "seq": START + 30 * HOUR,
    }
    return Signal(**(values | changes))


def sample_items() -> list[Item]:
    """The sample alerts, oldest first, and signals for forty accounts of the largest cluster."""
    alerts = sorted(sample_alerts(), key=lambda item: item.ts)
    items = [Item("alerts", item.dedup_key, encode_alert(item)) for item in alerts]
    names = [f"acct_{number:06x}" for number in range(0x3A10, 0x3A10 + 40 * 977, 977)]
    return [*items, *(Item("signals", name, encode_signal(signal(name))) for name in names)]


@contextlib.asynccontextmanager
async def serving(
    items: list[Item] | None = None,
    settings: ConsoleSettings | None = None,
    shadow: list[Item] | None = None,
    store: RulesStore | None = None,
) -> AsyncIterator[tuple[Console, DeskHost, MemoryFeeds]]:
    """A console on a free port over a desk that holds ``items``."""
    feeds = MemoryFeeds()
    feeds.offer(sample_items() if items is None else items)
    desk = DeskHost(feeds)
    apart = MemoryFeeds()
    apart.offer(shadow or [])
    below = DeskHost(apart)
    console = Console(
        desk, settings or ConsoleSettings(port=0), shadow=below, rules=InForce(Rules(), "alert"), store=store
    )
    await desk.start()
    await below.start()
    await console.start()
    try:
        yield console, desk, feeds
    finally:
        await console.stop()
        await below.stop()
        await desk.stop()
