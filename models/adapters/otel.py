"""OpenTelemetry GenAI spans and log events in OTLP JSON, as a Collector's Kafka or file exporter writes them.

What lives here: the attribute names of all versions of the conventions in one table, and the walk through resource,
scope and span. What does not: the binary encoding (``otlp_proto``); tell the exporter ``encoding: otlp_json``.

Source: OpenTelemetry semantic conventions for generative AI, releases 1.27 to 1.42, and the OTLP JSON mapping.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from models.adapters.mapping import Adapter, Fields, Sources, canonical

SOURCES: Final[Sources] = {
    "event_id": ("gen_ai.response.id", "traceId:spanId"),
    "ts": ("startTimeUnixNano", "timeUnixNano", "observedTimeUnixNano"),
    "account_id": ("user.hash", "enduser.pseudo.id", "enduser.id", "user.id"),
    "model": (
        "gen_ai.request.model",
        "gen_ai.request.model_override",
        "gen_ai.original.model",
        "gen_ai.response.model",
    ),
    "messages": ("gen_ai.input.messages", "gen_ai.prompt"),
    "system": ("gen_ai.system_instructions",),
    "org_id": ("distilwatch.org_id", "organization.id", "tenant.id"),
    "conversation_id": ("gen_ai.conversation.id", "session.id"),
    "turn": ("distilwatch.turn",),
    "input_tokens": ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens"),
    "output_tokens": ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens"),
    "status": ("http.response.status_code", "http.status_code", "error.type"),
    "client_ip": ("client.address", "http.client_ip"),
    "user_agent": ("user_agent.original", "http.user_agent"),
    "ja4": ("tls.client.ja4", "tls.client.ja3"),
    "payment_id": ("distilwatch.payment_id",),
    "email_domain": ("distilwatch.email_domain",),
    "account_created": ("distilwatch.account_created",),
    "api_key_id": ("distilwatch.api_key_id",),
    "plan": ("distilwatch.plan",),
    "tools": ("gen_ai.tool.definitions",),
    "refused": ("gen_ai.response.finish_reasons",),
}
"""Canonical field -> attribute names, newest first; fields the conventions do not know have a name of ours."""

_IGNORED_NAMES = """
    gen_ai.operation.name gen_ai.provider.name gen_ai.system gen_ai.output.messages gen_ai.output.type
    gen_ai.completion gen_ai.request.max_tokens gen_ai.request.temperature gen_ai.request.top_p gen_ai.request.top_k
    gen_ai.request.seed gen_ai.request.choice.count gen_ai.request.stop_sequences gen_ai.request.stream
    gen_ai.request.frequency_penalty gen_ai.request.presence_penalty gen_ai.response.time_to_first_chunk
    gen_ai.usage.total_tokens gen_ai.usage.reasoning.output_tokens gen_ai.usage.cache_read.input_tokens
    gen_ai.usage.cache_creation.input_tokens server.address server.port service.name service.version
    service.instance.id telemetry.sdk.name telemetry.sdk.language telemetry.sdk.version host.name event.name
    failed
