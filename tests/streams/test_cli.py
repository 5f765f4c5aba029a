"""The command line as a person meets it: help, exit codes, one clear line on errors, silence on closed pipes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from streams import cli
from tests.letter import SECRET, letter
from tests.servers import ROOT, free_port, wait_for

COMMAND = [sys.executable, "-m", "streams"]


def clean(**env: str) -> dict[str, str]:
    """An environment without settings of ours but those given."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DISTILWATCH_")}
    return {**kept, "REDIS_URL": "", "COLUMNS": "100", **env}


def run(*arguments: str, stdin: bytes = b"", **env: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*COMMAND, *arguments], cwd=ROOT, env=clean(**env), input=stdin, capture_output=True, timeout=120, check=False
    )


@pytest.mark.parametrize("name", list(cli.COMMANDS))
def test_every_command_has_help_with_examples(name: str) -> None:
    done = run(name, "--help")
    assert done.returncode == 0, done.stderr
    text = done.stdout.decode()
    assert f"usage: distilwatch {name}" in text
    for example in cli.COMMANDS[name].examples:
        assert f"distilwatch {example}" in text


def test_help_lists_every_command_and_loads_nothing_heavy() -> None:
    done = run("--help")
    assert done.returncode == 0
    assert all(f"    {name}" in done.stdout.decode() for name in cli.COMMANDS)
    check = (
        "import sys; from streams.cli import main; code = main(['--help']);"
        "heavy = {'numpy', 'numba', 'aiokafka', 'faust', 'datasketch', 'aiohttp', 'msgspec'} & set(sys.modules);"
        "sys.exit(code or len(heavy))"
    )
    assert subprocess.run([sys.executable, "-c", check], cwd=ROOT, capture_output=True, check=False).returncode == 0


