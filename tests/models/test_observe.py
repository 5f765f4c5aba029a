"""Observe: every event in one account, in the order it was admitted; idle accounts forgotten; held rows kept."""

from __future__ import annotations

import numpy as np
import pytest

from models.accounts import BUSY_REQUESTS, DAY_MS, IDLE_MS
from models.admission import CONFIRM_ROWS
from models.event import EventBatch
from models.observe import SWEEP_MS, Observe, Observed
from models.sketch import Sketcher, Sketches
from tests.models.inputs import HOUR_MS, SECRET, START, events_at

SKETCHER = Sketcher(SECRET)


def sketched(events: EventBatch) -> tuple[EventBatch, Sketches]:
    return events, SKETCHER.sketch(events.prompt)


def opened(at: int = START) -> Observe:
    """An operator whose clock stands at ``at``, by one account's rows."""
    operator = Observe()
    operator.process(
        *sketched(
            events_at([at] * CONFIRM_ROWS, event=np.arange(9_000, 9_000 + CONFIRM_ROWS), account=[99] * CONFIRM_ROWS)
        )
    )
    return operator


def accounted(seen: Observed) -> int:
    return seen.accepted + seen.duplicate + seen.late + len(seen.future)


def introduced(seen: Observed) -> list[str]:
    """The accounts told of as new or for another week, and not for what their day is like."""
    return [name for name, row in zip(seen.profile_ids, seen.profiles, strict=True) if not row["told_at"]]


def one_by_one(operator: Observe, events: EventBatch) -> list[Observed]:
    parts = [events.take(np.array([row])) for row in range(len(events))]
    return [operator.process(*sketched(part)) for part in parts]


def test_rows_confirmed_late_are_folded_in_the_order_they_were_admitted():
    ahead = [START + 2 * HOUR_MS + 1_000 * step for step in range(CONFIRM_ROWS)]
    ts = [ahead[0], START + 1, *ahead[1:]]  # all are admitted, the first one after the second
    events = events_at(ts)
    whole = opened().process(*sketched(events)).sightings
    parts = [seen.sightings for seen in one_by_one(opened(), events)]
    assert len(whole) == len(ts)
    assert whole.rows["ts"].tolist() == [START + 1, *ahead]
    assert whole.rows.tobytes() == b"".join(part.rows.tobytes() for part in parts)


def test_read_is_accepted_and_duplicate_and_late_and_refused_and_held():
    operator = opened()
    ts = [START, START, START - HOUR_MS, START + 50 * HOUR_MS, START + 1, START + 2, START + 3, START + 90 * HOUR_MS]
    seen = operator.process(*sketched(events_at(ts, event=[1, 1, 3, 4, 5, 6, 7, 8])))
    assert (seen.accepted, seen.duplicate, seen.late, seen.future, operator.held) == (4, 1, 1, [4], 1)
    assert accounted(seen) + operator.held == len(ts)
    end = operator.finish()
    assert (end.accepted, operator.held) == (1, 0)


@pytest.mark.parametrize("stop", [False, True])
def test_held_rows_live_through_a_stop_with_their_keys_and_without_their_text(stop):
    operator = opened()
    events = events_at([START + 30 * HOUR_MS + step for step in range(CONFIRM_ROWS)])
    first, rest = np.arange(5), np.arange(5, CONFIRM_ROWS)
    operator.process(*sketched(events.take(first)))
    if stop:
        data = operator.snapshot()
        assert b"prompt 0" not in data
        operator = Observe()
        operator.restore(data)
    assert operator.held == 5
    seen = operator.process(*sketched(events.take(rest)))
    assert seen.accepted == CONFIRM_ROWS
    assert introduced(seen) == ["account-7"]
    assert seen.sightings.keys.tolist() == SKETCHER.sketch(events.prompt).keys.tolist()


def test_a_profile_goes_out_when_an_account_is_new_and_when_it_returns_after_a_week():
    operator = opened()
    busy = [START + step * (HOUR_MS // 2) for step in range(2 * 24 * 9)]  # keeps the clock going for nine days
    back = busy[-1] - START
    assert back > IDLE_MS + SWEEP_MS
    seen = operator.process(*sketched(events_at([START + 1], event=[77], account=[5])))
    assert list(seen.profile_ids) == ["account-5"]
    operator.process(*sketched(events_at(busy, event=np.arange(100, 100 + len(busy)), account=[99] * len(busy))))
    assert len(operator.accounts) == 1
    seen = operator.process(*sketched(events_at([busy[-1] + 1], event=[78], account=[5])))
    assert list(seen.profile_ids) == ["account-5"]


def test_a_late_row_finds_its_account_whether_or_not_a_sweep_came_first():
    """An account idle for a week when the sweep comes may still get a row from just before."""
    newest = START + IDLE_MS + 60_000
    walk = [START + step * (HOUR_MS // 2) for step in range(2 * 24 * 7)]
    events = events_at(
        [START, *walk, newest, START + IDLE_MS - 1_000],
        event=np.arange(1, len(walk) + 4),
        account=[5, *[99] * len(walk), 99, 5],
    )
    at_once, stepwise = opened(), opened()
    whole = at_once.process(*sketched(events))
    parts = one_by_one(stepwise, events)
    assert whole.late == 0
    told = [name for name in whole.profile_ids if name == "account-5"]
    assert len(told) == 2, "new, and a week later again"
    assert list(whole.profile_ids) == [name for seen in parts for name in seen.profile_ids]
    for operator in (at_once, stepwise):
        assert operator.accounts.rows["first_seen"].tolist() == [START, START]


def test_a_retry_counts_for_the_account_and_gives_no_sighting():
    operator = opened()
    events = events_at([START, START + 1_000], event=[1, 2])
    events.prompt = events.prompt.take(np.array([0, 0]))
    seen = operator.process(*sketched(events))
    assert (seen.accepted, len(seen.sightings)) == (2, 1)
    later = operator.process(*sketched(events_at([START + HOUR_MS // 2], event=[3]))).sightings
    assert later.rows["requests_24h"].tolist() == [3]


def test_a_busy_account_s_day_is_told_of_once_a_day():
    operator = opened()
    ts = [START + hour * HOUR_MS // 2 for hour in range(60)]
    told = [row for seen in one_by_one(operator, events_at(ts, account=[5] * 60)) for row in seen.profiles]
    days = [row for row in told if row["told_at"]]
    assert days[0]["requests"] == BUSY_REQUESTS
    assert len(days) == len({int(row["told_at"]) // DAY_MS for row in days}) == len({at // DAY_MS for at in ts[11:]})
    first = days[0]
    assert (first["hours"], first["follow_ups"], first["spent_min"]) == (6, 0, 330)
    assert all(row["ts"] == row["told_at"] for row in days)


def test_a_day_told_of_is_the_same_where_the_account_is_begun_anew_in_the_batch():
    before = [START + 600_000 * at for at in range(BUSY_REQUESTS)]
    back = [START + 9 * DAY_MS + 1_000 * at for at in range(CONFIRM_ROWS)]
    events = events_at(before + back)
    whole = opened().process(*sketched(events)).profiles
    operator = opened()
    halves = np.split(np.arange(len(events)), [BUSY_REQUESTS])
    parts = [operator.process(*sketched(events.take(rows))).profiles for rows in halves]
    assert whole.tobytes() == np.concatenate(parts).tobytes()
    assert (BUSY_REQUESTS - 1) * 10 in whole["spent_min"]
