"""Decoding: every record is accounted for, one bad record costs only itself, and nothing raises."""

import base64
import json

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.columns import EventColumns
from models.decode import Decoded, Decoder, Origin
from models.errors import ConfigError
from models.event import MISSING
from models.hashing import KeyedHash
from models.limits import JSON_DEPTH_MAX, PROMPT_CHARACTERS_MAX, RECORD_BYTES_MAX
from models.network import network_text
from models.reasons import REASONS
from models.request import KNOWN, Request

KEYED = KeyedHash(b"a test's secret.")
ORIGIN = Origin("requests", 3, 100)
BASE = {"event_id": "e1", "ts": 1_700_000_000_000, "account_id": "a1", "model": "m1", "prompt": "say hello"}
CANARY = "canary-7f3a"


def event(**changes: object) -> bytes:
    return json.dumps({key: value for key, value in {**BASE, **changes}.items() if value is not ...}).encode()


def decode(*records: bytes | None, format: str = "auto") -> Decoded:
    return Decoder(KEYED, format).decode(records, ORIGIN)


def reason(record: bytes | None) -> str:
    decoded = decode(record)
    assert len(decoded.batch) == 0
    (reject,) = decoded.rejects
    return reject.reason


def hash_of(field: str, text: str) -> int:
    return KEYED.derive(b"event:" + field.encode()).text(text)


REFUSED = {
    "empty_record": [b"", None, b" \t\r\n"],
    "too_large": [b"x" * (RECORD_BYTES_MAX + 1)],
    "too_deep": [b"[" * 100_000, b'{"a":' * 100_000, event(extra=...)[:-1] + b',"x":' + b"[" * 200 + b"]" * 200 + b"}"],
    "not_utf8": [b'{"event_id":"\xff"}', b'{"event_id":"\xed\xa0\x80"}', event().replace(b"hello", b"\xc3")],
    "byte_order_mark": [b"\xef\xbb\xbf" + event()],
    "lone_surrogate": [
        event().replace(b"hello", b"\\ud800"),
        event().replace(b"hello", b"\\udc00 x"),
        event().replace(b"hello", b"\\ud800\\u0041"),
    ],
    "nan": [b'{"ts":NaN}', b'{"ts":-Infinity}', b'{"ts": Infinity}', b"NaN"],
    "number_range": [b'{"a":1e999}', event(ts=...)[:-1] + b',"ts":1e999}'],
    "malformed_json": [
        b"{",
        b'{"a":1',
        b'{"a":1,}',
        b'{"a" 1}',
        b"{'a':1}",
        b'{"a":01}',
        b'{"a":.5}',
        b'{"a":+1}',
        b'{"a":1}x',
        b'{"a":"\n"}',
        b'{"a":"\\x"}',
        b'{"a":tru}',
        b"[1,]",
        b"\x00",
        b"// comment",
        event()[:-20],
    ],
    "not_an_object": [b"1", b"null", b'"text"', b"[1]", b"[[]]"],
    "no_request": [b"[]"],
    "unknown_format": [b"{}", b'{"foo":1}'],
    "time_range": [event(ts=1), event(ts=-5), event(ts=1_700_000_000), event(ts=10**17), event(ts=10**400)],
    "wrong_type_ts": [event(ts="1700000000000"), event(ts=1.5), event(ts=None), event(ts=True), event(ts=[])],
    "missing_ts": [event(ts=...)],
    "missing_event_id": [event(event_id=...)],
    "missing_account_id": [event(account_id=...)],
    "missing_model": [event(model=...)],
    "missing_prompt": [event(prompt=...), event(prompt=None)],
    "id_length": [event(event_id=""), event(account_id="a" * 257), event(account_id="é" * 200)],
    "id_control_characters": [
        event(event_id="a\nb"),
        event(account_id="\x1b[31m"),
        event(account_id="a\x00"),
        event(account_id="a\u202eb"),
    ],
    "range_turn": [event(turn=-1), event(turn=2**31)],
    "range_status": [event(status=10**30)],
    "wrong_type_status": [event(status="200")],
    "wrong_type_messages": [event(prompt=..., messages=[{"role": "user", "content": 5}]), event(messages="hi")],
    "wrong_type_prompt": [event(prompt=["hi"])],
    "bad_sketch": [
        event(prompt=..., sketch="A!"),
        event(prompt=..., sketch=""),
        event(prompt=..., sketch="A" * 50_000),
    ],
}


