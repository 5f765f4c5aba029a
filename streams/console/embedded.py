"""The console inside another program's process, in a thread of its own: the demo's.

What lives here: the thread, and feeds that the program fills by calls in place of files. What does not: the program.
Actions are kept in memory and end with the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Iterable

from models.alert import Alert, Signal
from models.errors import ConfigError
from models.labels import Label, encode_label
from models.output import encode_alert, encode_signal
from models.rules import Rules
from streams.console.fleet import Fleet
from streams.console.server import Console
from streams.console.settings import ConsoleSettings
from streams.console.views import VERDICTS
from streams.console.writer import InForce
from streams.desk import DeskHost
from streams.desk_feeds import Item

START_TIMEOUT_S = 20.0
POLL_ITEMS = 2_000
WAIT_S = 0.5


class MemoryFeeds:
    """Feeds of a desk that are filled by ``offer``, from any thread."""

    def __init__(self) -> None:
        self.caught_up = True
        self.trouble = ""
        self._items: deque[Item] = deque()
        self._said: deque[bytes] = deque()
        self._more = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def offer(self, items: Iterable[Item]) -> None:
        """Give the desk more to read; never waits."""
        self._items.extend(items)
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the console has stopped: nobody is left to read
                self._loop.call_soon_threadsafe(self._more.set)

    def said(self) -> list[bytes]:
        """The labels since the last call, as records."""
        return [self._said.popleft() for _ in range(len(self._said))]

    async def start(self) -> None:
        """Know the loop that reads."""
        self._loop = asyncio.get_running_loop()

    async def poll(self) -> list[Item]:
        """What was offered, after a short wait if there is nothing."""
        if not self._items:
            self._more.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._more.wait(), WAIT_S)
        return [self._items.popleft() for _ in range(min(len(self._items), POLL_ITEMS))]

    async def append(self, label: Label) -> None:
        """A label goes straight back to the desk, and to whoever asks for what was said."""
        self._said.append(encode_label(label))
        self.offer([Item("labels", "", encode_label(label))])

    async def stop(self) -> None:
        """Nothing is kept open."""
        self._loop = None


class LocalConsole:
    """A console of this machine for one process. All methods may be called from any thread; port 0 takes a free one."""

    def __init__(self, port: int = 0) -> None:
        self._settings = ConsoleSettings(port=port)
        self._rules = InForce(Rules(), "enforce")
        self._feeds = MemoryFeeds()
        self._ready = threading.Event()
        self._failure: Exception | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._thread: threading.Thread | None = None
        self._console: Console | None = None
        self._desk: DeskHost | None = None
        self._told: set[str] = set()
        self.url = ""

    def start(self) -> None:
        """Serve from a thread of its own; returns when the port is bound.

        Raises:
            ConfigError: the port cannot be had.
        """
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="console", daemon=True)
        self._thread.start()
        if not self._ready.wait(START_TIMEOUT_S) or self._failure is not None:
            raise self._failure or ConfigError("the console did not start in time: choose another port, or 0")

    def stop(self) -> None:
        """Tell every tab, close, and join the thread; harmless twice."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        if self._loop is not None and self._stopping is not None:
            with contextlib.suppress(RuntimeError):  # the loop closed by itself in the meantime
                self._loop.call_soon_threadsafe(self._stopping.set)
        thread.join(START_TIMEOUT_S)

    def tell(self, alerts: Iterable[Alert], signals: Iterable[tuple[str, Signal | None]]) -> None:
        """Pass on what the detector decided."""
        items = [Item("alerts", alert.dedup_key, encode_alert(alert)) for alert in alerts]
        self._feeds.offer([*items, *(Item("signals", account, encode_signal(signal)) for account, signal in signals)])

    def publish(self, fleet: Fleet) -> None:
        """Show this traffic from now on."""
        if self._loop is not None and self._console is not None:
            with contextlib.suppress(RuntimeError):  # published after the end: nobody is left to tell
                self._loop.call_soon_threadsafe(self._console.publish, fleet)

    def said(self) -> list[bytes]:
        """What people did since the last call, as records for the detector."""
        return self._feeds.said()

    def verdicts(self) -> list[str]:
        """What people have judged since the last call, a sentence each."""
        cases = list(self._desk.desk.cases.values()) if self._desk else []
        labels = [case.verdict for case in cases if case.verdict is not None and case.verdict.verdict]
        fresh = [label for label in labels if label.action_id not in self._told]
        self._told |= {label.action_id for label in fresh}
        return [f"{VERDICTS[label.verdict or '']}: {label.reason}" for label in fresh]

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        self._desk = DeskHost(self._feeds)
        self._console = Console(self._desk, self._settings, rules=self._rules)
        try:
            await self._desk.start()
            await self._console.start()
        except ConfigError as error:
            self._failure = error
            self._stopping.set()
        self.url = self._console.url
        self._ready.set()
        await self._stopping.wait()
        await self._console.stop()
        await self._desk.stop()
        self._loop = None
