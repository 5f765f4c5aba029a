"""Settings of sinks: all errors at once, no secret in the file, none in an error."""

from __future__ import annotations

import hashlib
import hmac
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from models.errors import ConfigError
from streams.sinks.bodies import signature
from streams.sinks.settings import TYPES, load, parse
from tests.servers import ROOT

HIDDEN = "9f8e7d6c5b4a39281706f5e4d3c2b1a0"
ENV = {"PD_KEY": HIDDEN, "SLACK": f"https://hooks.slack.example/services/{HIDDEN}", "HOOK": HIDDEN}
YAML = """
console_url: https://watch.example.net/
docs_url: https://git.example.net/distilwatch/blob/main
outbox: /var/lib/outbox.db
sinks:
  oncall: {type: pagerduty, routing_key_env: PD_KEY, severity: high, kinds: [firing, update, resolved]}
  chat: {type: slack, url_env: SLACK, modes: [shadow, alert, enforce]}
  local: {type: alertmanager, url: "http://alertmanager:9093", allow: [10.0.0.0/8], timeout_ms: 3000}
  hook: {type: webhook, url: "https://hooks.example.net/x", secret_env: HOOK}
"""
TOML = """
console_url = "https://watch.example.net"
[sinks.oncall]
type = "pagerduty"
routing_key_env = "PD_KEY"
"""


def test_yaml_and_toml_are_read(tmp_path: Path) -> None:
    (tmp_path / "sinks.yaml").write_text(YAML)
    (tmp_path / "sinks.toml").write_text(TOML)
    settings = load(tmp_path / "sinks.yaml", ENV)
    assert [sink.name for sink in settings.sinks] == ["oncall", "chat", "local", "hook"]
    assert settings.console_url == "https://watch.example.net"
    assert settings.named("chat").where == "https://hooks.slack.example"
    assert settings.named("oncall").secret.reveal() == HIDDEN
    assert load(tmp_path / "sinks.toml", ENV).named("oncall").where == "https://events.pagerduty.com"
    assert HIDDEN not in repr(settings)


def test_a_secret_may_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(HIDDEN + "\n")
    table = {"type": "pagerduty", "routing_key_file": str(tmp_path / "key")}
    assert parse({"sinks": {"a": table}}, {}).named("a").secret.reveal() == HIDDEN


WRONG = [
    ({"type": "pager"}, "sinks.a.type: expected one of"),
    ({"type": "pagerduty"}, "routing_key: is missing"),
    ({"type": "pagerduty", "routing_key": HIDDEN}, "no place in the file"),
    ({"type": "pagerduty", "routing_key_env": "NOT_SET"}, "NOT_SET is not set"),
    ({"type": "pagerduty", "routing_key_env": "PD_KEY", "routing_key_file": "x"}, "keep one"),
    ({"type": "pagerduty", "routing_key_file": "no/such/file"}, "cannot be read"),
    ({"type": "slack", "url": ENV["SLACK"]}, "no place in the file"),
    ({"type": "alertmanager"}, "url: is missing"),
    ({"type": "alertmanager", "url": "http://inside:9093"}, "use https, or name"),
    ({"type": "alertmanager", "url": "file:///etc/passwd"}, "expected http:// or https://"),
    ({"type": "alertmanager", "url": f"https://user:{HIDDEN}@example.net"}, "no place in the address"),
    ({"type": "webhook", "url": "https://example.net"}, "secret: is missing"),
    ({"type": "webhook", "url": "https://example.net", "secret_env": "HOOK", "secert": 1}, "secert: is not known"),
    ({"type": "slack", "url_env": "SLACK", "allow": ["10.0.0.1/8"]}, "is no network"),
    ({"type": "slack", "url_env": "SLACK", "allow": "10.0.0.0/8"}, "expected a list"),
    ({"type": "slack", "url_env": "SLACK", "severity": "loud"}, "severity: expected one of"),
    ({"type": "slack", "url_env": "SLACK", "kinds": ["opened"]}, "kinds: expected of firing"),
    ({"type": "slack", "url_env": "SLACK", "timeout_ms": True}, "timeout_ms: expected an integer"),
    ({"type": "slack", "url_env": "SLACK", "ca_file": "no/such"}, "is no file"),
    ("slack", "expected a mapping with `type`"),
]


