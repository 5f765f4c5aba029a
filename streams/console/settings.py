"""Settings of the console: where it listens, who may come in, where its records are.

What lives here: the values and what contradicts what. What does not: the settings of brokers (``streams.config``).
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from models.errors import ConfigError
from streams.config import LOOPBACK

HEADER = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")
PORT = 8324
WORKERS_MAX = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleSettings:
    """What the web side needs to know; the defaults serve one machine without a sign-in."""

    host: str = "127.0.0.1"
    port: int = PORT
    tokens: Path | None = None
    proxies: tuple[str, ...] = ()
    user_header: str = "X-Forwarded-User"
    role_header: str = "X-Forwarded-Role"
    base_url: str = ""
    audit: Path | None = None
    workers: tuple[str, ...] = ()
    sinks: bool = False  # whether this process tells anybody of alerts
    docs_url: str = ""  # where runbook links begin, as in notifications

    @property
    def names(self) -> frozenset[str]:
        """The names under which browsers may ask for this console."""
        own = LOOPBACK if self.host in LOOPBACK else (self.host,)
        public = urlsplit(self.base_url).hostname
        return frozenset({*own, *([public] if public else [])})

    @property
    def secure(self) -> bool:
        """Whether browsers reach it by https, through a proxy."""
        return self.base_url.startswith("https://")


def checked(settings: ConsoleSettings) -> ConsoleSettings:
    """The same settings where they are right.

    Raises:
        ConfigError: with everything that is wrong, one line each.
    """
    errors = []
    if settings.host not in LOOPBACK and not settings.tokens and not settings.proxies:
        errors.append(
            f"--listen {settings.host}: without a sign-in the console serves this machine only; "
            "add --tokens FILE or --trust-proxy NETWORK, or listen on 127.0.0.1"
        )
    if settings.host in ("", "0.0.0.0", "::") and not settings.base_url:  # noqa: S104 - refused, not bound
        errors.append("--listen on every address needs --base-url, so that foreign names can be refused")
    for text in settings.proxies:
        try:
            network = ipaddress.ip_network(text)
        except ValueError:
            errors.append(f"--trust-proxy {text}: expected an address or a network such as 10.0.0.0/24")
            continue
        if network.prefixlen == 0:
            errors.append(f"--trust-proxy {text}: that trusts everybody; name the proxy's address")
    if settings.base_url and not re.fullmatch(r"https?://[^\s/?#@]+/?", settings.base_url):
        errors.append(f"--base-url {settings.base_url}: expected http(s)://host[:port]")
    for header in (settings.user_header, settings.role_header):
        if not HEADER.fullmatch(header):
            errors.append(f"{header!r} is no name of a header")
    if len(settings.workers) > WORKERS_MAX or not all(re.match(r"https?://\S+$", url) for url in settings.workers):
        errors.append(f"--worker: expected at most {WORKERS_MAX} addresses such as http://127.0.0.1:8321")
    if errors:
        raise ConfigError("\n".join(errors))
    return settings


def listen_of(text: str) -> tuple[str, int]:
    """Host and port of ``host:port``, ``[v6]:port``, or a bare port.

    Raises:
        ConfigError: it is neither.
    """
    found = re.fullmatch(r"(?:\[([0-9A-Fa-f:]+)\]:|([^\s:\[\]]+):)?(\d{1,5})", text)
    if found is None or int(found[3]) > 65_535:
        raise ConfigError(f"--listen {text}: expected host:port, as 127.0.0.1:{PORT}")
    return found[1] or found[2] or "127.0.0.1", int(found[3])
