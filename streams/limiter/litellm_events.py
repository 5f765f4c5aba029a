"""A logging callback for the LiteLLM proxy: its calls as request events to the intake.

What lives here: LiteLLM's hooks and the settings. What does not: mapping and sending (``models.edge``, ``sender``). In
the proxy's configuration: ``callbacks: ["streams.limiter.litellm_events.handler"]``.
"""

from __future__ import annotations

import os
from typing import Any

from litellm.integrations.custom_logger import CustomLogger

from models.errors import ConfigError
from models.sketch import Sketcher
from streams.config import load
from streams.limiter.sender import EventSender


def _sender() -> EventSender:
    settings = load(os.environ)
    mine, sketcher = settings.intake, None
    if mine.send == "sketch":
        if settings.secret is None:
            raise ConfigError("set DISTILWATCH_SECRET, the worker's, or DISTILWATCH_INTAKE_SEND=text")
        sketcher = Sketcher(settings.secret.reveal().encode())
    token = mine.token.reveal() if mine.token else ""
    return EventSender(mine.url, token=token, format="litellm", sketcher=sketcher)


class DistilwatchEvents(CustomLogger):  # type: ignore[misc]  # untyped there
    """Hands each call to the sender once it has ended, well or not; a call never waits for it."""

    def __init__(self) -> None:
        super().__init__()
        self.sender = _sender()

    async def async_log_success_event(
        self, kwargs: dict[str, Any], response_obj: Any, start_time: Any, end_time: Any
    ) -> None:
        """LiteLLM calls this after a call that was answered."""
        self._note(kwargs)

    async def async_log_failure_event(
        self, kwargs: dict[str, Any], response_obj: Any, start_time: Any, end_time: Any
    ) -> None:
        """LiteLLM calls this after a call that failed."""
        self._note(kwargs)

    def _note(self, kwargs: dict[str, Any]) -> None:
        payload = kwargs.get("standard_logging_object")
        if isinstance(payload, dict):
            self.sender.put(payload)


handler = DistilwatchEvents()
