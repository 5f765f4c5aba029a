"""A guardrail for the LiteLLM proxy: asks before each call whether its key may go on.

What lives here: LiteLLM's hook. What does not: the check (``gate``). In the proxy's configuration:
``guardrail: streams.limiter.litellm_guardrail.DistilwatchGuardrail``, ``mode: pre_call``, ``default_on: true``.
The account is the key's hash, which is also what the events carry (``litellm_events``).
"""

from __future__ import annotations

import os
from typing import Any

from fastapi import HTTPException
from litellm.integrations.custom_guardrail import CustomGuardrail

from models.errors import ConfigError
from streams.config import load
from streams.limiter.gate import Gate

SAID = "Rate limit exceeded. Please try again later."
"""What a refused caller reads: an ordinary limit."""


class DistilwatchGuardrail(CustomGuardrail):  # type: ignore[misc]  # untyped there
    """Refuses with 429; a challenge passes and is named in the request's metadata."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        settings = load(os.environ)
        if settings.redis.url is None:
            raise ConfigError("set DISTILWATCH_REDIS_URL: the guardrail reads signals from Redis")
        self._gate = Gate(settings.redis.url.reveal(), settings.tenant, settings.limiter)

    async def async_pre_call_hook(
        self, user_api_key_dict: Any, cache: Any, data: dict[str, Any], call_type: str
    ) -> Any:
        """LiteLLM calls this before it calls the model."""
        account = getattr(user_api_key_dict, "api_key", None)
        if not isinstance(account, str) or not account:
            return data
        found = await self._gate.admit(account)
        if found.over:
            raise HTTPException(429, detail=SAID, headers={"retry-after": str(found.retry_after_s)})
        if found.verdict.action == "challenge":
            data.setdefault("metadata", {})["x-distilwatch-action"] = "challenge"
        return data
