"""What is kept of every account: sliding windows of its own requests, in one fixed-size record.

What lives here: the record and the compiled pass that updates it and writes the sighting. What does not: any judgement
across accounts. Hourly and daily rings give the trailing 24 hours and 7 days at a grain of one hour and one day.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from models.compiled import jit, jit_part
from models.event import MISSING
from models.prefetch import AHEAD, prefetch
from models.sighting import BURST, ERROR, FIRST_TURN, FOLLOW_UP, REASONING, REFUSED, SHORT, TOOLS
from models.table import EMPTY, find, insert
from models.words import set_bits

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
BURST_MS = 300_000
IDLE_MS = 7 * DAY_MS
"""An account silent for longer is forgotten, and new when it returns."""
HOUR_COUNT_MAX = 0xFFFF
"""An hour counts no more than this of an account, eighteen a second, far beyond every limit of a day."""
RETRY_MS = 600_000
"""The same prompt of the same account within this time is a retry and gives no fan-in."""

ACCOUNT = np.dtype(
    [
        ("key", "u8"),
        ("first_seen", "i8"),
        ("last_ts", "i8"),
        ("conversation", "u8", (2,)),
        ("prompt", "u8", (2,)),
        ("prompt_ts", "i8", (2,)),
        ("hour", "i8"),
        ("day", "i4"),
        ("requests", "u2", (24,)),
        ("follow_ups", "u2", (24,)),
        ("reasoning", "u2", (24,)),
        ("daily", "u4", (7,)),
        ("requests_24h", "u4"),
        ("follow_ups_24h", "u4"),
        ("reasoning_24h", "u4"),
        ("tripped", "u4"),
        ("networks", "u8", (2,)),
    ],
    align=True,
)
"""One account: 288 bytes, whatever its traffic; no padding, which copies would leave undefined."""

NEW, RETRY = 1, 2  # marks of a row beside its sighting
FIREHOSE, REASONING_VOLUME, MANY_NETWORKS = 4, 8, 16  # a limit the account crossed with this row, once a day
RENEWED = 32
"""The account's first row of a week: it is told of again, so that what knows accounts may forget those not told of."""
RENEWAL_DAYS = 7
BUSY = 64
"""The account's first row of a day with this many in the last 24 hours: what its day is like is told of."""
BUSY_REQUESTS = 12
NETWORK_BUCKETS = 61


@jit
def _start(account: Any, key: np.uint64, ts: int) -> None:
    """Make ``account`` one that was never seen."""
    account["key"] = key
    account["first_seen"] = ts
    account["last_ts"] = -(1 << 60)
    account["hour"] = ts // HOUR_MS
    account["day"] = ts // DAY_MS
    account["requests_24h"] = 0
    account["follow_ups_24h"] = 0
    account["reasoning_24h"] = 0
    account["tripped"] = 0
    for slot in range(24):
        account["requests"][slot] = 0
        account["follow_ups"][slot] = 0
        account["reasoning"][slot] = 0
    for slot in range(7):
        account["daily"][slot] = 0
    for slot in range(2):
        account["networks"][slot] = 0
        account["conversation"][slot] = 0
        account["prompt"][slot] = 0
        account["prompt_ts"][slot] = 0


@jit
def _roll(account: Any, ts: int) -> None:
    """Move the account's rings on to the hour and day of ``ts``, dropping what left the window."""
    hour = ts // HOUR_MS
    steps = hour - account["hour"]
    if steps > 0:
        for step in range(min(steps, 24)):
            slot = (account["hour"] + 1 + step) % 24
            account["requests_24h"] -= account["requests"][slot]
            account["follow_ups_24h"] -= account["follow_ups"][slot]
            account["reasoning_24h"] -= account["reasoning"][slot]
            account["requests"][slot] = 0
            account["follow_ups"][slot] = 0
            account["reasoning"][slot] = 0
        account["hour"] = hour
    day = ts // DAY_MS
    days = day - account["day"]
    if days > 0:
        for step in range(min(days, 7)):
            account["daily"][(account["day"] + 1 + step) % 7] = 0
        if account["tripped"] & FIREHOSE:
            account["daily"][account["day"] % 7] = 0  # what was told of is no baseline for tomorrow
        account["networks"][1] = account["networks"][0] if days == 1 else np.uint64(0)
        account["networks"][0] = 0
        account["tripped"] = 0
        account["day"] = day


