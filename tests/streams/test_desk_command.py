"""``alerts`` and ``allow`` on files: what they say is kept, and holds for the next command and the detector."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from models.output import encode_alert, signal_line
from streams.cli import main
from tests.models.desk_records import campaign, of_account, signal


class Shell:
    """A folder with the feeds, and the commands in it."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capsys = capsys
        alerts = [campaign(), campaign("c-2", summary="\x1b[2Jcleared"), of_account("ann")]
        (folder / "a.jsonl").write_bytes(b"".join(encode_alert(alert) + b"\n" for alert in alerts))
        (folder / "s.jsonl").write_bytes(signal_line("bob", signal("bob")) + b"\n")

    def __call__(self, *words: str) -> tuple[int, str, str]:
        names = [f"{self.folder}/{name}" for name in ("a.jsonl", "s.jsonl", "l.jsonl")]
        feeds = [item for pair in zip(("--alerts", "--signals", "--actions"), names, strict=True) for item in pair]
        code = main([*words, *feeds])
        said = self._capsys.readouterr()
        return code, said.out, said.err

    def json(self, *words: str) -> Any:
        code, out, err = self(*words, "-o", "json")
        assert code == 0, err
        return json.loads(out)


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(tmp_path, capsys)


def statuses(shell: Shell) -> dict[str, str]:
    return {
        case["alert"]["cluster_id"] or case["alert"]["account_id"]: case["status"]
        for case in shell.json("alerts", "list")
    }


def test_a_case_from_open_to_verdict_and_back(shell):
    assert statuses(shell) == {"c-1": "open", "c-2": "open", "ann": "open"}
    assert shell("alerts", "ack", "a-c-1-1", "--who", "kim")[0] == 0
    assert statuses(shell)["c-1"] == "acknowledged"
    assert shell("alerts", "close", "c-1", "--verdict", "confirmed", "--reason", "keys revoked")[0] == 0
    shown = shell.json("alerts", "show", "c-1")
    assert (shown["status"], shown["verdict"]["reason"], shown["members"]) == ("closed", "keys revoked", ["bob"])
    assert shell("alerts", "reopen", "c-1", "--reason", "they are back")[0] == 0
    assert statuses(shell)["c-1"] == "open"
    (record,) = [item for item in shell.json("alerts", "stats") if item["rule"] == "campaign"]
    assert record["alerts"] == 2
    code, page, _ = shell("alerts", "show", "c-1")
    assert code == 0
    assert "by kim" in page
    assert "keys revoked" in page


def test_what_came_from_outside_moves_no_cursor(shell):
    _, out, _ = shell("alerts", "list")
    assert "\x1b" not in out
    assert "\\u001b" in out


def test_silences_are_listed_until_lifted(shell):
    assert shell("alerts", "silence", "--match", "rule=campaign", "--reason", "a test", "--for", "4h")[0] == 0
    (known,) = shell.json("alerts", "silences")
    assert known["subject"] == {"rule": "campaign"}
    assert known["expires"] == known["ts"] + 4 * 3_600_000
    assert shell("alerts", "unsilence", "--match", "rule=campaign")[0] == 0
    assert shell.json("alerts", "silences") == []


def test_the_allowlist_names_owner_reason_and_end(shell):
    assert shell("allow", "add", "--org", "acme", "--who", "lee", "--reason", "contract", "--for", "90d")[0] == 0
    assert shell("allow", "profile", "--account", "bulk", "--requests", "200000", "--reason", "batches")[0] == 0
    allowed, bulk = shell.json("allow", "list")
    assert (allowed["who"], allowed["reason"], allowed["subject"]) == ("lee", "contract", {"org_id": "acme"})
    assert bulk["limits"]["requests_24h"] == 200_000
    assert shell("allow", "remove", "--org", "acme")[0] == 0
    assert shell("allow", "unprofile", "--account", "bulk")[0] == 0
    assert shell.json("allow", "list") == []


def test_undo_takes_a_cluster_by_any_name_of_it(shell):
    for name in ("c-1", "a-c-1-1", campaign().dedup_key):
        assert shell("alerts", "undo", name, "--reason", "honest")[0] == 0
    records = [json.loads(line) for line in (shell.folder / "l.jsonl").read_text().splitlines()]
    assert [record["subject"] for record in records] == [{"cluster_id": "c-1"}] * 3


@pytest.mark.parametrize(
    ("words", "code", "hint"),
    [
        (["alerts", "ack"], 2, "name an alert"),
        (["alerts", "ack", "nothing"], 1, "no alert is called nothing"),
        (["alerts", "close", "c-1", "--reason", "x"], 2, "verdict"),
        (["alerts", "close", "c-1", "--verdict", "confirmed"], 2, "needs a reason"),
        (["alerts", "reopen", "c-1", "--reason", "x"], 1, "only a closed or acknowledged one"),
        (["alerts", "silence", "--reason", "x"], 2, "--match FIELD=VALUE"),
        (["alerts", "silence", "--match", "color=red", "--reason", "x"], 2, "expected FIELD=VALUE"),
        (["alerts", "silence", "--match", "rule=campaign", "--reason", "x"], 2, "needs an end"),
        (["alerts", "undo", "a-ann", "--reason", "x"], 1, "is about one account"),
        (["allow", "add", "--reason", "x"], 2, "one of --account"),
        (["allow", "add", "--account", "x", "--org", "y", "--reason", "x"], 2, "not several"),
        (["allow", "add", "--account", "x"], 2, "needs a reason"),
        (["allow", "remove", "--account", "x"], 1, "there is no such entry"),
        (["allow", "profile", "--account", "x", "--reason", "x"], 2, "at least one of"),
        (["alerts", "list", "--brokers", "127.0.0.1:1"], 2, "two sources"),
    ],
)
def test_wrong_use_names_the_fix_and_writes_nothing(shell, words, code, hint):
    got, out, err = shell(*words)
    assert (got, out) == (code, "")
    assert hint in err
    assert not (shell.folder / "l.jsonl").exists()


def test_a_file_that_is_not_there_and_an_actions_file_that_is_missing_are_named(tmp_path, capsys):
    assert main(["alerts", "list", "--alerts", str(tmp_path / "no")]) == 2
    assert "does not exist" in capsys.readouterr().err
    (tmp_path / "a").write_bytes(encode_alert(campaign()) + b"\n")
    assert main(["alerts", "ack", "c-1", "--alerts", str(tmp_path / "a")]) == 2
    assert "--actions FILE" in capsys.readouterr().err


def test_brokers_that_do_not_answer_are_one_error(capsys):
    assert main(["alerts", "list", "--brokers", "127.0.0.1:1"]) == 1
    said = capsys.readouterr().err.splitlines()
    assert said[-1].startswith("distilwatch: Kafka at 127.0.0.1:1")
