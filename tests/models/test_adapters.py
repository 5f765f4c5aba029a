"""Other producers' forms give the same columns as the canonical form of the same request."""

import copy
import gzip
import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from models.adapters import ADAPTERS, FORMATS, detect
from models.decode import Decoded, Decoder, Origin
from models.event import MISSING, EventBatch
from models.hashing import KeyedHash
from models.network import network_text
from models.request import FIELDS

KEYED = KeyedHash(b"a test's secret.")

LITELLM: dict[str, Any] = {
    "id": "chatcmpl-1",
    "trace_id": "t-1",
    "call_type": "acompletion",
    "stream": False,
    "response_cost": 0.0012,
    "status": "success",
    "custom_llm_provider": "anthropic",
    "total_tokens": 30,
    "prompt_tokens": 10,
    "completion_tokens": 20,
    "startTime": 1700000000.25,
    "endTime": 1700000001.5,
    "completionStartTime": 1700000000.9,
    "model_map_information": {"model_map_key": "m1", "model_map_value": None},
    "model": "m1",
    "model_id": "dep-1",
    "model_group": "public-m1",
    "api_base": "",
    "metadata": {
        "user_api_key_hash": "88dc28d0f030c55ed4ab77ed8faf098196cb1c05df778539800c9f1243fe6b4b",
        "user_api_key_alias": "prod",
        "user_api_key_org_id": None,
        "user_api_key_team_id": "team-9",
        "user_api_key_user_id": "u-1",
        "user_api_key_user_email": "person@Example.com",
        "requester_ip_address": "203.0.113.9",
        "requester_custom_headers": {"user-agent": "curl/8"},
        "spend_logs_metadata": None,
    },
    "cache_hit": None,
    "request_tags": [],
    "end_user": "end-1",
    "requester_ip_address": None,
    "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "say hello"}],
    "response": {"choices": [{"finish_reason": "stop", "message": {"content": "hello"}}]},
    "error_str": None,
    "error_information": {"error_code": "", "error_class": "", "llm_provider": ""},
    "model_parameters": {"temperature": 0.2, "tools": [{"type": "function"}]},
    "hidden_params": {"model_id": "dep-1", "api_base": None},
}


def attributes(**values: Any) -> list[dict[str, Any]]:
    """OTLP pairs; a double underscore in a name is a dot."""
    return [{"key": name.replace("__", "."), "value": value} for name, value in values.items()]


def text(value: str) -> dict[str, str]:
    return {"stringValue": value}


SPOKEN = [
    {"role": "system", "parts": [{"type": "text", "content": "be brief"}]},
    {"role": "user", "parts": [{"type": "text", "content": "say hello"}, {"type": "blob", "content": "AAAA"}]},
]


def span(**more: Any) -> dict[str, Any]:
    return {
        "traceId": "5b8aa5a2d2c872e8321cf37308d69df2",
        "spanId": "051581bf3cb55c13",
        "name": "chat m1",
        "kind": 3,
        "startTimeUnixNano": "1700000000250000000",
        "endTimeUnixNano": "1700000001500000000",
        "attributes": attributes(
            gen_ai__operation__name=text("chat"),
            gen_ai__provider__name=text("anthropic"),
            gen_ai__request__model=text("m1"),
            gen_ai__usage__input_tokens={"intValue": "10"},
            gen_ai__usage__output_tokens={"intValue": 20},
            user__hash=text("a1"),
            client__address=text("203.0.113.9"),
            user_agent__original=text("curl/8"),
            **more,
        ),
        "status": {},
    }


def spans(*entries: dict[str, Any]) -> dict[str, Any]:
    resource = {"attributes": attributes(service__name=text("gw"), tenant__id=text("team-9"))}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": {"name": "s"}, "spans": list(entries)}]}]}


def decode(*records: Any, format: str = "auto") -> Decoded:
    lines = [record if isinstance(record, bytes) else json.dumps(record).encode() for record in records]
    return Decoder(KEYED, format).decode(lines, Origin("f", 0, 0))


def one(record: Any) -> EventBatch:
    decoded = decode(record)
    assert decoded.rejects == []
    assert len(decoded.batch) == 1
    return decoded.batch


def hash_of(field: str, value: str) -> int:
    return KEYED.derive(b"event:" + field.encode()).text(value)


