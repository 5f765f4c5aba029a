"""The command ``sinks``: what receivers there are, and whether one takes a notification that says it is a test.

What lives here: the two verbs. What does not: delivery (``courier``).
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Mapping
from typing import Any

import msgspec

from models.alert import Alert, Evidence
from models.cases import Case, Notification, NotificationKind, Why, statement_of
from models.errors import ConfigError
from streams.clock import wall_ms
from streams.sinks.bodies import Links
from streams.sinks.client import Client
from streams.sinks.courier import post
from streams.sinks.outbox import Outbox, Tally
from streams.sinks.settings import DeliverySettings, SinkSettings, load

SETTING = "DISTILWATCH_CONFIG"
TEXT = "TEST of a sink, asked for with `distilwatch sinks test`: nothing has happened, nothing needs to be done."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``distilwatch sinks``."""
    parser.add_argument("verb", choices=("list", "test"), help="list them and what waits, or send one a marked test")
    parser.add_argument("name", nargs="?", metavar="NAME", help="which sink to test")
    parser.add_argument("--config", metavar="FILE", help=f"YAML or TOML with the sinks (default: {SETTING})")
    parser.add_argument("-o", "--output", choices=("human", "json"), default="human", help="form of the list")


def run(parsed: argparse.Namespace, *, tenant: str) -> int:
    """Run the verb asked for.

    Raises:
        ConfigError: the settings are wrong, or no sink has the name.
    """
    settings = settings_of(parsed.config, os.environ)
    if parsed.verb == "list":
        return run_list(settings, parsed.output)
    if parsed.name is None:
        raise ConfigError("which one? distilwatch sinks test NAME; `distilwatch sinks list` shows the names")
    return run_test(settings, parsed.name, tenant=tenant)


def settings_of(path: str | None, env: Mapping[str, str]) -> DeliverySettings:
    """The settings of sinks in the file named, else in that of DISTILWATCH_CONFIG.

    Raises:
        ConfigError: neither is named, or the file is wrong.
    """
    chosen = path or env.get(SETTING, "")
    if not chosen:
        raise ConfigError(f"no settings of sinks: name a file with --config or {SETTING}")
    return load(chosen, env)


def run_list(settings: DeliverySettings, output: str) -> int:
    """Print every sink and where its notifications stand."""
    tallies = _tallies(settings)
    rows = [_row(sink, tallies[sink.name]) for sink in settings.sinks]
    if output == "json":
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(rows), indent=2).decode() + "\n")
        return 0
    if not rows:
        sys.stdout.write("no sinks: nobody is told of anything\n")
    for row in rows:
        sys.stdout.write(
            f"{row['name']}: {row['type']} at {row['where']}, from {row['severity']}, {'/'.join(row['kinds'])}, "
            f"modes {'/'.join(row['modes'])}\n"
            f"  {row['delivered']} delivered, {row['waiting']} waiting, {row['dead']} given up"
            f"{'; last trouble: ' + row['said'] if row['said'] else ''}\n"
        )
    return 0


def _tallies(settings: DeliverySettings) -> dict[str, Tally]:
    if not settings.outbox.exists():
        return {sink.name: Tally() for sink in settings.sinks}
    outbox = Outbox(settings.outbox, owner=False)
    try:
        return {sink.name: outbox.tally(sink.name) for sink in settings.sinks}
    finally:
        outbox.close()


def _row(sink: SinkSettings, tally: Tally) -> dict[str, Any]:
    return {
        "name": sink.name,
        "type": sink.type,
        "where": sink.where,
        "severity": sink.severity,
        "kinds": sorted(sink.kinds),
        "modes": sorted(sink.modes),
        "delivered": tally.delivered,
        "waiting": tally.waiting,
        "dead": tally.dead,
        "said": tally.said,
    }


def run_test(settings: DeliverySettings, name: str, *, tenant: str, client: Client | None = None) -> int:
    """Send a marked notification to one sink, past the outbox, and say what happened; 1 where it was not taken.

    Alertmanager and PagerDuty are sent its end at once, so that nothing stands afterwards.
    """
    sink = settings.named(name)
    kinds: list[NotificationKind] = ["firing", "resolved"] if sink.type in ("alertmanager", "pagerduty") else ["firing"]
    links = Links(console_url=settings.console_url, docs_url=settings.docs_url)
    failed = False
    for kind in kinds:
        now_ms = wall_ms()
        notice = marked(kind, tenant=tenant, now_ms=now_ms)
        answer = asyncio.run((client or Client()).send(post(sink, notice, links, now_ms=now_ms)))
        verdict = "taken" if answer.delivered else "NOT taken"
        sys.stdout.write(
            f"{sink.name} ({sink.type} at {sink.where}): {kind}: {verdict} after {answer.took_ms} ms: {answer.said}\n"
        )
        failed = failed or not answer.delivered
    return 1 if failed else 0


def marked(kind: NotificationKind, *, tenant: str, now_ms: int) -> Notification:
    """A notification that says in every field people read that it is a test."""
    alert = Alert(
        alert_id="a-test",
        dedup_key=f"distilwatch:{tenant}:sink_test:{os.getpid()}",
        status="open",
        severity="info",
        mode="alert",
        rule="sink_test",
        rule_version="1",
        cluster_id="c-test",
        ts=now_ms,
        first_seen=now_ms,
        last_seen=now_ms,
        score=0.0,
        accounts=0,
        requests=0,
        window="24h",
        members_sample=[],
        evidence=[Evidence("test", 0.0, 0.0, "", 0.0, "This is a test.")],
        counter_evidence=[],
        templates=[],
        attributes=[],
        atlas=[],
        summary=TEXT,
        runbook_url="docs/runbook.md#sinks",
    )
    said = statement_of(alert)
    case = Case(
        dedup_key=alert.dedup_key, alert=alert, last=said, statements=[said], severity_most="info", accounts_most=0
    )
    why = Why.RESOLVED if kind == "resolved" else Why.FIRST
    return Notification(
        notification_id=f"test:{kind}:{now_ms}", kind=kind, why=why, at_ms=now_ms, text=TEXT, severity="info", case=case
    )