@pytest.mark.parametrize(
    ("expected", "record"), [(name, record) for name, records in REFUSED.items() for record in records]
)
def test_bad_record_is_refused_with_its_reason(expected: str, record: bytes | None) -> None:
    assert reason(record) == expected
    assert expected in REASONS


def test_every_bad_record_costs_only_itself() -> None:
    bad = [record for records in REFUSED.values() for record in records]
    records = [item for index, record in enumerate(bad) for item in (event(event_id=f"ok-{index}"), record)]
    decoded = decode(*records)
    assert decoded.rows.tolist() == list(range(0, len(records), 2))
    assert [reject.offset for reject in decoded.rejects] == [100 + row for row in range(1, len(records), 2)]
    assert decoded.read == len(records)


def test_reject_says_where_and_how_large_but_never_what() -> None:
    record = json.dumps({"event_id": CANARY, "ts": "x", "account_id": CANARY, "prompt": CANARY, CANARY * 9: 1}).encode()
    decoded = decode(event(), record, record, b"{" + CANARY.encode())
    first, second, third = decoded.rejects
    assert (first.topic, first.partition, first.offset, first.size) == ("requests", 3, 101, len(record))
    assert first.digest == second.digest != third.digest
    assert len(first.digest) == 16
    assert first.digest != Decoder(KeyedHash(b"another")).decode([record], ORIGIN).rejects[0].digest
    assert CANARY not in msgspec.json.encode([decoded.rejects, decoded.unknown]).decode()


def test_offsets_with_gaps_are_kept() -> None:
    origin = Origin("requests", 0, 5, [5, 9, 40])
    decoded = Decoder(KEYED).decode([b"{", event(), b"{"], origin)
    assert [reject.offset for reject in decoded.rejects] == [5, 40]
    assert [origin.offset_of(row) for row in decoded.rows] == [9]


def test_full_event_fills_every_column() -> None:
    batch = decode(
        event(
            org_id="o1",
            conversation_id="c1",
            turn=2,
            system="be brief",
            input_tokens=10,
            output_tokens=20,
            status=429,
            client_ip="198.51.100.7",
            user_agent="ua",
            ja4="j",
            payment_id="p1",
            account_created=1_600_000_000_000,
            email_domain="Example.COM",
            tools=[{"type": "function"}],
            refused=True,
        )
    ).batch
    assert (batch.ts[0], batch.account_id[0], batch.prompt[0]) == (BASE["ts"], "a1", "say hello")
    texts = {
        "account": ("account_id", "a1"),
        "customer": ("org_id", "o1"),
        "system": ("system", "be brief"),
        "conversation": ("conversation_id", "c1"),
        "model": ("model", "m1"),
        "payment": ("payment_id", "p1"),
        "email_domain": ("email_domain", "example.com"),
    }
    for column, (field, text) in texts.items():
        assert getattr(batch, column)[0] == hash_of(field, text), column
    assert batch.event[0] == hash_of("event_id", "e1") ^ hash_of("account_id", "a1")
    numbers = (batch.turn[0], batch.input_tokens[0], batch.output_tokens[0], batch.status[0], batch.created[0])
    assert numbers == (2, 10, 20, 429, 1_600_000_000_000)
    assert (batch.refused[0], batch.tools[0]) == (True, True)
    assert network_text(int(batch.network[0])) == "198.51.100.0/24"
    assert batch.client[0] != 0


def test_absent_optional_fields_read_as_missing() -> None:
    nulls = {name: None for name in Request.__struct_fields__ if name not in BASE}
    for record in (event(), event(**nulls)):
        batch = decode(record).batch
        for column in ("system", "conversation", "network", "client", "payment", "email_domain"):
            assert getattr(batch, column)[0] == 0, column
        for column in ("turn", "created", "input_tokens", "output_tokens", "status"):
            assert getattr(batch, column)[0] == MISSING, column
        assert batch.customer[0] == batch.account[0] != 0
        assert batch.refused.tolist() == batch.tools.tolist() == [False]


def test_equal_texts_in_two_fields_cannot_be_linked() -> None:
    batch = decode(event(account_id="same", org_id="same", event_id="same", payment_id="same")).batch
    assert len({int(column[0]) for column in (batch.account, batch.customer, batch.event, batch.payment)}) == 4


def test_an_event_id_is_of_its_account() -> None:
    found = decode(event(account_id="a"), event(account_id="b"), event(account_id="a")).batch
    assert found.event[0] == found.event[2] != found.event[1]


