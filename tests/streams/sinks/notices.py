"""Notifications and sinks for the tests: the desk's own, fed with alerts."""

from __future__ import annotations

import ipaddress
from typing import Any

from models.alert import Evidence
from models.cases import Notification
from models.desk import Desk
from streams.config import Secret
from streams.sinks.settings import KINDS, SinkSettings
from tests.models.desk_records import DAY, HOUR, campaign, ended

LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))
EVIDENCE = [
    Evidence("shared_payment", 0.9, 0.02, "share", 3.0, "24 payment methods are each shared by several accounts."),
    Evidence("evenness", 0.2, 1.25, "ratio", 1.5, "The load is even over the day."),
]
AGAINST = [Evidence("follow_ups", 0.4, 0.1, "share", -0.5, "Some accounts ask follow-up questions.")]
URL_PATH = "/hidden-path-of-the-url"


def story(cluster: str = "c-1", **more: Any) -> list[Notification]:
    """What the desk sends of one campaign: that it opened, became severe, and is over."""
    desk, found = Desk(), []
    facts = {"evidence": EVIDENCE, "counter_evidence": AGAINST, "members_sample": ["acc-1", "acc-2"]} | more
    statements = [
        campaign(cluster, **facts),
        campaign(cluster, 1, **(facts | {"severity": "critical"})),
        ended(cluster),
    ]
    for number, alert in enumerate(statements):
        desk.take_alert(alert)
        found += desk.due(DAY + number * HOUR)
    assert [notice.kind for notice in found] == ["firing", "update", "resolved"]
    return found


def flood() -> Notification:
    """What the desk sends when more happens than a person can read."""
    desk = Desk()
    for number in range(40):
        desk.take_alert(campaign(f"c-{number}"))
    return desk.due(DAY)[-1]


def sink(type_: str, url: str, **more: Any) -> SinkSettings:
    """Settings of a sink that may reach this machine."""
    facts: dict[str, Any] = {
        "name": type_,
        "type": type_,
        "url": Secret(url),
        "where": "http://127.0.0.1",
        "secret": Secret("0123456789abcdef0123456789abcdef"),
        "bearer": None,
        "allow": LOOPBACK,
        "severity": "info",
        "kinds": frozenset(KINDS),
        "modes": frozenset(("alert", "enforce")),
        "timeout_ms": 2_000,
        "ca_file": "",
    }
    return SinkSettings(**(facts | more))