"""
_IGNORED = frozenset(_IGNORED_NAMES.split())
_MARKERS = (frozenset(["resourceSpans"]), frozenset(["resourceLogs"]))
_REQUESTS = frozenset(["chat", "text_completion", "generate_content", "completion", "messages", "responses"])
_SCALARS = ("stringValue", "boolValue", "intValue", "doubleValue", "bytesValue")
_REFUSALS = ("content_filter", "refusal", "safety")
_TOLD_BY = {
    "gen_ai.system.message": "system",
    "gen_ai.user.message": "user",
    "gen_ai.assistant.message": "assistant",
    "gen_ai.content.prompt": "user",
}


def _expand(record: Fields) -> list[Fields]:
    """One flat record per inference; spans of tools, agents, embeddings and other software are not requests."""
    found = [
        fields
        for group, scopes, items in (
            ("resourceSpans", "scopeSpans", "spans"),
            ("resourceLogs", "scopeLogs", "logRecords"),
        )
        for resource in _dicts(record.get(group))
        for scope in _dicts(resource.get(scopes))
        for item in _dicts(scope.get(items))
        if (fields := _flat(resource, item)) is not None
    ]
    return found


def _request(fields: Fields) -> Fields:
    request = canonical(fields, SOURCES)
    request.pop("ts", None)
    moment = _nanoseconds_ms(next((fields[name] for name in SOURCES["ts"] if fields.get(name)), None))
    if moment is not None:
        request["ts"] = moment
    request.update(_conversation(request.pop("messages", None)))
    if isinstance(request.get("system"), str):
        request["system"] = _parsed(request["system"])
    if "status" not in request:
        request["status"] = 500 if fields.get("error.type") or fields.get("failed") else 200
    request["refused"] = any(reason in _REFUSALS for reason in _texts(request.get("refused")))
    request["tools"] = bool(request.get("tools"))
    return request


def _flat(resource: Fields, item: Fields) -> Fields | None:
    """Resource attributes, log body and own attributes in one; None where it is no inference."""
    shared = resource.get("resource")
    fields = _attributes(shared.get("attributes")) if isinstance(shared, dict) else {}
    body = _value(item.get("body"))
    if isinstance(body, dict):
        fields.update(body)
    fields.update(_attributes(item.get("attributes")))
    operation = fields.get("gen_ai.operation.name")
    if operation not in _REQUESTS if isinstance(operation, str) else not _has_model(fields):
        return None
    fields.update({name: item[name] for name in SOURCES["ts"] if item.get(name) not in (None, "", "0", 0)})
    if item.get("traceId") and item.get("spanId"):
        fields["traceId:spanId"] = f"{item['traceId']}:{item['spanId']}"
    status = item.get("status")
    fields["failed"] = isinstance(status, dict) and status.get("code") in (2, "STATUS_CODE_ERROR")
    if not fields.get("gen_ai.input.messages"):
        _add_older_messages(fields, _dicts(item.get("events")))
    return fields


def _has_model(fields: Fields) -> bool:
    return any(name in fields for name in SOURCES["model"])


def _add_older_messages(fields: Fields, events: list[Fields]) -> None:
    """Collect what earlier conventions put into span events or into one attribute per message and property."""
    messages = []
    for event in events:
        role = _TOLD_BY.get(str(event.get("name")))
        told = _attributes(event.get("attributes"))
        content = next(
            (told[name] for name in ("content", "gen_ai.event.content", "gen_ai.prompt") if name in told), None
        )
        if role and content is not None:
            messages.append({"role": role, "content": content})
    index = 0
    while f"gen_ai.prompt.{index}.role" in fields:
        role, content = fields.pop(f"gen_ai.prompt.{index}.role"), fields.pop(f"gen_ai.prompt.{index}.content", None)
        messages.append({"role": role, "content": content})
        index += 1
    if messages:
        fields["gen_ai.input.messages"] = messages


def _conversation(messages: Any) -> Fields:
    """Messages as a list or as its JSON text; without any the prompt is empty, as content capture is optional."""
    messages = _parsed(messages)
    if isinstance(messages, dict):
        messages = [messages]
    if isinstance(messages, list) and messages:
        return {"messages": messages}
    return {"prompt": messages if isinstance(messages, str) else ""}


def _parsed(value: Any) -> Any:
    """``value``, or what its text stands for where it is JSON of an array or object."""
    if not isinstance(value, str) or value.lstrip()[:1] not in ("[", "{"):
        return value
    try:
        return msgspec.json.decode(value)
    except (ValueError, RecursionError):
        return value


def _attributes(pairs: Any) -> Fields:
    return {pair["key"]: _value(pair.get("value")) for pair in _dicts(pairs) if isinstance(pair.get("key"), str)}


def _value(value: Any) -> Any:
    """The plain form of an OTLP AnyValue; recursion is bounded by the depth of the record."""
    if not isinstance(value, dict):
        return value
    if isinstance(value.get("arrayValue"), dict):
        values = value["arrayValue"].get("values")
        return [_value(entry) for entry in values] if isinstance(values, list) else []
    if isinstance(value.get("kvlistValue"), dict):
        return _attributes(value["kvlistValue"].get("values"))
    return next((value[kind] for kind in _SCALARS if kind in value), None)


def _nanoseconds_ms(value: Any) -> int | None:
    text = str(value)
    return int(text) // 1_000_000 if text.isascii() and text.isdigit() and len(text) <= 20 else None


def _dicts(value: Any) -> list[Fields]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _texts(value: Any) -> list[str]:
    entries = _parsed(value) if isinstance(value, str) else value
    entries = entries if isinstance(entries, list) else [entries]
    return [entry for entry in entries if isinstance(entry, str)]


ADAPTER: Final = Adapter(SOURCES, _MARKERS, _IGNORED, _expand, _request)