def test_client_differs_by_either_part() -> None:
    pairs = [{"user_agent": "a"}, {"ja4": "a"}, {"user_agent": "a", "ja4": "a"}, {"user_agent": "a", "ja4": "b"}]
    batch = decode(*(event(**pair) for pair in pairs)).batch
    assert len(set(batch.client.tolist())) == 4


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1_600_000_000_000, 1_600_000_000_000),
        ("2024-01-02", 1_704_153_600_000),
        ("2024-01-02T00:00:00Z", 1_704_153_600_000),
        ("2024-01-02T01:00:00+01:00", 1_704_153_600_000),
        ("soon", MISSING),
        (1_600_000_000, MISSING),
        (10**30, MISSING),
        ("0001-01-01T00:00:00+23:59", MISSING),
    ],
)
def test_account_created_is_time_or_nothing(value: object, expected: int) -> None:
    assert decode(event(account_created=value)).batch.created[0] == expected


def test_last_user_text_is_the_prompt() -> None:
    openai = [
        {"role": "system", "content": "S"},
        {"role": "user", "content": "first"},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
        {"role": "tool", "content": "result"},
        {
            "role": "user",
            "content": [{"type": "text", "text": "se"}, {"type": "image_url"}, {"type": "text", "text": "c"}],
        },
    ]
    anthropic = [
        {"role": "user", "content": [{"type": "text", "text": "ask"}]},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "1", "name": "f", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": "42"}]},
    ]
    batch = decode(
        event(prompt=..., messages=openai),
        event(prompt=..., messages=anthropic, system=[{"type": "text", "text": "S"}]),
        event(prompt="given", messages=openai, turn=7, system="own"),
        event(prompt=..., messages=[]),
    ).batch
    assert list(batch.prompt) == ["se\nc", "ask", "given", ""]
    assert batch.turn.tolist() == [2, 1, 7, MISSING]
    assert batch.system.tolist() == [hash_of("system", "S"), hash_of("system", "S"), hash_of("system", "own"), 0]


def test_sketch_stands_in_for_text() -> None:
    packed = bytes(range(200))
    text = base64.b64encode(packed).decode()
    batch = decode(event(), event(prompt=..., sketch=text), event(sketch=text)).batch
    assert batch.sketch == {1: packed}
    assert list(batch.prompt) == ["say hello", "", "say hello"]


def test_enormous_prompt_keeps_both_ends() -> None:
    text = "a" * 400_000 + "é" * 10 + "z" * 100_000
    kept = decode(event(prompt=text)).batch.prompt[0]
    assert kept.startswith("aaaa")
    assert kept.endswith("zzzz")
    assert len(kept) == PROMPT_CHARACTERS_MAX + 1


def test_brackets_inside_texts_are_not_nesting() -> None:
    text = "[{" * 1000 + '\\"' * 50
    deep = event(prompt=text)[:-1] + b',"x":' + b"[" * (JSON_DEPTH_MAX - 1) + b"]" * (JSON_DEPTH_MAX - 1) + b"}"
    assert list(decode(event(prompt=text), deep).batch.prompt) == [text, text]


def test_duplicate_keys_last_wins() -> None:
    record = event()[:-1] + b',"account_id":"last"}'
    assert decode(record).batch.account_id[0] == "last"


def test_array_of_events_is_counted_in_events() -> None:
    decoded = decode(b"[" + event() + b"," + event(ts=0) + b",5," + event(event_id="e2") + b"]", event())
    assert decoded.rows.tolist() == [0, 0, 1]
    assert [(reject.reason, reject.offset) for reject in decoded.rejects] == [
        ("time_range", 100),
        ("not_an_object", 100),
    ]
    assert decoded.read == 5


def test_unknown_names_are_counted_once_and_cannot_carry_text() -> None:
    decoder = Decoder(KEYED)
    records = [
        event(),
        event(surprise=1, **{"some words of a prompt": 2, "x" * 70: 3}),
        event(surprise=1, country="XX"),
    ]
    assert decoder.decode(records, ORIGIN).unknown == {"surprise": 1, "(unprintable)": 1}
    assert decoder.decode(records, ORIGIN).unknown == {}
    many = [event(**{f"n{index}-{copy}": 1 for copy in range(10)}) for index in range(400)]
    assert len(decoder.decode(many, ORIGIN).unknown) == 254


def test_unknown_names_are_found_far_into_a_stream() -> None:
    decoder = Decoder(KEYED)
    decoder.decode([event()] * 5000, ORIGIN)
    assert decoder.decode([event(late=1)] * 64, ORIGIN).unknown == {"late": 1}


