"""Settings of the hosts: read once from the environment, checked together, frozen.

What lives here: names, defaults and limits of settings, and the masking of secrets. What does not: rules of
detection, which are data with a home of their own. ``NAME_FILE`` may stand for ``NAME`` of every secret, never both.
Unknown ``DISTILWATCH_*`` names are reported by ``unknown_names`` but not refused: container platforms inject
such names for a service called distilwatch.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

from models.alert import Mode
from models.errors import ConfigError

LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True, slots=True, repr=False)
class Secret:
    """A text that no repr, log line or error may show; ``reveal`` is the one way to it."""

    value: str

    def reveal(self) -> str:
        """The text itself."""
        return self.value

    def __repr__(self) -> str:
        return "Secret('***')"


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaSettings:
    """How to reach the brokers and how to name ourselves there."""

    brokers: str
    prefix: str
    group: str
    slot: str  # stable per worker; the broker hands the same partitions back to it after a restart
    partitions: int
    replication: int
    session_ms: int
    create_topics: bool
    protocol: str
    mechanism: str
    username: str
    password: Secret | None
    ca_file: str
    cert_file: str  # of this client, where the brokers ask for one
    key_file: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """How often the engine commits and snapshots, and when a silent partition counts as idle."""

    checkpoint_ms: int
    snapshot_s: int
    snapshot_bytes_per_s: int
    idle_ms: int
    batch_records: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisSettings:
    """The Redis that limiters read; ``url`` None means no projection."""

    url: Secret | None
    ttl: str
    timeout_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpSettings:
    """Where health and metrics are served; port 0 takes a free one, -1 serves nothing."""

    host: str
    port: int
    public: bool
    tokens: Path | None = None  # of those who may change rules through it


@dataclass(frozen=True, slots=True, kw_only=True)
class LimiterSettings:
    """How ``limiter`` answers, and what one account and one cluster get; ports as in ``HttpSettings``."""

    grpc_port: int
    http_port: int
    token: Secret | None
    account_per_minute: int  # of an ordinary account, where the gateway names no limit of its own
    cluster_per_minute: int  # of all accounts of a cluster together, before the signal's multiplier
    timeout_ms: int
    onset_s: int
    shadow: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class IntakeSettings:
    """How much ``intake`` takes at once, and from whom; what a gateway's callback sends, and where."""

    port: int
    url: str
    send: str
    token: Secret | None
    body_bytes: int
    pending_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreSettings:
    """What every host needs: whose fleet, how far decisions may go, and the secret of all hashes."""

    tenant: str
    mode: Mode
    secret: Secret | None
    rules: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything a worker needs to know before it starts."""

    kafka: KafkaSettings
    engine: EngineSettings
    redis: RedisSettings
    http: HttpSettings
    limiter: LimiterSettings
    intake: IntakeSettings
    tenant: str
    mode: Mode
    secret: Secret | None
    config_file: Path | None  # of sinks
    rules: Path | None
    state_dir: Path | None


@dataclass(slots=True)
class _Reader:
    """Reads names of one environment and gathers every error instead of stopping at the first."""

    env: Mapping[str, str]
    errors: list[str] = field(default_factory=list)
    names: set[str] = field(default_factory=set)

    def text(self, name: str, default: str, *, pattern: str = r".*", hint: str = "a text") -> str:
        self.names.add(name)
        value = self.env.get(name, "").strip() or default
        if not re.fullmatch(pattern, value):
            self.errors.append(f"{name}={value!r}: expected {hint}")
        return value

    def file(self, name: str) -> str:
        path = self.text(name, "")
        if path and not os.access(path, os.R_OK):
            self.errors.append(f"{name}={path!r}: no such file, or it may not be read")
        return path

    def integer(self, name: str, default: int, least: int, most: int) -> int:
        self.names.add(name)
        value = self.env.get(name, "").strip()
        if not value:
            return default
        if not re.fullmatch(r"-?\d{1,15}", value) or not least <= int(value) <= most:
            self.errors.append(f"{name}={value!r}: expected an integer from {least} to {most}")
            return default
        return int(value)

    def choice(self, name: str, *options: str) -> str:
        return self.text(name, options[0], pattern="|".join(options), hint=f"one of {', '.join(options)}")

    def flag(self, name: str, default: str = "false") -> bool:
        return self.text(name, default, pattern="true|false|1|0", hint="true or false") in ("true", "1")

    def secret(self, name: str, *, least: int = 1) -> Secret | None:
        twin = f"{name}_FILE"
        self.names.update((name, twin))
        value, path = self.env.get(name, ""), self.env.get(twin, "")
        if value and path:
            self.errors.append(f"{name} and {twin} are both set: keep one")
        if path:
            try:
                value = Path(path).read_text().strip()
            except (OSError, UnicodeDecodeError) as error:
                self.errors.append(f"{twin}={path!r} cannot be read: {type(error).__name__}")
        if value and len(value.encode()) < least:
            self.errors.append(f"{name} is too short: expected at least {least} bytes")
        return Secret(value) if value else None


def _core(read: _Reader) -> CoreSettings:
    mode = read.choice("DISTILWATCH_MODE", "enforce", "alert", "shadow", "off")
    return CoreSettings(
        tenant=read.text(
            "DISTILWATCH_TENANT", "default", pattern=r"[A-Za-z0-9_.-]{1,64}", hint="letters, digits, _ . -"
        ),
        mode=cast(Mode, mode),
        secret=read.secret("DISTILWATCH_SECRET", least=16),
        rules=_path(read.text("DISTILWATCH_RULES", "")),
    )


def _kafka(read: _Reader) -> KafkaSettings:
    named = read.text("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:9092")
    word = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}"
    return KafkaSettings(
        brokers=read.text("DISTILWATCH_BROKERS", named, pattern=r"[^\s,:]+:\d+(,[^\s,:]+:\d+)*", hint="host:port,..."),
        prefix=read.text("DISTILWATCH_TOPIC_PREFIX", "distilwatch", pattern=word, hint="letters, digits, _ . -"),
        group=read.text("DISTILWATCH_GROUP", "distilwatch", pattern=word, hint="letters, digits, _ . -"),
        slot=read.text("DISTILWATCH_SLOT", "0", pattern=word, hint="letters, digits, _ . -"),
        partitions=read.integer("DISTILWATCH_PARTITIONS", 4, 1, 1024),
        replication=read.integer("DISTILWATCH_REPLICATION", 1, 1, 9),
        session_ms=read.integer("DISTILWATCH_SESSION_MS", 10_000, 1_000, 300_000),
        create_topics=read.flag("DISTILWATCH_CREATE_TOPICS", "true"),
        protocol=read.choice("DISTILWATCH_KAFKA_PROTOCOL", "PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"),
        mechanism=read.choice("DISTILWATCH_KAFKA_MECHANISM", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"),
        username=read.text("DISTILWATCH_KAFKA_USERNAME", ""),
        password=read.secret("DISTILWATCH_KAFKA_PASSWORD"),
        ca_file=read.file("DISTILWATCH_KAFKA_CA_FILE"),
        cert_file=read.file("DISTILWATCH_KAFKA_CERT_FILE"),
        key_file=read.file("DISTILWATCH_KAFKA_KEY_FILE"),
    )


def _engine(read: _Reader) -> EngineSettings:
    return EngineSettings(
        checkpoint_ms=read.integer("DISTILWATCH_CHECKPOINT_MS", 300, 20, 10_000),
        snapshot_s=read.integer("DISTILWATCH_SNAPSHOT_S", 20, 1, 86_400),
        snapshot_bytes_per_s=read.integer("DISTILWATCH_SNAPSHOT_BYTES_PER_S", 5_000_000, 1_000, 10**9),
        idle_ms=read.integer("DISTILWATCH_IDLE_MS", 30_000, 100, 86_400_000),
        batch_records=read.integer("DISTILWATCH_BATCH_RECORDS", 5_000, 1, 100_000),
    )


def _limiter(read: _Reader) -> LimiterSettings:
    return LimiterSettings(
        grpc_port=read.integer("DISTILWATCH_LIMITER_GRPC_PORT", 8081, -1, 65_535),
        http_port=read.integer("DISTILWATCH_LIMITER_HTTP_PORT", 8322, -1, 65_535),
        token=read.secret("DISTILWATCH_LIMITER_TOKEN", least=16),
        account_per_minute=read.integer("DISTILWATCH_ACCOUNT_PER_MINUTE", 60, 1, 10_000_000),
        cluster_per_minute=read.integer("DISTILWATCH_CLUSTER_PER_MINUTE", 60, 1, 10_000_000),
        timeout_ms=read.integer("DISTILWATCH_LIMITER_TIMEOUT_MS", 4, 1, 1_000),
        onset_s=read.integer("DISTILWATCH_LIMITER_ONSET_S", 0, 0, 86_400),
        shadow=read.flag("DISTILWATCH_LIMITER_SHADOW"),
    )


def _intake(read: _Reader) -> IntakeSettings:
    return IntakeSettings(
        port=read.integer("DISTILWATCH_INTAKE_PORT", 8323, 0, 65_535),
        url=read.text(
            "DISTILWATCH_INTAKE_URL",
            "http://127.0.0.1:8323/v1/events",
            pattern=r"https?://[^\s@]+",
            hint="http://host:port/v1/events",
        ),
        send=read.choice("DISTILWATCH_INTAKE_SEND", "sketch", "text"),
        token=read.secret("DISTILWATCH_INTAKE_TOKEN", least=16),
        body_bytes=read.integer("DISTILWATCH_INTAKE_BODY_BYTES", 8 << 20, 1 << 10, 256 << 20),
        pending_bytes=read.integer("DISTILWATCH_INTAKE_PENDING_BYTES", 64 << 20, 1 << 10, 4 << 30),
    )


def _settings(read: _Reader) -> Settings:
    named_url = read.secret("REDIS_URL")
    core = _core(read)
    return Settings(
        kafka=_kafka(read),
        engine=_engine(read),
        redis=RedisSettings(
            url=_trusting(read.secret("DISTILWATCH_REDIS_URL") or named_url, read.file("DISTILWATCH_REDIS_CA_FILE")),
            ttl=read.choice("DISTILWATCH_REDIS_TTL", "event", "wall"),
            timeout_ms=read.integer("DISTILWATCH_REDIS_TIMEOUT_MS", 800, 50, 10_000),
        ),
        http=HttpSettings(
            host=read.text("DISTILWATCH_HTTP_HOST", "127.0.0.1"),
            port=read.integer("DISTILWATCH_HTTP_PORT", 8321, -1, 65_535),
            public=read.flag("DISTILWATCH_HTTP_PUBLIC"),
            tokens=_path(read.text("DISTILWATCH_HTTP_TOKENS", "")),
        ),
        limiter=_limiter(read),
        intake=_intake(read),
        tenant=core.tenant,
        mode=core.mode,
        secret=core.secret,
        config_file=_path(read.text("DISTILWATCH_CONFIG", "")),
        rules=core.rules,
        state_dir=_path(read.text("DISTILWATCH_STATE_DIR", "")),
    )


def load(env: Mapping[str, str]) -> Settings:
    """Read the settings from an environment (command-line options may be laid over it by name).

    Raises:
        ConfigError: with every wrong setting on a line of its own; values of secrets are never in it.
    """
    read = _Reader(env)
    settings = _settings(read)
    errors = read.errors + _conflicts(settings)
    if errors:
        raise ConfigError("\n".join(errors))
    return settings


def load_core(env: Mapping[str, str]) -> CoreSettings:
    """Read only what a host without brokers needs, so that a wrong broker name does not stop it.

    Raises:
        ConfigError: as ``load``.
    """
    read = _Reader(env)
    core = _core(read)
    if read.errors:
        raise ConfigError("\n".join(read.errors))
    return core


def _trusting(url: Secret | None, ca_file: str) -> Secret | None:
    """The URL of a Redis with the certificates to trust, as its client takes them: so each one of ours does."""
    if url is None or not ca_file:
        return url
    mark = "&" if "?" in url.value else "?"
    return Secret(f"{url.value}{mark}ssl_ca_certs={quote(ca_file, safe='/')}")


def _path(path: str) -> Path | None:
    return Path(path) if path else None


def _conflicts(settings: Settings) -> list[str]:
    """What each setting alone cannot tell."""
    errors = []
    http, kafka, url = settings.http, settings.kafka, settings.redis.url
    if http.host not in LOOPBACK and not http.public:
        errors.append(
            f"DISTILWATCH_HTTP_HOST={http.host!r}: to serve beyond this machine set DISTILWATCH_HTTP_PUBLIC=true"
        )
    if kafka.protocol.startswith("SASL") and not (kafka.username and kafka.password):
        errors.append(f"DISTILWATCH_KAFKA_PROTOCOL={kafka.protocol}: set DISTILWATCH_KAFKA_USERNAME and _PASSWORD")
    if bool(kafka.cert_file) != bool(kafka.key_file):
        errors.append("set DISTILWATCH_KAFKA_CERT_FILE and DISTILWATCH_KAFKA_KEY_FILE both, or neither")
    if url is not None and not re.match(r"(rediss?|unix)://", url.reveal()):
        errors.append("DISTILWATCH_REDIS_URL: expected redis://, rediss:// or unix://")
    return errors


def known_names() -> frozenset[str]:
    """Every environment name that ``load`` reads (the docs test compares them with the pages)."""
    read = _Reader({})
    _settings(read)
    return frozenset(read.names)


def unknown_names(env: Mapping[str, str]) -> list[str]:
    """Names that look like ours and that nothing reads: most likely misspelt."""
    return sorted(name for name in env if name.startswith("DISTILWATCH_") and name not in known_names())


def client_options(kafka: KafkaSettings) -> dict[str, Any]:
    """The connection arguments that every aiokafka client of this process shares."""
    options: dict[str, Any] = {"bootstrap_servers": kafka.brokers, "security_protocol": kafka.protocol}
    if kafka.protocol.endswith("SSL"):
        from aiokafka.helpers import create_ssl_context

        options["ssl_context"] = create_ssl_context(
            cafile=kafka.ca_file or None, certfile=kafka.cert_file or None, keyfile=kafka.key_file or None
        )
    if kafka.protocol.startswith("SASL") and kafka.password is not None:
        options |= {
            "sasl_mechanism": kafka.mechanism,
            "sasl_plain_username": kafka.username,
            "sasl_plain_password": kafka.password.reveal(),
        }
    return options
