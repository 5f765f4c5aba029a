"""The contract of every operator: same input, same outputs, whatever the batches, stops, restarts and order."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.admission import SLICE_MS, watermark_of
from models.announce import Announcer, Decisions
from models.campaigns import Campaigns
from models.errors import WireError
from models.event import EventBatch
from models.fanin import FanIn
from models.hashing import KeyedHash
from models.observe import Observe, Observed
from models.pipeline import Pipeline
from models.sighting import SightingBatch
from models.sketch import Sketches
from models.wire import pack, unpack
from tests.models.inputs import EAGER, SECRET, eager_pipeline, fleet, frozen

DAY_MS = 86_400_000
Outputs = list[Any]


@dataclass
class Subject:
    """How the contract drives one operator; an input is cut by row numbers and ends with ``finish``."""

    name: str
    fresh: Callable[[], Any]
    rows: Callable[[], int]
    feed: Callable[[Any, int, int, np.ndarray | None], Outputs]  # rows [first, end), in the given order
    finish: Callable[[Any], Outputs]
    forget: Callable[[Any], None]  # let event time run on by a month
    nbytes: Callable[[Any], int]
    any_order: bool = False
    speaks: Callable[[Outputs], bool] = field(default=bool)


# Observe: events in, sightings and profiles out.
def _observed(seen: Observed) -> Outputs:
    batch, counts = seen.sightings, np.diff(seen.sightings.offsets)
    keys = np.split(batch.keys, np.cumsum(counts)[:-1]) if len(batch) else []
    out: Outputs = [("sighting", row.tobytes(), mine.tolist()) for row, mine in zip(batch.rows, keys, strict=True)]
    out += [("profile", row.tobytes(), name) for row, name in zip(seen.profiles, seen.profile_ids, strict=True)]
    return out + [("future", event) for event in seen.future]


def _observe_feed(operator: Observe, first: int, end: int, order: np.ndarray | None) -> Outputs:
    rows = np.arange(first, end)
    events, sketches = fleet()
    return _observed(operator.process(frozen(events.take(rows)), frozen(sketches.take(rows))))


def _observe_forget(operator: Observe) -> None:
    events, sketches = fleet()
    later = events.take(np.arange(20))
    for days in (30, 31):
        later.ts = np.full(20, int(events.ts[-1]) + days * DAY_MS)
        later.event = np.arange(20, dtype=np.uint64) + np.uint64(days * 1_000)
        operator.process(later, sketches.take(np.arange(20)))


def _observe_nbytes(operator: Observe) -> int:
    return operator.accounts.nbytes + operator.admission.seen.nbytes


# Fan-in: sightings and watermarks in, uses of hot keys out.
@lru_cache(maxsize=1)
def _sighted() -> tuple[SightingBatch, np.ndarray]:
    """All sightings of the fleet and the watermark behind each."""
    events, sketches = fleet()
    operator = Observe()
    batches = [operator.process(events, sketches).sightings, operator.finish().sightings]
    batch = SightingBatch.concat(batches)
    newest = np.maximum.accumulate(batch.rows["ts"])
    return batch, np.array([watermark_of(int(ts)) for ts in newest])


def _uses(batch: SightingBatch) -> Outputs:
    united = batch.united()
    keys = np.split(united.keys, united.offsets[1:-1]) if len(united) else []
    return [("use", row.tobytes(), mine.tolist()) for row, mine in zip(united.rows, keys, strict=True)]


def _fanin_feed(operator: FanIn, first: int, end: int, order: np.ndarray | None) -> Outputs:
    batch, watermarks = _sighted()
    operator.process(frozen(batch.take(np.arange(first, end) if order is None else order)))
    return _uses(operator.advance(int(watermarks[end - 1])))


def _fanin_finish(operator: FanIn) -> Outputs:
    return _uses(operator.advance(int(_sighted()[1][-1]) + 60 * SLICE_MS))


# Campaigns: uses of hot keys in, alerts and signals out.
@lru_cache(maxsize=1)
def _hubs() -> tuple[SightingBatch, Observed]:
    events, sketches = fleet()
    observe, fanin = Observe(), FanIn()
    seen = observe.process(events, sketches)
    fanin.process(seen.sightings)
    fanin.process(observe.finish().sightings)
    return fanin.advance(int(events.ts.max()) + DAY_MS), seen


def _decided(decisions: Decisions) -> Outputs:
    alerts = [("alert", msgspec.json.encode(alert)) for alert in decisions.alerts]
    return alerts + [("signal", name, msgspec.json.encode(signal)) for name, signal in decisions.signals]


def _campaigns() -> Campaigns:
    return Campaigns(Announcer(KeyedHash(SECRET)), EAGER)


def _campaigns_feed(operator: Campaigns, first: int, end: int, order: np.ndarray | None) -> Outputs:
    hubs, seen = _hubs()
    if first == 0:
        operator.learn(seen.profiles, seen.profile_ids)
    operator.process(frozen(hubs.take(np.arange(first, end) if order is None else order)))
    return _decided(operator.advance(int(hubs.rows["at"][end - 1]) // SLICE_MS * SLICE_MS))


def _campaigns_finish(operator: Campaigns) -> Outputs:
    decisions = operator.advance(int(_hubs()[0].rows["at"][-1]) // SLICE_MS * SLICE_MS + SLICE_MS)
    decisions.extend(operator.finish())
    return _decided(decisions)


def _campaigns_nbytes(operator: Campaigns) -> int:
    return operator.covered.events.nbytes + operator.covered.keys.nbytes


# The three wired together.
def _pipeline_feed(operator: Pipeline, first: int, end: int, order: np.ndarray | None) -> Outputs:
    events, sketches = fleet()
    rows = np.arange(first, end)
    return _decided(operator.process(frozen(events.take(rows)), frozen(sketches.take(rows))))


def _pipeline_forget(operator: Pipeline) -> None:
    events, sketches = fleet()
    later = events.take(np.arange(20))
    for days in (30, 31):
        later.ts = np.full(20, int(events.ts[-1]) + days * DAY_MS)
        later.event = np.arange(20, dtype=np.uint64) + np.uint64(days * 1_000)
        operator.process(later, sketches.take(np.arange(20)))


def _pipeline_nbytes(operator: Pipeline) -> int:
    return _observe_nbytes(operator.observe) + operator.fanin.nbytes + _campaigns_nbytes(operator.campaigns)


SUBJECTS = [
    Subject(
        "observe", Observe, lambda: len(fleet()[0]), _observe_feed, lambda operator: _observed(operator.finish()),
        _observe_forget, _observe_nbytes,
    ),
    Subject(
        "fanin", FanIn, lambda: len(_sighted()[0]), _fanin_feed, _fanin_finish,
        lambda operator: operator.advance(operator.watermark_ms + 30 * DAY_MS), lambda operator: operator.nbytes, True,
    ),
    Subject(
        "campaigns", _campaigns, lambda: len(_hubs()[0]), _campaigns_feed, _campaigns_finish,
        lambda operator: operator.advance(operator.watermark_ms + 30 * DAY_MS), _campaigns_nbytes, True,
        lambda outputs: {"alert", "signal"} <= {output[0] for output in outputs},
    ),
    Subject(
        "pipeline", eager_pipeline, lambda: len(fleet()[0]), _pipeline_feed,
        lambda operator: _decided(operator.finish()), _pipeline_forget, _pipeline_nbytes, False,
        lambda outputs: {"alert", "signal"} <= {output[0] for output in outputs},
    ),
]  # fmt: skip
every = pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.name)
ordered = pytest.mark.parametrize("subject", [s for s in SUBJECTS if s.any_order], ids=lambda subject: subject.name)


def run(subject: Subject, operator: Any, cuts: list[int], first: int = 0) -> Outputs:
    """Feed all rows from ``first`` on in batches that end at ``cuts``, then finish."""
    outputs: Outputs = []
    ends = sorted({cut for cut in cuts if first < cut < subject.rows()} | {subject.rows()})
    for end in ends:
        outputs += subject.feed(operator, first, end, None)
        first = end
    return outputs + subject.finish(operator)


_wholes: dict[str, Outputs] = {}


def whole(subject: Subject) -> Outputs:
    """What the operator says of its input in one batch."""
    if subject.name not in _wholes:
        _wholes[subject.name] = run(subject, subject.fresh(), [])
    return _wholes[subject.name]


def same(outputs: Outputs, expected: Outputs) -> bool:
    """Whether two runs said the same: a call gives each kind in its own list, so each kind has an order of its own."""
    kinds = {output[0] for output in [*outputs, *expected]}
    return all([o for o in outputs if o[0] == kind] == [o for o in expected if o[0] == kind] for kind in kinds)


def difference(one: bytes, other: bytes) -> list[int]:
    """The first places where two snapshots differ; pytest would compare megabytes for its message."""
    if len(one) != len(other):
        return [len(one), len(other)]
    return np.flatnonzero(np.frombuffer(one, np.uint8) != np.frombuffer(other, np.uint8))[:5].tolist()


@every
def test_the_input_makes_the_operator_speak(subject):
    assert subject.speaks(whole(subject))
    assert len(whole(subject)) > 40


@every
def test_inputs_are_not_written_to(subject):
    columns = [*fleet(), _sighted()[0], _hubs()[0]]
    before = [_bytes(part) for part in columns]
    run(subject, subject.fresh(), [subject.rows() // 2])  # every array it gets is read-only besides
    assert [_bytes(part) for part in columns] == before


def _bytes(part: EventBatch | Sketches | SightingBatch) -> list[bytes]:
    arrays = [getattr(part, column.name) for column in fields(part)]
    return [array.tobytes() for array in arrays if isinstance(array, np.ndarray)]


@every
def test_replay_equals_run(subject):
    assert same(run(subject, subject.fresh(), []), whole(subject))


@every
@settings(max_examples=8)
@given(seed=st.integers(0, 2**32), count=st.integers(1, 40))
def test_batch_boundaries_do_not_matter(subject, seed, count):
    cuts = random.Random(seed).choices(range(1, subject.rows()), k=count)
    assert same(run(subject, subject.fresh(), cuts), whole(subject))


@every
def test_one_row_at_a_time_is_the_same(subject):
    cuts = list(range(1, min(400, subject.rows())))
    assert same(run(subject, subject.fresh(), cuts), whole(subject))


@pytest.mark.row("19", "any order inside the lateness: the same answer")
@ordered
@settings(max_examples=10)
@given(seed=st.integers(0, 2**32), count=st.integers(1, 20))
def test_order_before_the_watermark_does_not_matter(subject, seed, count):
    generator = np.random.default_rng(seed)
    operator, outputs, first = subject.fresh(), [], 0
    for end in sorted({*generator.integers(1, subject.rows(), count).tolist(), subject.rows()}):
        outputs += subject.feed(operator, first, end, first + generator.permutation(end - first))
        first = end
    assert same(outputs + subject.finish(operator), whole(subject))


@every
@settings(max_examples=8)
@given(share=st.floats(0.0, 1.0))
def test_a_restored_operator_goes_on_as_the_stopped_one(subject, share):
    cut = int(share * (subject.rows() - 1))
    stopped, restored = subject.fresh(), subject.fresh()
    said = subject.feed(stopped, 0, cut, None) if cut else []
    snapshot = stopped.snapshot()
    restored.restore(snapshot)
    assert difference(restored.snapshot(), snapshot) == []
    rest = run(subject, restored, [], cut)
    assert same(said + rest, whole(subject))
    assert same(run(subject, stopped, [], cut), rest)
    assert difference(restored.snapshot(), stopped.snapshot()) == []


@every
def test_snapshots_of_a_replay_are_equal(subject):
    one, other = subject.fresh(), subject.fresh()
    run(subject, one, [])
    run(subject, other, [])
    assert difference(one.snapshot(), other.snapshot()) == []


@every
def test_time_frees_memory(subject):
    operator = subject.fresh()
    empty = subject.nbytes(operator)
    run(subject, operator, [])
    full = subject.nbytes(operator)
    assert full > empty
    subject.forget(operator)
    assert subject.nbytes(operator) <= empty + 0.2 * (full - empty)


@lru_cache(maxsize=8)
def _snapshot(name: str) -> bytes:
    subject = next(subject for subject in SUBJECTS if subject.name == name)
    operator = subject.fresh()
    subject.feed(operator, 0, 60, None)
    return operator.snapshot()


@every
@settings(max_examples=40)
@given(data=st.data())
def test_a_corrupt_snapshot_is_refused(subject, data):
    snapshot = bytearray(_snapshot(subject.name))
    # Any byte of the first 64, where the fields are, as often as any of the rest.
    near = data.draw(st.booleans())
    at = data.draw(st.integers(0, 63 if near else len(snapshot) - 1))
    snapshot[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(WireError):
        subject.fresh().restore(bytes(snapshot))


@every
@given(share=st.floats(0.0, 1.0, exclude_max=True))
def test_a_torn_snapshot_is_refused(subject, share):
    snapshot = _snapshot(subject.name)
    with pytest.raises(WireError):
        subject.fresh().restore(snapshot[: int(share * len(snapshot))])
    with pytest.raises(WireError):
        subject.fresh().restore(snapshot + b"\0")


@every
@given(noise=st.binary(max_size=200))
def test_what_is_no_snapshot_is_refused(subject, noise):
    with pytest.raises(WireError):
        subject.fresh().restore(noise)


VERSIONS = {subject.name: 1 for subject in SUBJECTS} | {"campaigns": 2, "pipeline": 2}


@every
def test_a_snapshot_of_another_operator_or_version_is_refused(subject):
    for other in SUBJECTS:
        if other.name != subject.name:
            with pytest.raises(WireError, match=f"expected {subject.name}"):
                subject.fresh().restore(_snapshot(other.name))
    meta, arrays = unpack(_snapshot(subject.name), subject.name, VERSIONS[subject.name])
    with pytest.raises(WireError, match="version"):
        subject.fresh().restore(pack(subject.name, 0, meta, arrays))


@every
def test_a_snapshot_with_a_missing_part_is_refused(subject):
    meta, arrays = unpack(_snapshot(subject.name), subject.name, VERSIONS[subject.name])
    for name in arrays:
        rest = {other: array for other, array in arrays.items() if other != name}
        with pytest.raises(WireError):
            subject.fresh().restore(pack(subject.name, VERSIONS[subject.name], meta, rest))
    for name in meta:
        rest = {other: value for other, value in meta.items() if other != name}
        with pytest.raises(WireError):
            subject.fresh().restore(pack(subject.name, VERSIONS[subject.name], rest, arrays))


@pytest.mark.parametrize("parts", [2, 4, 16])
def test_the_number_of_fanin_partitions_changes_no_alert(parts):
    events, _ = fleet()
    hubs, seen = _hubs()
    partitions = [FanIn() for _ in range(parts)]
    said = []
    for count in (1, parts):
        campaigns = _campaigns()
        campaigns.learn(seen.profiles, seen.profile_ids)
        batches = [hubs] if count == 1 else []
        for fanin, share in zip(partitions if count > 1 else [], _sighted()[0].partition(parts), strict=False):
            fanin.process(share)
            batches.append(fanin.advance(int(events.ts.max()) + DAY_MS))
        for batch in batches:
            campaigns.process(batch)
        said.append(_decided(campaigns.advance(int(events.ts.max()) + SLICE_MS)))
    assert len(said[0]) > 40
    assert same(said[1], said[0])
