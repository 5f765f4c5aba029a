"""What stands before every page: the names it answers to, who may see it, forged forms, and the headers of answers.

What lives here: refusing. What does not: who somebody is (``identity``) and what roles allow (``roles``).
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from aiohttp.web_request import FileField
from multidict import MultiDictProxy

from streams.console.audit import Audit, AuditError, Entry
from streams.console.identity import Identities, Identity, same_token
from streams.console.roles import Permission
from streams.console.settings import ConsoleSettings

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
FORM_FIELDS_MAX = 20
PROBES = ("/-/healthy", "/-/ready")
"""Supervisors ask by address; the answer is a word that tells nothing of alerts."""
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
IDENTITY = web.RequestKey("identity", Identity)
FORM = web.RequestKey("form", dict)


@dataclass(frozen=True, slots=True)
class Route:
    """One address of the console; ``needs`` None is for everybody, as the sign-in page must be."""

    method: str
    path: str
    needs: Permission | None
    handler: Handler


class Refusal(Exception):
    """A request that is not served: the status, and a sentence for the person that names the fix."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


class Guard:
    """Wraps the handlers of routes; ``page`` writes a refusal as a page."""

    def __init__(
        self,
        settings: ConsoleSettings,
        identities: Identities,
        audit: Audit,
        now_ms: Callable[[], int],
        page: Callable[[web.Request, Refusal], web.Response],
    ) -> None:
        self._settings = settings
        self._identities = identities
        self._audit = audit
        self._now_ms = now_ms
        self._page = page

    def handler(self, route: Route) -> Handler:
        """The handler of a route behind all checks."""

        async def guarded(request: web.Request) -> web.StreamResponse:
            identity = self._identities.of(request)
            if identity is not None:
                request[IDENTITY] = identity
            if request.method == "POST":
                await self._check_form(request, identity, route.needs)
            if route.needs is None:
                return await route.handler(request)
            if identity is None:
                return self._to_sign_in(request)
            if not identity.may(route.needs):
                raise Refusal(403, f"Your role, {identity.role}, may not do this. Ask an admin for another role.")
            return await route.handler(request)

        return guarded

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Host check, refusals as pages, headers on every answer."""
        try:
            if request.path not in PROBES and host_of(request.host) not in self._settings.names:
                raise Refusal(421, "This console does not answer to that name. Start it with --base-url of this name.")
            response = await handler(request)
        except Refusal as refusal:
            with contextlib.suppress(AuditError):  # it was refused all the same
                self._note(request, refusal)
            response = self._page(request, refusal)
        except AuditError as error:
            response = self._page(request, Refusal(503, f"{error}."))
        except web.HTTPRequestEntityTooLarge:
            response = self._page(request, Refusal(413, "That is more than a form can hold. Use a shorter text."))
        except web.HTTPNotFound:
            response = self._page(request, Refusal(404, "There is no such page. Start again from the list of alerts."))
        except web.HTTPMethodNotAllowed:
            response = self._page(request, Refusal(405, "This page can only be read."))
        except web.HTTPRedirection as redirection:
            redirection.headers.update(HEADERS)
            raise
        if not response.prepared:
            for name, value in HEADERS.items():
                response.headers.setdefault(name, value)
        return response

    def _to_sign_in(self, request: web.Request) -> web.Response:
        if request.method == "GET" and self._identities.sign_in and "Authorization" not in request.headers:
            page = request.rel_url.raw_path_qs
            raise web.HTTPSeeOther(str(request.rel_url.with_path("/login").with_query({"page": page})))
        raise Refusal(401, "Sign in first: your session has ended, or the address you came by does not name you.")

    async def _check_form(self, request: web.Request, identity: Identity | None, needs: Permission | None) -> None:
        """Read the form once and refuse one that another site may have sent."""
        if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
            raise Refusal(403, "This form came from another site. Nothing was done.")
        try:
            form = _texts(await request.post())
        except (ValueError, LookupError, web.RequestPayloadError) as error:  # torn, or not in the form it says
            raise Refusal(400, "That form cannot be read. Nothing was done: load the page again and retry.") from error
        request[FORM] = form
        if identity is None or identity.way == "bearer" or needs is None:
            return  # no cookie stands behind it, or it asks for nothing but to sign in
        if not same_token(form.get("csrf", ""), identity.csrf):
            raise Refusal(403, "This form is too old or was forged. Nothing was done: load the page again and retry.")

    def _note(self, request: web.Request, refusal: Refusal) -> None:
        """Refused attempts to change something are kept; reading a page that is not there is nothing."""
        if request.method != "POST" or refusal.status not in (401, 403, 429):
            return
        identity = request.get(IDENTITY)
        self._audit.write(
            Entry(
                ts=self._now_ms(),
                who=identity.name if identity else "unknown",
                role=identity.role if identity else "",
                way=identity.way if identity else "",
                peer=request.remote or "",
                what=request.get(FORM, {}).get("kind", request.path)[:64],
                detail=refusal.text,
                outcome="refused",
            )
        )


def host_of(header: str) -> str:
    """The name in a Host header without port and brackets."""
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.rpartition(":")[0] if ":" in header else header


def _texts(form: MultiDictProxy[str | bytes | bytearray | FileField]) -> dict[str, Any]:
    """The fields of a form as texts; indentation means something in one alone, and repeated fields are none of ours."""
    if len(form) > FORM_FIELDS_MAX:
        raise Refusal(413, "That form has more fields than any of ours. Nothing was done.")
    texts = {name: value.strip() for name, value in form.items() if isinstance(value, str) and name != "text"}
    texts |= {name: value for name, value in form.items() if isinstance(value, str) and name == "text"}
    return texts | {name: _file(value) for name, value in form.items() if isinstance(value, FileField)}


def _file(field: FileField) -> str:
    """The text of a file that was sent; the bound on a form has bounded it."""
    try:
        return field.file.read().decode()
    except UnicodeDecodeError as error:
        raise Refusal(400, "That file is not UTF-8. Nothing was done: save it as UTF-8 and try again.") from error
