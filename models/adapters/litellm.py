"""LiteLLM's StandardLoggingPayload: one object per call, alone, a line each, or many in an array.

What lives here: its names, per the logging specification of the LiteLLM proxy. What does not: delivery (arrays are
taken apart by ``decode``). Of ``user_api_key_user_email`` only the domain is read.
"""

from __future__ import annotations

from typing import Any, Final

from models.adapters.mapping import Adapter, Fields, Sources, canonical, flattened

SOURCES: Final[Sources] = {
    "event_id": ("id", "litellm_call_id"),
    "ts": ("startTime", "start_time"),
    "account_id": (
        "metadata.user_api_key_hash",
        "user_api_key_hash",
        "metadata.user_api_key_user_id",
        "user_id",
        "end_user",
        "metadata.user_api_key_end_user_id",
    ),
    "model": ("model", "model_group", "model_id"),
    "messages": ("messages",),
    "org_id": (
        "metadata.user_api_key_org_id",
        "metadata.user_api_key_team_id",
        "user_api_key_org_id",
        "user_api_key_team_id",
    ),
    "conversation_id": ("session_id", "metadata.session_id", "model_parameters.litellm_session_id"),
    "input_tokens": ("prompt_tokens", "metadata.usage_object.prompt_tokens"),
    "output_tokens": ("completion_tokens", "metadata.usage_object.completion_tokens"),
    "status": ("error_information.error_code",),
    "client_ip": ("requester_ip_address", "metadata.requester_ip_address"),
    "user_agent": (
        "user_agent",
        "metadata.user_agent",
        "metadata.requester_custom_headers.user-agent",
        "metadata.requester_custom_headers.x-user-agent",
    ),
    "system": ("model_parameters.system", "model_parameters.instructions"),
    "email_domain": ("metadata.user_api_key_user_email",),
    "api_key_id": ("metadata.user_api_key_hash", "user_api_key_hash"),
    "tools": ("model_parameters.tools", "model_parameters.functions"),
}

_PARENTS = ("metadata", "error_information", "model_parameters", "metadata.requester_custom_headers")
_IGNORED_NAMES = """
    trace_id call_type stream response_cost cost_breakdown response_cost_failure_debug_info status status_fields
    custom_llm_provider total_tokens endTime completionStartTime response_time model_map_information api_base cache_hit
    cache_key saved_cache_cost request_tags response error_str hidden_params guardrail_information
    standard_built_in_tools_params error_information.error_class error_information.llm_provider
    error_information.error_message error_information.traceback metadata.user_api_key_alias
    metadata.user_api_key_team_alias metadata.user_api_key_project_id metadata.user_api_key_request_route
    metadata.user_api_key_spend metadata.user_api_key_max_budget metadata.spend_logs_metadata
    metadata.requester_metadata metadata.usage_object metadata.vector_store_request_metadata
    metadata.applied_guardrails metadata.prompt_management_metadata metadata.mcp_tool_call_metadata
    metadata.cold_storage_object_key model_parameters.temperature model_parameters.max_tokens model_parameters.top_p
    model_parameters.stream model_parameters.n model_parameters.stop model_parameters.seed model_parameters.user
    model_parameters.max_completion_tokens model_parameters.tool_choice model_parameters.response_format
    model_parameters.extra_body model_parameters.stream_options model_parameters.logprobs
"""
_IGNORED = frozenset(_IGNORED_NAMES.split())
_MARKERS = (
    frozenset(["id", "startTime"]),
    frozenset(["startTime", "call_type"]),
    frozenset(["model_parameters", "hidden_params"]),
    frozenset(["metadata", "messages", "call_type"]),
    frozenset(["status", "error_information", "messages"]),
)
_REDACTED = "redacted-by-litellm"  # the same words from every account: they must not look like a shared prompt
_CLASSES = {
    "RateLimitError": 429,
    "AuthenticationError": 401,
    "PermissionDeniedError": 403,
    "NotFoundError": 404,
    "Timeout": 408,
    "BadRequestError": 400,
    "ContextWindowExceededError": 400,
    "ContentPolicyViolationError": 400,
}
_REFUSALS = frozenset(["content_filter", "refusal"])


def _expand(record: Fields) -> list[Fields]:
    flat = flattened(record, _PARENTS)
    usage = flat.get("metadata.usage_object")
    if isinstance(usage, dict):
        flat.update({f"metadata.usage_object.{name}": value for name, value in usage.items()})
    return [flat]


def _request(fields: Fields) -> Fields:
    request = canonical(fields, SOURCES)
    request.update(_text(request.pop("messages", None)))
    if "status" not in request:
        request["status"] = _status(fields)
    request["refused"] = _refused(fields)
    request["tools"] = bool(request.get("tools"))
    email = request.pop("email_domain", "")
    if "@" in email:
        request["email_domain"] = email.rpartition("@")[2]
    return request


def _text(messages: Any) -> Fields:
    """The text in any of the shapes LiteLLM logs it in; absent or redacted text is an empty prompt, not a reject."""
    if isinstance(messages, dict):
        messages = messages.get("messages", [messages])
    if isinstance(messages, list) and messages:
        if all(isinstance(message, str) for message in messages):
            return {"prompt": messages[-1]}
        return {"messages": [_unredacted(message) for message in messages]}
    return {"prompt": messages if isinstance(messages, str) and messages != _REDACTED else ""}


def _unredacted(message: Any) -> Any:
    redacted = isinstance(message, dict) and message.get("content") == _REDACTED
    return {**message, "content": ""} if redacted else message


def _status(fields: Fields) -> int:
    if fields.get("status") != "failure":
        return 200
    name = fields.get("error_information.error_class")
    return _CLASSES.get(name, 500) if isinstance(name, str) else 500


def _refused(fields: Fields) -> bool:
    if fields.get("error_information.error_class") == "ContentPolicyViolationError":
        return True
    response = fields.get("response")
    choices = response.get("choices") if isinstance(response, dict) else None
    reasons = [choice.get("finish_reason") for choice in choices or () if isinstance(choice, dict)]
    return any(isinstance(reason, str) and reason in _REFUSALS for reason in reasons)


ADAPTER: Final = Adapter(SOURCES, _MARKERS, _IGNORED, _expand, _request)