@jit
def _week(key: np.uint64, day: Any) -> int:
    """The account's own week: accounts turn theirs on different days, so that renewals spread over all seven."""
    return int(np.int64(day) + np.int64(key % np.uint64(RENEWAL_DAYS))) // RENEWAL_DAYS


@jit
def _continues(account: Any, conversation: np.uint64, turn: int) -> bool:
    """Whether the request continues a conversation, by its turn number or by the account's last two conversations."""
    known = conversation != 0 and (
        account["conversation"][0] == conversation or account["conversation"][1] == conversation
    )
    if conversation != 0 and account["conversation"][0] != conversation:
        account["conversation"][1] = account["conversation"][0]
        account["conversation"][0] = conversation
    return known or turn > 1


@jit
def _is_retry(account: Any, prompt: np.uint64, ts: int) -> bool:
    """Whether the account sent this very prompt minutes ago."""
    for slot in range(2):
        if account["prompt"][slot] == prompt and ts - account["prompt_ts"][slot] < RETRY_MS:
            account["prompt_ts"][slot] = max(ts, account["prompt_ts"][slot])
            return True
    account["prompt"][1] = account["prompt"][0]
    account["prompt_ts"][1] = account["prompt_ts"][0]
    account["prompt"][0] = prompt
    account["prompt_ts"][0] = ts
    return False


@jit
def _flags(account: Any, row: Any, follows: bool) -> int:
    """The sighting's flags, from the event's facts and what the account did before."""
    flags = FOLLOW_UP if follows else FIRST_TURN
    if row["reasoning"]:
        flags |= REASONING
    if 0 <= row["ts"] - account["last_ts"] < BURST_MS:
        flags |= BURST
    if row["refused"]:
        flags |= REFUSED
    if row["status"] >= 400:
        flags |= ERROR
    if row["tools"]:
        flags |= TOOLS
    if row["short"]:
        flags |= SHORT
    return flags


FACTS = np.dtype(
    [
        ("ts", "i8"),
        ("account", "u8"),
        ("conversation", "u8"),
        ("prompt", "u8"),
        ("network", "u8"),
        ("created", "i8"),
        ("turn", "i4"),
        ("status", "i4"),
        ("limits", "i8"),  # the row of limits that holds for the account
        ("reasoning", "?"),
        ("refused", "?"),
        ("tools", "?"),
        ("short", "?"),
    ],
    align=True,
)
"""What the account pass reads of one event."""


@jit
def _busiest(account: Any) -> int:
    """Requests of the account's busiest day of the six before today."""
    busiest: Any = np.int64(0)
    for before in range(1, 7):
        busiest = max(busiest, np.int64(account["daily"][(account["day"] - before) % 7]))
    return int(busiest)


