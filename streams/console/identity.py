"""Who is asking: a session, a bearer token, a trusted proxy's header, or this machine where no sign-in is set up.

What lives here: turning a request into a name and a role, sessions, and the token against forged forms. What does not:
what a role may do (``roles``) and refusing (``guard``). Sessions live in memory: a restart signs everybody out.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
import secrets
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from streams.console.roles import GRANTS, ROLES, Permission, Role
from streams.console.settings import ConsoleSettings
from streams.console.tokens import TokenFile, digest

SESSION_MS = 12 * 3_600_000  # a shift; nobody signs in twice in one night
SESSIONS_MAX = 1_000
FAILURES_MAX = 10
FAILURES_MS = 60_000
PEERS_MAX = 1_000
COOKIE = "distilwatch_session"
NAME = re.compile(r"[\w.@+ -]{1,64}")


@dataclass(frozen=True, slots=True)
class Identity:
    """Somebody, how they came in, and what forged requests cannot know (``csrf``)."""

    name: str
    role: Role
    way: str  # open, session, bearer or proxy
    csrf: str

    def may(self, permission: Permission) -> bool:
        """Whether the role allows it."""
        return permission in GRANTS[self.role]


@dataclass(frozen=True, slots=True)
class _Session:
    token_hash: str
    ends_ms: int


class Identities:
    """Knows who asks; ``now_ms`` is the wall clock."""

    def __init__(self, settings: ConsoleSettings, now_ms: Callable[[], int]) -> None:
        self._settings = settings
        self._now_ms = now_ms
        self._tokens = TokenFile(settings.tokens) if settings.tokens else None
        self._proxies = [ipaddress.ip_network(text) for text in settings.proxies]
        self._sessions: dict[str, _Session] = {}
        self._key = secrets.token_bytes(32)
        self._failures: dict[str, deque[int]] = {}

    @property
    def sign_in(self) -> bool:
        """Whether a token is asked for."""
        return self._tokens is not None

    def of(self, request: web.Request) -> Identity | None:
        """Who sent a request; None where nobody can tell, and then nothing is shown."""
        authorization = request.headers.get("Authorization", "")
        if authorization.startswith("Bearer "):
            return self._known(digest(authorization[7:].strip()), "bearer", "")
        if self._proxies and self._from_proxy(request):
            return self._named_by_proxy(request)
        cookie = request.cookies.get(COOKIE, "")
        session = self._sessions.get(digest(cookie)) if cookie else None
        if session is not None and self._now_ms() < session.ends_ms:
            return self._known(session.token_hash, "session", cookie)
        if self._tokens is None and not self._proxies:
            return Identity("local", "admin", "open", self._csrf("open", "local"))
        return None

    def _known(self, token_hash: str, way: str, secret: str) -> Identity | None:
        token = self._tokens.find(token_hash, self._now_ms()) if self._tokens else None
        return None if token is None else Identity(token.name, token.role, way, self._csrf(way, secret or token.name))

    def _from_proxy(self, request: web.Request) -> bool:
        try:
            peer = ipaddress.ip_address(request.remote or "")
        except ValueError:
            return False
        return any(peer in network for network in self._proxies)

    def _named_by_proxy(self, request: web.Request) -> Identity | None:
        """Exactly one header of each kind: two could be the client's own beside the proxy's."""
        names = request.headers.getall(self._settings.user_header, [])
        roles = request.headers.getall(self._settings.role_header, ["viewer"])
        if len(names) != 1 or len(roles) != 1 or not NAME.fullmatch(names[0]):
            return None
        role = next((role for role in ROLES if role == roles[0].strip().lower()), None)
        return None if role is None else Identity(names[0], role, "proxy", self._csrf("proxy", names[0]))

    def _csrf(self, *parts: str) -> str:
        return hmac.new(self._key, "\n".join(parts).encode(), hashlib.sha256).hexdigest()

    def blocked(self, peer: str) -> bool:
        """Whether an address has tried too many wrong tokens within a minute."""
        tries = self._failures.get(peer)
        if tries is None:
            return False
        while tries and self._now_ms() - tries[0] > FAILURES_MS:
            tries.popleft()
        return len(tries) >= FAILURES_MAX

    def begin(self, token: str, peer: str) -> tuple[Identity, str] | None:
        """Open a session for a token: who it is and the cookie's value; None where the token is not known."""
        hashed = digest(token.strip())
        cookie = secrets.token_urlsafe(32)
        identity = self._known(hashed, "session", cookie)
        if identity is None:
            if len(self._failures) >= PEERS_MAX and peer not in self._failures:
                self._failures.pop(next(iter(self._failures)))
            self._failures.setdefault(peer, deque(maxlen=FAILURES_MAX)).append(self._now_ms())
            return None
        if len(self._sessions) >= SESSIONS_MAX:
            self._sessions.pop(next(iter(self._sessions)))
        self._sessions[digest(cookie)] = _Session(hashed, self._now_ms() + SESSION_MS)
        return identity, cookie

    def end(self, request: web.Request) -> None:
        """Close the session of a request."""
        self._sessions.pop(digest(request.cookies.get(COOKIE, "")), None)


def same_token(one: str, other: str) -> bool:
    """Compare without telling by time where they differ."""
    return hmac.compare_digest(one.encode(errors="replace"), other.encode(errors="replace"))
