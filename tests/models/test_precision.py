"""Precision per rule: verdicts are counted, bounds hold for few of them, and a threshold is suggested from enough."""

from __future__ import annotations

import pytest

from models.desk import Desk
from models.precision import VERDICTS_MIN, precision, wilson
from tests.models.desk_records import campaign, label, of_account


def judged(*verdicts: tuple[float, str]) -> Desk:
    desk = Desk()
    for number, (score, verdict) in enumerate(verdicts):
        desk.take_alert(campaign(f"c-{number}", score=score))
        if verdict:
            desk.take_label(label("close", f"c-{number}", verdict=verdict))
    return desk


def test_verdicts_are_counted_by_rule():
    desk = judged((9.0, "confirmed"), (8.0, "false_positive"), (8.0, "benign_automation"), (9.0, ""))
    desk.take_alert(of_account("ann"))
    volume, found = precision(list(desk.cases.values()))
    assert (volume.rule, volume.alerts, volume.precision, volume.unjudged) == ("account_volume", 1, None, 1)
    assert (found.confirmed, found.false_positive, found.benign_automation, found.unjudged) == (1, 1, 1, 1)
    assert found.precision == pytest.approx(1 / 3)
    assert found.suggested_score is None, "three verdicts suggest nothing"


def test_a_threshold_is_the_least_from_which_on_nine_in_ten_were_confirmed():
    good, bad = [(9.0 + at / 10, "confirmed") for at in range(9)], [(8.0, "false_positive")] * 5
    (found,) = precision(list(judged(*good, *bad, (7.0, "confirmed")).cases.values()))
    assert found.suggested_score == 9.0
    assert (found.kept, found.confirmed) == (9, 10)
    (none,) = precision(list(judged(*[(9.0, "false_positive")] * VERDICTS_MIN).cases.values()))
    assert none.suggested_score is None


def test_an_inherited_verdict_is_not_counted():
    desk = Desk()
    desk.take_alert(campaign())
    desk.take_label(label("close", verdict="false_positive", seen=desk.cases[campaign().dedup_key].seen))
    desk.take_alert(campaign(episode=2))
    (found,) = precision(list(desk.cases.values()))
    assert (found.alerts, found.false_positive) == (2, 1)


def test_bounds_of_few_tries_are_wide_and_published_values_are_met():
    assert wilson(0, 0) == (0.0, 1.0)
    assert wilson(10, 10) == pytest.approx((0.7225, 1.0), abs=1e-3)
    assert wilson(50, 100) == pytest.approx((0.4038, 0.5962), abs=1e-3)
