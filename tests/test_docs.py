"""The pages tell the truth: names, figures of the code and links are compared with what is there.

Their commands are run by ``test_docs_commands``.
"""

from __future__ import annotations

import importlib
import random
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from models import reasons
from models.account_rules import AccountRules
from models.accounts import FIREHOSE, MANY_NETWORKS, REASONING_VOLUME
from models.alert import Alert, Signal
from models.announce import RUNBOOK
from models.decode import FORMATS
from models.evidence import READINGS, weigh
from models.features import Features
from models.hashing import KeyedHash
from models.request import KNOWN
from models.sighting import SIGHTING
from models.strings import Strings
from streams.config import known_names
from streams.limiter.metrics import IntakeMetrics, LimiterMetrics
from streams.metrics import Metrics
from streams.redis_keys import cluster_key, signal_key
from streams.sinks.metrics import SinkMetrics
from streams.topics import Topics

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")])
BLOCK = re.compile(r"^```(\S*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
OTHERS = {
    "DISTILWATCH_FAULT_SEED",
    "DISTILWATCH_SIMULATION_SEED",
    "DISTILWATCH_SIMULATION_SEEDS",
    "DISTILWATCH_CORPUS",
    "KAFKA_HOME",
}
"""Names of the environment that benches and tests read, not the hosts."""


def text(name: str) -> str:
    return (ROOT / name).read_text()


def everything() -> str:
    return "\n".join(page.read_text() for page in PAGES)


def quoted(source: str) -> set[str]:
    """Everything between single backticks."""
    return set(re.findall(r"`([^`\n]+)`", source))


def table_rows(source: str) -> Iterator[list[str]]:
    """The cells of every table row."""
    for line in source.splitlines():
        if line.startswith("| ") or line.startswith("|-"):
            yield [cell.strip() for cell in line.strip().strip("|").split("|")]


def section(page: str, heading: str) -> str:
    """What stands under one heading."""
    found = re.search(rf"^(#+) {re.escape(heading)}\n(.*?)(?=^#{{1,3}} |\Z)", text(page), re.MULTILINE | re.DOTALL)
    assert found, f"{page} has no heading {heading!r}"
    return found[2]


def slug(heading: str) -> str:
    """A heading's anchor, as forges make it."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def anchors(page: Path) -> set[str]:
    without_code = BLOCK.sub("", page.read_text())
    return {slug(line.lstrip("#")) for line in without_code.splitlines() if line.startswith("#")}


# What the code names, the pages name, and the reverse.


def test_every_setting_is_documented_and_the_reverse() -> None:
    said = set(re.findall(r"\b(?:DISTILWATCH|KAFKA|REDIS)_[A-Z_]*[A-Z]", text("docs/operate.md")))
    assert said == known_names()
    elsewhere = set(re.findall(r"\b(?:DISTILWATCH|KAFKA|REDIS)_[A-Z_]*[A-Z]", everything()))
    assert elsewhere - known_names() == OTHERS


def test_defaults_of_settings_are_those_of_the_code() -> None:
    from streams.config import load

    settings = load({})
    values = {
        "DISTILWATCH_PARTITIONS": settings.kafka.partitions,
        "DISTILWATCH_REPLICATION": settings.kafka.replication,
        "DISTILWATCH_SESSION_MS": settings.kafka.session_ms,
        "DISTILWATCH_CHECKPOINT_MS": settings.engine.checkpoint_ms,
        "DISTILWATCH_SNAPSHOT_S": settings.engine.snapshot_s,
        "DISTILWATCH_SNAPSHOT_BYTES_PER_S": settings.engine.snapshot_bytes_per_s,
        "DISTILWATCH_IDLE_MS": settings.engine.idle_ms,
        "DISTILWATCH_BATCH_RECORDS": settings.engine.batch_records,
        "DISTILWATCH_REDIS_TIMEOUT_MS": settings.redis.timeout_ms,
        "DISTILWATCH_HTTP_PORT": settings.http.port,
        "DISTILWATCH_HTTP_HOST": settings.http.host,
        "DISTILWATCH_MODE": settings.mode,
        "DISTILWATCH_TENANT": settings.tenant,
    }
    said = {row[0].strip("`"): row[1].strip("`") for row in table_rows(text("docs/operate.md"))}
    assert {name: said.get(name) for name in values} == {name: str(value) for name, value in values.items()}


def metrics_of(*kept: Metrics | SinkMetrics | LimiterMetrics | IntakeMetrics) -> set[str]:
    """The names under which metrics are exported."""
    families = [family for metrics in kept for family in metrics.registry.collect()]
    return {family.name + "_total" * (family.type == "counter") for family in families}


def exported_metrics() -> tuple[set[str], set[str]]:
    """Those of the worker, and those of all hosts."""
    metrics = Metrics()
    for stage in ("observe", "fanin", "campaigns"):
        metrics.observe_events(stage, dict)
    return metrics_of(metrics), metrics_of(metrics, SinkMetrics(), LimiterMetrics(), IntakeMetrics())


def test_every_metric_is_documented_and_the_reverse() -> None:
    of_worker, exported = exported_metrics()
    assert set(re.findall(r"\bdistilwatch_[a-z_]+", text("docs/operate.md"))) == of_worker
    secrets = {"distilwatch_secret"}
    assert set(re.findall(r"\bdistilwatch_[a-z_]+", everything())) - secrets == exported


def test_every_topic_is_documented_with_its_retention_and_the_reverse() -> None:
    catalogue = {spec.name: spec for spec in Topics().catalogue()}
    assert set(re.findall(r"\bdistilwatch\.[a-z-]+\.v\d", everything())) == set(catalogue)
    for row in table_rows(section("docs/operate.md", "Topics")):
        for name in quoted(row[0]) & set(catalogue):
            kept = catalogue[name].config
            days = int(kept.get("retention.ms", 0)) // 86_400_000
            assert row[2] == (f"{days} days" if kept["cleanup.policy"] == "delete" else "compacted"), name


def test_every_reject_reason_is_documented_and_the_reverse() -> None:
    said = set().union(*(quoted(row[0]) for row in table_rows(section("docs/events.md", "Reject reasons"))))
    assert said == reasons.REASONS


def test_every_field_of_a_request_is_documented() -> None:
    said = quoted(section("docs/events.md", "Fields"))
    assert said >= KNOWN


def test_every_format_is_documented() -> None:
    said = {row[0].strip("`") for row in table_rows(section("docs/events.md", "Formats"))}
    assert said >= set(FORMATS) - {"auto"}


@pytest.mark.parametrize(("kind", "heading"), [(Alert, "Alert"), (Signal, "Signal")])
def test_every_field_of_what_leaves_is_documented_with_an_example(kind: type[msgspec.Struct], heading: str) -> None:
    page = section("docs/alerts-and-signals.md", heading)
    said = set().union(*(quoted(row[0]) for row in table_rows(page)))
    assert said == set(kind.__struct_fields__)
    example = next(body for language, body in BLOCK.findall(page) if language == "json")
    read = msgspec.json.decode(example, type=kind, strict=True)
    assert set(msgspec.json.decode(example)) == set(kind.__struct_fields__)
    assert read.mode == "enforce"


def test_redis_keys_are_those_written() -> None:
    said = quoted(text("docs/alerts-and-signals.md"))
    assert {signal_key("default", "<account_id>"), cluster_key("default", "<cluster_id>")} <= said


# What the detector believes.

CHOICES = {
    "accounts": [12, 50, 99, 100, 399, 400, 9000],
    "customers": [12, 60, 99, 300, 9000],
    "templates": [1, 2, 3, 60],
    "payment_hubs": [0, 1, 2, 3, 20],
    "network_hubs": [0, 1, 2, 3, 20],
    "mean_requests": [1.0, 3.9, 4.0, 20.0],
    "dispersion": [0.5, 2.0, 3.0, 3.5, 5.0, 6.0, 9.0, 10.0, 40.0],
    "evenness": [-1.0, 0.5, 1.25, 1.5, 1.6, 2.0, 2.5, 3.0, 4.0, 9.0],
    "client_lift": [1.0, 4.9, 5.0, 50.0],
}
SHARES = [-1.0, 0.0, 0.02, 0.04, 0.06, 0.1, 0.15, 0.2, 0.3, 0.35, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.9, 1.0]


def every_reading() -> dict[str, set[float]]:
    """The points that each evidence can give, over clusters of any shape."""
    draw = random.Random(7)
    found: dict[str, set[float]] = {}
    for _ in range(30_000):
        values = {name: draw.choice(CHOICES.get(name, SHARES)) for name in Features.__struct_fields__}
        for item in weigh(Features(**values)):
            found.setdefault(item.name, set()).add(item.weight)
    return found


def test_the_evidence_table_is_that_of_the_code() -> None:
    said = {}
    for row in table_rows(section("docs/detection.md", "6. Evidence")):
        if len(row) == 3 and row[0].startswith("`"):
            said[row[0].strip("`")] = {float(points) for points in re.split(r",\s*", row[2])}
    found = every_reading()
    assert len(found) >= len(READINGS)
    assert said == found


def test_every_constant_shown_has_its_value() -> None:
    seen = 0
    for page in PAGES:
        for row in table_rows(page.read_text()):
            named = re.fullmatch(r"`(\w+)\.([A-Z_]+)`", row[0])
            if named:
                value = getattr(importlib.import_module(f"models.{named[1]}"), named[2])
                assert float(row[1]) == float(value), row[0]
                seen += 1
    assert seen > 30


def rules() -> list[Alert]:
    """An alert of each account rule."""
    marks = np.array([FIREHOSE | REASONING_VOLUME | MANY_NETWORKS], np.uint8)
    maker = AccountRules(KeyedHash(b"documentation secret"), mode="enforce")
    decided = maker.decide(Strings.of(["somebody"]), marks, np.zeros(1, SIGHTING), np.zeros(1, np.int64))
    assert decided.signals == []
    return decided.alerts


def test_account_rules_tell_people_and_not_the_limiter() -> None:
    assert {alert.mode for alert in rules()} == {"alert"}
    assert {alert.rule for alert in rules()} == quoted(section("docs/detection.md", "9. Account rules")) - {"enforce"}


@pytest.mark.parametrize("url", [RUNBOOK, *(alert.runbook_url for alert in rules())])
def test_every_alert_leads_into_the_runbook(url: str) -> None:
    path, _, anchor = url.partition("#")
    assert anchor in anchors(ROOT / path)


# Links and promises.


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", BLOCK.sub("", page.read_text())):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), target
        assert not anchor or anchor in anchors(found), target


def test_files_named_exist() -> None:
    for page in PAGES:
        for name in quoted(page.read_text()):
            if re.fullmatch(r"(?:models|streams|tests|bench|docs|docker)/[\w/.-]*", name):
                assert (ROOT / name).exists(), (page.name, name)


def test_every_promise_names_a_test_that_exists() -> None:
    promises = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text("docs/guarantees.md"))
    assert len(promises) > 25
    for path, name in promises:
        assert re.search(rf"^(?:async )?def {name}\(", text(path), re.MULTILINE), f"{path}::{name}"
    cases = [
        row for row in table_rows(text("docs/guarantees.md")) if row[0] not in ("case", "") and "-" not in row[0][:3]
    ]
    assert all("tests/" in row[1] for row in cases)
