"""The limiter over HTTP: one check, many checks, the stream of decisions, Envoy's ``/json``, OpenAPI.

What lives here: paths, their bounds, their types. What does not: the checks (``checks``), health (``streams.health``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Annotated, Any, Final

import msgspec
from aiohttp import web

from models.enforcement import Held
from models.limits import ID_BYTES_MAX
from streams.clock import wall_ms
from streams.health import OPERATIONS as HEALTH
from streams.limiter.checks import Answer, Check, Checks
from streams.limiter.rls import RateLimits
from streams.limiter.serving import answer_json
from streams.openapi import JSON, Operation, Parameter, Problem, document
from streams.openapi import Answer as Said

BODY_BYTES_MAX: Final = 1 << 20
BULK_MAX: Final = 1_000
PAGE_MAX: Final = 10_000
"""Decisions in one answer: about 2.5 MB."""
HITS_MAX: Final = 1_000

Account = Annotated[str, msgspec.Meta(min_length=1, max_length=ID_BYTES_MAX)]
Hits = Annotated[int, msgspec.Meta(ge=0, le=HITS_MAX)]


class CheckAnswer(msgspec.Struct, frozen=True):
    """What a gateway should do with the request, and why."""

    account_id: str
    over: bool
    reason: str
    action: str = "allow"
    multiplier: float = 1.0
    score: float = 0.0
    cluster_id: str = ""
    rule: str = ""
    alert_id: str = ""
    until: int = 0
    retry_after_s: int = 0


class BulkItem(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One account of a bulk check; hits 0 looks and draws nothing."""

    account_id: Account
    hits: Hits = 1


class BulkRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Many checks at once."""

    checks: Annotated[list[BulkItem], msgspec.Meta(max_length=BULK_MAX)]


class BulkAnswer(msgspec.Struct, frozen=True):
    """Answers in the order of the checks."""

    answers: list[CheckAnswer]


class Decision(msgspec.Struct, frozen=True):
    """One signal in the manner of a CrowdSec decision; ``until`` is the wall clock's ms."""

    id: str
    origin: str
    scope: str
    value: str
    type: str
    multiplier: float
    score: float
    scenario: str
    cluster_id: str
    duration: str
    until: int
    simulated: bool


class Decisions(msgspec.Struct, frozen=True):
    """What is new and what is gone; where ``reset`` is true everything known before is void."""

    new: list[Decision]
    deleted: list[Decision]
    cursor: str
    next: str | None = None
    reset: bool = False


NO_CHECK: Final = Said(400, "not a check that can be made: the error says why")
TOO_LARGE: Final = Said(413, f"a body has {BODY_BYTES_MAX:,} bytes at most")
OPERATIONS: Final = (
    Operation(
        "get",
        "/v1/check/{account_id}",
        "Check one account",
        (Said(200, "what to do with the request, and why", CheckAnswer), NO_CHECK),
        (
            Parameter("account_id", Account, "who sent the request"),
            Parameter("hits", Hits, "0 looks and draws nothing"),
        ),
    ),
    Operation(
        "post",
        "/v1/check",
        f"Check up to {BULK_MAX:,} accounts",
        (Said(200, "answers in the order of the checks", BulkAnswer), NO_CHECK, TOO_LARGE),
        takes=((JSON, BulkRequest),),
    ),
    Operation(
        "get",
        "/v1/decisions/stream",
        "Decisions: all with startup=true, then what changed",
        (
            Said(200, "what is new and what is gone", Decisions),
            Said(400, "startup is no truth value, or limit is out of bounds"),
            Said(503, "signals have not been read from Redis yet", retry=True),
        ),
        (
            Parameter("startup", bool, "true begins anew with all decisions"),
            Parameter("since", str, "the cursor of the answer before"),
            Parameter("after", str, "the next of the page before"),
            Parameter("limit", Annotated[int, msgspec.Meta(ge=1, le=PAGE_MAX)], "decisions in one answer"),
        ),
    ),
    Operation(
        "post",
        "/json",
        "Envoy's rate limit service: envoy.service.ratelimit.v3.RateLimitRequest in the JSON form of protobuf",
        (
            Said(200, "a RateLimitResponse: within the limits", dict[str, Any]),
            Said(429, "a RateLimitResponse: over a limit", dict[str, Any]),
            Said(400, "not a RateLimitRequest"),
            TOO_LARGE,
        ),
        takes=((JSON, dict[str, Any]),),
    ),
    Operation("get", "/openapi.json", "This document", (Said(200, "this document", dict[str, Any]),)),
)


def openapi() -> dict[str, Any]:
    """The OpenAPI document, from the types."""
    text = "What gateways ask before they pass a request on. Nothing is an answer too: without us requests pass."
    return document("limiter", text, (*OPERATIONS, *HEALTH))