def test_batches_do_not_change_what_a_record_becomes() -> None:
    records = [record for records in REFUSED.values() for record in records] + [
        event(event_id=f"e{i}") for i in range(50)
    ]
    whole = decode(*records)
    decoder = Decoder(KEYED)
    parts = [decoder.decode([record], Origin("requests", 3, 100 + row)) for row, record in enumerate(records)]
    assert [reject for part in parts for reject in part.rejects] == whole.rejects
    assert np.concatenate([part.batch.event for part in parts]).tolist() == whole.batch.event.tolist()


def test_columns_made_without_json_are_equal() -> None:
    batch = decode(event(org_id="o", client_ip="8.8.4.4", user_agent="u", turn=1, tools=True)).batch
    made = EventColumns(KEYED).batch(
        {
            "event_id": ["e1"],
            "account_id": ["a1"],
            "org_id": ["o"],
            "model": ["m1"],
            "prompt": ["say hello"],
            "client_ip": ["8.8.4.4"],
            "user_agent": ["u"],
        },
        {"ts": batch.ts, "turn": np.array([1]), "tools": np.array([True])},
    )
    for name in batch.__slots__:
        column, other = getattr(batch, name), getattr(made, name)
        assert list(column) == list(other), name
        assert getattr(column, "dtype", None) == getattr(other, "dtype", None), name


def test_empty_batch_is_empty() -> None:
    decoded = decode()
    assert (len(decoded.batch), decoded.read, decoded.rows.dtype) == (0, 0, np.int64)


def test_format_that_does_not_exist_is_named() -> None:
    with pytest.raises(ConfigError, match="'csv' does not exist"):
        Decoder(KEYED, "csv")


def test_contract_fields_are_known() -> None:
    contract = """event_id ts account_id model prompt messages sketch org_id api_key_id operation conversation_id turn
    system input_tokens output_tokens max_tokens temperature n logprobs tools status latency_ms client_ip asn country
    user_agent ja4 payment_id account_created email_domain plan refused"""
    assert set(contract.split()) == KNOWN


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(sorted(KNOWN)) | st.text(), inner, max_size=6)
    ),
    max_leaves=25,
)
FORM_NAMES = """id startTime call_type messages metadata model error_information resourceSpans resourceLogs scopeSpans
spans attributes key value stringValue kvlistValue values body timestamp account_id prompt event_id ts content role"""
FORM_KEYS = st.sampled_from(FORM_NAMES.split())
FORM_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["", "gen_ai.request.model", "user", "x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FORM_KEYS, inner, max_size=6),
    max_leaves=40,
)


def check_conserved(records: list[bytes], format: str) -> None:
    decoded = decode(*records, format=format)
    assert decoded.read == len(decoded.batch) + len(decoded.rejects) >= len(records)
    assert len(decoded.rows) == len(decoded.batch) == sum(decoded.formats.values())
    accounted = set(decoded.rows.tolist()) | {reject.offset - 100 for reject in decoded.rejects}
    assert accounted == set(range(len(records)))
    assert {reject.reason for reject in decoded.rejects} <= REASONS


@given(
    st.lists(st.binary(max_size=80), max_size=6),
    st.sampled_from(["auto", "canonical", "litellm", "otel", "glasswally"]),
)
def test_any_bytes_are_conserved(records: list[bytes], format: str) -> None:
    check_conserved(records, format)


@settings(max_examples=300)
@given(st.lists(JSON, max_size=4), st.sampled_from(["auto", "litellm", "otel", "glasswally"]))
def test_any_json_is_conserved(values: list[object], format: str) -> None:
    check_conserved([json.dumps(value).encode() for value in values], format)


@settings(max_examples=400)
@given(st.lists(FORM_JSON, max_size=4), st.sampled_from(["auto", "litellm", "otel", "glasswally"]))
def test_any_misshapen_form_is_conserved(values: list[object], format: str) -> None:
    check_conserved([json.dumps(value).encode() for value in values], format)


@settings(max_examples=300)
@given(st.data())
def test_any_damage_to_a_good_event_is_conserved(data: st.DataObject) -> None:
    record = bytearray(
        event(messages=[{"role": "user", "content": "x"}], client_ip="::1", account_created="2024-01-01")
    )
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(record) - 1))
        record[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3)) or b" "
    check_conserved([event(), bytes(record), event()], "auto")


@settings(max_examples=200)
@given(st.dictionaries(st.sampled_from(sorted(set(KNOWN) - set(BASE))), JSON, max_size=5))
def test_any_optional_value_is_conserved(extra: dict[str, object]) -> None:
    check_conserved([event(**extra)], "auto")