def test_examples_are_accepted_by_their_own_parser() -> None:
    for name, command in cli.COMMANDS.items():
        for example in command.examples:
            words = example.split(" && ")[0].split(" | distilwatch ")[-1].split()
            words = [word for word in words if "=" not in word and word != "distilwatch"]
            assert cli._parser(name).parse_args(words).command == name


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        ([], "usage: distilwatch"),
        (["unknown"], "invalid choice"),
        (["replay"], "the following arguments are required"),
        (["replay", "x", "--colour", "y"], "unrecognized arguments"),
        (["replay", "pyproject.toml", "--rules", "no-such-file"], "no-such-file"),
        (["replay", "pyproject.toml", "--rules", "pyproject.toml"], "pyproject.toml:2: not YAML"),
        (["rules"], "VERB"),
        (["rules", "explode"], "invalid choice"),
        (["rules", "validate"], "rules validate"),
        (["rules", "explain", "no-such-file"], "no-such-file"),
        (["replay", "x", "--speed", "fast"], "--speed"),
        (["replay", "x", "--speed", "-1"], "--speed"),
        (["replay", "does-not-exist"], "does-not-exist"),
        (["replay", "pyproject.toml", "--format", "xml"], "xml"),
        (["replay", "pyproject.toml", "--alerts", "no-folder/x"], "no-folder/x"),
        (["simulate", "nothing-like-it", "--out", "x"], "nothing-like-it"),
        (["simulate", "letter"], "--out"),
        (["check-event", "does-not-exist"], "does-not-exist"),
        (["allow", "add", "--template", "a typo", "--reason", "r", "--actions", "no-folder/x"], "16 hexadecimal"),
        (
            ["alerts", "silence", "--match", "severity=hihg", "--for", "1h", "--reason", "r", "--actions", "no/x"],
            "hihg",
        ),
        (["worker"], "DISTILWATCH_SECRET"),
        (["worker", "--brokers", "nonsense", "--insecure-development-secret"], "DISTILWATCH_BROKERS"),
        (["topics"], "verb"),
        (["config", "show", "-o", "xml"], "invalid choice"),
    ],
)
def test_wrong_usage_is_told_and_is_2(arguments: list[str], hint: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2, done.stderr
    assert hint in done.stderr.decode()
    assert "Traceback" not in done.stderr.decode()
    assert done.stdout == b""


def test_a_port_that_is_none_is_named_in_a_line() -> None:
    done = run("demo", "--once", "--port", "99999")
    assert done.returncode == 2
    assert "127.0.0.1:99999" in done.stderr.decode()
    assert "Traceback" not in done.stderr.decode()


def test_wrong_settings_name_themselves_and_never_the_secret() -> None:
    done = run("worker", DISTILWATCH_SECRET="short", DISTILWATCH_IDLE_MS="soon", DISTILWATCH_PARTITIONS="0")
    assert done.returncode == 2
    lines = done.stderr.decode().splitlines()
    assert len(lines) == 3
    assert all(line.startswith("distilwatch: DISTILWATCH_") for line in lines)
    assert "short" not in done.stderr.decode().replace("too short", "")


def test_a_secret_may_come_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text(SECRET)
    done = run("config", "show", DISTILWATCH_SECRET_FILE=str(path))
    assert done.returncode == 0
    assert "secret = ***" in done.stdout.decode()
    assert SECRET not in done.stdout.decode() + done.stderr.decode()


def test_config_shows_every_setting_and_no_secret() -> None:
    hidden = {"DISTILWATCH_SECRET": SECRET, "DISTILWATCH_REDIS_URL": "redis://:pass5word@h/0"}
    done = run("config", "show", "-o", "json", **hidden, DISTILWATCH_MODE="shadow")
    values = json.loads(done.stdout)
    assert done.returncode == 0
    assert values["mode"] == "shadow"
    assert values["secret"] == values["redis.url"] == "***"
    assert values["kafka.partitions"] == 4
    assert SECRET not in done.stdout.decode()
    assert "pass5word" not in done.stdout.decode()


def test_config_check_finds_errors_and_misspelt_names() -> None:
    assert run("config", "check").returncode == 0
    wrong = run("config", "check", DISTILWATCH_PARTITIONS="many")
    assert (wrong.returncode, b"DISTILWATCH_PARTITIONS" in wrong.stderr) == (1, True)
    misspelt = run("config", "check", DISTILWATCH_PARTITION="3")
    assert (misspelt.returncode, b"DISTILWATCH_PARTITION is set but not known" in misspelt.stderr) == (0, True)


def test_version() -> None:
    done = run("--version")
    assert done.returncode == 0
    assert done.stdout.decode().startswith("distilwatch 0.")


def test_brokers_that_do_not_answer_are_1_and_one_line() -> None:
    done = run("topics", "list", "--brokers", f"127.0.0.1:{free_port()}")
    assert done.returncode == 1
    assert len(done.stderr.decode().splitlines()) == 1
    assert "127.0.0.1" in done.stderr.decode()


def test_check_event_counts_and_says_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "e.jsonl"
    path.write_bytes(letter().lines[0] + b"\n")
    good = run("check-event", str(path), "-o", "json")
    assert good.returncode == 0
    assert json.loads(good.stdout)["accepted"] == 1
    path.write_bytes(b"{}\n")
    assert run("check-event", str(path)).returncode == 1


def test_simulate_writes_events_that_replay_reads(tmp_path: Path) -> None:
    events, truth = tmp_path / "e.jsonl.zst", tmp_path / "t.json"
    arguments = ["simulate", "letter", "--scale", "0.001", "--days", "0.3", "--out", str(events), "--truth", str(truth)]
    assert run(*arguments).returncode == 0
    written = json.loads(truth.read_bytes())["events"]
    done = run("replay", str(events), "--quiet", "-o", "json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["read"] == written > 100


def test_the_development_secret_is_said_once_and_not_where_there_is_one() -> None:
    line = letter().lines[0] + b"\n"
    without = run("replay", "-", "--quiet", stdin=line)
    assert without.stderr.decode().splitlines() == [
        "distilwatch: digests in the output are not private: set DISTILWATCH_SECRET"
    ]
    assert run("replay", "-", "--quiet", stdin=line, DISTILWATCH_SECRET=SECRET).stderr == b""


def test_a_closed_pipe_is_silent() -> None:
    script = f"{sys.executable} -m streams config show | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", script], cwd=ROOT, env=clean(PYTHONUNBUFFERED="1"), capture_output=True, timeout=60, check=False
    )
    assert done.stderr == b""
    script = f"{sys.executable} -m streams simulate letter --scale 0.001 --days 0.3 --out - | head -c 10"
    done = subprocess.run(["bash", "-c", script], cwd=ROOT, env=clean(), capture_output=True, timeout=120, check=False)
    assert b"Traceback" not in done.stderr
    assert b"BrokenPipe" not in done.stderr


def test_ctrl_c_is_130_without_a_traceback() -> None:
    process = subprocess.Popen(
        [*COMMAND, "replay", "-"], cwd=ROOT, env=clean(), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stderr is not None
    process.stdin.write(letter().lines[0] + b"\n")
    process.stdin.flush()
    assert b"DISTILWATCH_SECRET" in process.stderr.readline()
    # The word comes before the imports; the interrupt must find the run itself.
    wait_for(lambda: _threads(process.pid) > 1, "the reading thread")
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    try:
        code = process.wait(20)
    finally:
        process.kill()
    assert (code, b"Traceback" in process.stderr.read()) == (130, False)


def _threads(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("Threads")).split()[1])
