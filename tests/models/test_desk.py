"""The desk: what becomes of alerts and of what people say, in whatever order and however often it is read."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.alert import Alert
from models.cases import Notification, Why
from models.desk import Desk, DeskLimits, read_alert
from models.errors import WireError
from models.labels import Label, Seen
from models.output import encode_alert
from tests.models.desk_records import DAY, HOUR, campaign, ended, label, of_account, signal

NOW = DAY + 30 * 24 * HOUR
KEY = campaign().dedup_key


def desk_of(*records: Alert | Label, limits: DeskLimits | None = None) -> Desk:
    desk = Desk(limits)
    for record in records:
        take(desk, record)
    return desk


def take(desk: Desk, record: Alert | Label) -> None:
    if isinstance(record, Alert):
        desk.take_alert(record)
    else:
        desk.take_label(record)


def seen(severity: str = "medium", accounts: int = 50) -> Seen:
    return msgspec.convert({"severity": severity, "accounts": accounts, "cluster_id": "c-1"}, Seen)


def whys(found: list[Notification]) -> list[Why]:
    return [notification.why for notification in found]


def test_an_alert_is_told_once():
    desk = desk_of(campaign())
    (first,) = desk.due(NOW)
    assert (first.kind, first.why, first.case and first.case.dedup_key) == ("firing", Why.FIRST, KEY)
    assert desk.due(NOW + 1) == []
    assert desk.cases[KEY].why is Why.NOTHING_NEW


def test_updates_wait_and_escalations_do_not():
    desk = desk_of(campaign())
    desk.due(NOW)
    desk.take_alert(campaign(number=1))
    assert desk.due(NOW + 60_000) == []
    assert desk.cases[KEY].why is Why.TOO_SOON
    assert whys(desk.due(NOW + desk.limits.update_ms)) == [Why.CHANGED]
    desk.take_alert(campaign(number=2, severity="high"))
    assert whys(desk.due(NOW + desk.limits.update_ms + 1)) == [Why.SEVERITY_RAISED]
    desk.take_alert(campaign(number=3, severity="high", accounts=120))
    assert whys(desk.due(NOW + desk.limits.update_ms + 2)) == [Why.ACCOUNTS_DOUBLED]


def test_a_case_ends_by_itself_and_says_so():
    desk = desk_of(campaign())
    desk.due(NOW)
    desk.take_alert(ended())
    assert desk.cases[KEY].status == "resolved"
    (last,) = desk.due(NOW + 1)
    assert (last.kind, last.why) == ("resolved", Why.RESOLVED)
    assert desk.cases[KEY].alert.severity == "medium", "the evidence of the case is that of its last statement in force"


def test_what_was_over_before_anyone_was_told_is_not_told():
    desk = desk_of(campaign(), ended())
    assert desk.due(NOW) == []
    assert desk.cases[KEY].why is Why.NOT_TOLD


def test_an_acknowledged_case_keeps_quiet_until_it_escalates():
    desk = desk_of(campaign())
    desk.due(NOW)
    desk.take_label(label("acknowledge", seen=desk.cases[KEY].seen))
    desk.take_alert(campaign(number=1))
    assert desk.due(NOW + 24 * HOUR) == []
    assert (desk.cases[KEY].status, desk.cases[KEY].why) == ("acknowledged", Why.ACKNOWLEDGED)
    desk.take_alert(campaign(number=2, severity="high"))
    assert desk.cases[KEY].status == "open"
    assert whys(desk.due(NOW + 24 * HOUR)) == [Why.SEVERITY_RAISED]
    desk.take_alert(campaign(number=3, severity="medium"))
    assert desk.cases[KEY].status == "open", "an acknowledgement that was outgrown does not come back by itself"


def test_twice_the_accounts_end_an_acknowledgement():
    desk = desk_of(campaign(), label("acknowledge", seen=seen()), campaign(number=1, accounts=99))
    assert desk.cases[KEY].status == "acknowledged"
    desk.take_alert(campaign(number=2, accounts=100))
    assert desk.cases[KEY].status == "open"


@pytest.mark.parametrize("verdict", ["confirmed", "false_positive", "benign_automation"])
def test_a_verdict_closes_a_case_until_it_is_more_severe(verdict):
    desk = desk_of(campaign())
    desk.due(NOW)
    desk.take_label(label("close", verdict=verdict, seen=seen()))
    assert desk.cases[KEY].status == "closed"
    assert whys(desk.due(NOW)) == [Why.CLOSED]
    desk.take_alert(campaign(number=1, accounts=400))
    assert desk.due(NOW + HOUR) == []
    desk.take_alert(campaign(number=2, severity="critical"))
    assert whys(desk.due(NOW + 2 * HOUR)) == [Why.AGAIN]


@pytest.mark.parametrize(("verdict", "status"), [("confirmed", "open"), ("benign_automation", "closed")])
def test_a_cluster_that_is_no_campaign_stays_closed_when_it_comes_back(verdict, status):
    closed = label("close", verdict=verdict, seen=seen())
    desk = desk_of(campaign(), closed, ended(), campaign(episode=2, ts=DAY + 48 * HOUR))
    again = desk.cases[campaign(episode=2).dedup_key]
    assert again.status == status
    desk.take_alert(campaign(number=1, episode=2, ts=DAY + 49 * HOUR, severity="high"))
    assert again.status == "open"


def test_reopening_takes_back_verdict_and_acknowledgement():
    desk = desk_of(campaign(), label("acknowledge"), label("close", verdict="false_positive"), label("reopen"))
    assert desk.cases[KEY].status == "open"
    desk.take_label(label("acknowledge"))
    assert desk.cases[KEY].status == "acknowledged"


def test_reopening_the_second_case_of_a_cluster_takes_back_the_verdict_of_the_first():
    second = {"dedup_key": campaign(episode=2).dedup_key}
    desk = desk_of(campaign(), label("close", verdict="false_positive", seen=seen()), campaign(episode=2))
    desk.take_label(label("reopen", second, seen=seen()))
    assert desk.cases[second["dedup_key"]].status == "open"
    desk.take_alert(campaign(episode=3))
    assert desk.cases[campaign(episode=3).dedup_key].status == "open"


@pytest.mark.parametrize(
    "subject",
    [{"cluster_id": "c-1"}, {"rule": "campaign", "severity": "medium"}, {"dedup_key": KEY}],
    ids=["cluster", "rule and severity", "case"],
)
def test_a_silence_holds_until_it_ends(subject):
    desk = desk_of(label("silence", subject, expires=NOW + HOUR), campaign(), campaign("c-2", severity="high"))
    assert [found.case and found.case.alert.cluster_id for found in desk.due(NOW)] == ["c-2"]
    assert (desk.cases[KEY].status, desk.cases[KEY].why) == ("open", Why.SILENCED)
    assert whys(desk.due(NOW + HOUR)) == [Why.FIRST]


def test_a_silence_of_several_parts_needs_all_and_can_be_lifted():
    desk = desk_of(label("silence", {"cluster_id": "c-1", "severity": "high"}), campaign())
    assert len(desk.due(NOW)) == 1
    desk = desk_of(label("silence", {"severity": "medium"}), label("unsilence", {"severity": "medium"}), campaign())
    assert len(desk.due(NOW)) == 1


def test_alerts_of_members_wait_while_their_cluster_is_open():
    desk = desk_of(campaign(), of_account("ann"), of_account("bob"))
    desk.take_signal("ann", signal("ann"))
    assert [found.case and found.case.alert.rule for found in desk.due(NOW)] == ["campaign", "account_volume"]
    ann = desk.cases[of_account("ann").dedup_key]
    assert ann.why is Why.CLUSTER_OPEN
    desk.take_label(label("close", verdict="confirmed"))
    assert [found.why for found in desk.due(NOW)] == [Why.CLOSED], "what members of a confirmed campaign do is known"
    desk.take_label(label("close", verdict="false_positive"))
    assert [found.why for found in desk.due(NOW)] == [Why.FIRST]


def test_an_account_case_ends_with_event_time():
    desk = desk_of(of_account("ann"))
    assert len(desk.due(NOW)) == 1, "however late the wall clock is"
    desk.take_signal("bob", signal("bob", ts=DAY + 24 * HOUR))
    assert whys(desk.due(NOW + 1)) == [Why.RESOLVED]


def test_shadow_alerts_are_cases_and_nobody_is_told():
    desk = desk_of(campaign(mode="shadow"))
    assert desk.due(NOW) == []
    assert (desk.cases[KEY].status, desk.cases[KEY].why) == ("open", Why.SHADOW)


def test_a_flood_is_capped_with_one_summary_and_nothing_is_lost():
    desk = Desk(DeskLimits(notifications_hour=3))
    for number in range(8):
        desk.take_alert(campaign(f"c-{number}", severity="critical" if number == 7 else "low"))
    first = desk.due(NOW)
    assert [found.kind for found in first] == ["firing"] * 3 + ["summary"]
    assert first[0].severity == "critical"
    assert (first[-1].held, first[-1].severity) == (5, "low")
    assert desk.due(NOW + 60_000) == []
    desk.take_alert(campaign("c-9", severity="high"))
    assert [(found.kind, found.severity) for found in desk.due(NOW + 120_000)] == [("summary", "high")]
    told = [found.case.dedup_key for found in first if found.case]
    for hour in range(1, 4):
        told += [found.case.dedup_key for found in desk.due(NOW + hour * HOUR) if found.case]
    assert sorted(told) == sorted(desk.cases)


def test_ends_are_not_held_by_the_cap():
    desk = Desk(DeskLimits(notifications_hour=1))
    desk.take_alert(campaign())
    desk.due(NOW)
    desk.take_alert(ended())
    assert whys(desk.due(NOW + 1)) == [Why.RESOLVED]


def test_memory_is_bounded_and_what_is_open_stays_longest():
    desk = Desk(DeskLimits(cases=3))
    for number in range(3):
        desk.take_alert(campaign(f"c-{number}"))
    desk.take_alert(ended("c-2"))
    for number in range(3, 5):
        desk.take_alert(campaign(f"c-{number}", severity="high"))
    assert len(desk.cases) == 3
    assert desk.dropped == 2
    assert {case.alert.cluster_id for case in desk.cases.values()} == {"c-1", "c-3", "c-4"}


def test_a_restart_sends_nothing_twice():
    desk = desk_of(campaign(), campaign("c-2"), label("acknowledge", "c-2"))
    desk.due(NOW)
    again = Desk()
    again.restore(desk.snapshot())
    assert again.snapshot() == desk.snapshot()
    take(again, campaign())
    assert again.due(NOW + 1) == []


def test_a_snapshot_that_cannot_be_read_is_refused():
    with pytest.raises(WireError):
        Desk().restore(b'{"version":1}')
    with pytest.raises(WireError):
        Desk().restore(Desk().snapshot().replace(b'"version":1', b'"version":2'))


def test_labels_that_would_do_nothing_are_refused_with_a_reason():
    desk = desk_of(campaign())
    assert "no alert has" in (desk.refusal(label("acknowledge", "c-9")) or "")
    assert "only a closed" in (desk.refusal(label("reopen")) or "")
    assert "needs a verdict" in (desk.refusal(label("close")) or "")
    assert desk.refusal(label("acknowledge")) is None
    take(desk, label("close", verdict="confirmed"))
    assert "closed" in (desk.refusal(label("close", verdict="confirmed")) or "")
    assert "closed" in (desk.refusal(label("acknowledge")) or "")


def test_what_is_no_alert_is_none():
    assert read_alert(b"{") is None
    assert read_alert({"alert_id": "a"}) is None
    assert read_alert(encode_alert(campaign())) == campaign()
    assert read_alert(msgspec.to_builtins(campaign()) | {"newer": 1}) == campaign()


ALERTS = [campaign(), campaign(number=1, severity="high"), campaign(number=2, accounts=120), ended(number=3)]
MORE = [campaign("c-2"), campaign(episode=2, ts=DAY + 48 * HOUR), of_account("ann"), ended("c-2", number=1)]
SAID = [
    label("acknowledge", seen=seen()),
    label("silence", {"cluster_id": "c-2"}),
    label("close", seen=seen("high"), verdict="benign_automation"),
    label("acknowledge", "c-2", seen=seen()),
    label("reopen", seen=seen("high")),
    label("close", "c-2", seen=seen(), verdict="confirmed"),
]


@st.composite
def deliveries(draw: st.DrawFn, feed: list[Alert] | list[Label]) -> list[Alert | Label]:
    """The feed as at-least-once delivery gives it: in order, now and then again from an earlier place."""
    given_out: list[Alert | Label] = []
    at = 0
    while at < len(feed):
        end = draw(st.integers(at + 1, len(feed)))
        given_out += feed[at:end]
        at = draw(st.integers(max(0, end - 3), end)) if draw(st.booleans()) and len(given_out) < 60 else end
    return given_out


@st.composite
def interleavings(draw: st.DrawFn) -> list[Alert | Label]:
    feeds = [draw(deliveries(ALERTS + MORE)), draw(deliveries(SAID))]
    merged: list[Alert | Label] = []
    while any(feeds):
        merged.append(draw(st.sampled_from([feed for feed in feeds if feed])).pop(0))
    return merged


@given(interleavings())
def test_redelivery_and_interleaving_change_no_case(records):
    plain = desk_of(*ALERTS, *MORE, *SAID)
    desk = desk_of(*records)
    assert sorted(desk.cases) == sorted({alert.dedup_key for alert in ALERTS + MORE}), "no case is lost"
    assert {key: msgspec.to_builtins(case) for key, case in desk.cases.items()} == {
        key: msgspec.to_builtins(case) for key, case in plain.cases.items()
    }


@given(interleavings(), st.lists(st.integers(0, 100), max_size=5))
def test_every_case_that_is_open_in_the_end_was_told_and_no_other_is_left_standing(records, moments):
    desk = Desk()
    standing: set[str] = set()
    for at, record in enumerate(records):
        take(desk, record)
        if at in moments:
            again = Desk()
            again.restore(desk.snapshot())
            desk = again
            _deliver(desk.due(NOW + at), standing)
    _deliver(desk.due(NOW + HOUR), standing)
    wanted = {key for key, case in desk.cases.items() if case.status == "open" and case.why is not Why.SILENCED}
    may = {key for key, case in desk.cases.items() if case.live}
    assert wanted <= standing <= may


def _deliver(found: list[Notification], standing: set[str]) -> None:
    for notification in found:
        assert notification.case is not None
        if notification.kind == "resolved":
            standing.remove(notification.case.dedup_key)
        else:
            standing.add(notification.case.dedup_key)
