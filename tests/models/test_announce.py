"""Announcements: what is said when a campaign opens, goes on, ends and comes back, and to whom a signal goes."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace

from models.admission import SLICE_MS
from models.alert import Alert, Mode
from models.announce import Announcer, Decisions
from models.cadence import KNOWN_PERIOD_MS
from models.campaigns import Campaigns
from models.hashing import KeyedHash
from models.labels import encode_label
from models.sighting import SightingBatch
from models.verdict import Reason
from tests.models.covering import dealt, mixed, profiles
from tests.models.desk_records import label
from tests.models.inputs import EAGER, HOUR_MS, SECRET, START, sightings

POOL = range(150)
RULE = EAGER.campaign
COOL_DOWN_MS, GROWN, SIGNAL_MS, UPDATE_MS = RULE.cool_down_ms, RULE.update_growth, RULE.signal_ms, RULE.update_ms
MODES: tuple[Mode, ...] = ("shadow", "alert", "enforce")


class Run:
    """Campaigns with a clock: waves of uses in, what was said out."""

    def __init__(self, mode: Mode = "enforce", secret: bytes = SECRET) -> None:
        self.campaigns = Campaigns(Announcer(KeyedHash(secret), mode=mode), EAGER)
        self.decisions = Decisions()
        self.now = START // SLICE_MS * SLICE_MS
        self._events = 0

    def wave(self, accounts: range = POOL, requests: int = 4, templates: range = range(6), seed: int = 1) -> Run:
        """``accounts`` send ``requests`` each within an hour; the next evaluation has seen them all."""
        uses = dealt(accounts, templates, requests, seed)
        step = HOUR_MS // len(uses)
        batch: SightingBatch = sightings(
            [
                (self.now + at * step, mixed(account), [mixed(key) for key in keys])
                for at, (account, keys) in enumerate(uses)
            ],
            event=np.arange(self._events, self._events + len(uses)) + 1,
            prompt=np.arange(self._events, self._events + len(uses)) + 1,
            network=np.array([mixed(account) for account, _ in uses], np.uint64),
            requests_24h=requests,
        )
        self._events += len(uses)
        self.campaigns.learn(*profiles(accounts, ts=self.now))
        self.campaigns.process(batch)
        return self.wait(HOUR_MS + 2 * KNOWN_PERIOD_MS)

    def wait(self, time_ms: int) -> Run:
        self.now += time_ms // SLICE_MS * SLICE_MS
        self.decisions.extend(self.campaigns.advance(self.now))
        return self

    @property
    def alerts(self) -> list[Alert]:
        return self.decisions.alerts

    @property
    def statuses(self) -> list[str]:
        return [alert.status for alert in self.alerts]

    def told(self, since: int = 0) -> set[str]:
        return {account for account, signal in self.decisions.signals[since:] if signal is not None}


def ids(accounts: range) -> set[str]:
    return {f"account-{account}" for account in accounts}


def test_a_campaign_opens_once():
    run = Run().wave()
    assert run.statuses.count("open") == 1
    assert run.statuses[0] == "open"
    opened = run.alerts[0]
    assert opened.cluster_id is not None
    assert opened.dedup_key == f"distilwatch:default:campaign:{opened.cluster_id}:1"
    assert {alert.cluster_id for alert in run.alerts} == {opened.cluster_id}
    assert {alert.dedup_key for alert in run.alerts} == {opened.dedup_key}


def test_every_statement_has_an_id_of_its_own_and_a_replay_the_same():
    def story(secret: bytes = SECRET) -> Run:
        return Run(secret=secret).wave().wave(range(400), seed=2).wait(COOL_DOWN_MS + 2 * HOUR_MS).wave(seed=3)

    run = story()
    said = [alert.alert_id for alert in run.alerts]
    assert {"open", "update", "resolved"} == set(run.statuses)
    assert len(set(said)) == len(said)
    assert run.decisions == story().decisions
    assert not set(said) & {alert.alert_id for alert in story(b"another secret").alerts}


def test_only_accounts_of_the_campaign_are_told_and_all_of_them():
    run = Run().wave()
    assert run.told() == ids(POOL)
    for _, signal in run.decisions.signals:
        assert signal is not None
        assert signal.cluster_id == run.alerts[0].cluster_id
        assert signal.alert_id == run.alerts[0].alert_id
        assert signal.expires == signal.ts + SIGNAL_MS


def test_growth_by_half_is_an_update_and_less_is_none():
    small, large = Run().wave(), Run().wave()
    for run, accounts in ((small, range(150, 180)), (large, range(150, 280))):
        before = len(run.alerts)
        run.wave(accounts, seed=2)
        said = run.alerts[before:]
        if run is small:
            assert said == []
        else:
            assert {alert.status for alert in said} == {"update"}
            assert said[-1].accounts >= GROWN * 150
            assert said[0].alert_id == f"{run.alerts[0].alert_id}.{before}"


def test_a_campaign_that_goes_on_as_before_is_silent_until_it_has_more_members():
    run = Run().wave()
    before = len(run.alerts)
    run.wait(UPDATE_MS + HOUR_MS)
    assert len(run.alerts) == before, "time alone is no news"
    run.wave(range(140, 160), seed=3)
    assert run.statuses[before:] == ["update"]


def test_signals_are_renewed_past_their_half_and_not_before():
    run = Run().wave()
    first = len(run.decisions.signals)
    run.wave(seed=2)
    assert run.told(first) == set()
    run.wait(SIGNAL_MS // 2)
    run.wave(seed=3)
    assert run.told(first) == ids(POOL)


def test_quiet_for_a_day_it_is_resolved_and_everyone_told_is_cleared():
    run = Run().wave()
    run.wait(COOL_DOWN_MS - 3 * HOUR_MS)
    assert "resolved" not in run.statuses
    run.wait(5 * HOUR_MS)
    last = run.alerts[-1]
    assert last.status == "resolved"
    assert last.dedup_key == run.alerts[0].dedup_key
    assert last.alert_id == f"{run.alerts[0].alert_id}.resolved"
    cleared = [account for account, signal in run.decisions.signals if signal is None]
    assert sorted(cleared) == sorted(run.told())
    run.wait(10 * COOL_DOWN_MS)
    assert run.statuses.count("resolved") == 1


def test_an_account_is_told_last_what_holds():
    run = Run().wave().wait(2 * COOL_DOWN_MS)
    assert dict(run.decisions.signals) == dict.fromkeys(ids(POOL))


@pytest.mark.parametrize("pool", [POOL, range(500, 650)], ids=["same accounts", "replaced accounts"])
def test_coming_back_is_a_new_episode_of_the_same_campaign(pool):
    run = Run().wave().wait(COOL_DOWN_MS + 2 * HOUR_MS)
    told = len(run.decisions.signals)
    run.wave(pool, seed=5)
    first, again = [alert for alert in run.alerts if alert.status == "open"]
    assert again.cluster_id == first.cluster_id
    assert again.dedup_key == f"{first.dedup_key.removesuffix(':1')}:2"
    assert again.alert_id != first.alert_id
    assert run.told(told) == ids(pool)


def test_other_accounts_with_other_templates_are_another_campaign():
    run = Run().wave().wave(range(500, 650), templates=range(10, 16), seed=5)
    opened = [alert for alert in run.alerts if alert.status == "open"]
    assert len({alert.cluster_id for alert in opened}) == 2
    assert len({alert.dedup_key for alert in opened}) == 2


def test_a_replaced_pool_keeps_its_campaign():
    run = Run().wave().wave(range(500, 650), seed=5)
    assert run.statuses.count("open") == 1
    assert run.told() == ids(POOL) | ids(range(500, 650))


def test_mode_off_says_nothing():
    run = Run("off").wave().wait(2 * COOL_DOWN_MS)
    assert run.decisions == Decisions()


@pytest.mark.parametrize("mode", MODES)
def test_the_mode_is_said_in_everything(mode):
    run = Run(mode).wave().wait(2 * COOL_DOWN_MS)
    assert {alert.mode for alert in run.alerts} == {mode}
    assert {signal.mode for _, signal in run.decisions.signals if signal} <= {mode}


def test_only_enforce_asks_the_limiter_to_act():
    runs = {mode: Run(mode).wave() for mode in MODES}
    actions = {mode: {signal.action for _, signal in run.decisions.signals if signal} for mode, run in runs.items()}
    assert actions["shadow"] == set()
    assert actions["alert"] <= {"observe"}
    assert actions["enforce"] <= {"throttle", "challenge"}
    assert runs["enforce"].told() == ids(POOL)


def test_modes_differ_in_nothing_else():
    def plain(run: Run) -> Any:
        return [(one.alert_id, one.status, one.accounts, one.score) for one in run.alerts]

    assert plain(Run("shadow").wave()) == plain(Run("enforce").wave())


def test_an_alert_counts_what_it_names():
    run = Run().wave()
    opened = run.alerts[-1]
    assert opened.accounts == len({account for account, one in run.decisions.signals if one and one.ts <= opened.ts})
    assert run.told() == ids(POOL)
    assert set(opened.members_sample) <= ids(POOL)
    assert opened.first_seen <= opened.last_seen <= opened.ts
    assert sum(item.weight for item in opened.evidence + opened.counter_evidence) == pytest.approx(opened.score)
    assert all(item.weight > 0 for item in opened.evidence)
    assert all(item.weight < 0 for item in opened.counter_evidence)


# Other rules under an open campaign.


def moded(run: Run, mode: Mode) -> Run:
    run.campaigns.rules = msgspec.structs.replace(EAGER, campaign=msgspec.structs.replace(RULE, mode=mode))
    return run


def test_a_rule_that_goes_into_the_shadow_ends_its_alert_and_clears_its_accounts():
    run = Run().wave()
    before = len(run.decisions.signals)
    moded(run, "shadow").wave(seed=2)
    assert [(alert.status, alert.mode) for alert in run.alerts][-2:] == [("resolved", "enforce"), ("open", "shadow")]
    assert {signal for _, signal in run.decisions.signals[before:]} == {None}
    assert "from enforce to shadow" in run.alerts[-2].summary


def test_a_rule_that_leaves_the_shadow_is_an_alert_at_once():
    run = moded(Run(), "shadow").wave()
    assert not run.decisions.signals
    moded(run, "alert").wave(seed=2)
    assert [(alert.status, alert.mode) for alert in run.alerts][-2:] == [("resolved", "shadow"), ("open", "alert")]
    assert {signal.action for _, signal in run.decisions.signals if signal} == {"observe"}


def test_a_rule_that_begins_to_enforce_says_its_signals_again():
    run = moded(Run(), "alert").wave()
    told = len(run.decisions.signals)
    moded(run, "enforce").wave(seed=2)
    assert {signal.action for _, signal in run.decisions.signals[told:] if signal} <= {"throttle", "challenge"}
    assert len(run.decisions.signals) >= 2 * told
    assert [alert.status for alert in run.alerts].count("open") == 1


def test_a_rule_switched_off_ends_what_is_open():
    run = moded(Run().wave(), "off").wave(seed=2)
    assert [alert.status for alert in run.alerts][-1] == "resolved"
    assert moded(run, "off").wave(seed=3).alerts[-1].status == "resolved"


def test_windows_are_kept_when_rules_change():
    run = Run()
    run.campaigns.rules = msgspec.structs.replace(EAGER, campaign=msgspec.structs.replace(RULE, open_score=60.0))
    run.wave()
    assert not run.alerts
    run.campaigns.rules = EAGER
    run.wait(2 * HOUR_MS)  # nothing new has come: what was folded before is enough
    assert [alert.status for alert in run.alerts] == ["open"]
    assert run.alerts[0].rule_version == EAGER.label


# A rule tried in the shadow beside the one in force.


def beside(run: Run, **changes: Any) -> Run:
    run.campaigns.rules = msgspec.structs.replace(EAGER, shadow=msgspec.structs.replace(RULE, **changes))
    return run


def test_a_rule_in_the_shadow_changes_nothing_that_is_enforced():
    alone = Run().wave().wave(range(400), seed=2).wait(COOL_DOWN_MS + 2 * HOUR_MS).wave(seed=3)
    tried = (
        beside(Run(), update_growth=1.1).wave().wave(range(400), seed=2).wait(COOL_DOWN_MS + 2 * HOUR_MS).wave(seed=3)
    )
    live = [msgspec.structs.replace(alert, rule_version="") for alert in tried.alerts if alert.mode != "shadow"]
    assert live == [msgspec.structs.replace(alert, rule_version="") for alert in alone.alerts]
    assert tried.decisions.signals == alone.decisions.signals
    shadow = [alert for alert in tried.alerts if alert.mode == "shadow"]
    assert [alert.status for alert in shadow].count("resolved") == 1
    assert {alert.dedup_key for alert in shadow} == {alert.dedup_key for alert in alone.alerts}


def test_a_stricter_rule_in_the_shadow_says_less_and_is_gone_when_it_is_taken_away():
    run = beside(Run(), open_score=60.0, hold_score=50.0).wave()
    assert {alert.mode for alert in run.alerts} == {"enforce"}
    run = beside(run).wave(seed=2)
    assert [alert.status for alert in run.alerts if alert.mode == "shadow"] == ["open"]
    run.campaigns.rules = EAGER
    assert {alert.mode for alert in run.wave(seed=3).alerts[-1:]} <= {"enforce", "shadow"}
    assert not run.campaigns.shadow_memory.campaigns


def test_the_memory_of_the_shadow_is_part_of_the_state():
    run = beside(Run()).wave()
    fresh = beside(Run())
    fresh.campaigns.restore(run.campaigns.snapshot())
    assert fresh.campaigns.shadow_memory.snapshot() == run.campaigns.shadow_memory.snapshot()
    assert fresh.campaigns.shadow_memory.campaigns


@pytest.mark.parametrize("mode", ["shadow", "enforce"])
def test_after_a_restart_a_label_clears_those_who_were_told_and_nobody_else(mode):
    run = Run()
    run.campaigns.rules = msgspec.structs.replace(EAGER, mode=mode)
    run.wave()
    again = Run()
    again.campaigns.rules = run.campaigns.rules
    again.campaigns.restore(run.campaigns.snapshot())
    said = label("undo", {"cluster_id": str(run.alerts[0].cluster_id)})
    for campaigns in (run.campaigns, again.campaigns):
        cleared = campaigns.order(said.key, encode_label(said)).signals
        assert {account for account, _ in cleared} == (ids(POOL) if mode == "enforce" else set())


def test_a_campaign_that_comes_back_needs_what_kept_it_open_and_a_new_one_more():
    run = Run().wave().wait(COOL_DOWN_MS + 2 * HOUR_MS)
    assert run.statuses[-1] == "resolved"
    run.campaigns.rules = replace(EAGER, campaign=replace(RULE, open_score=100.0, hold_score=-100.0))
    before = len(run.alerts)
    run.wave(range(1_000, 1_150), templates=range(50, 56))
    assert run.alerts[before:] == []
    run.wave(seed=2)
    again = run.alerts[before]
    assert (again.status, again.cluster_id) == ("open", run.alerts[0].cluster_id)


@pytest.mark.parametrize(
    ("touched", "requests", "expected"),
    [(59, 1.0, Reason.CAMPAIGN), (60, 1.0, Reason.EARLY), (60, 2.0, Reason.CAMPAIGN), (150, 2.0, Reason.CAMPAIGN)],
)
def test_accounts_that_came_once_wait_where_a_fifth_of_them_touched_an_open_campaign(touched, requests, expected):
    run = Run().wave(range(400)).wait(6 * HOUR_MS).wave(range(400)).wave(range(1_000, 1_300), 1, range(10, 14))
    latest = run.campaigns.latest
    new, told = sorted(latest.judged, key=lambda judged: judged.features.mean_requests)
    assert len(new.candidate.account) == 300
    new.candidate.account[:touched] = told.candidate.account[:touched]
    told.campaign.members.clear()  # it is known by its templates: nobody who touched them is named
    new.features = replace(new.features, mean_requests=requests)
    del run.campaigns.memory.campaigns[new.campaign.cluster_id]
    run.campaigns._identify(latest)
    assert new.reason is expected
    assert told.reason is Reason.CAMPAIGN
