"""Inputs of the operators: a tiny simulated fleet with a campaign, and batches made by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from functools import lru_cache
from typing import Any

import numpy as np

from models.event import EventBatch
from models.hashing import KeyedHash
from models.pipeline import Pipeline
from models.rules import CampaignRule, Rules
from models.sighting import FIRST_TURN, SIGHTING, SightingBatch
from models.sketch import Sketcher, Sketches
from models.strings import Strings
from streams.simulator.scenarios import scenario_of
from streams.simulator.simulation import Options, Simulation
from streams.simulator.slices import to_events

SECRET = b"secret"
START = 1_700_000_000_000
HOUR_MS = 3_600_000
EAGER = Rules(campaign=CampaignRule(open_score=-100.0, hold_score=-100.0, customers_min=20))
"""Any cluster larger than the look-alikes in `fleet` is announced: the operators' work does not hang on the tuning."""


@lru_cache(maxsize=1)
def fleet() -> tuple[EventBatch, Sketches]:
    """Some 2,700 events of ten hours, 40 of the accounts in a campaign; columns cannot be written to."""
    small = scenario_of("small", 0.05)
    campaign = replace(small.campaigns[0], accounts=40, start_h=1, requests_per_day=60, templates=6, network_fan=1)
    run = Simulation(replace(small, benign_accounts=100, campaigns=(campaign,)), Options(days=0.4))
    keyed = KeyedHash(SECRET)
    events = EventBatch.concat([to_events(part, keyed) for part in run.slices()])
    return frozen(events), frozen(Sketcher(SECRET).sketch(events.prompt))


def eager_pipeline() -> Pipeline:
    """A pipeline that announces every cluster."""
    return Pipeline(SECRET, rules=EAGER)


def frozen(columns: Any) -> Any:
    """``columns`` with every array in it made read-only, so that whoever writes to an input fails."""
    for field in fields(columns):
        value = getattr(columns, field.name)
        if isinstance(value, Strings):
            frozen(value)
        elif isinstance(value, np.ndarray):
            value.flags.writeable = False
    return columns


def events_at(ts: Sequence[int], **columns: Any) -> EventBatch:
    """Events of one account each unless said, at ``ts``, all else absent."""
    rows = EventBatch.empty().take(np.zeros(0, np.int64))
    count = len(ts)
    for field in fields(EventBatch):
        empty = getattr(rows, field.name)
        if isinstance(empty, np.ndarray):
            setattr(rows, field.name, np.zeros(count, empty.dtype))
    rows.ts = np.asarray(ts, np.int64)
    rows.event = np.arange(1, count + 1, dtype=np.uint64)
    rows.account = np.full(count, 7, np.uint64)
    rows.turn[:] = 1
    rows.created[:] = -1
    for name, values in columns.items():
        setattr(rows, name, np.asarray(values, getattr(rows, name).dtype))
    rows.customer = columns.get("customer", rows.account)
    rows.account_id = Strings.of([f"account-{account}" for account in rows.account])
    rows.prompt = Strings.of([f"prompt {number}" for number in range(count)])
    return rows


Use = tuple[int, int, list[int]]
"""A request by time, customer and keys."""


def sightings(uses: Sequence[Use], **columns: Any) -> SightingBatch:
    """Sightings of ``uses``, each its own event, the first turn of a conversation unless said."""
    rows = np.zeros(len(uses), SIGHTING)
    rows["ts"] = rows["at"] = [ts for ts, _, _ in uses]
    rows["customer"] = rows["account"] = [customer for _, customer, _ in uses]
    rows["event"] = np.arange(1, len(uses) + 1)
    rows["prompt"] = rows["event"]
    rows["flags"] = FIRST_TURN
    for name, values in columns.items():
        rows[name] = values
    keys = [key for _, _, mine in uses for key in mine]
    offsets = np.cumsum([0, *(len(mine) for _, _, mine in uses)]).astype(np.int64)
    return SightingBatch(rows, np.array(keys, np.uint64), offsets)


def customer(number: int) -> int:
    """A customer hash whose 16 bits that the doorkeeper keeps, and 6 that Fan-in counts by, are of ``number``."""
    return (number << 20) | ((number & 63) << 7)


def key(number: int) -> int:
    """A key hash whose upper 48 bits differ from those of every other number's."""
    return (number * 0x9E3779B97F4A7C15 + 0x1234567) & 0xFFFFFFFFFFFF0000 | (number & 0xFFFF)


def uses_of(batch: SightingBatch) -> list[tuple[int, int, int]]:
    """Every (time it counts, event, key) of a batch, ascending: what it says however its rows are cut."""
    counts = np.diff(batch.offsets)
    at, event = np.repeat(batch.rows["at"], counts), np.repeat(batch.rows["event"], counts)
    return sorted(zip(at.tolist(), event.tolist(), batch.keys.tolist(), strict=True))
