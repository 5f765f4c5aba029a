"""The settings of sinks: one YAML or TOML file, read once, every error told at once, secrets never in the file.

What lives here: names, defaults and limits. What does not: the meaning of a type (``bodies``) or delivery. A secret is
named by ``NAME_env`` or ``NAME_file``, one of them; its value in the file itself is an error, as such files are
committed and mailed around.
"""

from __future__ import annotations

import ipaddress
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast, get_args

import yaml
from yarl import URL

from models.alert import Mode, Severity
from models.errors import ConfigError
from streams.config import Secret
from streams.sinks.address import Network

FILE_BYTES_MAX = 1 << 20
SINKS_MAX = 32
TYPES = ("alertmanager", "pagerduty", "slack", "webhook")
KINDS = ("firing", "update", "resolved", "summary")
SEVERITIES = cast(tuple[Severity, ...], get_args(Severity))
MODES = ("shadow", "alert", "enforce")
PAGERDUTY_URL = "https://events.pagerduty.com/v2/enqueue"
OUTBOX = "outbox.db"


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkSettings:
    """One receiver: where it is, what it is told, and what it may be told."""

    name: str
    type: str
    url: Secret
    where: str  # scheme and host, which may be shown
    secret: Secret | None  # PagerDuty's routing key, or the key that signs a webhook
    bearer: Secret | None
    allow: tuple[Network, ...]
    severity: Severity
    kinds: frozenset[str]
    modes: frozenset[str]
    timeout_ms: int
    ca_file: str
    selftest: bool = False  # whether it is told of campaigns that self-tests make

    def wants(self, *, kind: str, severity: Severity, mode: Mode) -> bool:
        """Whether this receiver is told; ``severity`` is the highest of the case, so that ends are told as well."""
        loud = SEVERITIES.index(severity) >= SEVERITIES.index(self.severity)
        return kind in self.kinds and mode in self.modes and loud


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverySettings:
    """All sinks, where links in notifications lead, and the file of what has yet to be delivered."""

    sinks: tuple[SinkSettings, ...] = ()
    console_url: str = ""
    docs_url: str = ""
    outbox: Path = Path(OUTBOX)

    def named(self, name: str) -> SinkSettings:
        """The sink of a name.

        Raises:
            ConfigError: there is none; the message lists those that are.
        """
        for sink in self.sinks:
            if sink.name == name:
                return sink
        known = ", ".join(sink.name for sink in self.sinks) or "none"
        raise ConfigError(f"no sink is called {name!r}; there are: {known}")


@dataclass(slots=True)
class _Table:
    """One mapping of the file; gathers errors with the place of each, and refuses what nothing has read."""

    place: str
    values: Mapping[str, Any]
    env: Mapping[str, str]
    errors: list[str]
    read: set[str] = field(default_factory=set)

    def wrong(self, name: str, hint: str) -> None:
        self.errors.append(f"{self.place}.{name}: {hint}")

    def text(self, name: str, default: str = "") -> str:
        self.read.add(name)
        value = self.values.get(name, default)
        if not isinstance(value, str):
            self.wrong(name, "expected a text")
            return default
        return value.strip()

    def choice(self, name: str, default: str, options: Iterable[str]) -> str:
        value, options = self.text(name, default), tuple(options)
        if value not in options:
            self.wrong(name, f"expected one of {', '.join(options)}, not {value!r}")
            return default
        return value

    def integer(self, name: str, default: int, least: int, most: int) -> int:
        self.read.add(name)
        value = self.values.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            self.wrong(name, f"expected an integer from {least} to {most}")
            return default
        return value

    def flag(self, name: str) -> bool:
        self.read.add(name)
        value = self.values.get(name, False)
        if not isinstance(value, bool):
            self.wrong(name, "expected true or false")
        return value is True

    def words(self, name: str, default: Iterable[str], options: Iterable[str] = ()) -> tuple[str, ...]:
        self.read.add(name)
        value = self.values.get(name, list(default))
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            self.wrong(name, "expected a list of texts")
            return tuple(default)
        strange = [item for item in value if options and item not in options]
        if strange:
            self.wrong(name, f"expected of {', '.join(options)}, not {', '.join(map(repr, strange))}")
        return tuple(value)

    def secret(self, name: str, *, needed: bool = False) -> Secret | None:
        by_env, by_file = self.text(f"{name}_env"), self.text(f"{name}_file")
        self.read.add(name)
        if name in self.values:
            self.wrong(name, f"a secret has no place in the file: name it with {name}_env or {name}_file")
            return None
        if by_env and by_file:
            self.wrong(name, f"{name}_env and {name}_file are both set: keep one")
        elif needed and not by_env and not by_file:
            self.wrong(name, f"is missing: set {name}_env or {name}_file")
        value = self._revealed(name, by_env, by_file)
        return Secret(value) if value else None

    def _revealed(self, name: str, by_env: str, by_file: str) -> str:
        if by_env:
            value = self.env.get(by_env, "").strip()
            if not value:
                self.wrong(f"{name}_env", f"{by_env} is not set in the environment")
            return value
        if by_file:
            try:
                value = Path(by_file).read_text().strip()
            except (OSError, UnicodeDecodeError) as error:
                self.wrong(f"{name}_file", f"{by_file!r} cannot be read: {type(error).__name__}")
                return ""
            if not value:
                self.wrong(f"{name}_file", f"{by_file!r} is empty")
            return value
        return ""

    def finish(self) -> None:
        for name in self.values:
            if name not in self.read:
                self.wrong(str(name), f"is not known here; known are {', '.join(sorted(self.read))}")


