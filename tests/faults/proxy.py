"""A TCP proxy that spoils a connection: slow, thin, silent, cut, or away.

What lives here: the spoiling, on an event loop in a thread of its own. What does not: what is behind it. Changing a
field takes effect at once, on connections that exist too.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress


class Proxy:
    """Forwards ``port`` to ``target``; every field is a fault, and the defaults are none."""

    def __init__(self, port: int, target: int) -> None:
        self.port, self.target = port, target
        self.latency_s = 0.0
        self.bytes_per_s = 0  # 0: as fast as it goes
        self.slice_bytes = 64 << 10
        self.silent = False  # half-open: nothing passes, nothing is closed
        self.away = False  # connections are refused
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        self._ready.wait(10)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(asyncio.start_server(self._connect, "127.0.0.1", self.port))
        self._ready.set()
        self._loop.run_forever()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.away:
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, far_writer}
        ways = [self._pump(reader, far_writer), self._pump(far_reader, writer)]
        await asyncio.wait([asyncio.create_task(way) for way in ways], return_when=asyncio.FIRST_COMPLETED)
        for end in (writer, far_writer):
            end.transport.abort()
            self._writers.discard(end)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(self.slice_bytes):
                if self.latency_s:
                    await asyncio.sleep(self.latency_s)
                if self.bytes_per_s:
                    await asyncio.sleep(len(data) / self.bytes_per_s)
                while self.silent:
                    await asyncio.sleep(0.05)
                writer.write(data)
                await writer.drain()

    def reset(self) -> None:
        """Cut every connection at once."""
        self._loop.call_soon_threadsafe(lambda: [writer.transport.abort() for writer in list(self._writers)])

    def heal(self) -> None:
        """No fault any more."""
        self.latency_s, self.bytes_per_s, self.slice_bytes = 0.0, 0, 64 << 10
        self.silent = self.away = False

    def close(self) -> None:
        """Stop forwarding."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