def check_common(batch: EventBatch) -> None:
    """What the samples of both forms say."""
    assert batch.ts[0] == 1_700_000_000_250
    assert batch.prompt[0] == "say hello"
    assert batch.system[0] == hash_of("system", "be brief")
    assert batch.model[0] == hash_of("model", "m1")
    assert batch.customer[0] == hash_of("org_id", "team-9")
    assert (batch.turn[0], batch.input_tokens[0], batch.output_tokens[0], batch.status[0]) == (1, 10, 20, 200)
    assert network_text(int(batch.network[0])) == "203.0.113.0/24"
    assert batch.client[0] == hash_of("user_agent", "curl/8")
    assert not batch.refused[0]


def litellm(**changes: Any) -> dict[str, Any]:
    """The sample with changes; ``metadata`` and the like are merged."""
    record = copy.deepcopy(LITELLM)
    for name, value in changes.items():
        record[name] = (
            {**record[name], **value} if isinstance(record.get(name), dict) and isinstance(value, dict) else value
        )
    return record


def test_litellm_payload_fills_the_columns() -> None:
    decoded = decode(LITELLM)
    batch = one(LITELLM)
    check_common(batch)
    assert batch.account_id[0] == LITELLM["metadata"]["user_api_key_hash"]
    assert batch.event[0] ^ batch.account[0] == hash_of("event_id", "chatcmpl-1")
    assert batch.email_domain[0] == hash_of("email_domain", "example.com")
    assert batch.api_key[0] == hash_of("api_key_id", LITELLM["metadata"]["user_api_key_hash"])
    assert batch.tools[0]
    assert decoded.unknown == {}
    assert decoded.formats == {"litellm": 1}


def test_litellm_array_costs_only_its_bad_entry() -> None:
    bad = litellm(startTime=None)
    decoded = decode([LITELLM, bad, litellm(id="2")], LITELLM)
    assert decoded.rows.tolist() == [0, 0, 1]
    assert [reject.reason for reject in decoded.rejects] == ["missing_ts"]
    assert decoded.read == 4


@pytest.mark.parametrize(
    "start",
    [1700000000.25, "2023-11-14T22:13:20.250000Z", "2023-11-14 22:13:20.250", "1700000000.25", 1700000000250],
)
def test_litellm_times_in_every_form(start: object) -> None:
    assert one(litellm(startTime=start)).ts[0] == 1_700_000_000_250


@pytest.mark.parametrize(
    ("failure", "status", "refused"),
    [
        ({"error_code": "429", "error_class": "RateLimitError"}, 429, False),
        ({"error_code": "", "error_class": "RateLimitError"}, 429, False),
        ({"error_code": None, "error_class": "ContentPolicyViolationError"}, 400, True),
        ({"error_code": None, "error_class": "SomethingElse"}, 500, False),
        ({"error_code": "x", "error_class": None}, 500, False),
    ],
)
def test_litellm_failures_are_kept(failure: dict[str, Any], status: int, refused: bool) -> None:
    batch = one(litellm(status="failure", error_information=failure, messages=None, response=None))
    assert (batch.status[0], bool(batch.refused[0]), batch.prompt[0]) == (status, refused, "")


def test_litellm_filtered_answer_counts_as_refused() -> None:
    assert one(litellm(response={"choices": [{"finish_reason": "content_filter"}]})).refused[0]


@pytest.mark.parametrize(
    ("messages", "prompt"),
    [
        ("plain", "plain"),
        ({"role": "user", "content": "one"}, "one"),
        ({"messages": [{"role": "user", "content": "in"}]}, "in"),
        (["a", "b"], "b"),
        ("redacted-by-litellm", ""),
        ([{"role": "user", "content": "redacted-by-litellm"}], ""),
        ({"role": "user", "content": "redacted-by-litellm"}, ""),
        (None, ""),
        ([], ""),
        ({}, ""),
    ],
)
def test_litellm_messages_in_every_shape(messages: object, prompt: str) -> None:
    assert one(litellm(messages=messages)).prompt[0] == prompt


def test_litellm_accounts_fall_back() -> None:
    without = {"user_api_key_hash": None}
    assert one(litellm(metadata=without)).account_id[0] == "u-1"
    assert one(litellm(metadata={**without, "user_api_key_user_id": ""})).account_id[0] == "end-1"
    nobody = litellm(metadata={**without, "user_api_key_user_id": None}, end_user=None)
    assert [reject.reason for reject in decode(nobody).rejects] == ["missing_account_id"]


