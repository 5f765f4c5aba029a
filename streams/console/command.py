"""The command ``console``: one process with the desk, the pages and, where sinks are named, the courier.

What lives here: its options and its life. What does not: pages (``server``), feeds (``streams.desk``), sinks
(``streams.sinks``). ``console token`` keeps the file of access tokens.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

from models.errors import ConfigError, DistilwatchError
from streams.config import KafkaSettings, client_options
from streams.console.roles import ROLES
from streams.console.rules_store import RulesStore
from streams.console.server import Console
from streams.console.settings import PORT, ConsoleSettings, checked, listen_of
from streams.console.tokens import add_token, read_tokens, remove_token
from streams.console.words import stamp
from streams.console.writer import InForce
from streams.desk import Deliver, DeskHost, FeedNames
from streams.desk_feeds import Feeds, FileFeeds, KafkaFeeds
from streams.sinks.command import SETTING
from streams.sinks.running import delivering
from streams.sinks.settings import load
from streams.topics import Topics

VERBS = {(), ("token", "add"), ("token", "list"), ("token", "remove")}
DAY_MS = 86_400_000
LOOK_S = 1.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``distilwatch console``."""
    parser.add_argument("verb", nargs="*", help="nothing to serve; token add, token list or token remove")
    parser.add_argument(
        "--alerts", type=Path, metavar="FILE", help="alerts, as replay writes them; followed as it grows"
    )
    parser.add_argument("--signals", type=Path, metavar="FILE", help="signals, the same")
    parser.add_argument("--actions", type=Path, metavar="FILE", help="what people do is kept here, and read from here")
    parser.add_argument("--shadow", type=Path, metavar="FILE", help="alerts of rules in the shadow, the same")
    parser.add_argument(
        "--rules", metavar="FILE", help="rules to show, and without brokers to change (default: DISTILWATCH_RULES)"
    )
    parser.add_argument("--brokers", metavar="HOST:PORT,...", help="read Kafka's topics in place of files")
    parser.add_argument("--state", type=Path, metavar="DIR", help="keep what was told to sinks, and the audit log")
    parser.add_argument("--config", metavar="FILE", help="tell the sinks of this file (default: DISTILWATCH_CONFIG)")
    parser.add_argument(
        "--worker", action="append", default=[], metavar="URL", help="ask this worker for traffic and lag"
    )
    web = parser.add_argument_group("web")
    web.add_argument("--listen", default=f"127.0.0.1:{PORT}", metavar="HOST:PORT", help=f"(127.0.0.1:{PORT})")
    web.add_argument("--base-url", default="", metavar="URL", help="how browsers reach it, behind a proxy")
    web.add_argument("--tokens", type=Path, metavar="FILE", help="ask for a token of this file")
    web.add_argument(
        "--trust-proxy", action="append", default=[], metavar="NETWORK", help="believe this proxy's headers"
    )
    web.add_argument("--user-header", default="X-Forwarded-User", metavar="NAME", help="who it is (X-Forwarded-User)")
    web.add_argument("--role-header", default="X-Forwarded-Role", metavar="NAME", help="its role (X-Forwarded-Role)")
    web.add_argument("--audit", type=Path, metavar="FILE", help="append who did what to this file")
    token = parser.add_argument_group("token")
    token.add_argument("--name", help="whose token")
    token.add_argument("--role", choices=ROLES, help="what it allows")
    token.add_argument("--days", type=int, metavar="N", help="ends after so many days (never)")


def run(
    parsed: argparse.Namespace, kafka: KafkaSettings | None, rules: InForce, store: RulesStore | None = None
) -> int:
    """Serve until stopped, or keep tokens."""
    verb = tuple(parsed.verb)
    if verb not in VERBS:
        raise ConfigError(f"console {' '.join(verb)}: expected nothing, or token add, token list, token remove")
    if verb:
        return _token(verb[1], parsed)
    settings = settings_of(parsed)
    if not settings.audit:
        sys.stderr.write("distilwatch: who did what is kept in memory only: name a file with --audit\n")
    names = FeedNames(parsed.alerts, parsed.signals, parsed.actions, kafka)
    desks = _Desks(names, _shadow_feeds(parsed.shadow, kafka), parsed.state)
    asyncio.run(_serve(desks, settings, (rules, store), parsed.config or os.environ.get(SETTING)))
    return 0


