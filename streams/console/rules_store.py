"""Where the console finds the rules in force, and puts others: the rules topic, or a rules file.

What lives here: both, behind one small interface. What does not: reading a file (``rules_file``), the topic's records
(``rules_topic``), the page (``rules_page``). On the topic rules are what all workers of a tenant take up; a file is
taken up by whoever follows it (``DISTILWATCH_RULES``).
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from models.errors import ConfigError, DistilwatchError
from models.rules import Rules
from streams import rules_file, rules_topic
from streams.config import Settings
from streams.rules_text import rendered

FRESH_S = 2.0
"""So long the topic is not read again: pages that follow live ask more often than rules change."""


class StoreError(DistilwatchError):
    """The rules cannot be read or put now; the message says why."""

    retriable = True


@dataclass(frozen=True, slots=True)
class Live:
    """The rules in force as a value and as the text that says them."""

    rules: Rules
    text: str
    of_others: bool = False  # the text also holds what is said for other tenants, which the value does not


class RulesStore(Protocol):
    """Where rules are kept."""

    tenant: str

    async def live(self) -> Live:
        """The rules in force; raises StoreError."""

    async def put(self, text: str, rules: Rules) -> None:
        """Put others in their place; raises StoreError, and then nothing has changed."""


class TopicRules:
    """The rules topic of a tenant."""

    def __init__(self, settings: Settings) -> None:
        self.tenant = settings.tenant
        self._settings = settings
        self._known: Live | None = None
        self._read_at = 0.0

    async def live(self) -> Live:
        """The newest record of the tenant, else the rules as shipped."""
        if self._known is None or time.monotonic() - self._read_at > FRESH_S:
            try:
                rules = await rules_topic.get(self._settings)
            except rules_topic.PublishError as error:
                raise StoreError(f"{error}") from error
            self._known, self._read_at = Live(rules, rendered(rules)), time.monotonic()
        return self._known

    async def put(self, text: str, rules: Rules) -> None:
        """One record, confirmed by the brokers."""
        try:
            await rules_topic.put(self._settings, rules)
        except rules_topic.PublishError as error:
            raise StoreError(f"{error}") from error
        self._known = None


class FileRules:
    """One rules file, replaced whole or not at all."""

    def __init__(self, path: Path, tenant: str) -> None:
        self.tenant = tenant
        self._path = path

    async def live(self) -> Live:
        """What the file says now."""
        try:
            text = self._path.read_text()
            rules = rules_file.load(str(self._path), self.tenant)
        except (OSError, UnicodeDecodeError, ConfigError) as error:
            raise StoreError(f"{self._path} cannot be used as it is: {error}") from error
        others = any(line.lstrip(" -").startswith("tenant:") for line in text.splitlines())
        return Live(rules, text, others)

    async def put(self, text: str, rules: Rules) -> None:
        """Write the text beside the file, and then in its place."""
        fresh = self._path.with_name(self._path.name + ".new")
        try:
            with fresh.open("w") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self._path)
        except OSError as error:
            raise StoreError(f"{self._path} cannot be written: {error.strerror or error}") from error
