"""The command ``console`` as a process: files in, an action out, tokens, wrong usage, the end by a signal."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

from models.output import encode_alert, signal_line
from streams import cli
from streams.console.fleet import Reading, WorkersFold
from tests.servers import ROOT, free_port, wait_for
from tests.streams.console.sample import sample_alerts
from tests.streams.console.sample import signal as told
from tests.streams.test_cli import COMMAND, clean, run

KEY = "distilwatch:default:campaign:c-5b20e1"


def write_feeds(folder: Path) -> list[str]:
    (folder / "a.jsonl").write_bytes(b"".join(encode_alert(alert) + b"\n" for alert in reversed(sample_alerts())))
    (folder / "s.jsonl").write_bytes(signal_line("acct_1", told("acct_1")) + b"\n")
    names = {"--alerts": "a.jsonl", "--signals": "s.jsonl", "--actions": "actions.jsonl"}
    return [word for option, name in names.items() for word in (option, str(folder / name))]


def fetch(url: str, form: dict[str, str] | None = None) -> str:
    data = urllib.parse.urlencode(form).encode() if form else None
    with urllib.request.urlopen(url, data=data, timeout=20) as answer:
        return answer.read().decode()


def test_files_are_served_an_action_is_kept_and_a_signal_ends_it(tmp_path: Path) -> None:
    port = free_port()
    command = [
        *COMMAND,
        "console",
        *write_feeds(tmp_path),
        "--listen",
        f"127.0.0.1:{port}",
        "--state",
        str(tmp_path / "kept"),
    ]
    process = subprocess.Popen(command, cwd=ROOT, env=clean(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert f"http://127.0.0.1:{port}/" in process.stdout.readline().decode()
        page = fetch(f"http://127.0.0.1:{port}/case?key={urllib.parse.quote(KEY)}")
        csrf = re.search(r'name="csrf" value="(\w+)"', page)
        assert csrf
        form = {"kind": "close", "dedup_key": KEY, "verdict": "confirmed", "reason": "seen", "csrf": csrf[1]}
        fetch(f"http://127.0.0.1:{port}/act", form)
        label = json.loads((tmp_path / "actions.jsonl").read_text())
        assert (label["kind"], label["verdict"], label["who"]) == ("close", "confirmed", "local")
        with (tmp_path / "a.jsonl").open("ab") as file:
            file.write(
                encode_alert(sample_alerts()[0])
                .replace(b"campaign:c-5b20e1", b"k-later")
                .replace(b"c-5b20e1", b"c-later")
                + b"\n"
            )
        wait_for(lambda: "k-later" in fetch(f"http://127.0.0.1:{port}/?q=c-later"), "the new line", 20)
    finally:
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    assert b"Traceback" not in errors
    assert '"what":"close"' in (tmp_path / "kept" / "audit.jsonl").read_text()


def test_tokens_are_added_listed_and_removed(tmp_path: Path) -> None:
    path = str(tmp_path / "tokens.json")
    done = run("console", "token", "add", "--name", "alice", "--role", "analyst", "--tokens", path, "--days", "9")
    assert done.returncode == 0
    assert re.fullmatch(rb"dwc_[\w-]{43}\n", done.stdout)
    listed = run("console", "token", "list", "--tokens", path).stdout.decode()
    assert listed.startswith("alice: analyst, since ")
    assert done.stdout.strip().decode() not in listed
    assert run("console", "token", "remove", "--name", "alice", "--tokens", path).returncode == 0
    assert run("console", "token", "list", "--tokens", path).stdout == b""


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["--alerts", "a", "--listen", "0.0.0.0:8322"], "without a sign-in"),
        (["--alerts", "a", "--listen", "nonsense"], "--listen nonsense"),
        (["--alerts", "a", "--tokens", "absent.json"], "--audit FILE"),
        (["--alerts", "a", "--tokens", "absent.json", "--audit", "x"], "token add"),
        (["--alerts", "a", "--worker", "ftp://x"], "--worker"),
        (["token", "add"], "--tokens FILE"),
        (["token", "add", "--tokens", "t"], "--name"),
        (["token", "add", "--tokens", "t", "--name", "a"], "--role"),
        (["token", "steal"], "expected nothing, or token add"),
    ],
)
def test_wrong_usage_names_the_fix(
    arguments: list[str], hint: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DISTILWATCH_CONFIG", raising=False)
    assert cli.main(["console", *arguments]) == 2
    said = capsys.readouterr()
    assert hint in said.err
    assert said.out == ""


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        done = run("console", *write_feeds(tmp_path), "--listen", where)
    assert done.returncode == 2
    assert f"cannot listen on {where}" in done.stderr.decode()


METRICS = """# TYPE distilwatch_observe_events counter
distilwatch_observe_events_total{{stage="observe",outcome="accepted",reason=""}} {accepted}
distilwatch_observe_events_total{{stage="observe",outcome="late",reason=""}} 7
distilwatch_observe_events_total{{stage="observe",outcome="rejected",reason="bad_json"}} 3
# TYPE distilwatch_input_lag_records gauge
distilwatch_input_lag_records{{stage="observe",partition="0"}} 40
distilwatch_input_lag_records{{stage="observe",partition="1"}} 2
# TYPE distilwatch_watermark_timestamp_ms gauge
distilwatch_watermark_timestamp_ms{{stage="observe",partition="0"}} 1780272000000
distilwatch_watermark_timestamp_ms{{stage="observe",partition="1"}} 1780271000000
# TYPE distilwatch_watermark_age_seconds gauge
distilwatch_watermark_age_seconds{{stage="observe",partition="0"}} 12
"""


def reading(accepted: int) -> Reading:
    parts = {"observe": {"state": "ok", "detail": "2 partitions"}, "redis": {"state": "degraded", "detail": "away"}}
    return Reading("http://127.0.0.1:1", METRICS.format(accepted=accepted), parts)


def test_the_answers_of_workers_add_up_to_traffic_lag_and_stages() -> None:
    fold = WorkersFold()
    first = fold.take([reading(100), reading(100)], 0)
    assert (first.events, first.rate, first.rejects) == (220, None, {"bad_json": 6})
    fleet = fold.take([reading(300), reading(100)], 2_000)
    assert (fleet.accepted, fleet.late, fleet.rate, fleet.lag) == (400, 14, 100.0, 84)
    assert (fleet.watermark_ms, fleet.last_event_ms, fleet.last_seen_ms) == (1780271000000, 1780271000000, 2_000)
    assert [stage.state for stage in fleet.stages] == ["ok", "degraded"] * 2
    assert fleet.traffic == [(0, 200, 0)]


def test_a_worker_that_is_away_is_down_and_one_that_talks_nonsense_counts_nothing() -> None:
    fold = WorkersFold()
    away = fold.take([Reading("http://127.0.0.1:1", None, {}, "TimeoutError")], 0)
    assert (away.events, away.stages[0].state, away.stages[0].detail) == (None, "down", "TimeoutError")
    odd = fold.take([Reading("u", "}{ nonsense\n", {"x": {"state": "odd"}}), reading(5)], 1_000)
    assert (odd.events, odd.stages[0].state) == (15, "down")
