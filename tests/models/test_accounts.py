"""The account pass: its rings and marks against plain lists of what every account did."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.account_rules import UNLIMITED
from models.accounts import (
    ACCOUNT,
    BURST_MS,
    DAY_MS,
    FACTS,
    HOUR_COUNT_MAX,
    HOUR_MS,
    IDLE_MS,
    NEW,
    RENEWED,
    RETRY,
    RETRY_MS,
    update_accounts,
)
from models.sighting import BURST, ERROR, FIRST_TURN, FOLLOW_UP, REASONING, REFUSED, SHORT, SIGHTING, TOOLS
from models.table import Table

START = 1_700_000_000_000
LAG_MS = 130_000  # the most by which an admitted row may come after a newer one


def fold(rows: list[dict], table: Table | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Sightings and marks of ``rows``, each given by the facts that differ from an ordinary one's."""
    facts = np.zeros(len(rows), FACTS)
    facts["created"], facts["turn"], facts["status"], facts["account"] = -1, 1, 200, 5
    facts["prompt"] = np.arange(1, len(rows) + 1)
    for at, row in enumerate(rows):
        for name, value in row.items():
            facts[name][at] = value
    table = Table(ACCOUNT) if table is None else table
    table.reserve(len(rows))
    sightings = np.zeros(len(rows), SIGHTING)
    marks = update_accounts(facts, table.records, table.index, table.count, sightings, UNLIMITED)[0]
    return sightings, marks


