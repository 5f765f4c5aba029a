# ruff: noqa: RUF001
"""Packed sketches: exact round trips, and every torn or forged one refused by name."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.sketch import Sketcher, Sketches, SketchParameters
from models.sketch_wire import overlay, pack_sketch, sketch_fault, unpack_sketches
from models.strings import Strings

SKETCHER = Sketcher(b"secret")
TEXTS = [
    "Write a poem about the sea, step by step, please.",
    "",
    "hi",
    "x y " * 9000,
    "写一首关于大海的诗，请尽快完成。",
]
SKETCHES = SKETCHER.sketch(Strings.of(TEXTS))
MARK = SKETCHER.fingerprint


def packed() -> list[bytes]:
    return [pack_sketch(SKETCHES, row, fingerprint=MARK) for row in range(len(SKETCHES))]


def assert_equal(left: Sketches, right: Sketches) -> None:
    for name, column in left.arrays().items():
        assert column.dtype == right.arrays()[name].dtype, name
        assert np.array_equal(column, right.arrays()[name]), name


def test_round_trip():
    assert_equal(unpack_sketches(packed(), fingerprint=MARK), SKETCHES)
    assert_equal(unpack_sketches([]), Sketches.empty())


def test_overlay_replaces_the_rows_that_an_edge_sent():
    ours = SKETCHER.sketch(Strings.of(["", "own text here", ""]))
    sent = packed()
    result = overlay(ours, {2: sent[0], 0: sent[4]}, fingerprint=MARK)
    assert_equal(result, SKETCHER.sketch(Strings.of([TEXTS[4], "own text here", TEXTS[0]])))
    assert overlay(ours, {}, fingerprint=MARK) is ours


def test_another_secret_or_other_parameters_are_refused():
    for other in (Sketcher(b"other"), Sketcher(b"secret", SketchParameters(template_keys=8))):
        with pytest.raises(ValueError, match="another secret or other parameters"):
            unpack_sketches(packed(), fingerprint=other.fingerprint)


def test_other_widths_are_refused():
    wide = Sketcher(b"secret", SketchParameters(permutations=128)).sketch(Strings.of(["some text"]))
    with pytest.raises(ValueError, match="widths"):
        unpack_sketches([pack_sketch(SKETCHES, 0), pack_sketch(wide, 0)])
    with pytest.raises(ValueError, match="widths"):
        overlay(SKETCHES, {0: pack_sketch(wide, 0)})


@pytest.mark.parametrize(
    ("place", "value", "reason"),
    [
        (0, 2, "version 2"),
        (1, 4, "flags"),
        (2, 9, "length"),
        (3, 9, "length"),
        (4, 65, "length"),
        (6, 0, "any text"),  # tokens: the one byte that is not 0 here
        (9, 128, "any text"),
        (10, 1, "another secret"),
    ],
)
def test_each_fault_has_its_name(place, value, reason):
    data = bytearray(pack_sketch(SKETCHES, 0))
    data[place] = value
    assert reason in sketch_fault(bytes(data))
    with pytest.raises(ValueError, match=reason):
        unpack_sketches([bytes(data)])


def test_bands_and_keys_are_checked():
    data = pack_sketch(SKETCHES, 0)
    bands, keys = slice(22, 22 + 32), 22 + 32
    assert "bands" in sketch_fault(data[: bands.start] + bytes(8) + data[bands.start + 8 :])
    assert "ascending" in sketch_fault(
        data[:keys] + data[keys + 8 : keys + 16] + data[keys : keys + 8] + data[keys + 16 :]
    )
    assert "ascending" in sketch_fault(data[:keys] + bytes(8) + data[keys + 8 :])
    assert sketch_fault(data) == ""


def test_every_torn_length_is_refused():
    data = pack_sketch(SKETCHES, 0)
    assert all(sketch_fault(data[:size]) for size in range(len(data)))
    assert sketch_fault(data + b"\0")


@settings(deadline=None)
@given(st.binary(max_size=600), st.integers(0, 600), st.booleans())
def test_no_bytes_raise_anything_but_value_errors(noise, place, whole):
    data = noise if whole else pack_sketch(SKETCHES, 0)[:place] + noise + pack_sketch(SKETCHES, 0)[place + len(noise) :]
    if sketch_fault(data):
        with pytest.raises(ValueError, match="sketch"):
            unpack_sketches([data])
    else:
        assert pack_sketch(unpack_sketches([data]), 0) == data
