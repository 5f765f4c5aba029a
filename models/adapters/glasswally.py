"""Glasswally's JSON lines, for comparisons on its data.

What lives here: its names. Its ``campaign_label`` is the answer, so nothing here reads it, not even the digest that
stands for the missing event id.
"""

from __future__ import annotations

import hashlib
from typing import Final

import msgspec

from models.adapters.mapping import Adapter, Fields, Sources, canonical

SOURCES: Final[Sources] = {
    "event_id": ("event_id", "request_id"),
    "ts": ("timestamp",),
    "account_id": ("account_id",),
    "model": ("model",),
    "prompt": ("prompt",),
    "org_id": ("org_id",),
    "system": ("system_prompt", "system_prompt_hash"),
    "input_tokens": ("token_count",),
    "client_ip": ("client_ip",),
    "user_agent": ("user_agent",),
    "ja4": ("h2_settings_fp",),
    "payment_id": ("payment_hash",),
}

_LABEL = "campaign_label"
_IGNORED = frozenset([_LABEL, "max_tokens", "asn_number", "asn_org"])
_MARKERS = (frozenset(["account_id", "timestamp"]),)
_ENCODER = msgspec.json.Encoder(order="deterministic")


def _expand(record: Fields) -> list[Fields]:
    return [{name: value for name, value in record.items() if name != _LABEL}]


def _request(fields: Fields) -> Fields:
    request = canonical(fields, SOURCES)
    if "event_id" not in request:
        request["event_id"] = hashlib.blake2b(_ENCODER.encode(fields), digest_size=16).hexdigest()
    if isinstance(fields.get("prompt"), str):
        request["prompt"] = fields["prompt"]
    return request


ADAPTER: Final = Adapter(SOURCES, _MARKERS, _IGNORED, _expand, _request)