@pytest.mark.parametrize(("table", "hint"), WRONG, ids=[hint for _, hint in WRONG])
def test_every_mistake_is_named_and_no_secret_is_told(table: object, hint: str) -> None:
    with pytest.raises(ConfigError, match="sinks") as raised:
        parse({"sinks": {"a": table}}, ENV)
    assert hint in str(raised.value)
    assert HIDDEN not in str(raised.value)


def test_all_mistakes_come_at_once() -> None:
    tables = {f"s{number}": table for number, (table, _) in enumerate(WRONG)} | {"Bad Name": {}}
    with pytest.raises(ConfigError) as raised:
        parse({"sinks": tables, "sink": {}, "console_url": "ftp://x"}, ENV)
    told = str(raised.value)
    assert all(f"sinks.s{number}" in told for number in range(len(WRONG)))
    assert "settings.sink: is not known" in told
    assert "settings.console_url: expected http" in told
    assert "sinks.Bad Name: a name is" in told


@pytest.mark.parametrize(
    ("name", "content", "hint"),
    [
        ("a.yaml", "sinks: [", "no YAML: line"),
        ("a.yaml", "- 1", "expected a mapping"),
        ("a.yaml", "!!python/object/apply:os.system [id]", "no YAML"),
        ("a.yaml", "[" * 5_000, "cannot be parsed"),
        ("a.toml", "x = ", "cannot be parsed"),
        ("a.yaml", "a: &a [x]\nsinks: 7", "expected a mapping of at most"),
    ],
)
def test_a_file_that_is_none_is_told(tmp_path: Path, name: str, content: str, hint: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(ConfigError, match=hint):
        load(tmp_path / name, {})
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path / "missing.yaml", {})


def test_a_sink_that_is_not_there_is_told_with_those_that_are() -> None:
    settings = parse({"sinks": {"a": {"type": "slack", "url_env": "SLACK"}}}, ENV)
    with pytest.raises(ConfigError, match="there are: a"):
        settings.named("b")


def test_a_sink_wants_what_it_is_set_to() -> None:
    (sink,) = parse({"sinks": {"a": {"type": "slack", "url_env": "SLACK", "severity": "high"}}}, ENV).sinks
    assert sink.wants(kind="firing", severity="critical", mode="enforce")
    assert not sink.wants(kind="firing", severity="medium", mode="enforce")
    assert not sink.wants(kind="firing", severity="high", mode="shadow")


PAGE = (ROOT / "docs/sinks.md").read_text()


def test_the_settings_shown_are_right_and_every_one_is_explained() -> None:
    shown = re.search(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert shown
    env = {"PAGERDUTY_ROUTING_KEY": HIDDEN, "SLACK_WEBHOOK_URL": ENV["SLACK"], "WEBHOOK_SECRET": HIDDEN}
    settings = parse(yaml.safe_load(shown[1]), env)
    assert {sink.type for sink in settings.sinks} == set(TYPES)
    rows = re.findall(r"^\| (`.*?) \|", PAGE, re.MULTILINE)
    explained = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    known: set[str] = set()
    for type_ in TYPES:
        with pytest.raises(ConfigError) as raised:
            parse({"sinks": {"a": {"type": type_, "not": 1}}}, {})
        known |= set(re.search(r"not: is not known here; known are (.*)", str(raised.value))[1].split(", "))
    assert known - {"routing_key", "secret", "bearer"} <= explained


def test_the_check_of_a_signature_shown_works() -> None:
    shown = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert shown
    scope: dict[str, Any] = {"hmac": hmac, "hashlib": hashlib}
    exec(shown[1], scope)
    header = signature("shared", b"{}", 1_772_409_600)
    assert scope["check"](header, b"{}", "shared", 1_772_409_700.0)
    assert not scope["check"](header, b"{ }", "shared", 1_772_409_700.0)
    assert not scope["check"](header, b"{}", "other", 1_772_409_700.0)
    assert not scope["check"](header, b"{}", "shared", 1_772_419_700.0)
