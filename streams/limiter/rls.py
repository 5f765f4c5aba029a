"""Envoy's rate limit service, version 3: its messages and what they mean here.

What lives here: descriptors to checks, answers to responses, over gRPC and as JSON. What does not: the checks
(``checks``), the servers (``grpc_server``, ``http``).

A descriptor counts by its entries ``account_id`` (checked) and, where there is no account, ``cluster_id`` (draws on
that budget); every other entry and descriptor is answered OK. A descriptor's ``limit`` is what the account usually has.
The strictest status is the overall one. Only ``retry-after`` goes to the caller; what a request upstream may know
(action, multiplier, cluster) goes into request headers and dynamic metadata.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from envoy.service.ratelimit.v3.rls_pb2 import RateLimitRequest, RateLimitResponse
from google.protobuf import json_format
from google.protobuf.message import DecodeError

from streams.limiter.checks import Answer, Check, Checks

METHOD: Final = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit"
HEALTH: Final = "/grpc.health.v1.Health/Check"
SERVING: Final = b"\x08\x01"
"""The health service's answer that this server serves, as its one field."""

DESCRIPTORS_MAX: Final = 32
"""Of one request; the rest pass. A gateway sends as many as its route names, a handful."""
HITS_MAX: Final = 1_000_000
_OK, _OVER = RateLimitResponse.OK, RateLimitResponse.OVER_LIMIT
_MINUTES = {1: 1 / 60, 2: 1.0, 3: 60.0, 4: 1_440.0, 5: 43_200.0, 6: 525_600.0, 7: 10_080.0}
"""Length of the units of the protocol (second, minute, hour, day, month, year, week)."""


def _all_ok(descriptors: int) -> RateLimitResponse:
    statuses = [RateLimitResponse.DescriptorStatus(code=_OK) for _ in range(descriptors)]
    return RateLimitResponse(overall_code=_OK, statuses=statuses)


_ALL_OK: Final[tuple[bytes, ...]] = tuple(_all_ok(count).SerializeToString() for count in range(DESCRIPTORS_MAX + 1))
"""The answer to nearly every request, written once for each number of descriptors."""


class RateLimits:
    """Answers requests of the service with the checks."""

    def __init__(self, checks: Checks) -> None:
        self._checks = checks

    def should_rate_limit(self, message: bytes) -> bytes | Awaitable[bytes]:
        """One call over gRPC; raises ValueError where the message cannot be read."""
        try:
            request = RateLimitRequest.FromString(message)
        except DecodeError as error:
            raise ValueError("not a RateLimitRequest") from error
        found, count = self._ask(request)
        if all(isinstance(item, Answer) and item.reason == "no_signal" for item in found.values()):
            return _ALL_OK[count]
        answers = {at: item for at, item in found.items() if isinstance(item, Answer)}
        if len(answers) < len(found):
            return self._wait(found, count)
        return bytes(_response(answers, count).SerializeToString())

    async def json(self, body: bytes) -> tuple[bool, bytes]:
        """One call as JSON: whether it is over, and the response; raises ValueError where it cannot be read."""
        request = RateLimitRequest()
        if not body.lstrip().startswith(b"{"):
            raise ValueError("not a RateLimitRequest")  # a bare text would be read as an empty one
        try:
            json_format.Parse(body, request, ignore_unknown_fields=True, max_recursion_depth=16)
        except (json_format.ParseError, UnicodeDecodeError, RecursionError) as error:
            raise ValueError("not a RateLimitRequest") from error
        found, count = self._ask(request)
        response = _response(await _answered(found), count)
        return response.overall_code == _OVER, json_format.MessageToJson(response).encode()

    async def _wait(self, found: dict[int, Answer | Awaitable[Answer]], count: int) -> bytes:
        return bytes(_response(await _answered(found), count).SerializeToString())

    def _ask(self, request: Any) -> tuple[dict[int, Answer | Awaitable[Answer]], int]:
        """A check for each descriptor that needs one, and how many statuses the answer has.

        An account that several descriptors name is asked for once: the request is one request.
        """
        found: dict[int, Answer | Awaitable[Answer]] = {}
        asked: set[str] = set()
        hits = request.hits_addend or 1
        for at, descriptor in enumerate(request.descriptors[:DESCRIPTORS_MAX]):
            account = cluster = ""
            for entry in descriptor.entries:
                if entry.key == "account_id":
                    account = entry.value
                elif entry.key == "cluster_id":
                    cluster = entry.value
            name = account or cluster
            if not name or name in asked:
                continue
            asked.add(name)
            if descriptor.HasField("hits_addend"):
                hits = descriptor.hits_addend.value
            hits = min(hits, HITS_MAX)
            if account:
                found[at] = self._checks.check(Check(account, hits, _usual(descriptor)))
            else:
                found[at] = self._checks.draw_cluster(cluster, hits)
        return found, min(len(request.descriptors), DESCRIPTORS_MAX)


def _usual(descriptor: Any) -> float | None:
    """The requests a minute that a descriptor's own limit allows."""
    if not descriptor.HasField("limit"):
        return None
    minutes = _MINUTES.get(descriptor.limit.unit)
    return None if minutes is None else descriptor.limit.requests_per_unit / minutes


async def _answered(found: dict[int, Answer | Awaitable[Answer]]) -> dict[int, Answer]:
    waiting = {at: item for at, item in found.items() if not isinstance(item, Answer)}
    answers = await asyncio.gather(*waiting.values())
    return {at: item for at, item in found.items() if isinstance(item, Answer)} | dict(
        zip(waiting, answers, strict=True)
    )


def _response(answers: dict[int, Answer], count: int) -> RateLimitResponse:
    """The response to a request of which some descriptors were checked."""
    response = _all_ok(count)
    for at, answer in answers.items():
        if answer.over:
            response.statuses[at].code = _OVER
            response.overall_code = _OVER
    over = [answer.retry_after_s for answer in answers.values() if answer.over]
    if over:
        response.response_headers_to_add.add(key="retry-after", value=str(max(over)))
    told = next((answer for answer in answers.values() if answer.held is not None), None)
    if told is not None:
        _tell(response, told)
    return response


def _tell(response: Any, answer: Answer) -> None:
    """What the gateway and what is behind it may know; never sent to the caller."""
    held = answer.held
    if held is None:
        return
    told = {"action": held.action, "multiplier": f"{held.multiplier:g}", "cluster": held.cluster_id}
    for name, value in told.items():
        if value and not answer.over:  # a request that is refused goes nowhere
            response.request_headers_to_add.add(key=f"x-distilwatch-{name}", value=value)
    fields = told | {"rule": held.rule, "alert_id": held.alert_id, "reason": answer.reason}
    fill: Callable[[dict[str, str]], None] = response.dynamic_metadata.update
    fill(fields)
