"""One POST to one receiver: bounded in time and bytes, no redirects, no proxies, only to addresses that may be reached.

What lives here: the attempt. What does not: bodies (``bodies``), retries (``courier``), settings (``settings``).
"""

from __future__ import annotations

import asyncio
import email.utils
import ipaddress
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import aiohttp
from yarl import URL

from models.delivery import Answer
from models.errors import DistilwatchError
from streams.config import Secret
from streams.sinks.address import JudgingResolver, Lookup, Network, look_up

ANSWER_BYTES_MAX = 4_096
ANSWER_SHOWN = 200
BODY_BYTES_MAX = 512_000
"""PagerDuty refuses more than 512 kB; nothing we write for people should come near."""
CONNECT_SHARE = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """What to send where; the repr of secrets is masked, and headers that carry one hold the ``Secret``."""

    url: Secret
    body: bytes
    headers: Mapping[str, str | Secret] = field(default_factory=dict)
    allow: tuple[Network, ...] = ()
    timeout_ms: int = 10_000
    ca_file: str = ""
    hidden: tuple[Secret, ...] = ()  # secrets within the body, which an answer may send back


class Client:
    """Sends posts; holds no connection between them, so that each is judged by the address it really goes to."""

    def __init__(self, lookup: Lookup = look_up) -> None:
        self._lookup = lookup

    async def send(self, post: Post) -> Answer:
        """One attempt; whatever goes wrong is an answer with status 0 and a reason in words."""
        started = time.monotonic()
        try:
            answer = await self._attempt(post)
        except TimeoutError:
            answer = Answer(0, f"no answer within {post.timeout_ms} ms")
        except aiohttp.ClientConnectorCertificateError:
            answer = Answer(0, "the certificate is not trusted: name its authority with `ca_file`")
        except (DistilwatchError, aiohttp.ClientError, OSError, ValueError) as error:
            answer = Answer(0, _masked(_reason(error), post))
        took_ms = round((time.monotonic() - started) * 1000)
        return Answer(answer.status, answer.text, answer.retry_after_s, took_ms)

    async def _attempt(self, post: Post) -> Answer:
        url = URL(post.url.reveal())
        resolver = JudgingResolver(post.allow, public=url.scheme == "https", lookup=self._lookup)
        if _numeric(url.host or ""):
            resolver.check(url.host or "", [url.host or ""])  # a connection to a number asks no resolver
        if len(post.body) > BODY_BYTES_MAX:
            return Answer(413, "not sent: the body is too large")
        context = ssl.create_default_context(cafile=post.ca_file or None)
        connector = aiohttp.TCPConnector(resolver=resolver, ssl=context, use_dns_cache=False, force_close=True)
        seconds = post.timeout_ms / 1000
        timeout = aiohttp.ClientTimeout(total=seconds, connect=seconds * CONNECT_SHARE)
        headers = {name: value.reveal() if isinstance(value, Secret) else value for name, value in post.headers.items()}
        async with (
            asyncio.timeout(seconds),
            aiohttp.ClientSession(
                connector=connector, timeout=timeout, trust_env=False, auto_decompress=False, cookie_jar=_no_cookies()
            ) as session,
            session.post(url, data=post.body, headers=headers, allow_redirects=False) as response,
        ):
            text = await response.content.read(ANSWER_BYTES_MAX)
            return Answer(
                response.status,
                _masked(_told(response, text), post),
                retry_after_s(response.headers.get("Retry-After", ""), time.time()),
            )


def _told(response: aiohttp.ClientResponse, text: bytes) -> str:
    if 300 <= response.status < 400:
        return "redirects are not followed: name the address it leads to"
    shown = "".join(letter if letter.isprintable() else " " for letter in text.decode("utf-8", "replace"))
    return f"{response.reason or ''}: {shown[:ANSWER_SHOWN]}".strip(": ")


def retry_after_s(value: str, now_s: float) -> float | None:
    """Seconds to wait of a ``Retry-After`` header, which is seconds or a date; None where there is none to read."""
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        return max(email.utils.parsedate_to_datetime(value).timestamp() - now_s, 0.0)
    except (TypeError, ValueError, IndexError, OverflowError):
        return None


def _numeric(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _no_cookies() -> aiohttp.DummyCookieJar:
    return aiohttp.DummyCookieJar()


def _reason(error: BaseException) -> str:
    """The cause in words; a client library wraps it, and may name the whole address in its own text."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, DistilwatchError):
            return str(seen)
        seen = seen.__cause__ or seen.__context__ or getattr(seen, "_os_error", None)
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"cannot connect: {error.strerror or type(error.os_error).__name__}"
    if isinstance(error, aiohttp.InvalidURL):
        return "the address is no URL"
    return type(error).__name__


def _masked(text: str, post: Post) -> str:
    """The text without any secret of this post, in case a receiver sends one back."""
    secrets = [value.reveal() for value in (*post.headers.values(), *post.hidden) if isinstance(value, Secret)]
    url = URL(post.url.reveal()) if "://" in post.url.reveal() else URL()
    path = url.raw_path_qs
    for secret in (*secrets, post.url.reveal(), *([path] if len(path) > 8 else [])):
        text = text.replace(secret, "***")
    return text