class CheckApi:
    """The handlers; ``add_to`` names their paths."""

    def __init__(self, checks: Checks) -> None:
        self._checks = checks
        self._limits = RateLimits(checks)
        self._bulk = msgspec.json.Decoder(BulkRequest)

    def add_to(self, application: web.Application) -> None:
        """Serve the paths."""
        router = application.router
        router.add_post("/json", self._json)
        router.add_get("/v1/check/{account_id:.+}", self._one)
        router.add_post("/v1/check", self._many)
        router.add_get("/v1/decisions/stream", self._stream)
        router.add_get("/openapi.json", self._openapi)

    async def _openapi(self, _: web.Request) -> web.Response:
        return answer_json(200, openapi())

    async def _json(self, request: web.Request) -> web.Response:
        try:
            over, body = await self._limits.json(await request.read())
        except ValueError as error:
            return answer_json(400, Problem(str(error)))
        return web.Response(body=body, status=429 if over else 200, content_type="application/json")

    async def _one(self, request: web.Request) -> web.Response:
        account, text = request.match_info["account_id"], request.query.get("hits", "1")
        if len(account) > ID_BYTES_MAX or not text.isdecimal() or len(text) > 4 or int(text) > HITS_MAX:
            return answer_json(400, Problem(f"an account id of up to {ID_BYTES_MAX} and hits from 0 to {HITS_MAX}"))
        (answer,) = await self._check([BulkItem(account, int(text))])
        return answer_json(200, answer)

    async def _many(self, request: web.Request) -> web.Response:
        try:
            asked = self._bulk.decode(await request.read())
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            return answer_json(400, Problem(str(error)))
        return answer_json(200, BulkAnswer(await self._check(asked.checks)))

    async def _check(self, items: Iterable[BulkItem]) -> list[CheckAnswer]:
        """Checks side by side, so that they wait for Redis together."""
        found = [(item.account_id, self._checks.check(Check(item.account_id, item.hits))) for item in items]
        waited = iter(await asyncio.gather(*(one for _, one in found if not isinstance(one, Answer))))
        return [_shown(account, one if isinstance(one, Answer) else next(waited)) for account, one in found]

    async def _stream(self, request: web.Request) -> web.Response:
        query, replica = request.query, self._checks.replica
        limit = query.get("limit", str(PAGE_MAX))
        if not limit.isdecimal() or not 0 < int(limit[:9]) <= PAGE_MAX:
            return answer_json(400, Problem(f"limit must be from 1 to {PAGE_MAX}"))
        if query.get("startup", "false") not in ("true", "false"):
            return answer_json(400, Problem("startup is true or false"))
        if not replica.loaded:
            return answer_json(503, Problem("signals have not been read from Redis yet"), Retry_After="1")
        now_ms = wall_ms()
        if query.get("startup", "false") != "true":
            delta = replica.since(query.get("since", ""), int(limit))
            if delta.complete:
                return answer_json(200, self._changed(delta.accounts, delta.cursor, now_ms))
        cursor = replica.cursor
        page = replica.page(query.get("after", ""), int(limit), now_ms)
        new = [_decision(account, replica.held[account], now_ms) for account in page]
        following = page[-1] if len(page) == int(limit) else None
        reset = "after" not in query
        return answer_json(200, Decisions(new, [], cursor, next=following, reset=reset))

    def _changed(self, accounts: list[str], cursor: str, now_ms: int) -> Decisions:
        held = self._checks.replica.held
        new = [_decision(account, held[account], now_ms) for account in accounts if account in held]
        deleted = [_decision(account, None, now_ms) for account in accounts if account not in held]
        return Decisions(new, deleted, cursor)


def _shown(account: str, answer: Answer) -> CheckAnswer:
    held = answer.held
    if held is None:
        return CheckAnswer(account, answer.over, answer.reason)
    return CheckAnswer(
        account,
        answer.over,
        answer.reason,
        action=held.action,
        multiplier=held.multiplier,
        score=held.score,
        cluster_id=held.cluster_id,
        rule=held.rule,
        alert_id=held.alert_id,
        until=held.ends_ms,
        retry_after_s=answer.retry_after_s,
    )


def _decision(account: str, held: Held | None, now_ms: int) -> Decision:
    if held is None:
        return Decision(account, "distilwatch", "account", account, "", 1.0, 0.0, "", "", "0s", now_ms, simulated=False)
    return Decision(
        id=account,
        origin="distilwatch",
        scope="account",
        value=account,
        type=held.action,
        multiplier=held.multiplier,
        score=held.score,
        scenario=held.rule,
        cluster_id=held.cluster_id,
        duration=f"{max(0, held.ends_ms - now_ms) // 1000}s",
        until=held.ends_ms,
        simulated=held.mode != "enforce",
    )
