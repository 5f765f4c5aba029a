"""The rules file of a worker: read at the start, on SIGHUP and when it changes, and put on the rules topic.

What lives here: noticing a change. What does not: how rules reach the stages. A file goes the way of every other
change, through the topic, so that each partition takes it at one place of its input and a replay repeats it there; with
several workers the last file changed wins. A wrong file changes nothing: the rules in force stay, and it is logged.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from pathlib import Path

from models.errors import ConfigError
from models.rules import Rules
from streams import rules_file, rules_topic
from streams.config import Settings
from streams.metrics import Metrics

log = logging.getLogger("distilwatch.rules")

POLL_S = 2.0
Stamp = tuple[int, int, int]


class RulesWatch:
    """Follows one file; ``stop`` ends ``run``."""

    def __init__(self, settings: Settings, path: Path, metrics: Metrics) -> None:
        self._settings = settings
        self._path = path
        self._metrics = metrics
        self._woken = asyncio.Event()
        self._stopped = False
        self._asked = False
        self._seen = self._stamp()
        self._digest = ""

    async def publish(self) -> None:
        """Put the file on the topic, where it says something else than what this process put there last.

        Raises:
            ConfigError: the file is wrong; the message names every error.
            PublishError: the brokers do not take it.
        """
        rules: Rules = rules_file.load(str(self._path), self._settings.tenant)
        if rules.digest != self._digest:
            said = await rules_topic.put(self._settings, rules)
            self._digest = rules.digest
            self._metrics.rules_files.labels("published").inc()
            log.info("%s: %s", self._path, said.text)

    def reload(self) -> None:
        """Read the file again now, whether it seems changed or not."""
        self._asked = True
        self._woken.set()

    def stop(self) -> None:
        """End ``run``."""
        self._stopped = True
        self._woken.set()

    async def run(self) -> None:
        """Look for changes until stopped."""
        while not self._stopped:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), POLL_S)
            self._woken.clear()
            stamp = self._stamp()
            if not self._stopped and (self._asked or stamp != self._seen):
                self._asked = False
                await self._try(stamp)

    async def _try(self, stamp: Stamp) -> None:
        try:
            await self.publish()
        except ConfigError as error:
            self._seen = stamp  # the same wrong file is not said again
            self._metrics.rules_files.labels("refused").inc()
            for line in str(error).splitlines():
                log.error("rules kept, the file is wrong: %s", line)
        except rules_topic.PublishError as error:
            log.warning("rules not published yet: %s", error)  # and tried again at the next look
        else:
            self._seen = stamp

    def _stamp(self) -> Stamp:
        try:
            found = self._path.stat()
        except OSError:
            return 0, 0, 0
        return found.st_mtime_ns, found.st_ino, found.st_size