def load(path: str | Path, env: Mapping[str, str]) -> DeliverySettings:
    """Read the settings of sinks from a file, YAML or (by the ending ``.toml``) TOML.

    Raises:
        ConfigError: with every error on a line of its own; values of secrets are never in it.
    """
    return parse(_document(Path(path)), env, place=Path(path).name)


def _document(path: Path) -> Any:
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise ConfigError(f"{path}: larger than {FILE_BYTES_MAX} bytes")
        text = path.read_text()
        return tomllib.loads(text) if path.suffix == ".toml" else yaml.safe_load(text)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        raise ConfigError(f"{path}: no YAML: line {mark.line + 1 if mark else 0}: {error.problem}") from error
    except (yaml.YAMLError, tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path}: cannot be parsed: {type(error).__name__}") from error


def parse(document: Any, env: Mapping[str, str], *, place: str = "settings") -> DeliverySettings:
    """The settings in a parsed file; raises ConfigError as ``load``."""
    errors: list[str] = []
    if not isinstance(document, dict):
        raise ConfigError(f"{place}: expected a mapping with `sinks`")
    top = _Table(place, document, env, errors)
    console, docs = _place(top, "console_url"), _place(top, "docs_url")
    outbox = top.text("outbox", OUTBOX) or OUTBOX
    top.read.add("sinks")
    tables = document.get("sinks") or {}
    if not isinstance(tables, dict) or len(tables) > SINKS_MAX:
        top.wrong("sinks", f"expected a mapping of at most {SINKS_MAX} names to settings")
        tables = {}
    top.finish()
    sinks = tuple(sink for name, table in tables.items() if (sink := _sink(name, table, env, errors)) is not None)
    if errors:
        raise ConfigError("\n".join(errors))
    return DeliverySettings(sinks=sinks, console_url=console, docs_url=docs, outbox=Path(outbox))


def _place(table: _Table, name: str) -> str:
    """An address that links begin with."""
    value = table.text(name)
    if value and not re.fullmatch(r"https?://[^\s/?#]+(/[^\s?#]*)?", value):
        table.wrong(name, "expected http:// or https:// and a host, without a query")
    return value.rstrip("/")


def _sink(name: Any, values: Any, env: Mapping[str, str], errors: list[str]) -> SinkSettings | None:
    """One sink; None, with its errors noted, where it is no sink at all."""
    place = f"sinks.{name}"
    if not isinstance(name, str) or not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,39}", name):
        errors.append(f"{place}: a name is up to 40 small letters, digits, _ and -")
        return None
    if not isinstance(values, dict):
        errors.append(f"{place}: expected a mapping with `type`")
        return None
    table = _Table(place, values, env, errors)
    type_ = table.choice("type", "", TYPES)
    if not type_:
        return None
    allow = _networks(table)
    url, secret, bearer = _target(table, type_)
    where = _where(table, url, allow)
    sink = SinkSettings(
        name=name,
        type=type_,
        url=url or Secret(""),
        where=where,
        secret=secret,
        bearer=bearer,
        allow=allow,
        severity=cast(Severity, table.choice("severity", "info", SEVERITIES)),
        kinds=frozenset(table.words("kinds", KINDS, KINDS)),
        modes=frozenset(table.words("modes", ("alert", "enforce"), MODES)),
        timeout_ms=table.integer("timeout_ms", 10_000, 100, 60_000),
        ca_file=table.text("ca_file"),
        selftest=table.flag("selftest"),
    )
    if sink.ca_file and not Path(sink.ca_file).is_file():
        table.wrong("ca_file", f"{sink.ca_file!r} is no file")
    table.finish()
    return sink


def _target(table: _Table, type_: str) -> tuple[Secret | None, Secret | None, Secret | None]:
    """The address, the secret and the bearer token that a type knows."""
    if type_ == "slack":  # Who knows the address may write there: it is a secret as a whole.
        return table.secret("url", needed=True), None, None
    plain = table.text("url", PAGERDUTY_URL if type_ == "pagerduty" else "")
    if not plain:
        table.wrong("url", "is missing")
    url = Secret(plain) if plain else None
    if type_ == "pagerduty":
        return url, table.secret("routing_key", needed=True), None
    secret = table.secret("secret", needed=True) if type_ == "webhook" else None
    return url, secret, table.secret("bearer")


def _networks(table: _Table) -> tuple[Network, ...]:
    found = []
    for text in table.words("allow", ()):
        try:
            found.append(ipaddress.ip_network(text))
        except ValueError:
            table.wrong("allow", f"{text!r} is no network such as 10.1.0.0/16 or 127.0.0.1/32")
    return tuple(found)


def _where(table: _Table, url: Secret | None, allow: tuple[Network, ...]) -> str:
    """Scheme and host of the address, checked; the path may be a secret and is never shown."""
    if url is None:
        return ""
    try:
        parsed = URL(url.reveal())
    except ValueError:
        parsed = URL()
    if parsed.scheme not in ("http", "https") or not parsed.host:
        table.wrong("url", "expected http:// or https:// and a host")
        return ""
    if parsed.user or parsed.password:
        table.wrong("url", "a secret has no place in the address: name it with bearer_env or bearer_file")
    if parsed.scheme == "http" and not allow:
        table.wrong("url", "http is for receivers inside: use https, or name the receiver's network in `allow`")
    return str(parsed.origin())
