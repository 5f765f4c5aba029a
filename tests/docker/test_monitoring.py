"""Rules, configurations and boards of the monitoring profile, through Prometheus's and Alertmanager's own checkers."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import absent
from tests.servers import Missing, find_debian
from tests.test_docs import ROOT, anchors, exported_metrics

FOLDER = ROOT / "docker"
RULES = yaml.safe_load((FOLDER / "prometheus/rules.yml").read_text())
ALERTS = [rule for group in RULES["groups"] for rule in group["rules"]]
BOARDS = sorted((FOLDER / "grafana/dashboards").glob("*.json"))
SUFFIXES = re.compile(r"_(?:bucket|sum|count)$")


def checked(tool: str, *arguments: str | Path, cwd: Path = ROOT) -> str:
    """What a checker says; the test fails where it finds a fault."""
    package = {"promtool": "prometheus", "amtool": "prometheus-alertmanager"}[tool]
    try:
        command = find_debian(tool, package=package)
    except Missing as reason:
        absent(reason)
    done = subprocess.run(
        [command, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_rules_do_what_their_tests_say() -> None:
    assert f"{len(ALERTS)} rules found" in checked("promtool", "check", "rules", FOLDER / "prometheus/rules.yml")
    checked("promtool", "test", "rules", FOLDER / "prometheus/rules_test.yml")


def test_every_rule_is_tested() -> None:
    tests = (FOLDER / "prometheus/rules_test.yml").read_text()
    assert [rule["alert"] for rule in ALERTS if not re.search(rf"{rule['alert']}\b", tests)] == []


def test_configurations_are_right(tmp_path: Path) -> None:
    shutil.copy(FOLDER / "prometheus/rules.yml", tmp_path)
    text = (FOLDER / "prometheus/prometheus.yml").read_text()
    (tmp_path / "prometheus.yml").write_text(text.replace("/etc/prometheus/", f"{tmp_path}/"))
    checked("promtool", "check", "config", tmp_path / "prometheus.yml")
    checked("amtool", "check-config", FOLDER / "alertmanager/alertmanager.yml")


def test_every_alert_leads_into_the_runbook_and_has_a_severity() -> None:
    known = anchors(ROOT / "docs/runbook.md")
    for rule in ALERTS:
        path, _, anchor = rule["annotations"]["runbook_url"].partition("#")
        assert path == "docs/runbook.md"
        assert anchor in known, rule["alert"]
        assert rule["labels"]["severity"] in ("info", "low", "medium", "high", "critical")


def metrics_in(expression: str) -> set[str]:
    return {SUFFIXES.sub("", name) for name in re.findall(r"\bdistilwatch_[a-z_]+", expression)}


def test_rules_name_only_metrics_that_are_exported() -> None:
    _, exported = exported_metrics()
    assert set().union(*(metrics_in(rule["expr"]) for rule in ALERTS)) <= exported


def panels(board: Path) -> list[dict[str, Any]]:
    return json.loads(board.read_text())["panels"]


@pytest.mark.parametrize("board", BOARDS, ids=lambda path: path.stem)
def test_boards_name_only_metrics_that_are_exported_and_say_what_to_look_for(board: Path) -> None:
    _, exported = exported_metrics()
    for panel in panels(board):
        assert len(panel["description"]) > 40, panel["title"]
        for target in panel["targets"]:
            assert metrics_in(target["expr"]) <= exported, panel["title"]
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels(board)]
    assert len(set(places)) == len(places)
    assert len({panel["id"] for panel in panels(board)}) == len(places)


def test_the_expressions_of_boards_are_promql(tmp_path: Path) -> None:
    found = [target["expr"] for board in BOARDS for panel in panels(board) for target in panel["targets"]]
    rules = [{"record": f"panel_{number}", "expr": expression} for number, expression in enumerate(found)]
    (tmp_path / "boards.yml").write_text(yaml.safe_dump({"groups": [{"name": "boards", "rules": rules}]}))
    assert f"{len(found)} rules found" in checked("promtool", "check", "rules", tmp_path / "boards.yml")