class Naive:
    """Keeps every request of one account."""

    def __init__(self) -> None:
        self.past: list[dict] = []

    def step(self, row: dict) -> dict:
        ts = row["ts"]
        newest = max((old["ts"] for old in self.past), default=None)
        new = newest is None or ts - newest > IDLE_MS
        if new:
            self.past = []
        follows = row["turn"] > 1 or (row["conversation"] != 0 and row["conversation"] in self.conversations())
        burst = not new and 0 <= ts - newest < BURST_MS
        self.past.append(row | {"follows": follows})
        hour = max(old["ts"] for old in self.past) // HOUR_MS
        inside = [old for old in self.past if old["ts"] // HOUR_MS > hour - 24]
        return {
            "new": new,
            "requests_24h": len(inside),
            "follow_ups_24h": sum(old["follows"] for old in inside),
            "hours_24h": len({old["ts"] // HOUR_MS for old in inside}),
            "follow_up": follows,
            "burst": burst,
        }

    def conversations(self) -> list[int]:
        """The last two distinct conversations."""
        kept: list[int] = []
        for old in self.past:
            name = old["conversation"]
            if name and (not kept or kept[0] != name):
                kept = [name, *kept[:1]]
        return kept


gaps = st.sampled_from(
    [0, 1_000, BURST_MS - 1, BURST_MS, HOUR_MS, 5 * HOUR_MS, DAY_MS - 1, DAY_MS, 3 * DAY_MS, IDLE_MS]
)
walks = st.lists(
    st.tuples(
        st.integers(1, 2),
        gaps | st.integers(0, 2 * DAY_MS),
        st.integers(0, LAG_MS),
        st.integers(0, 3),
        st.integers(1, 2),
    ),
    min_size=1,
    max_size=40,
)


@given(walks, st.integers(1, 40))
def test_windows_are_those_of_the_requests_themselves(walk, size):
    rows, at = [], START
    for account, gap, lag, conversation, turn in walk:
        at += gap
        rows.append({"account": account, "ts": at - lag, "conversation": conversation, "turn": turn})
    table, naive, told = Table(ACCOUNT), {1: Naive(), 2: Naive()}, {}
    for first in range(0, len(rows), size):
        part = rows[first : first + size]
        for row, seen, mark in zip(part, *fold(part, table), strict=True):
            expected = naive[row["account"]].step(row)
            found = {name: int(seen[name]) for name in ("requests_24h", "follow_ups_24h", "hours_24h")}
            flags = int(seen["flags"])
            found |= {"new": bool(mark & NEW), "follow_up": bool(flags & FOLLOW_UP), "burst": bool(flags & BURST)}
            assert found == expected
            assert bool(flags & FIRST_TURN) != bool(flags & FOLLOW_UP)
            told.setdefault(row["account"], []).extend([row["ts"]] * bool(mark & (NEW | RENEWED)))
            assert row["ts"] - told[row["account"]][-1] < 7 * DAY_MS  # so four weeks without a word are silence
    for times in told.values():
        assert len(times) <= 2 + (at - START) // (7 * DAY_MS) + sum(gap > IDLE_MS for _, gap, *_ in walk)


def test_the_trailing_day_has_a_grain_of_an_hour():
    hour = START // HOUR_MS * HOUR_MS
    seen, _ = fold([{"ts": hour}, {"ts": hour + 23 * HOUR_MS + HOUR_MS - 1}, {"ts": hour + 24 * HOUR_MS}])
    assert seen["requests_24h"].tolist() == [1, 2, 2]
    assert seen["hours_24h"].tolist() == [1, 2, 2]


def test_an_hour_counts_no_more_than_its_most_and_lets_all_of_it_go():
    hour = START // HOUR_MS * HOUR_MS
    rows = np.repeat(np.array([hour, hour + 23 * HOUR_MS, hour + 24 * HOUR_MS]), [HOUR_COUNT_MAX + 9, 2, 1])
    facts = np.zeros(len(rows), FACTS)
    facts["created"], facts["turn"], facts["account"], facts["reasoning"], facts["ts"] = -1, 2, 5, True, rows
    table, sightings = Table(ACCOUNT), np.zeros(len(rows), SIGHTING)
    table.reserve(1)
    update_accounts(facts, table.records, table.index, table.count, sightings, UNLIMITED)
    for name in ("requests_24h", "follow_ups_24h"):
        assert sightings[name][[0, -4, -2, -1]].tolist() == [1, HOUR_COUNT_MAX, HOUR_COUNT_MAX + 2, 3]
    assert int(table.records[0]["reasoning_24h"]) == 3


def test_facts_become_flags_and_status_an_error():
    plain = {"ts": START}
    rows = [plain | {"reasoning": True}, plain | {"refused": True}, plain | {"tools": True}, plain | {"short": True}]
    rows += [plain | {"status": 399}, plain | {"status": 400}, plain | {"status": 503}]
    seen, _ = fold([row | {"account": 10 + at} for at, row in enumerate(rows)])
    expected = [REASONING, REFUSED, TOOLS, SHORT, 0, ERROR, ERROR]
    assert (seen["flags"] & ~np.uint16(FIRST_TURN)).tolist() == expected


def test_the_same_prompt_within_minutes_is_a_retry():
    rows = [
        {"ts": START, "prompt": 9},
        {"ts": START + RETRY_MS - 1, "prompt": 9},
        {"ts": START + 2 * RETRY_MS - 2, "prompt": 9},  # each retry counts from the one before
        {"ts": START + 3 * RETRY_MS - 2, "prompt": 9},
        {"ts": START + 3 * RETRY_MS - 1, "prompt": 9, "account": 6},
    ]
    assert ((fold(rows)[1] & RETRY) != 0).tolist() == [False, True, True, False, False]


def test_two_prompts_sent_in_turns_are_both_known():
    rows = [{"ts": START + at * 1_000, "prompt": 1 + at % 2} for at in range(6)]
    assert ((fold(rows)[1] & RETRY) != 0).tolist() == [False, False, True, True, True, True]


def test_age_is_in_whole_days_and_unknown_without_a_sign_up_time():
    rows = [
        {"ts": START, "created": START - 3 * DAY_MS + 1},
        {"ts": START, "created": START - 3 * DAY_MS},
        {"ts": START},
    ]
    assert fold(rows)[0]["age_days"].tolist() == [2, 3, -1]
