"""The outbox holds what was put, once for each sink, over kill -9."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from models.delivery import Judgement
from models.errors import ConfigError
from streams.sinks import outbox as module
from streams.sinks.outbox import KEPT_MS, STANDING_MS, Outbox, OutboxError, Tally
from tests.servers import ROOT, wait_for

NOW = 1_772_409_600_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.db"


def put(outbox: Outbox, *ids: str, key: str = "k", sinks: tuple[str, ...] = ("a",), now_ms: int = NOW) -> int:
    return sum(outbox.put(name, key, name.encode(), sinks=sinks, now_ms=now_ms) for name in ids)


def deliver(outbox: Outbox, sink: str = "a", state: str = "delivered", next_ms: int = NOW) -> str:
    item = outbox.due(sink)
    assert item is not None
    outbox.settle(item, Judgement(state, next_ms), f"said {state}")  # type: ignore[arg-type]
    return item.notice_id


def test_a_repeat_is_put_once_for_each_sink_also_after_it_was_delivered(path: Path) -> None:
    outbox = Outbox(path)
    assert put(outbox, "1", sinks=("a", "b")) == 2
    assert put(outbox, "1", sinks=("a", "b", "c")) == 1
    assert deliver(outbox) == "1"
    assert put(outbox, "1") == 0
    assert outbox.due("a") is None
    assert outbox.due("b") is not None


def test_an_end_never_overtakes_its_beginning_and_others_do_not_wait(path: Path) -> None:
    outbox = Outbox(path)
    put(outbox, "open-1", "end-1", key="1")
    put(outbox, "open-2", key="2")
    assert deliver(outbox, state="waiting", next_ms=NOW + 60_000) == "open-1"
    assert deliver(outbox) == "open-2"
    item = outbox.due("a")
    assert item is not None
    assert (item.notice_id, item.attempts, item.next_ms) == ("open-1", 1, NOW + 60_000)
    assert [deliver(outbox), deliver(outbox)] == ["open-1", "end-1"]


def test_what_is_given_up_lets_the_next_of_its_case_go(path: Path) -> None:
    outbox = Outbox(path)
    put(outbox, "1", "2")
    deliver(outbox, state="dead")
    assert deliver(outbox) == "2"
    assert outbox.tally("a") == Tally(0, 1, 1, None, "said dead")


def test_it_is_there_again_after_a_restart_and_private(path: Path) -> None:
    outbox = Outbox(path)
    put(outbox, "1", "2")
    deliver(outbox)
    outbox.close()
    again = Outbox(path)
    assert again.tally("a") == Tally(1, 1, 0, NOW, "")
    assert deliver(again) == "2"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_one_process_delivers_and_others_may_look(path: Path) -> None:
    outbox = Outbox(path)
    put(outbox, "1")
    with pytest.raises(ConfigError, match="another process delivers"):
        Outbox(path)
    reader = Outbox(path, owner=False)
    assert reader.tally("a").waiting == 1
    outbox.close()
    Outbox(path).close()


def test_what_waits_is_bounded_and_the_newest_stay(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAITING_MAX", 3)
    outbox = Outbox(path)
    for number in range(5):
        put(outbox, str(number), key=str(number))
    assert outbox.tally("a") == Tally(3, 0, 2, NOW, "too many wait")
    assert [deliver(outbox) for _ in range(3)] == ["2", "3", "4"]
    with pytest.raises(OutboxError, match="larger than"):
        outbox.put("x", "x", bytes(module.NOTICE_BYTES_MAX + 1), sinks=("a",), now_ms=NOW)


def test_what_is_over_and_old_is_forgotten(path: Path) -> None:
    outbox = Outbox(path)
    put(outbox, "1", "2", key="1")
    deliver(outbox)
    outbox.stand("a", "1", b"1", NOW)
    outbox.forget(NOW + KEPT_MS)
    assert outbox.tally("a").delivered == 1
    outbox.forget(NOW + KEPT_MS + 1)
    assert outbox.tally("a") == Tally(1, 0, 0, NOW, "")
    assert outbox.standing("a") == {}


def test_what_stands_is_kept_until_its_end(path: Path) -> None:
    outbox = Outbox(path)
    outbox.stand("a", "1", b"first", NOW)
    outbox.stand("a", "1", b"second", NOW)
    outbox.stand("b", "1", b"other", NOW)
    outbox.forget(NOW + STANDING_MS)
    assert outbox.standing("a") == {"1": b"second"}
    outbox.stand("a", "1", None, NOW)
    assert outbox.standing("a") == {}
    assert outbox.standing("b") == {"1": b"other"}


@pytest.mark.parametrize("content", [b"no database at all, only text" * 100, b"SQLite format 3\x00" + bytes(200)])
def test_a_file_that_is_none_is_told(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="cannot be opened"):
        Outbox(path)
    with pytest.raises(ConfigError, match="cannot be opened"):
        Outbox(path.parent / "no" / "folder")


WRITER = """
import itertools, sys
from pathlib import Path
from streams.sinks.outbox import Outbox
outbox = Outbox(Path(sys.argv[1]))
for number in itertools.count():
    outbox.put(f"n-{number}", f"k-{number}", b"x" * 2000, sinks=("a",), now_ms=number)
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()
"""


def test_what_was_put_survives_kill_9(path: Path) -> None:
    for _ in range(3):
        before = known(path)
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], cwd=ROOT, env=dict(os.environ), stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        acknowledged = [int(process.stdout.readline()) for _ in range(25)]
        process.send_signal(signal.SIGKILL)
        acknowledged += [int(line) for line in process.stdout.read().splitlines() if line.isdigit()]
        process.wait(20)
        process.stdout.close()
        wait_for(lambda: not locked(path), "the lock to end with its process")
        kept = known(path)
        assert kept >= before | {f"n-{number}" for number in acknowledged}
        # At most the one under way is there without having been acknowledged.
        assert len(kept) <= max(len(before), len(acknowledged) + 1)


def locked(path: Path) -> bool:
    try:
        Outbox(path).close()
    except ConfigError:
        return True
    return False


def known(path: Path) -> set[str]:
    """Every notification that waits."""
    if not path.exists():
        return set()
    outbox = Outbox(path)
    rows = outbox._base.execute("SELECT notice_id FROM notices WHERE state = 'waiting'").fetchall()
    outbox.close()
    return {row[0] for row in rows}
