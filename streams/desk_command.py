"""The commands ``alerts`` and ``allow``: what on-call does from a terminal, by the same labels as the console.

What lives here: their arguments and answers. What does not: what follows from a label (``models/desk`` for people,
``models/orders`` for the detector), and feeds (``desk``).
"""

from __future__ import annotations

import argparse
import asyncio
import getpass
import logging
import re
import shutil
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, get_args

import msgspec

from models.alert import SEVERITIES
from models.cases import Case, CaseStatus
from models.errors import ConfigError
from models.labels import SUBJECTS, Limits, Verdict, entry_digest, label_key
from models.precision import precision
from streams.clock import wall_ms
from streams.config import Settings
from streams.desk import DeskHost, FeedNames, RefusedError, new_label
from streams.desk_pages import alert_page, allowed_line, case_line, label_line, stats_page
from streams.summary import visible

UNITS_MS = {"m": 60_000, "h": 3_600_000, "d": 86_400_000}
ON_CASE = {"ack": "acknowledge", "close": "close", "reopen": "reopen"}
ON_CLUSTER = {"undo": "undo", "redo": "redo"}
ON_MATCH = {"silence": "silence", "unsilence": "unsilence"}
ON_ACCOUNT = {"add": "allow", "remove": "disallow", "profile": "profile", "unprofile": "unprofile"}
ALLOWED_MS = 90 * UNITS_MS["d"]
"""How long an entry of the allowlist holds unless told: one without an end is a hole that nobody remembers."""
SettingsOf = Callable[[], Settings]


def add_feeds(parser: argparse.ArgumentParser) -> None:
    """Where alerts, signals and labels are read."""
    parser.add_argument("--brokers", metavar="HOST:PORT,...", help="read the topics (default: DISTILWATCH_BROKERS)")
    parser.add_argument("--alerts", type=Path, metavar="FILE", help="read alerts of a replay, in place of topics")
    parser.add_argument("--signals", type=Path, metavar="FILE", help="its signals")
    parser.add_argument("--actions", type=Path, metavar="FILE", help="what people say, kept and read here")
    parser.add_argument("-o", "--output", choices=("human", "json"), default="human", help="form of the answer")