@jit
def _trips(account: Any, limits: npt.NDArray[np.int64]) -> int:
    """What this account has newly crossed today: ``limits``, a row of `AccountRules.limits`, and what makes it busy."""
    crossed = 0
    volume = limits[0]
    if limits[4] > 0:
        volume = max(volume, _busiest(account) * limits[4] // 100)
    if account["requests_24h"] >= volume:
        crossed |= FIREHOSE
    if account["reasoning_24h"] >= limits[1] and 100 * account["reasoning_24h"] >= limits[2] * account["requests_24h"]:
        crossed |= REASONING_VOLUME
    if set_bits(account["networks"][0]) >= limits[3]:
        crossed |= MANY_NETWORKS
    if account["requests_24h"] >= BUSY_REQUESTS:
        crossed |= BUSY
    fresh = crossed & ~np.int64(account["tripped"])
    account["tripped"] |= np.uint32(crossed)
    return int(fresh)


@jit_part
def _fetch(facts: Any, accounts: Any, index: npt.NDArray[np.int32], at: int) -> None:
    """Send for the place in the index of a row to come, and for the lines of the record of one nearer."""
    mask = np.uint64(index.shape[0] - 1)
    if at + 2 * AHEAD < facts.shape[0]:
        prefetch(index, facts[at + 2 * AHEAD]["account"] & mask)
    if at + AHEAD < facts.shape[0]:
        slot = index[facts[at + AHEAD]["account"] & mask]
        if slot != EMPTY:
            prefetch(accounts["key"], slot)
            prefetch(accounts["hour"], slot)
            prefetch(accounts["follow_ups"], slot)
            prefetch(accounts["daily"], slot)
            prefetch(accounts["networks"], slot)


@jit
def update_accounts(
    facts: Any,
    accounts: Any,
    index: npt.NDArray[np.int32],
    count: npt.NDArray[np.int64],
    sightings: Any,
    limits: npt.NDArray[np.int64],
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Fold rows into their accounts and write each row's context into ``sightings``.

    Returns per row its marks (``NEW``, ``RETRY``, ``RENEWED``, ``BUSY``, limits crossed), the record it belongs to, and
    when its account was first seen, which a later row of the batch may begin anew.
    """
    marks = np.zeros(facts.shape[0], np.uint8)
    records, first_seen = np.zeros(facts.shape[0], np.int64), np.zeros(facts.shape[0], np.int64)
    for at in range(facts.shape[0]):
        _fetch(facts, accounts, index, at)
        row, ts = facts[at], facts[at]["ts"]
        slot = find(index, accounts["key"], row["account"])
        if slot < 0:
            slot = count[0]
            count[0] = slot + 1
            insert(index, row["account"], slot)
            _start(accounts[slot], row["account"], ts)
            marks[at] |= NEW
        elif ts - accounts[slot]["last_ts"] > IDLE_MS:
            _start(accounts[slot], row["account"], ts)
            marks[at] |= NEW
        account = accounts[slot]
        records[at] = slot
        first_seen[at] = account["first_seen"]
        if _week(row["account"], ts // DAY_MS) > _week(row["account"], account["day"]):
            marks[at] |= RENEWED
        _roll(account, ts)
        follows = _continues(account, row["conversation"], row["turn"])
        flags = _flags(account, row, follows)
        hour = (ts // HOUR_MS) % 24
        if account["requests"][hour] < HOUR_COUNT_MAX:
            account["requests"][hour] += 1
            account["requests_24h"] += 1
            if follows:
                account["follow_ups"][hour] += 1
                account["follow_ups_24h"] += 1
            if row["reasoning"]:
                account["reasoning"][hour] += 1
                account["reasoning_24h"] += 1
        account["daily"][(ts // DAY_MS) % 7] += 1
        if row["network"] != 0:
            account["networks"][0] |= np.uint64(1) << (row["network"] % np.uint64(61))
        if _is_retry(account, row["prompt"], ts):
            marks[at] |= RETRY
        marks[at] |= np.uint8(_trips(account, limits[row["limits"]]))
        account["last_ts"] = max(ts, account["last_ts"])
        active = 0
        for step in range(24):
            active += account["requests"][step] > 0
        sighting = sightings[at]
        sighting["flags"] = flags
        sighting["hours_24h"] = active
        sighting["requests_24h"] = account["requests_24h"]
        sighting["follow_ups_24h"] = account["follow_ups_24h"]
        sighting["age_days"] = (ts - row["created"]) // DAY_MS if row["created"] != MISSING else -1
    return marks, records, first_seen
