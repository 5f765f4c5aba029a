"""Events from a gateway's process to the intake, without the gateway ever waiting.

What lives here: the queue and its bound, batches, trying again. What does not: what an event is (``models.edge``).
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from typing import Any, Final

import aiohttp

from models.edge import edge_requests, encode_request, sketch_texts
from models.request import Request
from models.sketch import Sketcher

log = logging.getLogger("distilwatch.sender")

QUEUE_MAX: Final = 10_000
"""Events that wait for the intake, a few kB each; further ones are dropped and counted."""
BATCH_MAX: Final = 100
LINGER_S: Final = 0.5
POST_S: Final = 15.0
BACKOFF_S: Final = (0.5, 30.0)


class EventSender:
    """Takes records of one producer's form on the event loop and posts them from a task of its own.

    Args:
        url: of the intake, ``http://host:port/v1/events``.
        token: of the intake, or empty.
        format: the producer's form.
        sketcher: sends sketches in place of texts; None sends texts.
    """

    def __init__(self, url: str, *, token: str, format: str, sketcher: Sketcher | None) -> None:
        self.counts: Counter[str] = Counter()
        self._url = url
        self._headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        self._format = format
        self._sketcher = sketcher
        self._queue: deque[Request] = deque()
        self._task: asyncio.Task[None] | None = None

    def put(self, record: dict[str, Any]) -> None:
        """Queue what the record holds; what cannot be read or does not fit is counted and forgotten."""
        try:
            requests = edge_requests(record, self._format)
        except (ValueError, RecursionError):
            self.counts["unreadable"] += 1
            return
        for request in requests:
            if len(self._queue) >= QUEUE_MAX:
                self.counts["dropped"] += 1
                continue
            self._queue.append(request)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        """Post until nothing waits."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(POST_S)) as session:
            while self._queue:
                await asyncio.sleep(LINGER_S)
                batch = [self._queue.popleft() for _ in range(min(BATCH_MAX, len(self._queue)))]
                await self._deliver(session, batch, await asyncio.to_thread(self._body, batch))

    def _body(self, batch: list[Request]) -> bytes:
        if self._sketcher is not None:
            sketch_texts(batch, self._sketcher)
        return b"[" + b",".join(map(encode_request, batch)) + b"]"

    async def _deliver(self, session: aiohttp.ClientSession, batch: list[Request], body: bytes) -> None:
        """Post until the intake has answered for the batch; the queue fills up meanwhile, and no further."""
        least, most = BACKOFF_S
        attempt = 0
        while True:
            try:
                async with session.post(self._url, data=body, headers=self._headers) as answer:
                    status = answer.status
            except (aiohttp.ClientError, OSError, TimeoutError):
                status = 503
            if status not in (408, 429) and status < 500:
                self.counts["sent" if status == 200 else "refused"] += len(batch)
                return
            self.counts["retried"] += 1
            if attempt == 0:
                log.warning("the intake does not take events (%d): they wait", status)
            await asyncio.sleep(min(most, least * 2 ** min(attempt, 8)))
            attempt += 1
