"""The letter's 294 million events without simulating them all: a day and a half of them, and that day again and again.

What lives here: the pool of hours that the simulator wrote once, and their composition into 45 days. What does not: the
simulator, and the run (``letter``).

The pool holds the half day before the campaign and the campaign's first day, as JSON lines in one file an hour in
``.cache/bench``. Each further day is that day again with every stamp moved on and with an event id and a conversation
id of its own, written into the bytes in place: what a request is to the detector (an account at a time with a text)
is then a new one. Texts and accounts are those of the first day; a day later, all of them have left every window.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zstandard

from bench.traffic import FOLDER, Coarse, version
from models.compiled import jit
from models.decode import Origin
from models.limits import BATCH_RECORDS_MAX, READ_BYTES, RECORD_BYTES_MAX
from models.strings import Lines
from streams.records import RecordBatch
from streams.simulator.scenarios import scenario_of
from streams.simulator.simulation import Options

PAST_H = 12
"""The campaign of the scenario starts at noon of the first day."""
DAY_H = 24
HOUR_MS = 3_600_000
SLICE_MS = HOUR_MS // 3
CHUNK_LINES = 1_024
LEVEL = 1
_EVENT, _STAMP, _STAMP_DIGITS = len('{"event_id":"'), len('{"event_id":"0123456789abcdef","ts":'), 13
_CONVERSATION = np.frombuffer(b'"conversation_id":"', np.uint8)
_DIGITS = np.frombuffer(b"0123456789abcdef", np.uint8)

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]


class _Hours(Coarse):
    @property
    def slice_ms(self) -> int:
        """A third of an hour: each slice of so many accounts has a fixed cost."""
        return SLICE_MS


@jit
def _conversations(data: Bytes, offsets: Ints, wanted: Bytes) -> npt.NDArray[np.int32]:
    """Where in each line the digits of its conversation id begin, 0 for none; no text can hold unescaped quotes."""
    found = np.zeros(offsets.shape[0] - 1, np.int32)
    size = wanted.shape[0]
    for line in range(found.shape[0]):
        for at in range(offsets[line], offsets[line + 1] - size):
            if data[at] == wanted[0] and data[at + 1] == wanted[1] and data[at + 2] == wanted[2]:
                same = True
                for place in range(size):
                    same &= data[at + place] == wanted[place]
                if same:
                    found[line] = at + size - offsets[line]
                    break
    return found


@jit
def _rename(data: Bytes, at: int, day: int, digits: Bytes) -> None:
    """Write an id of the day over the one whose hexadecimal digits begin at ``at``: its first byte is moved on."""
    value = 0
    for place in range(at, at + 2):
        value = value * 16 + (data[place] - 48 if data[place] < 58 else data[place] - 87)
    value = (value + day) & 255
    data[at], data[at + 1] = digits[value >> 4], digits[value & 15]


@jit
def _move_on(data: Bytes, offsets: Ints, conversations: npt.NDArray[np.int32], moved: Ints, digits: Bytes) -> None:
    """Make lines those of a later day; ``moved`` is the day, by how many ms, and the three places in a line."""
    day, by_ms, event, stamp, width = moved
    for line in range(offsets.shape[0] - 1):
        start = offsets[line]
        _rename(data, start + event, day, digits)
        if conversations[line]:
            _rename(data, start + conversations[line], day, digits)
        value = 0
        for at in range(start + stamp, start + stamp + width):
            value = value * 10 + (data[at] - 48)
        value += by_ms
        for at in range(start + stamp + width - 1, start + stamp - 1, -1):
            data[at] = 48 + value % 10
            value //= 10


@dataclass(frozen=True, slots=True)
class Pool:
    """Hours of the letter on disk, and who is who in them."""

    folder: Path
    hours: int
    events: list[int]  # of each hour
    honest: list[int]  # honest accounts seen up to the end of each hour
    members: list[str]
    start: int  # of the campaign, its first event
    sent: npt.NDArray[np.int32]  # (members, hours): requests of each

    @property
    def whole_day(self) -> bool:
        """Whether it holds all that a run of any length is made of."""
        return self.hours == PAST_H + DAY_H

    def plan(self, days: float, past_h: int) -> list[tuple[int, int]]:
        """The hours of a run, as (hour of the pool, day it is moved on by): some of the past, and ``days``."""
        later = [(PAST_H + hour % DAY_H, hour // DAY_H) for hour in range(round(days * DAY_H))]
        return [(hour, 0) for hour in range(PAST_H - past_h, PAST_H)] + later

    def total(self, plan: list[tuple[int, int]]) -> int:
        """Events of a plan."""
        return sum(self.events[hour] for hour, _ in plan)

    def batches(self, plan: list[tuple[int, int]]) -> Iterator[RecordBatch]:
        """The lines of ``plan`` in order, a batch at a time, as the reader of files would give them."""
        first = 0
        for hour, day in plan:
            conversations = np.load(self.folder / f"{hour:02d}.npy")
            done = 0
            for data in _reads(_chunks(self.folder / f"{hour:02d}.zst")):
                lines = Lines.of(data, RECORD_BYTES_MAX)  # type: ignore[arg-type]
                assert lines is not None  # the simulator's lines are short
                if day:
                    moved = np.array([day, day * DAY_H * HOUR_MS, _EVENT, _STAMP, _STAMP_DIGITS])
                    part = conversations[done : done + len(lines)]
                    _move_on(np.frombuffer(data, np.uint8), lines.column.offsets, part, moved, _DIGITS)
                done += len(lines)
                for start in range(0, len(lines), BATCH_RECORDS_MAX):
                    records = lines[start : start + BATCH_RECORDS_MAX]
                    yield RecordBatch(records, Origin("letter", 0, first), [], 0)
                    first += len(records)


def _reads(chunks: Iterator[bytes]) -> Iterator[bytearray]:
    """Chunks put together to as much as the reader of files takes at once, in memory that may be written to."""
    data = bytearray()
    for chunk in chunks:
        data += chunk
        if len(data) >= READ_BYTES:
            yield data
            data = bytearray()
    if data:
        yield data


def _chunks(path: Path) -> Iterator[bytes]:
    """The frames of a file, each some lines."""
    tool, sizes = zstandard.ZstdDecompressor(), np.load(path.with_suffix(".sizes.npy"))
    with path.open("rb") as file:
        for size in sizes.tolist():
            yield tool.decompress(file.read(size))


def pool(days: float, seed: int = 1) -> Pool:
    """The pool for a run of ``days`` of campaign, from the cache where it is there."""
    hours = PAST_H + min(DAY_H, round(days * DAY_H))
    folder = FOLDER / f"letter-pool-{seed}-{version():08x}"
    described = folder / "pool.json"
    known: dict[str, Any] = json.loads(described.read_text()) if described.exists() else {}
    if known.get("hours", 0) < hours:
        for old in FOLDER.glob(f"letter-pool-{seed}-*"):
            shutil.rmtree(old)
        folder.mkdir(parents=True)
        known = _simulate(folder, hours, seed)
        described.write_text(json.dumps(known))
    return Pool(folder, sent=np.load(folder / "sent.npy"), **known)


def _simulate(folder: Path, hours: int, seed: int) -> dict[str, Any]:
    """Write the first ``hours`` into ``folder``."""
    run = _Hours(scenario_of("letter", 1.0), Options(seed=seed))
    rows = np.full(len(run.accounts), -1, np.int64)
    (campaign,) = run.truth().campaigns
    rank = {name: number for number, name in enumerate(campaign.accounts)}
    for row, name in enumerate(run.accounts.name.tolist()):
        rows[row] = rank.get(f"{name:016x}", -1)
    seen = np.zeros(len(rows), np.bool_)
    sent = np.zeros((len(rank), hours), np.int32)
    events, honest = [0] * hours, [0] * hours
    started, files = time.monotonic(), _Files(folder)
    for part in run.slices():
        hour = (part.start - run.start) // HOUR_MS
        if hour >= hours:
            break
        mine = rows[part.account]
        np.add.at(sent[:, hour], mine[mine >= 0], 1)
        seen[part.account] = True
        events[hour], honest[hour] = events[hour] + len(part), int(seen[rows < 0].sum())
        files.add(hour, part.lines())
        sys.stderr.write(f"\rletter: simulating hour {hour + 1} of {hours}, {time.monotonic() - started:,.0f} s  ")
    files.close()
    sys.stderr.write("\n")
    np.save(folder / "sent.npy", sent)
    start = run.truth().campaigns[0].start
    return {"hours": hours, "events": events, "honest": honest, "members": campaign.accounts, "start": start}


class _Files:
    """Hours of lines as they are written: frames of some lines, and beside them where conversation ids are."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._hour = -1
        self._frames: list[bytes] = []
        self._places: list[npt.NDArray[np.int32]] = []

    def add(self, hour: int, data: bytes) -> None:
        """Add lines to an hour; hours come in order."""
        if hour != self._hour:
            self.close()
            self._hour = hour
        lines = Lines.of(data, RECORD_BYTES_MAX)
        assert lines is not None
        offsets = lines.column.offsets
        self._places.append(_conversations(lines.column.data, offsets, _CONVERSATION))
        tool = zstandard.ZstdCompressor(level=LEVEL)
        for first in range(0, len(lines), CHUNK_LINES):
            end = min(first + CHUNK_LINES, len(lines))
            self._frames.append(tool.compress(data[offsets[first] : offsets[end]]))

    def close(self) -> None:
        """Write the hour."""
        if self._frames:
            name = self._folder / f"{self._hour:02d}"
            name.with_suffix(".zst").write_bytes(b"".join(self._frames))
            np.save(name.with_suffix(".sizes.npy"), np.array([len(frame) for frame in self._frames]))
            np.save(name.with_suffix(".npy"), np.concatenate(self._places))
        self._frames, self._places = [], []