def test_otel_span_fills_the_columns() -> None:
    record = spans(span(gen_ai__input__messages=text(json.dumps(SPOKEN)), gen_ai__response__id=text("r-1")))
    batch = one(record)
    check_common(batch)
    assert batch.account_id[0] == "a1"
    assert batch.event[0] ^ batch.account[0] == hash_of("event_id", "r-1")
    assert decode(record).unknown == {}


def test_otel_log_event_fills_the_columns() -> None:
    structured = {
        "arrayValue": {
            "values": [
                {
                    "kvlistValue": {
                        "values": attributes(
                            role=text(str(message["role"])),
                            parts={
                                "arrayValue": {
                                    "values": [
                                        {
                                            "kvlistValue": {
                                                "values": attributes(type=text(p["type"]), content=text(p["content"]))
                                            }
                                        }
                                        for p in message["parts"]
                                    ]
                                }
                            },
                        )
                    }
                }
                for message in SPOKEN
            ]
        }
    }
    source = span(gen_ai__input__messages=structured)
    record = {
        "timeUnixNano": "1700000000250000000",
        "eventName": "gen_ai.client.inference.operation.details",
        "traceId": source["traceId"],
        "spanId": source["spanId"],
        "attributes": source["attributes"],
    }
    resource = {"attributes": attributes(tenant__id=text("team-9"))}
    batch = one({"resourceLogs": [{"resource": resource, "scopeLogs": [{"logRecords": [record]}]}]})
    check_common(batch)
    # The span of the same call has the same id, so the two count once downstream.
    assert batch.event[0] == one(spans(source)).event[0]


def test_otel_system_instructions_and_older_messages() -> None:
    instructions = text(json.dumps([{"type": "text", "content": "be brief"}]))
    asked = text(json.dumps(SPOKEN[1:]))
    check_common(one(spans(span(gen_ai__system_instructions=instructions, gen_ai__input__messages=asked))))
    indexed = {
        "gen_ai.prompt.0.role": text("system"),
        "gen_ai.prompt.0.content": text("be brief"),
        "gen_ai.prompt.1.role": text("user"),
        "gen_ai.prompt.1.content": text("say hello"),
    }
    check_common(one(spans(span(**indexed))))
    told = [
        {"name": "gen_ai.system.message", "attributes": attributes(content=text("be brief"))},
        {"name": "gen_ai.user.message", "attributes": attributes(content=text("say hello"))},
        {"name": "gen_ai.choice", "attributes": attributes(content=text("hello"))},
    ]
    check_common(one(spans(span() | {"events": told})))


def test_otel_keeps_requests_only() -> None:
    def operation(name: str) -> dict[str, Any]:
        return {
            **span(),
            "attributes": attributes(gen_ai__operation__name=text(name), gen_ai__request__model=text("m")),
        }

    http = {**span(), "attributes": attributes(http__request__method=text("GET"))}
    decoded = decode(spans(http, operation("execute_tool"), operation("invoke_agent"), span(), operation("embeddings")))
    assert (len(decoded.batch), decoded.read) == (1, 1)
    assert [reject.reason for reject in decode(spans(http), spans()).rejects] == ["no_request", "no_request"]


def test_otel_batch_costs_only_its_bad_span() -> None:
    decoded = decode(spans(span(), {**span(), "startTimeUnixNano": "soon"}, {**span(), "spanId": "2"}))
    assert (len(decoded.batch), [reject.reason for reject in decoded.rejects]) == (2, ["missing_ts"])


def test_otel_errors_and_filters() -> None:
    assert one(spans(span(error__type=text("429")))).status[0] == 429
    assert one(spans(span(error__type=text("timeout")))).status[0] == 500
    assert one(spans(span() | {"status": {"code": 2}})).status[0] == 500
    reasons = {"arrayValue": {"values": [text("content_filter")]}}
    assert one(spans(span(gen_ai__response__finish_reasons=reasons))).refused[0]
    assert not one(spans(span(gen_ai__response__finish_reasons=text('["stop"]')))).refused[0]


