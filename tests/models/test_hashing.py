"""Keyed hashes: the published vectors, both forms alike, the special value 0, and the keys themselves."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import ConfigError
from models.hashing import KeyedHash, siphash, siphash_numpy
from models.strings import Strings

REFERENCE_KEY = np.frombuffer(bytes(range(16)), "<u8").astype(np.uint64)
# From the authors' vectors.h (SipHash-2-4, key 00..0f): input 00..(n-1), read as little-endian words.
REFERENCE = {
    0: "310e0edd47db6f72",
    1: "fd67dc93c539f874",
    2: "5a4fa9d909806c0d",
    3: "2d7efbd796666785",
    7: "37d1018bf50002ab",
    8: "6224939a79f5f593",
    15: "e545be4961ca29a1",
    63: "724506eb4c328a95",
}


def inputs() -> tuple[Strings, list[int]]:
    expected = [int.from_bytes(bytes.fromhex(text), "little") for text in REFERENCE.values()]
    return Strings.of_bytes([bytes(range(size)) for size in REFERENCE]), expected


@pytest.mark.parametrize("form", [siphash, siphash_numpy])
def test_reference_vectors(form):
    column, expected = inputs()
    assert form(column, REFERENCE_KEY).tolist() == expected


@given(st.lists(st.binary(max_size=70), max_size=20))
def test_both_forms_agree_on_any_bytes(texts):
    column = Strings.of_bytes(texts)
    assert siphash(column, REFERENCE_KEY).tolist() == siphash_numpy(column, REFERENCE_KEY).tolist()


def test_rows_of_a_slice_of_a_larger_buffer():
    whole = Strings.of(["left", "middle part", "right"])
    part = Strings(whole.data, whole.offsets[1:])
    assert KeyedHash(b"secret").strings(part).tolist() == KeyedHash(b"secret").strings(whole).tolist()[1:]


def test_empty_text_is_zero_and_nothing_else_is():
    hashes = KeyedHash(b"secret").strings(Strings.of(["", "a", "", "b"]))
    assert (hashes == 0).tolist() == [True, False, True, False]
    assert KeyedHash(b"secret").strings(Strings.of([])).shape == (0,)


def test_a_hash_that_comes_out_zero_becomes_one(monkeypatch):
    monkeypatch.setattr("models.hashing.siphash", lambda column, key: np.zeros(len(column), np.uint64))
    assert KeyedHash(b"secret").strings(Strings.of(["a", ""])).tolist() == [1, 0]


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=40))
def test_text_equals_its_row(text):
    keyed = KeyedHash(b"secret")
    assert keyed.text(text) == int(keyed.strings(Strings.of([text]))[0])


def test_text_takes_a_lone_surrogate():
    assert KeyedHash(b"secret").text("\ud800") != 0


def test_secrets_and_labels_give_unrelated_values():
    keyed = KeyedHash(b"secret")
    values = {hashes.text("alice") for hashes in (keyed, KeyedHash(b"other"), keyed.derive(b"a"), keyed.derive(b"b"))}
    assert len(values) == 4
    assert keyed.derive(b"a").text("alice") == KeyedHash(b"secret").derive(b"a").text("alice")
    assert not set(keyed.words(16).tolist()) & set(KeyedHash(b"other").words(16).tolist())


def test_long_secrets_count_whole():
    assert KeyedHash(b"x" * 100 + b"1").text("alice") != KeyedHash(b"x" * 100 + b"2").text("alice")


def test_digest_is_keyed_blake2b_of_kind_and_value():
    root = hashlib.blake2b(b"secret", digest_size=64, person=b"distilwatch").digest()
    message = b"template\0" + (77).to_bytes(8, "little")
    keyed = KeyedHash(b"secret")
    assert keyed.digest(77, "template") == hashlib.blake2b(message, key=root, digest_size=8).hexdigest()
    assert keyed.digest(77, "network") != keyed.digest(77, "template")
    assert keyed.digest(2**64 - 1, "template") == keyed.digest(int(np.uint64(2**64 - 1)), "template")


def test_words_are_spread_over_the_range():
    words = KeyedHash(b"secret").words(1000)
    bits = np.unpackbits(words.view(np.uint8)).mean()
    assert words.shape == (1000,)
    assert len(set(words.tolist())) == 1000
    assert 0.48 < bits < 0.52


def test_secret_is_required_and_never_shown():
    with pytest.raises(ConfigError, match="empty"):
        KeyedHash(b"")
    assert "hunter2" not in repr(KeyedHash(b"hunter2"))
