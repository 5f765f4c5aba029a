"""The command ``sinks`` as a person meets it."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from streams.sinks.command import TEXT
from streams.sinks.outbox import Outbox
from tests.servers import ROOT, AlertmanagerServer
from tests.streams.sinks.receiver import receiving
from tests.streams.test_cli import clean

HIDDEN = "9f8e7d6c5b4a39281706f5e4d3c2b1a0"


def ran(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "streams", "sinks", *words]
    return subprocess.run(command, cwd=ROOT, env=clean(**env), capture_output=True, text=True, timeout=60, check=False)


def settings(folder: Path, url: str, type_: str = "webhook") -> str:
    secret = "url_env" if type_ == "slack" else "secret_env"
    table = f"  hook: {{type: {type_}, {secret}: HOOK, allow: [127.0.0.0/8]"
    table += "}" if type_ == "slack" else f', url: "{url}"}}'
    (folder / "sinks.yaml").write_text(f"outbox: {folder}/outbox.db\nsinks:\n{table}\n")
    return str(folder / "sinks.yaml")


async def asked(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(ran, *words, **env)


async def test_a_test_is_marked_and_told(tmp_path: Path) -> None:
    async with receiving(202) as receiver:
        path = settings(tmp_path, receiver.url + "/in")
        done = await asked("test", "hook", DISTILWATCH_CONFIG=path, HOOK=HIDDEN)
    assert done.returncode == 0, done.stderr
    assert "firing: taken after" in done.stdout
    assert "202" in done.stdout
    (body,) = receiver.bodies()
    assert body["data"]["text"] == TEXT
    assert body["data"]["alert"]["rule"] == "sink_test"


@pytest.mark.parametrize("type_", ["webhook", "slack"])
async def test_what_is_not_taken_is_told_with_the_reason_and_no_secret(tmp_path: Path, type_: str) -> None:
    async with receiving(403) as receiver:
        path = settings(tmp_path, receiver.url, type_)
        secret = f"{receiver.url}/services/{HIDDEN}" if type_ == "slack" else HIDDEN
        done = await asked("test", "hook", "--config", path, HOOK=secret)
    assert done.returncode == 1
    assert "NOT taken" in done.stdout
    assert "403 Forbidden" in done.stdout
    assert HIDDEN not in done.stdout + done.stderr


def test_the_list_shows_what_waits_and_no_secret(tmp_path: Path) -> None:
    path = settings(tmp_path, "http://127.0.0.1:9/in")
    outbox = Outbox(tmp_path / "outbox.db")  # held open: looking needs no turn
    outbox.put("n", "k", b"{}", sinks=["hook"], now_ms=1)
    done = ran("list", "--config", path, "-o", "json", HOOK=HIDDEN)
    (row,) = json.loads(done.stdout)
    assert (row["name"], row["where"], row["waiting"]) == ("hook", "http://127.0.0.1:9", 1)
    human = ran("list", "--config", path, HOOK=HIDDEN)
    assert "0 delivered, 1 waiting, 0 given up" in human.stdout
    assert HIDDEN not in done.stdout + human.stdout
    outbox.close()


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("list",), "DISTILWATCH_CONFIG"),
        (("test", "--config", "FILE"), "which one?"),
        (("test", "nobody", "--config", "FILE"), "there are: hook"),
        (("list", "--config", "no-such-file.yaml"), "cannot be read"),
    ],
)
def test_wrong_usage_is_told(tmp_path: Path, words: tuple[str, ...], hint: str) -> None:
    path = settings(tmp_path, "http://127.0.0.1:9/in")
    done = ran(*(path if word == "FILE" else word for word in words), HOOK=HIDDEN)
    assert done.returncode == 2
    assert hint in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.servers
async def test_a_test_of_alertmanager_leaves_nothing_standing(
    alertmanager_server: AlertmanagerServer, tmp_path: Path
) -> None:
    (tmp_path / "sinks.toml").write_text(
        f'[sinks.am]\ntype = "alertmanager"\nurl = "{alertmanager_server.url}"\nallow = ["127.0.0.0/8"]\n'
    )
    done = await asked("test", "am", "--config", str(tmp_path / "sinks.toml"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "firing: taken" in done.stdout
    assert "resolved: taken" in done.stdout