def _add_saying(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--who", default="", metavar="NAME", help="who says it (default: the user of this shell)")
    parser.add_argument("--reason", default="", metavar="TEXT", help="why; kept with it and shown")
    parser.add_argument("--for", dest="time", type=duration, metavar="30m|4h|7d", help="how long it holds (no end)")


def add_alerts(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``alerts``."""
    verbs = ("list", "show", *ON_CASE, *ON_MATCH, *ON_CLUSTER, "silences", "stats")
    parser.add_argument("verb", choices=verbs, help="look, or say something about an alert or a cluster")
    parser.add_argument("name", nargs="?", default="", help="an alert id, dedup key or cluster id")
    add_feeds(parser)
    _add_saying(parser)
    parser.add_argument("--verdict", choices=get_args(Verdict), help="what close says the alert was")
    parser.add_argument("--match", action="append", default=[], metavar="FIELD=VALUE", help="what silence is about")
    parser.add_argument("--status", choices=get_args(CaseStatus), help="list only these")
    parser.add_argument("--severity", choices=SEVERITIES, help="list only these")
    parser.add_argument("-l", "--limit", type=int, default=50, metavar="N", help="list at most so many (50)")


def add_allow(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``allow``."""
    parser.add_argument("verb", choices=("list", *ON_ACCOUNT), help="look, or change who is left out")
    add_feeds(parser)
    _add_saying(parser)
    parser.add_argument("--account", default="", metavar="ID", help="one account")
    parser.add_argument("--org", default="", metavar="ID", help="all accounts of an organisation")
    parser.add_argument("--key", default="", metavar="ID", help="one API key, by its id or digest as events name it")
    parser.add_argument("--template", default="", metavar="DIGEST", help="a template, by a digest that an alert shows")
    parser.add_argument("--requests", type=int, metavar="N", help="profile: requests a day of account_volume")
    parser.add_argument(
        "--times", type=float, metavar="N", help="profile: and this many times its own busiest day of the week before"
    )
    parser.add_argument("--reasoning", type=int, metavar="N", help="profile: requests a day of account_reasoning")
    parser.add_argument("--networks", type=int, metavar="N", help="profile: buckets a day of account_networks")
    parser.add_argument(
        "--worker", action="append", default=[], metavar="URL", help="list: ask this worker how often entries were met"
    )


def run_alerts(parsed: argparse.Namespace, settings: SettingsOf) -> int:
    """Run ``alerts``; the exit code."""
    return asyncio.run(with_host(parsed, settings, lambda host: _alerts(host, parsed)))


def run_allow(parsed: argparse.Namespace, settings: SettingsOf) -> int:
    """Run ``allow``; the exit code."""
    return asyncio.run(with_host(parsed, settings, lambda host: _allow(host, parsed)))


def feeds_of(parsed: argparse.Namespace, settings: SettingsOf) -> FeedNames:
    """The feeds that the options name; raises ConfigError where they name both kinds."""
    files = (parsed.alerts, parsed.signals, parsed.actions)
    if parsed.brokers and any(files):
        raise ConfigError("--brokers and files are two sources; give one of them")
    for path in (parsed.alerts, parsed.signals):
        if path is not None and not path.exists():
            raise ConfigError(f"{path} does not exist; name the file that replay wrote")
    if any(files):
        return FeedNames(*files)
    return FeedNames(kafka=settings().kafka)


async def with_host(
    parsed: argparse.Namespace, settings: SettingsOf, work: Callable[[DeskHost], Awaitable[int]]
) -> int:
    """Do ``work`` with a desk that has read everything there is."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # what goes wrong comes as one error of ours
    host = DeskHost(feeds_of(parsed, settings).open())
    try:
        await host.start()
        return await work(host)
    finally:
        await host.stop()


async def _alerts(host: DeskHost, parsed: argparse.Namespace) -> int:
    verb = parsed.verb
    if verb == "list":
        return _list(host, parsed)
    if verb == "stats":
        records = precision(host.cases())
        return say(parsed, records, stats_page(records))
    if verb == "silences":
        known = host.desk.silences(wall_ms())
        return say(parsed, known, [label_line(label) for label in known] or ["No silence is in force."])
    if verb in ON_MATCH:
        return await _act(host, parsed, ON_MATCH[verb], _matched(parsed))
    if verb in ON_CLUSTER:
        return await _act(host, parsed, ON_CLUSTER[verb], {"cluster_id": _cluster(host, parsed.name)})
    case = _case(host, parsed.name)
    if verb == "show":
        members = host.members(case.alert.cluster_id) if case.alert.cluster_id else []
        shown = msgspec.to_builtins(case) | {"members": members}
        return say(parsed, shown, alert_page(case, members))
    return await _act(host, parsed, ON_CASE[verb], {"dedup_key": case.dedup_key}, verdict=parsed.verdict)


def _list(host: DeskHost, parsed: argparse.Namespace) -> int:
    chosen = [
        case
        for case in host.cases()
        if parsed.status in (None, case.status) and parsed.severity in (None, case.alert.severity)
    ]
    shown = chosen[: max(0, parsed.limit)]
    lines = [case_line(case) for case in shown] or ["No alert."]
    if len(shown) < len(chosen):
        lines.append(f"{len(chosen) - len(shown):,} more: -l {len(chosen)}")
    return say(parsed, shown, lines)


async def _allow(host: DeskHost, parsed: argparse.Namespace) -> int:
    if parsed.verb == "list":
        now_ms = wall_ms()
        known = [
            label
            for family in ("allow", "profile")
            for label in host.desk.labels[family].values()
            if not label.takes_back and not label.ended(now_ms)
        ]
        hits = await _hits(parsed.worker)
        shown = [msgspec.to_builtins(label) | {"hits": hits and hits[entry_digest(label.key)]} for label in known]
        lines = [allowed_line(label, hits) for label in known]
        return say(parsed, shown, lines or ["Nobody is on the allowlist."])
    given = {
        "account_id": parsed.account,
        "org_id": parsed.org,
        "api_key_id": parsed.key,
        "template": parsed.template,
    }
    subject = {field: value for field, value in given.items() if value}
    limits = None
    if parsed.verb == "profile":
        limits = Limits(parsed.requests, parsed.reasoning, parsed.networks, parsed.times)
    kind = ON_ACCOUNT[parsed.verb]
    if kind == "allow" and parsed.time is None:
        parsed.time = ALLOWED_MS
    if not subject:
        raise ConfigError(f"{parsed.verb} is about one of --account, --org, --key, --template")
    if kind in ("disallow", "unprofile"):
        family = "allow" if kind == "disallow" else "profile"
        known_label = host.desk.labels[family].get(label_key(family, subject))
        if known_label is None or known_label.takes_back:
            raise RefusedError("there is no such entry; `distilwatch allow list` shows all")
    return await _act(host, parsed, kind, subject, limits=limits)


async def _hits(urls: list[str]) -> Counter[str] | None:
    """What the workers have left out, by the digest of the entry; None where none was named."""
    if not urls:
        return None
    from streams.console.workers import ask_all

    readings = await ask_all(urls)
    silent = [reading.url for reading in readings if reading.hits is None]
    if silent:
        raise RefusedError(f"no answer from {', '.join(silent)}: is it the address of a worker's health port?")
    return sum((Counter(reading.hits) for reading in readings), Counter())


async def _act(host: DeskHost, parsed: argparse.Namespace, kind: str, subject: dict[str, str], **more: Any) -> int:
    """Say it, wait until it holds, and tell what became of it."""
    now_ms = wall_ms()
    if kind == "silence" and parsed.time is None:
        raise ConfigError("a silence needs an end: --for 4h")
    expires = None if parsed.time is None else now_ms + parsed.time
    if more.get("limits") is not None:
        more["limits"] = msgspec.to_builtins(more["limits"])
    told = {"who": parsed.who or getpass.getuser(), "reason": parsed.reason, "ts": now_ms, "expires": expires}
    label = new_label(kind, subject, **told, **more)
    cases = await host.act(label)
    return say(parsed, [label, *cases], [label_line(label), *(case_line(case) for case in cases)])


def _case(host: DeskHost, name: str) -> Case:
    if not name:
        raise ConfigError("name an alert: its id, its dedup key or its cluster; `distilwatch alerts list` shows them")
    case = host.case(name)
    if case is None:
        raise RefusedError(f"no alert is called {visible(name)}; `distilwatch alerts list` shows them")
    return case


def _cluster(host: DeskHost, name: str) -> str:
    """The cluster of an alert, or one that is named itself."""
    case = host.case(name)
    if case is not None and case.alert.cluster_id:
        return case.alert.cluster_id
    if name and host.members(name):
        return name
    return _case(host, name).alert.cluster_id or _no_cluster(name)


def _no_cluster(name: str) -> str:
    raise RefusedError(f"{visible(name)} is about one account; undo is for clusters: `distilwatch allow add --account`")


def _matched(parsed: argparse.Namespace) -> dict[str, str]:
    subject = {}
    for item in parsed.match:
        field, _, value = item.partition("=")
        if not value or field not in SUBJECTS["silence"]:
            raise ConfigError(
                f"--match {item!r}: expected FIELD=VALUE, FIELD one of {', '.join(sorted(SUBJECTS['silence']))}"
            )
        subject[field] = value
    if not subject:
        raise ConfigError(f"{parsed.verb} needs --match FIELD=VALUE, as in --match rule=account_volume")
    return subject


def duration(text: str) -> int:
    """Milliseconds of a text such as 30m, 4h or 7d."""
    found = re.fullmatch(r"([1-9]\d{0,5})([mhd])", text)
    if found is None:
        raise ValueError(text)
    return int(found[1]) * UNITS_MS[found[2]]


def say(parsed: argparse.Namespace, value: Any, lines: list[str]) -> int:
    """Give the answer in the form that was asked for."""
    if parsed.output == "json":
        sys.stdout.write(msgspec.json.encode(value).decode() + "\n")
        return 0
    width = shutil.get_terminal_size().columns
    sys.stdout.writelines(f"{line[: max(width, 60)] if sys.stdout.isatty() else line}\n" for line in lines)
    return 0