def settings_of(parsed: argparse.Namespace) -> ConsoleSettings:
    """The settings that the options name.

    Raises:
        ConfigError: with everything that is wrong.
    """
    host, port = listen_of(parsed.listen)
    audit = parsed.audit or (parsed.state / "audit.jsonl" if parsed.state else None)
    if parsed.state:
        parsed.state.mkdir(parents=True, exist_ok=True)
    if audit is None and (parsed.tokens or parsed.trust_proxy):
        raise ConfigError("where people sign in, keep who did what: add --audit FILE or --state DIR")
    sinks = parsed.config or os.environ.get(SETTING)
    return checked(
        ConsoleSettings(
            host=host,
            port=port,
            tokens=parsed.tokens,
            proxies=tuple(parsed.trust_proxy),
            user_header=parsed.user_header,
            role_header=parsed.role_header,
            base_url=parsed.base_url,
            audit=audit,
            workers=tuple(parsed.worker),
            sinks=bool(sinks),
            docs_url=load(sinks, os.environ).docs_url if sinks else "",
        )
    )


class _Desks(NamedTuple):
    """What the desks read, and where the first keeps what it told."""

    names: FeedNames
    shadow: Feeds | None
    state: Path | None


def _shadow_feeds(path: Path | None, kafka: KafkaSettings | None) -> Feeds | None:
    if path is not None:
        return FileFeeds(path, None, None)
    return KafkaFeeds(client_options(kafka), Topics(kafka.prefix), shadow=True) if kafka else None


async def _serve(
    desks: _Desks, settings: ConsoleSettings, rules: tuple[InForce, RulesStore | None], sinks: str | None
) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    async with _delivering(sinks) as deliver:
        desk = DeskHost(desks.names.open(), state_dir=desks.state, deliver=deliver)
        shadow = DeskHost(desks.shadow) if desks.shadow else None
        console = Console(desk, settings, shadow=shadow, rules=rules[0], store=rules[1])
        await desk.start()
        try:
            if shadow is not None:
                await shadow.start()
            await console.start()
            sys.stdout.write(f"Console: {console.url}   (Ctrl-C ends)\n")
            sys.stdout.flush()
            await _watch(desk, stopping)
        finally:
            await console.stop()
            if shadow is not None:
                await shadow.stop()
            await desk.stop()


async def _watch(desk: DeskHost, stopping: asyncio.Event) -> None:
    """Until told to stop; a desk that has ended ends the process, so that a supervisor starts it again."""
    while not stopping.is_set():
        if desk.trouble.startswith("ended"):
            raise DistilwatchError(f"the desk {desk.trouble}")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), LOOK_S)


@contextlib.asynccontextmanager
async def _delivering(path: str | None) -> AsyncIterator[Deliver | None]:
    """What takes notifications over, while the courier carries them; None where nobody is to be told."""
    if not path:
        yield None
        return
    async with delivering(path, os.environ) as courier:
        yield courier.deliver


def _token(verb: str, parsed: argparse.Namespace) -> int:
    if parsed.tokens is None:
        raise ConfigError("name the file of tokens: --tokens FILE")
    if verb == "list":
        for token in read_tokens(parsed.tokens):
            ends = stamp(token.expires) if token.expires else "never"
            sys.stdout.write(f"{token.name}: {token.role}, since {stamp(token.created)}, ends {ends}\n")
        return 0
    if not parsed.name:
        raise ConfigError(f"token {verb}: whose? --name NAME")
    if verb == "remove":
        remove_token(parsed.tokens, parsed.name)
        sys.stdout.write(f"{parsed.name} can no longer sign in\n")
        return 0
    if not parsed.role:
        raise ConfigError(f"token add: which role? --role {'|'.join(ROLES)}")
    sys.stdout.write(_added(parsed) + "\n")
    sys.stderr.write("distilwatch: this token is shown once; only its hash is kept\n")
    return 0


def _added(parsed: Any) -> str:
    now = time.time_ns() // 1_000_000
    if parsed.days is not None and not 1 <= parsed.days <= 3_650:
        raise ConfigError("--days: expected 1 to 3650")
    expires = now + parsed.days * DAY_MS if parsed.days else None
    return add_token(parsed.tokens, parsed.name, parsed.role, now_ms=now, expires=expires)
