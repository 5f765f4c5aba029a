"""Messages: what goes in comes out; what is torn, altered, foreign or made up is refused with one error."""

import struct
import zlib

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from models.errors import WireError
from models.wire import pack, unpack

DTYPES = ["uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float32", "float64", "bool"]
arrays = st.dictionaries(
    st.text("abc", min_size=1, max_size=3),
    st.sampled_from(DTYPES).flatmap(
        lambda dtype: arrays_of.arrays(dtype, arrays_of.array_shapes(min_side=0, max_side=4))
    ),
    max_size=3,
)
metas = st.dictionaries(
    st.text(max_size=5), st.integers(-(2**63), 2**64 - 1) | st.text(max_size=5) | st.binary(max_size=5)
)


def message(header: object, body: bytes = b"") -> bytes:
    """A message with a right checksum around any header and body: what an error in our own code might write."""
    encoded = header if isinstance(header, bytes) else msgspec.msgpack.encode(header)
    rest = struct.pack("<I", len(encoded)) + encoded + body
    return b"DWB1" + struct.pack("<I", zlib.crc32(rest)) + rest


def described(*described_arrays: object, **changed: object) -> dict[str, object]:
    return {"kind": "k", "version": 1, "meta": {}, "arrays": list(described_arrays)} | changed


@given(metas, arrays)
def test_what_was_packed_comes_out(meta, parts):
    found, columns = unpack(pack("k", 1, meta, parts), "k", 1)
    assert found == meta
    assert list(columns) == list(parts)
    for name, array in parts.items():
        assert columns[name].dtype == array.dtype
        assert columns[name].shape == array.shape
        assert columns[name].tobytes() == array.tobytes()


def test_a_strided_array_comes_out_whole():
    table = np.arange(12).reshape(3, 4)
    assert unpack(pack("k", 1, {}, {"a": table[:, ::2]}), "k", 1)[1]["a"].tolist() == table[:, ::2].tolist()


@given(metas, arrays, st.data())
def test_a_changed_byte_is_noticed_wherever_it_is(meta, parts, data):
    whole = bytearray(pack("k", 1, meta, parts))
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(WireError):
        unpack(bytes(whole), "k", 1)


@given(metas, arrays, st.data())
def test_a_torn_or_longer_message_is_refused(meta, parts, data):
    whole = pack("k", 1, meta, parts)
    with pytest.raises(WireError):
        unpack(whole[: data.draw(st.integers(0, len(whole) - 1))], "k", 1)
    with pytest.raises(WireError):
        unpack(whole + data.draw(st.binary(min_size=1, max_size=9)), "k", 1)


@given(st.binary(max_size=60), st.booleans())
def test_noise_is_refused_even_behind_a_right_checksum(noise, checked):
    with pytest.raises(WireError):
        unpack(message(noise) if checked else noise, "k", 1)


@pytest.mark.parametrize(
    ("header", "body"),
    [
        (described(["a", "object", [1]]), b"12345678"),
        (described(["a", "V8", [1]]), b"12345678"),
        (described(["a", "uint8", [-1]]), b""),
        (described(["a", "uint8", [4]]), b"123"),
        (described(["a", "uint8", [2]]), b"123"),
        (described(["a", "uint8", [2**40, 2**40]]), b""),  # overflows 64 bits to nothing
        (described(["a", "uint8"]), b"1"),
        (described("a"), b""),
        (described(meta=[1]), b""),
        (described(kind=None), b""),
        ({"kind": "k", "version": 1, "meta": {}}, b""),
        ([1, 2], b""),
    ],
)
def test_a_header_that_makes_no_sense_is_refused(header, body):
    with pytest.raises(WireError):
        unpack(message(header, body), "k", 1)
    unpack(message(described(["a", "uint8", [3]]), b"123"), "k", 1)


def test_another_kind_or_version_is_named_in_the_refusal():
    data = pack("sightings", 2, {}, {})
    with pytest.raises(WireError, match="expected hubs version 2, found sightings version 2"):
        unpack(data, "hubs", 2)
    with pytest.raises(WireError, match="version 1, found sightings version 2"):
        unpack(data, "sightings", 1)


def test_asking_for_what_is_not_there_is_the_same_error():
    meta, parts = unpack(pack("k", 1, {}, {}), "k", 1)
    for found in (meta, parts):
        with pytest.raises(WireError, match="missing_thing"):
            found["missing_thing"]
        assert found.get("missing_thing") is None
