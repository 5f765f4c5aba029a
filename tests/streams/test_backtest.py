"""Backtest: the same rules give the same outcome, looser ones show what would change, labels are counted."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from models.errors import ConfigError
from models.rules import AccountRule, CampaignRule, Rules
from streams import backtest, rules_file
from streams.lanes import Traffic
from streams.replay import ReplayOptions, replay
from tests.letter import SECRET, letter
from tests.servers import ROOT

LOOSE = Rules(
    name="loose",
    campaign=CampaignRule(open_score=3.0, hold_score=1.0, confirmed_below=0),
    account_volume=AccountRule(limit=60),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("backtest")
    (folder / "events").write_bytes(letter().file())
    truth = {"scenario": "letter", "campaigns": [{"name": "a", "accounts": sorted(letter().members)}]}
    (folder / "truth").write_bytes(msgspec.json.encode(truth))
    rows = [{"account_id": name, "label": "campaign"} for name in sorted(letter().members)[:50]]
    rows.append({"account_id": "somebody", "label": "benign"})
    (folder / "lines").write_text("\n".join(json.dumps(row) for row in rows))
    return folder


def traffic(folder: Path) -> Traffic:
    return Traffic(files=[str(folder / "events")], secret=SECRET.encode())


def run(capsys: pytest.CaptureFixture[str], folder: Path, rules: Rules, against: Rules, **more: Any) -> tuple[int, Any]:
    options = {"labels": None, "output": "json"} | more
    code = backtest.run(traffic(folder), rules, against, **options)
    text = capsys.readouterr().out
    return code, json.loads(text) if options["output"] == "json" else text


def test_a_loosened_copy_shows_what_would_change_and_is_1(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    code, found = run(capsys, folder, LOOSE, Rules(), labels=str(folder / "truth"))
    assert (code, found["same"]) == (1, False)
    assert (found["rules"], found["against"]) == (LOOSE.label, Rules().label)
    added = {item["rule"] for item in found["alerts"]["added"]}
    assert "account_volume" in added
    assert found["scored_against"]["precision"] >= 0.99
    assert found["scored_against"]["recall"] >= 0.95
    assert found["scored"]["recall"] >= found["scored_against"]["recall"]
    points = {point["open_score"]: point for point in found["curve"]}
    accounts = [points[score]["accounts"] for score in sorted(points)]
    assert accounts == sorted(accounts, reverse=True), "a higher score names nobody more"
    assert points[7.5]["members"] >= 0.95 * len(letter().members)
    text = backtest.told(msgspec.convert(found, backtest.Outcome))
    assert "The outcomes differ." in text
    assert "added" in text
    signals = folder / "signals"
    replay(ReplayOptions(files=[str(folder / "events")], secret=SECRET.encode(), signals=str(signals), quiet=True))
    told = {json.loads(line)["account_id"] for line in signals.read_bytes().splitlines()}
    assert found["scored_against"]["accounts"] == len(told), "it decides as a replay does"


def test_the_same_rules_are_0_also_in_the_shadow(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    shadow = Rules(name="shadow", campaign=CampaignRule(mode="shadow"))
    alert = Rules(campaign=CampaignRule(mode="alert"))
    code, found = run(capsys, folder, shadow, alert)
    assert (code, found["same"], found["accounts_changed"]) == (0, True, 0)
    assert len(found["alerts"]["both"]) == 1


def test_labels_are_the_truth_or_lines(folder: Path) -> None:
    assert backtest.read_labels(str(folder / "truth")) == letter().members
    assert len(backtest.read_labels(str(folder / "lines"))) == 50
    (folder / "wrong").write_text('{"a": 1}\n')
    for name in ("wrong", "absent"):
        with pytest.raises(ConfigError, match=name):
            backtest.read_labels(str(folder / name))


def test_precision_and_recall() -> None:
    assert backtest.score({"a", "b"}, {"b", "c", "d", "e"}) == backtest.Scored(2, 0.5, 0.25)
    assert backtest.score(set(), {"b"}) == backtest.Scored(0, None, 0.0)
    assert backtest.score({"a"}, None) == backtest.Scored(1)


def test_the_example_of_the_page_exits_1_and_says_what_would_change(folder: Path, tmp_path: Path) -> None:
    page = (ROOT / "docs/rules.md").read_text()
    section = page[page.index("## What a change would do") :]
    lines = section[section.index("```sh\n") + 6 :].partition("```")[0].strip().splitlines()
    assert [line.split()[:2] for line in lines] == [["distilwatch", "rules"], ["distilwatch", "backtest"]]
    (tmp_path / "e.jsonl.gz").symlink_to(folder / "events")
    (tmp_path / "t.json").symlink_to(folder / "truth")
    env = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}
    assert subprocess.run(["sh", "-c", lines[0]], cwd=tmp_path, env=env, check=False).returncode == 0
    assert rules_file.load(str(tmp_path / "loose.yaml")) == Rules(
        campaign=CampaignRule(open_score=4.5), account_volume=AccountRule(limit=100)
    ), "the page loosens what it says it does"
    done = subprocess.run(["sh", "-c", lines[1]], cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "account_volume" in done.stdout
    assert "The outcomes differ." in done.stdout
    assert re.search(r"^ +7\.5 ", done.stdout, re.M), "the curve has the score that is shipped"
