"""Asks the workers for their metrics and health every few seconds.

What lives here: the requests, with time-outs and bounds. What does not: what the answers mean (``fleet``). The
addresses are the operator's own settings; nothing a visitor sends can name one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

import aiohttp
import msgspec

from streams.console.fleet import Fleet, Reading, WorkersFold

POLL_S = 2.0
TIMEOUT_S = 1.5
ANSWER_BYTES_MAX = 4 << 20


class _Health(msgspec.Struct):
    components: dict[str, dict[str, str]] = {}


class _Allowlist(msgspec.Struct):
    hits: dict[str, int] = {}


async def follow(urls: Sequence[str], publish: Callable[[Fleet], None]) -> None:
    """Poll until cancelled; each round is published, also one that nobody answered."""
    fold = WorkersFold()
    while True:
        publish(fold.take(await ask_all(urls), int(time.time() * 1000)))
        await asyncio.sleep(POLL_S)


async def ask_all(urls: Sequence[str]) -> list[Reading]:
    """Ask every worker once, side by side."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)) as session:
        return await asyncio.gather(*(_ask(session, url.rstrip("/")) for url in urls))


async def _ask(session: aiohttp.ClientSession, url: str) -> Reading:
    try:
        metrics = await _text(session, f"{url}/metrics")
        health = msgspec.json.decode(await _text(session, f"{url}/-/ready"), type=_Health)
        allowlist = msgspec.json.decode(await _text(session, f"{url}/v1/allowlist"), type=_Allowlist)
    except (aiohttp.ClientError, TimeoutError, UnicodeDecodeError, msgspec.MsgspecError) as error:
        return Reading(url, None, {}, type(error).__name__)
    return Reading(url, metrics, health.components, hits=allowlist.hits)


async def _text(session: aiohttp.ClientSession, url: str) -> str:
    """The body of an answer, whatever its status: 503 says which part is not ready."""
    async with session.get(url, allow_redirects=False) as answer:
        body = bytearray()
        async for part in answer.content.iter_chunked(1 << 16):
            body += part
            if len(body) > ANSWER_BYTES_MAX:
                raise aiohttp.ClientPayloadError("the answer is too long")
        return body.decode()
