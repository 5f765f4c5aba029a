"""What the live page shows at one moment, as typed values.

What lives here: the shape of the state and its wire form. What does not: how it is served (``server``)
or drawn (``*.js``). Times are event time in ms since the epoch unless the name ends in ``_s``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from models.alert import Alert


class StoryLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One sentence of the story so far, as the terminal prints it."""

    ts: int
    text: str


class ClusterView(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One cluster as a table row; ``series`` holds ``(ts, accounts, requests)`` per step, oldest first.

    ``signals`` counts this cluster's accounts by the action in force for them. ``requests_before_alert``
    is what had been answered when the first alert went out; where it is absent the page takes the
    ``requests`` of the opening alert.
    """

    cluster_id: str
    status: str
    severity: str
    accounts: int
    requests: int
    score: float
    first_seen: int
    alerted_at: int | None = None
    requests_before_alert: int | None = None
    series: list[tuple[int, int, int]] = []
    signals: dict[str, int] = {}


class PageState(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything the page shows; every field has a default, so a host may start with nothing.

    ``traffic`` holds ``(ts, requests, requests inside clusters)`` per 15 min, oldest first; ``alerts`` are
    newest first. ``truth_note`` is what a simulator knows and the detector never sees: the page sets it
    apart from every finding.
    """

    clock_ms: int | None = None
    wall_s: float = 0.0
    events: int = 0
    events_per_s: float = 0.0
    accounts: int = 0
    traffic: list[tuple[int, int, int]] = []
    clusters: list[ClusterView] = []
    alerts: list[Alert] = []
    signals: dict[str, int] = {}
    rejects: dict[str, int] = {}
    story: list[StoryLine] = []
    truth_note: str | None = None
    done: bool = False


Parts = dict[str, bytes]
"""A state as JSON text per field, so that a stream can send only the fields that changed."""


def encode_state(state: PageState | Mapping[str, Any]) -> Parts:
    """The JSON text of every field of ``state``.

    Raises:
        msgspec.ValidationError: a field is unknown or of the wrong type; numpy scalars count as wrong.
    """
    checked = state if isinstance(state, PageState) else msgspec.convert(dict(state), PageState)
    return {name: msgspec.json.encode(getattr(checked, name)) for name in PageState.__struct_fields__}


def join_parts(parts: Parts) -> bytes:
    """One JSON object of ``parts``; newlines inside texts are escaped by JSON, so it is one line."""
    return b"{%s}" % b",".join(b'"%s":%s' % (name.encode(), text) for name, text in parts.items())
