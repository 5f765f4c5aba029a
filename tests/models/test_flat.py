"""Flat records: whatever is read without the parser gives the very event that the parser gives."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.compiled import COMPILED
from models.decode import Decoder, Origin
from models.event import EventBatch
from models.flat import FlatReader
from models.flat_kernel import NAMES, name_slot
from models.hashing import KeyedHash
from models.strings import Lines

SECRET = b"flat-tests-0123456789"
ORIGIN = Origin("requests", 0, 0)
FULL = {
    "event_id": "e1",
    "ts": 1_772_409_600_003,
    "account_id": "a1",
    "model": "m",
    "prompt": 'two\nlines, "quoted", \u4f60\u597d \U0001f600',
    "api_key_id": "k",
    "turn": 1,
    "input_tokens": 110,
    "output_tokens": 0,
    "status": 200,
    "temperature": 0.7,
    "org_id": "o",
    "conversation_id": "c",
    "client_ip": "173.118.222.19",
    "user_agent": "curl/2 (linux \\ x64)",
    "ja4": None,
    "payment_id": "p",
    "email_domain": "QQ.com",
    "account_created": 1_771_732_278_044,
    "refused": False,
    "tools": True,
    "system": "You are \t terse",
}
VALUES = st.one_of(
    st.text(max_size=12),
    st.sampled_from(["", "\x00", "\x7f", "\ud83d\ude00", "a" * 300, "2026-01-01T00:00:00Z"]),
    st.integers(-5, 5),
    st.sampled_from([0, -0.0, 1.0, 1e3, 2**31 - 1, 2**31, 2**63, 1e400, 946_684_800_000, 4_102_444_800_001]),
    st.none(),
    st.booleans(),
    st.lists(st.integers(0, 3), max_size=2),
)


def without_flat(records):
    decoder = Decoder(KeyedHash(SECRET))
    decoder._flat._pause = 1 << 30
    return decoder.decode(records, ORIGIN)


def columns_of(batch: EventBatch):
    arrays = batch.arrays("")
    return {name: column.tolist() for name, column in arrays.items()} | {"prompts": list(batch.prompt)}


def same(records):
    fast, slow = Decoder(KeyedHash(SECRET)).decode(records, ORIGIN), without_flat(records)
    assert columns_of(fast.batch) == columns_of(slow.batch)
    assert (fast.rejects, fast.rows.tolist()) == (slow.rejects, slow.rows.tolist())
    assert (fast.formats, fast.unknown, fast.read) == (slow.formats, slow.unknown, slow.read)


def flat_rows(records):
    read = FlatReader(Decoder(KeyedHash(SECRET)).columns).read(records, 1 << 20)
    return np.flatnonzero(read[1]).tolist()


@pytest.mark.skipif(not COMPILED, reason="there is no compiler here")
@pytest.mark.parametrize("ascii_only", [True, False])
@pytest.mark.parametrize("indent", [None, 1])
def test_a_full_record_is_read_flat(ascii_only, indent):
    record = json.dumps(FULL, ensure_ascii=ascii_only, indent=indent).encode()
    assert flat_rows([record] * 3) == [0, 1, 2]
    same([record] * 3)


@given(changed=st.dictionaries(st.sampled_from([*NAMES, "other"]), VALUES, max_size=4), gone=st.sampled_from(NAMES))
@settings(max_examples=300, deadline=None)
def test_any_value_in_any_field_gives_what_the_parser_gives(changed, gone):
    full = json.dumps(FULL).encode()
    without = json.dumps({name: value for name, value in FULL.items() if name != gone}).encode()
    odd = json.dumps(FULL | changed).encode()
    try:
        wide = json.dumps(FULL | changed, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        wide = odd
    same([full, odd, without, wide, full, full])


@given(data=st.data())
@settings(max_examples=600, deadline=None)
def test_any_damage_gives_what_the_parser_gives(data):
    record = bytearray(json.dumps(FULL, ensure_ascii=data.draw(st.booleans())).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(record) - 1))
        kind = data.draw(st.sampled_from(["set", "cut", "drop", "double"]))
        if kind == "set":
            record[at] = data.draw(st.sampled_from(b'"\\{}[],:u0.e-+ \t\n\x00\x1f\x7f\x80\xc3\xed\xf0\xffnt'))
        elif kind == "cut":
            del record[at + 1 :]
        elif kind == "drop":
            del record[at : at + data.draw(st.integers(1, 9))]
        else:
            record[at:at] = record[at : at + data.draw(st.integers(1, 40))]
        if not record:
            return
    full = json.dumps(FULL).encode()
    same([full, bytes(record), full, full])


def test_lines_give_what_their_records_give():
    records = [json.dumps(FULL, ensure_ascii=odd).encode() + b"\r" * odd for odd in (True, False)]
    records += [b"broken", records[0][:-9], b'{"a":"\xff"}', b"[]", records[1] + b" ", records[0]]
    lines = Lines.of(b"".join(record + b"\n" for record in records), 1 << 20)
    one, other = (Decoder(KeyedHash(SECRET)).decode(each, ORIGIN) for each in (records, lines))
    assert columns_of(one.batch) == columns_of(other.batch)
    assert (one.rejects, one.rows.tolist(), one.unknown) == (other.rejects, other.rows.tolist(), other.unknown)
    assert len(one.batch) == 4


@pytest.mark.parametrize(
    "damage",
    [
        (b'"m"', b'"\\ud83d"'),
        (b'"m"', b'"\\ude00\\ud83d"'),
        (b'"m"', b'"\\ud83d\\ude00"'),
        (b'"m"', b'"\xed\xa0\x80"'),
        (b'"m"', b'"\xc3"'),
        (b'"e1"', b'"e\\u0031"'),
        (b'"e1"', b'"e\x7f1"'),
        (b'"e1"', b'""'),
        (b'"turn": 1', b'"turn": 01'),
        (b'"turn": 1', b'"turn": 1.0'),
        (b'"turn": 1', b'"turn": 1, "turn": 2'),
        (b'"turn": 1', b'"t\\u0075rn": 7'),
        (b'"turn": 1', b'"messages": null'),
        (b'"turn": 1', b'"messages": [{"role": "user", "content": "hi"}]'),
        (b'"turn": 1', b'"": 1'),
        (b"0.7", b"1e999"),
        (b"0.7", b"-0"),
        (b"0.7", b"00.7"),
        (b"0.7", b"{}"),
        (b"}", b"} x"),
        (b"}", b",}"),
        (b"}", b"}\n"),
        (b"{", b"\xef\xbb\xbf{"),
        (b"{", b"[{"),
    ],
)
def test_edges_of_the_grammar(damage):
    full = json.dumps(FULL).encode()
    odd = full.replace(*damage, 1)
    assert odd != full
    same([full, odd, full, None, b"", full, b" " + full, full])


def test_one_bad_text_costs_no_other_record_its_reading():
    full = json.dumps(FULL, ensure_ascii=False).encode()
    bad = full.replace(b'"m"', b'"\xc3"')
    same([full, bad, full])


def test_several_events_of_one_record_keep_their_place():
    full = json.dumps(FULL).encode()
    several = b"[" + full.replace(b"e1", b"e2") + b"," + full.replace(b"e1", b"e3") + b"]"
    same([full, several, full, full])


def test_a_batch_of_other_forms_pauses_the_reader_for_a_while():
    full, other = json.dumps(FULL).encode(), b"{}"
    reader = FlatReader(Decoder(KeyedHash(SECRET)).columns)
    assert not COMPILED or reader.read([other, other, full], 1 << 20) is not None
    assert reader.read([full], 1 << 20) is None
    assert not COMPILED or any(reader.read([full], 1 << 20) is not None for _ in range(20))


def test_every_name_has_a_slot():
    assert all(0 <= name_slot(name.encode()) < 256 for name in NAMES)
