"""The command ``rules``: exit codes, both forms of output, and shadow against live."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from models.rules import CampaignRule, Rules
from streams import rules_command, rules_trial
from streams.config import CoreSettings
from streams.replay import ReplayOptions, replay
from streams.rules_compare import Subject, pair
from streams.rules_file import parse
from streams.rules_text import rendered
from tests.letter import SECRET, letter
from tests.servers import ROOT

CORE = CoreSettings(tenant="default", mode="enforce", secret=None, rules=None)


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "rules.yaml"
    path.write_text(rendered(Rules(campaign=CampaignRule(open_score=6.0))))
    return str(path)


def run(capsys: pytest.CaptureFixture[str], verb: str, *files: str, output: str = "human") -> tuple[int, Any]:
    code = rules_command.run(verb, files, CORE, output)
    text = capsys.readouterr().out
    return code, json.loads(text) if output == "json" else text


def test_the_printed_default_is_what_is_shipped(capsys: pytest.CaptureFixture[str]) -> None:
    code, text = run(capsys, "default")
    assert (code, parse(text.encode()).rules) == (0, Rules())


def test_validate_names_every_error_and_is_1(capsys: pytest.CaptureFixture[str], file: str) -> None:
    assert run(capsys, "validate", file)[0] == 0
    broken = str(ROOT / "tests/rules/broken/wrong_unit.yaml")
    code, text = run(capsys, "validate", file, broken)
    assert code == 1
    assert text.count(f"{broken}:") == 4
    code, reports = run(capsys, "validate", file, broken, output="json")
    assert [len(report["problems"]) for report in reports] == [0, 4]
    assert reports[0]["rules"] == Rules(campaign=CampaignRule(open_score=6.0)).label


def test_diff_is_1_where_rules_differ(capsys: pytest.CaptureFixture[str], file: str, tmp_path: Path) -> None:
    assert run(capsys, "diff", file, file)[0] == 0
    code, text = run(capsys, "diff", file)
    assert code == 1
    assert "campaign.open_score: 7.5 -> 6.0" in text
    assert run(capsys, "diff", file, output="json")[1]["differences"] == [
        {"name": "campaign.open_score", "from": 7.5, "to": 6.0}
    ]


def test_list_and_explain_speak_of_the_file_under_the_host(capsys: pytest.CaptureFixture[str], file: str) -> None:
    assert re.search(r"campaign +enforce +6 ", run(capsys, "list", file)[1])
    assert "opens at 6 points" in run(capsys, "explain", file)[1]
    assert run(capsys, "list", output="json")[1]["rules"] == Rules().label


def test_the_trial_tells_rules_that_find_nothing_from_those_shipped(capsys: pytest.CaptureFixture[str]) -> None:
    blind = Rules(campaign=CampaignRule(open_score=60.0))
    assert not next(rules_trial.checks(blind)).passed
    assert rules_trial.run(Rules(), "json") == 0
    assert all(check["passed"] for check in json.loads(capsys.readouterr().out)["checks"])


def subject(name: str, *signs: str, accounts: int = 10) -> Subject:
    return Subject("campaign", name, 0, "low", accounts, 1, {name, *signs})


def test_campaigns_are_paired_by_what_they_share() -> None:
    old = [subject("c-1", "x", "y"), subject("c-2", "p"), subject("c-3", "q")]
    new = [subject("c-9", "x", "y"), subject("c-2", "z"), subject("c-8")]
    paired = pair(old, new)
    assert {(mine.subject, other.subject) for mine, other in paired.both} == {("c-1", "c-9"), ("c-2", "c-2")}
    assert [item.subject for item in paired.lost] == ["c-3"]
    assert [item.subject for item in paired.added] == ["c-8"]


def test_shadow_against_live_over_a_real_campaign(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "events").write_bytes(letter().file())
    names = {name: str(tmp_path / name) for name in ("events", "alerts", "shadow", "signals", "none")}
    options: dict[str, Any] = {"files": [names["events"]], "secret": SECRET.encode(), "quiet": True}
    replay(ReplayOptions(**options, alerts=names["alerts"]))
    shadow = Rules(name="loose", campaign=CampaignRule(mode="shadow", open_score=6.0))
    replay(
        ReplayOptions(**options, rules=shadow, alerts=names["none"], shadow=names["shadow"], signals=names["signals"])
    )
    assert Path(names["shadow"]).stat().st_size
    assert not Path(names["none"]).stat().st_size
    assert not Path(names["signals"]).stat().st_size
    code, report = run(capsys, "shadow-report", names["alerts"], names["shadow"], output="json")
    assert (code, report["same"], len(report["both"])) == (0, True, 1)
    assert report["shadow_rules"] == [shadow.label]
    assert run(capsys, "shadow-report", names["alerts"], names["none"])[0] == 1
    code, text = run(capsys, "shadow-report", names["none"], names["shadow"])
    assert (code, "1 only shadow" in text) == (1, True)


def test_the_example_of_the_page_is_a_right_file() -> None:
    text = (ROOT / "docs/rules.md").read_text()
    (example,) = re.findall(r"```yaml rules\n(.*?)```", text, re.DOTALL)
    found = parse(example.encode())
    assert found.problems == []
    assert found.rules is not None
    assert found.rules.orgs
    assert parse(example.encode(), "staging").rules.mode == "shadow"  # type: ignore[union-attr]


def test_live_and_shadow_of_one_run_are_told_apart(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "events").write_bytes(letter().file())
    looser = Rules(shadow=CampaignRule(mode="shadow", update_growth=1.1))
    alerts, shadow = str(tmp_path / "alerts"), str(tmp_path / "shadow")
    options: dict[str, Any] = {"files": [str(tmp_path / "events")], "secret": SECRET.encode(), "quiet": True}
    result = replay(ReplayOptions(**options, rules=looser, alerts=alerts, shadow=shadow))
    code, report = run(capsys, "shadow-report", alerts, shadow, output="json")
    assert (code, len(report["both"])) == (0, 1)
    assert {alert.mode for alert in result.alerts} == {"enforce"}
