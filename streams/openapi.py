"""The HTTP interfaces as OpenAPI 3.1 documents, made from the types themselves.

What lives here: an operation's shape, and the document of a list of them. What does not: any interface; each names its
own operations beside the handlers that answer them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib.metadata import version
from typing import Any, Final, NamedTuple

import msgspec

JSON: Final = "application/json"
REFERENCE: Final = "#/components/schemas/{name}"
TOKEN: Final = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "key": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
}


class Problem(msgspec.Struct, frozen=True):
    """Why a call was not answered."""

    error: str


class Answer(NamedTuple):
    """One status that an operation may end with; ``kind`` is the type of its body, or an annotation of one."""

    status: int
    text: str
    kind: Any = Problem
    media: str = JSON
    retry: bool = False


class Parameter(NamedTuple):
    """One parameter of the query, or of the path where the path has its name."""

    name: str
    kind: Any
    text: str


class Operation(NamedTuple):
    """One call; ``takes`` is what its body may be, by media type, ``optional`` where it may be left out."""

    method: str
    path: str
    summary: str
    answers: Sequence[Answer]
    parameters: Sequence[Parameter] = ()
    takes: Sequence[tuple[str, Any]] = ()
    guarded: bool = True
    optional: bool = False


def document(title: str, text: str, operations: Iterable[Operation]) -> dict[str, Any]:
    """The document; a guarded operation needs a token where one is set, and may end with 401."""
    listed = list(operations)
    kinds = [kind for operation in listed for kind in _kinds(operation)]
    schemas, components = msgspec.json.schema_components(kinds, ref_template=REFERENCE)
    known = iter(schemas)
    paths: dict[str, Any] = {}
    for operation in listed:
        paths.setdefault(operation.path, {})[operation.method] = _operation(
            operation, [next(known) for _ in _kinds(operation)]
        )
    return {
        "openapi": "3.1.0",
        "info": {"title": f"distilwatch {title}", "version": version("distilwatch"), "description": text},
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": TOKEN},
    }


def _answers(operation: Operation) -> list[Answer]:
    refused = [Answer(401, "the token is missing or wrong")] if operation.guarded else []
    return [*operation.answers, *refused]


def _kinds(operation: Operation) -> list[Any]:
    """All types of an operation, in the order in which ``_operation`` takes their schemas."""
    answers = [answer.kind for answer in _answers(operation)]
    return answers + [item.kind for item in operation.parameters] + [kind for _, kind in operation.takes]


def _operation(operation: Operation, schemas: list[dict[str, Any]]) -> dict[str, Any]:
    left = iter(schemas)
    made: dict[str, Any] = {"summary": operation.summary, "responses": {}}
    for answer in _answers(operation):
        said: dict[str, Any] = {"description": answer.text, "content": {answer.media: {"schema": next(left)}}}
        if answer.retry:
            said["headers"] = {"Retry-After": {"schema": {"type": "integer"}, "description": "seconds"}}
        made["responses"][str(answer.status)] = said
    made["parameters"] = [_parameter(operation, item, next(left)) for item in operation.parameters]
    if operation.takes:
        content = {media: {"schema": next(left)} for media, _ in operation.takes}
        made["requestBody"] = {"required": not operation.optional, "content": content}
    made["security"] = [{}, *({name: []} for name in TOKEN)] if operation.guarded else []
    return made


def _parameter(operation: Operation, item: Parameter, schema: dict[str, Any]) -> dict[str, Any]:
    inside = f"{{{item.name}}}" in operation.path
    return {
        "name": item.name,
        "in": "path" if inside else "query",
        "required": inside,
        "description": item.text,
        "schema": schema,
    }
