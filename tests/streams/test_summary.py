"""What a replay prints at its end."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.alert import Alert, Evidence
from streams.summary import RunSummary, summarise, visible

NINE = 1_780_304_400_000  # 2026-06-01 09:00 UTC
HOUR = 3_600_000


def alert(**changes: Any) -> Alert:
    values: dict[str, Any] = {
        "alert_id": "a1",
        "dedup_key": "k1",
        "status": "open",
        "severity": "high",
        "mode": "enforce",
        "rule": "campaign",
        "rule_version": "1",
        "cluster_id": "c-1",
        "ts": NINE + 2 * HOUR,
        "first_seen": NINE,
        "last_seen": NINE + 2 * HOUR,
        "score": 9.0,
        "accounts": 214,
        "requests": 1103,
        "window": "24h",
        "members_sample": ["acct_1"],
        "evidence": [Evidence("load_dispersion", 0.41, 6.2, "variance/mean", 3.1, "The load is even.")],
        "counter_evidence": [Evidence("ramp", 0.7, 0.1, "share", -0.6, "They ramped up slowly.")],
        "templates": [],
        "attributes": [],
        "atlas": [],
        "summary": "214 accounts share 2 templates.",
        "runbook_url": "",
    }
    return Alert(**(values | changes))


def run(**changes: Any) -> RunSummary:
    values: dict[str, Any] = {
        "read": 1000,
        "accepted": 950,
        "duplicate": 20,
        "late": 10,
        "rejected": {"missing_prompt": 5, "malformed_json": 15},
        "alerts": [],
        "signals": {},
        "accounts": 40,
        "first_ts": NINE,
        "last_ts": NINE + 48 * HOUR,
        "wall_s": 2.0,
    }
    return RunSummary(**(values | changes))


def flat(text: str) -> str:
    """The text without its line breaks, so that a test does not depend on where a line ends."""
    return re.sub(r"\s+", " ", text)


def test_a_campaign_is_told_with_when_who_how_much_and_why() -> None:
    grown = alert(alert_id="a2", status="update", severity="critical", ts=NINE + 20 * HOUR, accounts=497, requests=9418)
    text = flat(summarise(run(alerts=[alert(), grown], signals={"throttle": 466, "observe": 31, "block": 0})))
    assert text.startswith(
        "1 campaign found, in 950 requests by 40 accounts from 2026-06-01 09:00 to 2026-06-03 09:00 UTC."
    )
    assert "Campaign c-1: critical, open" in text
    assert "First seen 2026-06-01 09:00, alerted 2026-06-01 11:00 (2 h 0 min later)" in text
    assert "Before the alert: 1,103 requests by 214 accounts. By the end: 9,418 requests by 497 accounts." in text
    assert "For: - The load is even. (0.41 variance/mean, usual 6.2) Against: - They ramped up slowly." in text
    assert "Signals to the limiter, by account: observe 31, throttle 466." in text


def test_every_record_is_accounted_for_with_the_reasons_in_order() -> None:
    text = flat(summarise(run()))
    assert (
        "Read 1,000 = accepted 950 + rejected 20 (malformed_json 15, missing_prompt 5) + duplicate 20 + late 10."
        in text
    )
    assert "MISMATCH" not in text
    assert "Took 2.0 s, 500 records/s." in text


def test_an_account_that_does_not_add_up_is_said_loudly() -> None:
    broken = run(read=1007)
    assert broken.unaccounted == 7
    assert "MISMATCH: 7 of the records read" in flat(summarise(broken))


def test_what_the_allowlist_left_out_is_said() -> None:
    assert "allowlist" not in flat(summarise(run()))
    told = flat(summarise(run(allowed={"allow a": 1_200, "allow b": 34})))
    assert "2 entries of the allowlist left out 1,234 requests." in told
    assert "1 entry of the allowlist left out 1 request." in flat(summarise(run(allowed={"allow a": 1})))


def test_nothing_found_and_nothing_read() -> None:
    assert flat(summarise(run())).startswith("No campaign found, in 950 requests")
    empty = run(
        read=0, accepted=0, duplicate=0, late=0, rejected={}, accounts=0, first_ts=None, last_ts=None, wall_s=0.0
    )
    text = flat(summarise(empty))
    assert text.startswith("No campaign found: no request was accepted.")
    assert "Signals to the limiter: none." in text
    assert "Read 0 = accepted 0 + rejected 0 + duplicate 0 + late 0." in text


def test_campaigns_and_single_accounts_are_counted_apart_and_told_in_order() -> None:
    other = alert(dedup_key="k2", alert_id="b", cluster_id="c-2", ts=NINE + HOUR)
    single = alert(dedup_key="k3", alert_id="c", cluster_id=None, account_id="acct_9", ts=NINE + 3 * HOUR)
    over = alert(
        dedup_key="k3", alert_id="d", cluster_id=None, account_id="acct_9", ts=NINE + 9 * HOUR, status="resolved"
    )
    text = flat(summarise(run(alerts=[over, alert(), single, other])))
    assert text.startswith("2 campaigns found, and 1 account alerted on its own,")
    assert text.index("Campaign c-2") < text.index("Campaign c-1") < text.index("Account acct_9: high, resolved")


def test_a_continued_run_does_not_invent_what_was_gone_before_the_alert() -> None:
    text = flat(summarise(run(alerts=[alert(status="update")])))
    assert "alerted in an earlier run" in text
    assert "Before the alert" not in text


def test_shadow_is_said_and_missing_counter_evidence_too() -> None:
    text = flat(summarise(run(alerts=[alert(mode="shadow", counter_evidence=[])])))
    assert "rule in shadow mode" in text
    assert "Against: nothing found." in text


def test_the_heaviest_reasons_come_first_and_the_rest_is_counted() -> None:
    reasons = [Evidence(f"n{at}", 1.0, 2.0, "u", float(at), f"Reason {at}.") for at in range(7)]
    text = flat(summarise(run(alerts=[alert(evidence=reasons)])))
    assert text.index("Reason 6.") < text.index("Reason 5.") < text.index("Reason 3.")
    assert "Reason 2." not in text
    assert "- and 3 weaker" in text


def test_a_flood_of_alerts_is_cut_and_says_so() -> None:
    many = [alert(dedup_key=f"k{at}", alert_id=f"a{at}", ts=NINE + at) for at in range(60)]
    text = flat(summarise(run(alerts=many)))
    assert text.count("Campaign c-1:") == 50
    assert "10 more alerts not shown here" in text


@pytest.mark.parametrize("width", [10, 40, 80, 300])
def test_no_line_is_wider_than_asked(width: int) -> None:
    text = summarise(run(alerts=[alert(summary="word " * 80)]), width=width)
    assert max(len(line) for line in text.splitlines()) <= min(max(width, 40), 100)
    assert text.endswith("\n")


def test_colour_only_where_asked() -> None:
    assert "\x1b" not in summarise(run(alerts=[alert()]))
    assert "\x1b[31mCampaign c-1: high, open\x1b[0m" in summarise(run(alerts=[alert()]), colour=True)


@given(st.text())
def test_no_text_from_outside_can_steer_the_terminal(text: str) -> None:
    hostile = alert(
        cluster_id=text,
        summary=text + "\x1b]0;x\x07",
        evidence=[Evidence("n", 1.0, 1.0, text + "\r", 1.0, "\x9b31m" + text)],
    )
    out = summarise(run(alerts=[hostile], signals={"\x1b[2J" + text: 3}, rejected={text + "\u202e": 20}))
    obeyed = {mark for mark in out if unicodedata.category(mark) in {"Cc", "Cf", "Cs", "Zl", "Zp"}}
    assert obeyed == {"\n"}
    out.encode()


def test_visible_keeps_words_of_any_script() -> None:
    assert visible("蒸馏 naïve 🙂") == "蒸馏 naïve 🙂"
    assert visible("a\u200bb\n\x1b") == "a\\u200bb\\u000a\\u001b"