@pytest.mark.parametrize("name", ["user.hash", "enduser.pseudo.id", "enduser.id", "user.id"])
def test_otel_account_names(name: str) -> None:
    entry = span()
    entry["attributes"] = [pair for pair in entry["attributes"] if pair["key"] != "user.hash"]
    entry["attributes"] += attributes(**{name: text("who")})
    assert one(spans(entry)).account_id[0] == "who"


GLASSWALLY = {
    "account_id": "sk-1",
    "timestamp": "2026-02-27T20:08:29.149978+00:00",
    "model": "m1",
    "prompt": "What foods are high in vitamin C?",
    "system_prompt": None,
    "system_prompt_hash": None,
    "token_count": 199,
    "max_tokens": 256,
    "client_ip": "63.114.71.189",
    "asn_number": 4134,
    "asn_org": "X",
    "user_agent": "python-requests/2.31.0",
    "h2_settings_fp": None,
    "campaign_label": None,
}


def plain(batch: EventBatch) -> list[Any]:
    return [list(getattr(batch, name)) for name in batch.__slots__]


def test_glasswally_line_fills_the_columns_and_its_label_does_not() -> None:
    batch = one(GLASSWALLY)
    assert (batch.ts[0], batch.account_id[0], batch.input_tokens[0]) == (1_772_222_909_150, "sk-1", 199)
    assert batch.turn[0] == MISSING
    assert plain(one({**GLASSWALLY, "campaign_label": "hydra-3"})) == plain(batch)
    reordered = dict(reversed(GLASSWALLY.items()))
    assert plain(one(reordered)) == plain(batch)
    assert one({**GLASSWALLY, "prompt": "Other"}).event[0] != batch.event[0]


def test_glasswally_labelled_file_is_read_whole() -> None:
    corpus = os.environ.get("DISTILWATCH_CORPUS")
    if not corpus:
        pytest.skip("DISTILWATCH_CORPUS does not name the folder with peers/glasswally_labeled_5k.jsonl.gz")
    lines = gzip.decompress((Path(corpus) / "peers/glasswally_labeled_5k.jsonl.gz").read_bytes()).splitlines()
    decoded = decode(*lines)
    assert (len(decoded.batch), decoded.rejects, decoded.formats) == (5000, [], {"glasswally": 5000})
    assert len(set(decoded.batch.account.tolist())) == 231
    unlabelled = [{key: value for key, value in json.loads(line).items() if key != "campaign_label"} for line in lines]
    assert plain(decode(*unlabelled).batch) == plain(decoded.batch)


def test_mixed_stream_is_told_apart_record_by_record() -> None:
    canonical = {"event_id": "e", "ts": 1_700_000_000_000, "account_id": "a", "model": "m", "prompt": "p"}
    decoded = decode(LITELLM, canonical, spans(span()), b"junk", GLASSWALLY, LITELLM)
    assert decoded.formats == {"litellm": 2, "canonical": 1, "otel": 1, "glasswally": 1}
    assert decoded.rows.tolist() == [0, 1, 2, 4, 5]


def test_named_format_reads_nothing_else() -> None:
    for name, record in {"litellm": LITELLM, "otel": spans(span()), "glasswally": GLASSWALLY}.items():
        assert len(decode(record, format=name).batch) == 1
        for other in set(FORMATS) - {"auto", name}:
            assert len(decode(record, format=other).batch) == 0, (name, other)


def test_detection_by_keys() -> None:
    assert detect(LITELLM) == "litellm"
    assert detect({"account_id": 1}) == "canonical"
    assert detect({"ts": 1, "startTime": 1, "id": 1}) == "canonical"
    assert detect({"message": 1}) is None


def test_tables_map_to_fields_of_the_contract() -> None:
    for adapter in ADAPTERS.values():
        assert set(adapter.sources) <= set(FIELDS)
        assert not adapter.ignored & frozenset().union(*adapter.sources.values())


def test_no_text_or_address_of_mail_is_in_a_reject() -> None:
    secret = "canary-7f3a"
    bad = litellm(id=None, messages=[{"role": "user", "content": secret}], metadata={"user_api_key_user_email": secret})
    decoded = decode(bad, spans(span(gen_ai__input__messages=text(secret)) | {"startTimeUnixNano": "x"}), {secret: 1})
    assert len(decoded.rejects) == 3
    assert secret not in msgspec.json.encode(decoded.rejects).decode()
