"""The detection bench judges as it says: scores against a known truth, verdicts against marks, parts put back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bench.detection.ablation import PARTS, switched_off
from bench.detection.baselines import _near_duplicates, _threshold
from bench.detection.cases import FIRST, KNOBS, MARKS, Case
from bench.detection.published import WindowTest, midas_f, synchrotrap
from bench.detection.score import Marker, Named, adjusted_rand
from bench.detection.table import report, rows_of, summary
from bench.detection.trial import Setting, run_thresholds, run_trial
from models import clusters, evidence
from models.alert import Alert, Signal
from models.announce import Decisions
from models.strings import Strings
from models.verdict import OPEN_SCORE
from streams.simulator.scenarios import SCENARIOS
from streams.simulator.truth import CampaignTruth, Member, Truth
from tests.models.inputs import events_at

HOUR = 3_600_000
MEMBERS = [f"m{index}" for index in range(10)]
OTHERS = [f"h{index}" for index in range(90)]


def truth() -> Truth:
    members = [Member(name, index // 5, 4, 0) for index, name in enumerate(MEMBERS)]
    campaign = CampaignTruth("one", HOUR, 5 * HOUR, 40, 0, 3, MEMBERS, members)
    return Truth("made", 1, 1.0, 1.0, [campaign], len(OTHERS), {}, 400)


def marker(named: Named, campaign_days: float | None = None) -> Marker:
    ids = [*MEMBERS, *OTHERS]
    account = np.repeat(np.arange(len(ids)), 4)
    hours = np.where(account < 5, 1, np.where(account < 10, 3, 0)) + np.tile(np.arange(4) / 2, len(ids))
    return Marker(truth(), named, np.stack([account, (hours * HOUR).astype(np.int64)]), ids, campaign_days)


def alert(cluster: str, ts: int) -> Alert:
    return Alert(
        alert_id="a", dedup_key="d", status="open", severity="high", mode="enforce", rule="campaign", rule_version="1",
        cluster_id=cluster, ts=ts, first_seen=ts, last_seen=ts, score=9.0, accounts=5, requests=20, window="24h",
        members_sample=[], evidence=[], counter_evidence=[], templates=[], attributes=[], atlas=[], summary="",
        runbook_url="",
    )  # fmt: skip


def told(*names: str, cluster: str = "c-1", hour: float = 2.0, action: str = "throttle") -> Named:
    """One alert, and signals for ``names`` at the same time."""
    ts = int(hour * HOUR)
    signals = [
        Signal(
            account_id=name, cluster_id=cluster, action=action, multiplier=0.25, score=9.0, rule="campaign",
            alert_id="a", mode="enforce", ts=ts, expires=ts + HOUR, seq=ts,
        )
        for name in names
    ]  # fmt: skip
    named = Named()
    named.note(Decisions([alert(cluster, ts)], [(signal.account_id, signal) for signal in signals]))
    return named


def test_a_whole_campaign_found_scores_full() -> None:
    score = marker(told(*MEMBERS, hour=3.25)).score("case", {})
    (campaign,) = score.campaigns
    assert (campaign.recall, campaign.purity, campaign.clusters, campaign.merged) == (1.0, 1.0, 1, 0)
    assert campaign.delay_h == pytest.approx(2.25)
    assert campaign.leaked == pytest.approx(25 / 40)  # four of each of the first five, one of each of the others
    assert campaign.recall_24h is None  # the run ends before
    assert (score.false_accounts, score.false_clusters, score.agreement) == (0, 0, 1.0)


def test_a_run_of_the_beginning_refers_to_the_whole_campaign() -> None:
    (campaign,) = marker(told(*MEMBERS, hour=3.25), campaign_days=1.0).score("case", {}).campaigns
    assert campaign.leaked == pytest.approx(25 / 40 / 6)  # four hours of a day


def test_the_wrongly_named_and_the_missed_are_counted() -> None:
    populations = dict.fromkeys(OTHERS, "people") | {"h0": "decoy", "h1": "decoy"}
    score = marker(told(*MEMBERS[:6], "h0", "h5", action="challenge")).score("case", populations)
    (campaign,) = score.campaigns
    assert (campaign.recall, campaign.purity) == (0.6, 0.75)
    assert (score.false_accounts, score.benign, score.false_by_population) == (2, 90, {"decoy": 1, "people": 1})
    assert (score.framed, score.framed_throttled, score.framed_challenged) == (2, 1, 1)
    assert score.agreement < 0.8


def test_a_cluster_of_bystanders_or_of_nobody_is_false_and_finds_no_campaign() -> None:
    for names in (("h1", "h2", "m1"), ()):
        score = marker(told(*names)).score("case", {})
        assert (score.false_clusters, score.campaigns[0].delay_h, score.campaigns[0].leaked) == (1, None, 1.0)


def test_the_second_pool_counts_from_its_own_first_request() -> None:
    named = told(*MEMBERS[:5])
    assert marker(named).score("case", {}).campaigns[0].second_pool_h is None
    for name in MEMBERS[5:]:
        named.clusters["c-1"][name] = int(3.5 * HOUR)
    (campaign,) = marker(named).score("case", {}).campaigns
    assert (campaign.second_pool_h, campaign.same_id) == (0.5, True)
    named.clusters["c-2"] = dict.fromkeys(MEMBERS[5:], 4 * HOUR)
    assert not marker(named).score("case", {}).campaigns[0].same_id


def test_agreement_of_labellings() -> None:
    left = np.array([0, 0, 0, 1, 1, 2])
    assert adjusted_rand(left, np.array([5, 5, 5, 3, 3, 4])) == pytest.approx(1.0)
    assert adjusted_rand(left, np.array([0, 0, 1, 1, 2, 2])) == pytest.approx(0.074, abs=1e-3)  # as scikit-learn gives
    assert adjusted_rand(np.array([], np.int64), np.array([], np.int64)) == 1.0


STRICT = Case(name="strict", scenario="small", delay_h_max=1.0, recall_min=0.9, false_per_100k_max=5.0)


def missed(case: Case, *runs: Named) -> set[str]:
    return {row.name for row in rows_of(case, [marker(run).score("strict", {}) for run in runs]) if row.missed}


def test_each_mark_is_judged() -> None:
    assert missed(STRICT, told(*MEMBERS)) == set()
    assert missed(STRICT, told(*MEMBERS, hour=2.1)) == {"first alert, h"}
    assert missed(STRICT, told(*MEMBERS, "h1")) == {"purity", "false accounts in 100,000, pooled"}
    assert missed(STRICT, told(*MEMBERS[:8])) == {"recall at the end"}
    assert "campaigns alerted" in missed(STRICT, told(*MEMBERS), Named())
    assert "campaigns alerted" not in missed(replace(STRICT, alerted_part=0.5), told(*MEMBERS), Named())
    assert "false clusters a week" in missed(STRICT, told(*OTHERS[:20]))
    framed = replace(STRICT, throttled_share_max=0.01)
    populations = {"h1": "decoy", "h2": "decoy"}
    rows = rows_of(framed, [marker(told(*MEMBERS, "h1")).score("strict", populations)])
    assert "framed honest accounts throttled" in {row.name for row in rows if row.missed}


def test_a_missed_mark_is_said_in_block_and_table() -> None:
    scores = [marker(told(*MEMBERS[:8])).score("strict", {})]
    assert "MISSED" in report(STRICT, scores)
    assert summary(STRICT, scores).endswith("MISSED: recall at the end")
    assert summary(STRICT, [marker(told(*MEMBERS)).score("strict", {})]).endswith("ok")


def test_every_case_is_of_a_scenario_and_has_its_own_name() -> None:
    cases = (*FIRST, *MARKS, *KNOBS)
    assert len({case.name for case in cases}) == len(cases)
    assert {case.scenario for case in cases} <= set(SCENARIOS)
    calm = next(case for case in MARKS if case.name == "calm")
    assert calm.of(SCENARIOS["calm"].scaled(calm.scale)).fleet_accounts >= 100_000


@pytest.mark.parametrize("part", [None, *PARTS])
def test_a_part_is_off_inside_and_back_after(part: str | None) -> None:
    before = (evidence.READINGS, clusters.split, clusters.OWN_PART)
    with switched_off(part):
        changed = (evidence.READINGS, clusters.split, clusters.OWN_PART) != before
    assert changed or part is None or not part.startswith(("evidence", "own", "communities"))
    assert (evidence.READINGS, clusters.split, clusters.OWN_PART) == before


def crowd(seed: int, together: int) -> tuple[np.ndarray, ...]:
    """300 accounts with 12 requests of 8 keys in a day, the first ``together`` of them by one plan."""
    rng = np.random.default_rng(seed)
    account = np.repeat(np.arange(300), 12)
    ts = rng.integers(24 * HOUR, size=len(account))
    keys = rng.integers(1, 1 << 60, (len(account), 8), dtype=np.uint64)
    mine = account < together
    ts[mine] = np.tile(12 * HOUR + np.arange(12) * HOUR // 2, together)
    keys[mine, :4] = (np.tile(np.arange(12), together)[:, None] * 4 + np.arange(1, 5)).astype(np.uint64)
    return account, ts, keys.ravel(), np.full(len(account), 8)


@pytest.mark.parametrize("detector", [synchrotrap, midas_f])
def test_published_detectors_put_a_plain_campaign_above_strangers(detector) -> None:
    score = detector(*crowd(1, 40), 300)
    assert np.median(score[:40]) > np.quantile(score[40:], 0.99)


def test_near_duplicates_are_clusters_of_prompts() -> None:
    bands = np.array([[1, 2], [2, 3], [3, 9], [7, 8], [0, 0], [0, 0]], np.uint64)
    account = np.array([0, 1, 2, 0, 3, 4])
    assert _near_duplicates(account, bands, 6).tolist() == [3, 3, 3, 1, 1, 0]


def test_thresholds_name_one_in_a_thousand_at_most() -> None:
    scores = np.array([5.0] * 3 + [1.0] * 1997)
    assert (scores >= _threshold(scores)).sum() == 0
    scores = np.append(np.arange(5.0), np.zeros(1995))
    assert (scores >= _threshold(scores)).sum() == 2


def test_the_window_test_sees_that_words_have_changed() -> None:
    rng = np.random.default_rng(3)
    test = WindowTest()
    for hour in range(12):
        words = [f"word{number}" for number in rng.integers(200 if hour < 10 else 20, size=3000 * 6)]
        texts = [" ".join(words[at : at + 6]) for at in range(0, len(words), 6)]
        events = events_at((hour * HOUR + np.arange(3000)).tolist())
        events.prompt = Strings.of(texts)
        test.add(np.full(3000, hour), events)
    distances, part = test.distances(np.arange(12) >= 10)
    assert distances[-4:].min() > 5 * distances[:-4].max()
    assert part.tolist() == [0.0] * (len(part) - 4) + [1.0] * 4


def test_what_reached_campaigns_is_judged_again_by_other_rules() -> None:
    case = Case(name="tiny", scenario="letter", scale=0.004, days=1.0)
    shipped, never = run_thresholds(case, 1, None, (OPEN_SCORE, 60.0))
    assert shipped.campaigns == run_trial(case, 1, Setting()).campaigns
    assert [campaign.delay_h is None for campaign in (*shipped.campaigns, *never.campaigns)] == [False, True]
