"""The report on a producer's records: right about the mapping, useful about what is wrong, silent about texts."""

import json
from pathlib import Path

import pytest

from models.errors import ConfigError
from models.reasons import REASONS
from models.request import FIELDS
from streams import check_event as command
from streams.check_event import check_event, run, text_of

CANARY = "canary-7f3a"
GOOD = {"event_id": "e", "ts": 1_700_000_000_000, "account_id": CANARY, "model": "m", "prompt": CANARY * 3}
LITELLM = {
    "id": "1",
    "call_type": "completion",
    "startTime": 1700000000.5,
    "model": "m",
    "messages": [{"role": "user", "content": CANARY}],
    "metadata": {"user_api_key_hash": "h"},
    "end_user": "u",
}


def write(folder: Path, *records: object) -> str:
    path = folder / "events.jsonl"
    lines = [record if isinstance(record, bytes) else json.dumps(record).encode() for record in records]
    path.write_bytes(b"\n".join(lines))
    return str(path)


def test_mapping_and_gaps_of_each_form(tmp_path: Path) -> None:
    report = check_event(write(tmp_path, GOOD, {**GOOD, "client_ip": "8.8.8.8", "extra": 1}, [LITELLM, LITELLM]))
    assert (report.read, report.accepted, report.rejected) == (4, 4, 0)
    canonical, litellm = report.formats["canonical"], report.formats["litellm"]
    assert canonical.requests == litellm.requests == 2
    assert canonical.mapped["client_ip"] == {"client_ip": 1}
    assert litellm.mapped["account_id"] == {"metadata.user_api_key_hash": 2}
    assert "payment_id" in canonical.missing
    assert "client_ip" not in canonical.missing
    assert "turn" not in litellm.missing
    assert report.unknown == ["extra"]
    assert report.prompt_bytes == [len(CANARY), 2 * len(CANARY), 3 * len(CANARY)]


def test_rejects_come_with_a_place_and_a_hint(tmp_path: Path) -> None:
    text = text_of(check_event(write(tmp_path, GOOD, {**GOOD, "ts": 1_700_000_000}, b"{", b"{")))
    assert "rejected 1 x time_range, first in record 2: ts is integer milliseconds" in text
    assert "rejected 2 x malformed_json, first in record 3" in text


def test_output_and_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(write(tmp_path, GOOD), output="json") == 0
    assert json.loads(capsys.readouterr().out)["accepted"] == 1
    assert run(write(tmp_path, GOOD, b"{")) == 1
    assert run(write(tmp_path)) == 1
    assert run(write(tmp_path, LITELLM), format="canonical") == 1


def test_no_text_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = {**GOOD, "ts": CANARY, CANARY * 9: 1}
    path = write(tmp_path, GOOD, LITELLM, bad, CANARY.encode(), {CANARY + " words": 1, "prompt": CANARY})
    for output in ("human", "json"):
        run(path, output=output)
    assert CANARY not in capsys.readouterr().out


def test_limit_ends_the_reading(tmp_path: Path) -> None:
    assert check_event(write(tmp_path, *[GOOD] * 10_000), limit=1000).read < 10_000


def test_wrong_arguments_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="absent"):
        check_event(str(tmp_path / "absent"))
    with pytest.raises(ConfigError, match="'csv'"):
        check_event(write(tmp_path, GOOD), format="csv")


def test_explanations_name_what_exists() -> None:
    assert set(command.WEAKENS) <= set(FIELDS)
    assert set(command._HINTS) <= REASONS
