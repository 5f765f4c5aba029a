"""Events at the edge: nothing but the request is kept, and with a sketch no text at all."""

from __future__ import annotations

import json

import pytest

from models.decode import Decoder, Origin
from models.edge import edge_requests, encode_request, sketch_texts
from models.hashing import KeyedHash
from models.sketch import Sketcher

SECRET = b"a secret of the tests, long enough"
CANARY = "zebrafinch7719quartz"
PAYLOAD = {
    "id": "call-1",
    "startTime": 1_772_452_809.9,
    "call_type": "acompletion",
    "model": "m",
    "prompt_tokens": 7,
    "metadata": {
        "user_api_key_hash": "key-1",
        "user_api_key_user_email": "someone@example.org",
        "requester_ip_address": "10.1.2.3",
    },
    "messages": [
        {"role": "system", "content": f"be kind {CANARY}"},
        {"role": "user", "content": f"first {CANARY}"},
        {"role": "assistant", "content": "well"},
        {"role": "user", "content": f"second {CANARY}"},
    ],
    "response": {"choices": [{"message": {"content": f"an answer {CANARY}"}, "finish_reason": "stop"}]},
}


def test_a_call_becomes_the_smallest_event_that_says_the_same() -> None:
    (request,) = edge_requests(dict(PAYLOAD), "litellm")
    event = json.loads(encode_request(request))
    assert event["account_id"] == "key-1"
    assert event["prompt"] == f"second {CANARY}"
    assert (event["turn"], event["email_domain"], event["input_tokens"]) == (2, "example.org", 7)
    assert "answer" not in json.dumps(event)
    decoder = Decoder(KeyedHash(SECRET))
    whole, small = (
        decoder.decode([record], Origin("t", 0, 0)).batch
        for record in (json.dumps(PAYLOAD).encode(), encode_request(request))
    )
    for column in ("event", "ts", "account", "customer", "turn", "system", "client_ip"):
        if hasattr(whole, column):
            assert getattr(whole, column).tolist() == getattr(small, column).tolist(), column


def test_with_a_sketch_no_text_is_left() -> None:
    requests = edge_requests(dict(PAYLOAD), "litellm")
    sketch_texts(requests, Sketcher(SECRET))
    encoded = encode_request(requests[0])
    assert CANARY.encode() not in encoded
    decoded = Decoder(KeyedHash(SECRET)).decode([encoded], Origin("t", 0, 0))
    assert (len(decoded.batch), decoded.rejects) == (1, [])


@pytest.mark.parametrize("payload", [{}, {"id": "x"}, PAYLOAD | {"metadata": {}}, PAYLOAD | {"id": "\x00"}])
def test_what_is_no_request_is_told(payload: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        edge_requests(dict(payload), "litellm")
