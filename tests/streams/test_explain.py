"""Explanations: the stored evidence adds up to what was stated, and taking the named readings away closes it."""

from __future__ import annotations

import functools
import json

import msgspec
import pytest

from models.alert import Alert, Evidence, Gate
from models.announce import Decisions
from models.explain import Naming, explain_alert
from models.hashing import KeyedHash
from models.output import encode_alert, signal_line
from models.pipeline import Pipeline
from streams.cli import main
from streams.desk import RefusedError
from streams.explain import Answer, distance, from_state, page
from tests.models.desk_records import campaign, of_account
from tests.models.inputs import SECRET, eager_pipeline, fleet


@functools.cache
def run() -> tuple[bytes, Decisions]:
    """The small fleet's state before its end, and all that was decided."""
    pipeline = eager_pipeline()
    decisions = pipeline.process(*fleet())
    kept = pipeline.snapshot()
    decisions.extend(pipeline.finish())
    return kept, decisions


def restored() -> Pipeline:
    pipeline = eager_pipeline()
    pipeline.restore(run()[0])
    return pipeline


def reading(name: str, weight: float) -> Evidence:
    return Evidence(name, 0.9, 0.3, "share", weight, f"{name}.")


def alert(*weights: float, needed: float = 7.5, against: float = 0.0) -> Alert:
    return campaign(
        score=sum(weights) - against,
        evidence=[reading(f"r{number}", weight) for number, weight in enumerate(weights)],
        counter_evidence=[reading("against", -against)] if against else [],
        gates=[Gate("score", sum(weights) - against, needed), Gate("customers", 40, 12)],
    )


def test_every_stated_alert_of_a_run_is_derived_again():
    stated = run()[1].alerts
    assert stated
    for one in stated:
        found = explain_alert(one)
        assert found.score_derived == pytest.approx(one.score, abs=0.001)
        assert {gate.name for gate in one.gates} >= {"score", "customers", "core_part"}
        if one.status != "resolved":
            assert found.agrees


def test_the_readings_that_decide_are_those_without_which_it_stays_closed():
    found = explain_alert(alert(3.0, 3.0, 2.0))
    assert found.closed_without_any_of == ["r0", "r1", "r2"]
    halved = {part.name: part.closed_halved for part in found.parts}
    assert halved == {"r0": True, "r1": True, "r2": True}
    found = explain_alert(alert(5.0, 4.0, 3.0, 1.0))
    assert (found.closed_without_any_of, found.fewest) == ([], ["r0", "r1"])
    assert 13.0 - 5.0 - 4.0 < 7.5 <= 13.0 - 5.0


def test_counter_evidence_is_a_part_and_removing_it_closes_nothing():
    found = explain_alert(alert(9.0, against=1.0))
    against = next(part for part in found.parts if part.name == "against")
    assert (against.score_without, against.closed_without) == (9.0, False)
    assert against.ratio == pytest.approx(3.0)


def test_evidence_that_does_not_add_up_is_said_not_to():
    honest = alert(9.0)
    assert explain_alert(honest).agrees
    assert not explain_alert(msgspec.structs.replace(honest, score=12.0)).agrees
    assert not explain_alert(
        msgspec.structs.replace(honest, gates=[*honest.gates[:1], Gate("customers", 3, 12)])
    ).agrees
    assert explain_alert(alert(3.0, 2.0)).gates_unmet == ["score"]


def test_an_open_campaign_goes_on_below_the_score_that_opens_one():
    going = alert(5.0)
    going = msgspec.structs.replace(going, status="update", gates=[*going.gates, Gate("score_to_go_on", 5.0, 4.0)])
    assert explain_alert(going).agrees


def test_an_account_rule_is_its_one_reading_against_its_limit():
    evidence = [Evidence("requests_24h", 60_000, 50_000, "requests", 1.0, "many")]
    found = explain_alert(of_account("ann", evidence=evidence, score=1.0))
    assert found.agrees
    assert found.closed_without_any_of == ["requests_24h"]
    assert not explain_alert(of_account("ann", evidence=[msgspec.structs.replace(evidence[0], value=4.0)])).agrees


def test_a_kept_state_says_of_an_account_what_naming_takes():
    named = next(account for account, signal in run()[1].signals if signal is not None)
    answer = from_state(restored(), KeyedHash(SECRET), named)
    first = answer.naming[0]
    assert first.named
    assert first.requests >= first.requests_needed
    assert first.share >= first.share_needed
    assert first.templates
    assert f"fewer than {first.requests_needed:g} requests" in answer.release[0]
    assert any("is named" in line for line in page(answer))


def test_a_kept_state_knows_clusters_by_id_and_alert_and_nobody_else():
    last = run()[1].alerts[-1]
    for name in (last.cluster_id, last.alert_id):
        assert name is not None
        verdict = from_state(restored(), KeyedHash(SECRET), name).verdict
        assert verdict is not None
        assert verdict.subject == last.cluster_id
    with pytest.raises(RefusedError, match="nothing is known"):
        from_state(restored(), KeyedHash(SECRET), "nobody")


def test_the_command_on_feeds(tmp_path, capsys):
    decisions = run()[1]
    (tmp_path / "a").write_bytes(b"".join(encode_alert(one) + b"\n" for one in decisions.alerts))
    (tmp_path / "s").write_bytes(b"".join(signal_line(*item) + b"\n" for item in decisions.signals))
    feeds = ["--alerts", str(tmp_path / "a"), "--signals", str(tmp_path / "s")]
    cluster, account = decisions.alerts[-1].cluster_id, decisions.signals[-1][0]
    assert main(["explain", str(cluster), *feeds]) == 0
    assert "as stated" in capsys.readouterr().out
    assert main(["explain", account, *feeds, "-o", "json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["kind"], answer["signal"]["account_id"]) == ("account", account)
    assert answer["verdict"]["agrees"]
    assert len(answer["release"]) == 5
    assert main(["explain", "nobody", *feeds]) == 1
    assert main(["explain", "x", "--state", str(tmp_path)]) == 1
    assert "holds no state" in capsys.readouterr().err


def test_an_account_of_a_relay_is_not_told_of_templates_that_there_are_none_of():
    naming = Naming(
        cluster_id="c-1", reason="campaign", named=True, beyond_doubt=True, in_core=True, requests=16,
        requests_needed=7.0, share=1.0, share_needed=0.3, templates=[],
    )  # fmt: skip
    answer = Answer(name="ann", kind="account", naming=[naming], release=[distance(naming)])
    text = "\n".join(page(answer))
    assert "is named with c-1" in text
    assert "16 requests" in text
    assert "client build" in text
    assert "template" not in text
