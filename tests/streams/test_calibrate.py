"""Calibration: from calm traffic alone; no campaign is found later, calm fleets stay silent, too little is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from models.announce import Decisions
from models.errors import ConfigError
from models.rules import Rules
from streams import calibrate, rules_file
from streams.calibrate import Budget
from streams.lanes import Lanes, Traffic
from streams.simulator.simulation import Options, Simulation
from tests.letter import SECRET, letter

BUDGET = Budget(alerts_per_week=1.0, accounts_per_100k=5.0)


def traffic(path: Path) -> Traffic:
    return Traffic(files=[str(path)], secret=SECRET.encode())


def decided(path: Path, rules: Rules) -> Decisions:
    lanes = Lanes(traffic(path), [rules])
    lanes.run()
    return lanes.lanes[0].decisions


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty hours of 2,000 honest accounts, every look-alike among them."""
    path = tmp_path_factory.mktemp("calm") / "calm.jsonl"
    run = Simulation("calm", Options(seed=4, scale=0.1, days=0.8))
    path.write_bytes(b"".join(part.lines() for part in run.slices()))
    return path


def test_calibrated_rules_find_the_letter_at_the_same_time_and_leave_the_calm_fleet_alone(
    calm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "rules.yaml"
    assert calibrate.run(traffic(calm), BUDGET, str(out), "json") == 0
    report = json.loads(capsys.readouterr().out)
    rules = rules_file.load(str(out))
    assert report["rules"] == rules.label
    assert rules.name == "calibrated"
    assert report["groups"] > 0
    assert all(0 <= item["given"] <= item["read"] <= report["groups"] for item in report["readings"])
    assert decided(calm, rules) == Decisions()
    (tmp_path / "letter").write_bytes(letter().file())
    usual, found = decided(tmp_path / "letter", Rules()), decided(tmp_path / "letter", rules)
    assert [(alert.alert_id, alert.ts) for alert in found.alerts] == [
        (alert.alert_id, alert.ts) for alert in usual.alerts
    ]
    assert found.alerts
    assert [account for account, _ in found.signals] == [account for account, _ in usual.signals]


def test_calm_groups_that_cross_raise_the_score_until_they_do_not(calm: Path) -> None:
    run = calibrate.Calm(traffic(calm))
    run.run()
    highest = run.groups.peaks[0]
    low = replace(
        Rules(), campaign=replace(Rules().campaign, open_score=highest - 1, hold_score=0.0, confirmed_below=0)
    )
    assert decided(calm, low).alerts, "the fleet has a group that such rules would alert on"
    found = calibrate.open_score(run.groups.peaks, 0.1, alerts_per_week=1.0, shipped=low.campaign.open_score)
    assert found.moved
    raised = replace(low, campaign=replace(low.campaign, open_score=found.value))
    assert decided(calm, raised) == Decisions()


def test_too_little_traffic_is_refused_with_what_is_needed(calm: Path, tmp_path: Path) -> None:
    lines = calm.read_bytes().splitlines(keepends=True)
    (tmp_path / "little").write_bytes(b"".join(lines[:500]))
    run = calibrate.Calm(traffic(tmp_path / "little"))
    run.run()
    with pytest.raises(ConfigError, match="too little"):
        calibrate.calibrated(run, BUDGET)


def test_the_report_says_what_was_kept_and_why(calm: Path, capsys: pytest.CaptureFixture[str]) -> None:
    calibrate.run(traffic(calm), BUDGET, None, "human")
    text = capsys.readouterr().out
    assert "60,000 are needed: as shipped" in text
    assert "single_turn" in text
    assert "false accounts" not in text
    with pytest.raises(ConfigError, match="no-such"):
        calibrate.run(traffic(calm), BUDGET, "no-such-folder/x", "human")
