"""Envelopes: what is said arrives, whole or in parts of bounded size."""

from __future__ import annotations

import numpy as np
import pytest

from models.admission import UNSET
from models.envelope import ROW_BYTES_MAX, Envelope
from models.errors import WireError
from models.sighting import PROFILE, SIGHTING, SightingBatch
from models.strings import Strings


def envelope(rows: int, profiles: int, seed: int = 1) -> Envelope:
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 20, rows)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    sightings = np.zeros(rows, SIGHTING)
    sightings["event"] = rng.integers(1, 1 << 63, rows)
    known = np.zeros(profiles, PROFILE)
    known["key"] = np.arange(profiles) + 1
    ids = Strings.of([f"account-{'x' * (number % 50)}{number}" for number in range(profiles)])
    keys = rng.integers(1, 1 << 63, offsets[-1]).astype(np.uint64)
    return Envelope("observe-2", 7, 120_000, True, 3, 4, SightingBatch(sightings, keys, offsets), known, ids)


def assert_same(one: Envelope, other: Envelope) -> None:
    for name in ("source", "sequence", "watermark_ms", "idle", "observers", "fanins"):
        assert getattr(one, name) == getattr(other, name)
    assert np.array_equal(one.rows.rows, other.rows.rows)
    assert np.array_equal(one.rows.keys, other.rows.keys)
    assert np.array_equal(one.rows.offsets, other.rows.offsets)
    assert np.array_equal(one.profiles, other.profiles)
    assert list(one.ids) == list(other.ids)


@pytest.mark.parametrize(("rows", "profiles"), [(0, 0), (1, 0), (0, 3), (500, 40)])
def test_it_comes_back(rows: int, profiles: int) -> None:
    sent = envelope(rows, profiles)
    assert_same(Envelope.decode(sent.encode()), sent)


@pytest.mark.parametrize(("rows", "profiles"), [(0, 0), (9_000, 0), (0, 9_000), (6_000, 4_000)])
def test_parts_are_bounded_and_make_up_the_whole(rows: int, profiles: int) -> None:
    whole = envelope(rows, profiles)
    parts = list(whole.parts())
    assert all(len(part.encode()) <= 512 * 1024 for part in parts)
    assert len(parts) == 1 or rows + profiles > 0
    assert len(parts) >= (rows * SIGHTING.itemsize + profiles * PROFILE.itemsize) // ROW_BYTES_MAX
    assert [part.watermark_ms for part in parts] == [UNSET] * (len(parts) - 1) + [whole.watermark_ms]
    assert [part.idle for part in parts] == [False] * (len(parts) - 1) + [True]
    sequences = [part.sequence for part in parts]
    assert sequences == sorted(set(sequences))
    following = next(Envelope("observe-2", 8, 0, False, 3, 4).parts())
    assert following.sequence > sequences[-1]
    joined = SightingBatch.concat([part.rows for part in parts])
    assert np.array_equal(joined.keys, whole.rows.keys)
    assert np.array_equal(joined.offsets, whole.rows.offsets)
    assert np.array_equal(np.concatenate([part.profiles for part in parts]), whole.profiles)
    assert [text for part in parts for text in part.ids] == list(whole.ids)


def test_damage_is_a_wire_error() -> None:
    data = envelope(5, 2).encode()
    for bad in (data[:-1], data[:20], b"", b"{}", data[:40] + b"\x00" + data[41:]):
        with pytest.raises(WireError):
            Envelope.decode(bad)


def test_what_comes_out_of_a_message_may_be_written() -> None:
    rows = Envelope.decode(envelope(5, 2).encode()).rows
    assert rows.rows.flags.aligned
    assert rows.rows.flags.writeable
    assert rows.keys.flags.aligned
    assert rows.keys.flags.writeable
