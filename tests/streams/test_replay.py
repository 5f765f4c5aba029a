"""Files through the embedded host: the campaign found, contracts kept, every line accounted for, nothing leaked."""

from __future__ import annotations

import gzip
import io
import json
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zstandard

from models.alert import Alert, Signal
from models.errors import ConfigError
from streams.replay import ReplayOptions, replay, run
from streams.summary import RunSummary
from tests.letter import CANARY, SECRET, letter

HOUR_MS = 3_600_000


def options(folder: Path, *files: Path | str, name: str = "out", **more: Any) -> ReplayOptions:
    return ReplayOptions(
        files=[str(file) for file in files],
        secret=SECRET.encode(),
        alerts=str(folder / f"{name}.alerts"),
        signals=str(folder / f"{name}.signals"),
        quiet=True,
        **more,
    )


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def ids(path: Path, field: str) -> set[str]:
    return {line[field] for line in lines(path)}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunSummary]:
    """One replay of the whole letter: its folder (with ``events``) and its summary."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "events").write_bytes(letter().file())
    return folder, replay(options(folder, folder / "events"))


def test_the_campaign_is_found(whole: tuple[Path, RunSummary]) -> None:
    folder, result = whole
    alerts = lines(folder / "out.alerts")
    assert [alert["status"] for alert in alerts if alert["rule"] == "campaign"].count("open") == 1
    named = ids(folder / "out.signals", "account_id")
    members = letter().members
    assert len(named & members) >= 0.95 * len(members)
    assert len(named - members) <= 0.01 * len(named)
    assert (result.read, result.accepted, result.unaccounted) == (len(letter().lines), len(letter().lines), 0)


def test_every_line_keeps_its_contract(whole: tuple[Path, RunSummary]) -> None:
    folder, _ = whole
    for line in (folder / "out.alerts").read_bytes().splitlines():
        alert = msgspec.json.decode(line, type=Alert)
        assert set(json.loads(line)) == set(Alert.__struct_fields__)
        assert alert.first_seen <= alert.last_seen <= alert.ts
        assert alert.ts % 10_000 == 0
        assert alert.evidence
        assert alert.members_sample
        assert alert.templates
        assert alert.cluster_id or alert.account_id
    for line in (folder / "out.signals").read_bytes().splitlines():
        signal = msgspec.json.decode(line, type=Signal)
        assert set(json.loads(line)) == set(Signal.__struct_fields__)
        assert 0 < signal.multiplier < 1
        assert signal.expires > signal.ts
        assert signal.alert_id in ids(folder / "out.alerts", "alert_id")


@pytest.mark.parametrize("form", ["gz", "zst", "stdin", "parts"])
def test_any_container_gives_the_same(
    form: str, whole: tuple[Path, RunSummary], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = letter().file()
    source: list[Path | str] = [tmp_path / f"events.{form}"]
    match form:
        case "gz":
            (tmp_path / "events.gz").write_bytes(gzip.compress(data, 1))
        case "zst":
            (tmp_path / "events.zst").write_bytes(zstandard.ZstdCompressor(1).compress(data))
        case "stdin":
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(data))))
            source = ["-"]
        case _:
            first, second = letter().halves()
            (tmp_path / "in").mkdir()
            (tmp_path / "in" / "1").write_bytes(first)
            (tmp_path / "in" / "2.gz").write_bytes(gzip.compress(second, 1))
            source = [tmp_path / "in"]
    replay(options(tmp_path, *source))
    folder, _ = whole
    for kind in ("alerts", "signals"):
        assert (tmp_path / f"out.{kind}").read_bytes() == (folder / f"out.{kind}").read_bytes()


def test_kept_state_continues_as_if_there_had_been_one_file(whole: tuple[Path, RunSummary], tmp_path: Path) -> None:
    first, second = letter().halves()
    (tmp_path / "1").write_bytes(first)
    (tmp_path / "2").write_bytes(second)
    state = str(tmp_path / "state")
    results = [replay(options(tmp_path, tmp_path / name, name=name, state=state)) for name in ("1", "2")]
    folder, _ = whole
    for kind, field in (("alerts", "alert_id"), ("signals", "account_id")):
        both = ids(tmp_path / f"1.{kind}", field) | ids(tmp_path / f"2.{kind}", field)
        assert both == ids(folder / f"out.{kind}", field)
    assert [result.unaccounted for result in results] == [0, 0]


def test_a_continued_run_accounts_for_rows_that_waited(tmp_path: Path) -> None:
    found = letter().lines[:10]  # fewer than confirm the first stamps: all of them wait
    (tmp_path / "1").write_bytes(b"\n".join(found))
    (tmp_path / "2").write_bytes(b"\n".join(letter().lines[10:60]))
    state = str(tmp_path / "state")
    results = [replay(options(tmp_path, tmp_path / name, state=state)) for name in ("1", "2")]
    assert [result.read for result in results] == [10, 60]
    assert [result.accepted for result in results] == [10, 60]


def test_a_damaged_state_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "events").write_bytes(letter().lines[0])
    replay(options(tmp_path, tmp_path / "events", state=str(tmp_path / "state")))
    (kept,) = (tmp_path / "state").iterdir()
    kept.write_bytes(kept.read_bytes()[:-3])
    with pytest.raises(ConfigError, match="move it away"):
        replay(options(tmp_path, tmp_path / "events", state=str(tmp_path / "state")))


def broken_files(folder: Path) -> int:
    """Write a folder of bad input; gives the records in it."""
    folder.mkdir()
    good = letter().lines[:50]
    event = json.loads(good[0])
    (folder / "empty").write_bytes(b"")
    (folder / "binary").write_bytes(bytes(range(256)).replace(b"\n", b"") + b"\n")
    (folder / "cut.gz").write_bytes(gzip.compress(b"\n".join(good))[:-20])
    bad = [
        b"{", b"null", b"[]", b"{}", b'"' + CANARY.encode() + b'"', b'{"ts": NaN}', b"\xff\xfe", b"[" * 70 + b"]" * 70,
        json.dumps(event | {"ts": 12}).encode(), json.dumps(event | {"ts": -5}).encode(),
        json.dumps(event | {"event_id": "far", "ts": event["ts"] + 400 * 86_400_000}).encode(),
        json.dumps(event | {"prompt": 7}).encode(), b'{"prompt": "\\ud800"}',
        json.dumps(event | {"sketch": "!"}).encode(),
        json.dumps({name: value for name, value in event.items() if name != "prompt"} | {"sketch": "AAAA"}).encode(),
        b'{"x": "' + b"y" * (1 << 21) + b'"}',
    ]  # fmt: skip
    late = json.dumps(event | {"event_id": "late", "ts": event["ts"] - HOUR_MS}).encode()
    (folder / "lines").write_bytes(b"\n".join([*good, *bad, good[-1], late, *letter().lines[50:90]]))
    return len(good) + len(bad) + 2 + 40


def test_broken_input_ends_well_and_every_line_is_accounted_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    count = broken_files(tmp_path / "broken")
    wanted = options(tmp_path, tmp_path / "broken", state=str(tmp_path / "state"))
    assert run(wanted, output="json") == 0
    result = json.loads(capsys.readouterr().out)
    ended = result["accepted"] + sum(result["rejected"].values()) + result["duplicate"] + result["late"]
    assert result["read"] == ended >= count
    assert {"malformed_json", "bad_sketch", "time_range", "too_deep", "too_large"} <= set(result["rejected"])
    assert result["rejected"]["truncated_archive"] == 1
    assert result["duplicate"] >= 1
    assert result["late"] >= 1


def test_the_canary_stays_inside(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken_files(tmp_path / "broken")
    (tmp_path / "events").write_bytes(letter().file())
    run(options(tmp_path, tmp_path / "events", tmp_path / "broken", state=str(tmp_path / "state")))
    written = capsys.readouterr()
    assert "campaign" in written.out
    searched = [
        path for path in tmp_path.rglob("*") if path.is_file() and path.name not in ("events", "lines", "cut.gz")
    ]
    assert {"out.alerts", "out.signals", "state.dwb"} <= {path.name for path in searched}
    assert all(CANARY.encode() not in path.read_bytes() for path in searched)
    assert CANARY not in written.out + written.err


def test_at_a_pace_events_take_their_time(tmp_path: Path) -> None:
    (tmp_path / "events").write_bytes(b"\n".join(letter().lines[:60]))
    fast = replay(options(tmp_path, tmp_path / "events"))
    span_s = ((fast.last_ts or 0) - (fast.first_ts or 0)) / 1000
    paced = replay(options(tmp_path, tmp_path / "events", speed=span_s))
    assert (paced.read, paced.accepted) == (fast.read, fast.accepted)


def test_only_enforce_asks_the_limiter_to_act(tmp_path: Path) -> None:
    (tmp_path / "events").write_bytes(letter().file())
    replay(options(tmp_path, tmp_path / "events", mode="shadow", shadow=str(tmp_path / "out.shadow")))
    assert ids(tmp_path / "out.shadow", "mode") == {"shadow"}
    assert not lines(tmp_path / "out.alerts")
    assert not (tmp_path / "out.signals").read_bytes()
    replay(options(tmp_path, tmp_path / "events", mode="alert"))
    assert ids(tmp_path / "out.signals", "mode") == {"alert"}
    assert ids(tmp_path / "out.signals", "action") == {"observe"}
    replay(options(tmp_path, tmp_path / "events"))
    assert ids(tmp_path / "out.signals", "action") <= {"throttle", "challenge"}
