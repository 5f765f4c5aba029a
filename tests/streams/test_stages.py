"""The stages, chained through topics in memory, decide what the pipeline decides: any partitions, batches, kills."""

from __future__ import annotations

import base64
import functools
import json

import msgspec
import pytest

from models.decode import Decoder, Origin
from models.event import Reject
from models.hashing import KeyedHash
from models.output import encode_alert
from models.pipeline import Pipeline
from models.rules import AccountRule, CampaignRule, Rules
from models.sketch import Sketcher
from models.sketch_wire import pack_sketch
from models.strings import Strings
from streams.config import load
from streams.stage import Observed, Output, Record
from streams.stages import FUTURE_MS, CampaignsStage, FanInStage, ObserveStage, factory
from streams.topics import Topics
from tests.letter import CANARY, SECRET, letter
from tests.streams.memory_log import MemoryLog, drive

TOPICS = Topics()


def specs_of(fanins: int = 1):  # type: ignore[no-untyped-def]
    return factory(load({"DISTILWATCH_SECRET": SECRET, "DISTILWATCH_PARTITIONS": str(fanins)}), TOPICS)


def log_of(observers: int, fanins: int) -> MemoryLog:
    """A log with the letter in the requests topic, by account."""
    log = MemoryLog({TOPICS.requests: observers, TOPICS.sightings: fanins, TOPICS.hubs: 1, TOPICS.signals: fanins})
    found = letter()
    for account, line in zip(found.accounts, found.lines, strict=True):
        log.append(Output(TOPICS.requests, None, account.encode(), line))
    return log


@functools.cache
def expected() -> tuple[list[bytes], frozenset[tuple[str, str]]]:
    """Alerts as JSON, and (account, signal) pairs, of the embedded pipeline over the same events."""
    pipeline = Pipeline(SECRET.encode())
    decoder = Decoder(KeyedHash(SECRET.encode()))
    alerts, signals = [], []
    lines = letter().lines
    for first in range(0, len(lines), 2_000):
        sketched = pipeline.prepare(decoder.decode(lines[first : first + 2_000], Origin("t", 0, first)).batch)
        decisions = pipeline.process(sketched.events, sketched.sketches)
        alerts += decisions.alerts
        signals += decisions.signals
    decisions = pipeline.finish()
    said = frozenset((account, repr(signal)) for account, signal in signals + decisions.signals)
    return sorted(encode_alert(alert) for alert in alerts + decisions.alerts), said


def test_the_letter_is_found_at_all() -> None:
    alerts, signals = expected()
    assert [json.loads(alert)["status"] for alert in alerts].count("open") == 1
    assert len({account for account, _ in signals} & letter().members) >= 95


@pytest.mark.parametrize(
    ("observers", "fanins", "seed", "kills"),
    [(1, 1, 1, 0.0), (3, 1, 2, 0.05), (4, 4, 3, 0.0), (4, 4, 4, 0.1), (1, 4, 5, 0.1), (3, 1, 6, 0.0)],
)
def test_hosts_decide_alike(observers: int, fanins: int, seed: int, kills: float) -> None:
    log = log_of(observers, fanins)
    drive(specs_of(fanins), log, seed=seed, kills=kills)
    alerts, signals = expected()
    assert sorted(record.value or b"" for record in log.topic(TOPICS.alerts)) == alerts
    decoder = msgspec.json.Decoder(_signal_type())
    said = [
        (r.key.decode(), repr(decoder.decode(r.value) if r.value else None)) for r in log.topic(TOPICS.signals) if r.key
    ]
    assert frozenset(said) == signals
    assert len(said) == len(signals), "a signal was written twice"
    assert all(
        record.key == json.loads(record.value or b"")["dedup_key"].encode() for record in log.topic(TOPICS.alerts)
    )
    assert not any(
        CANARY.encode() in (r.value or b"") for t in log.partitions if t != TOPICS.requests for r in log.topic(t)
    )


def _signal_type():  # type: ignore[no-untyped-def]
    from models.alert import Signal

    return Signal


def observe_stage() -> ObserveStage:
    stage = specs_of()[0].make(0, 1)
    assert isinstance(stage, ObserveStage)
    return stage


def rejects_of(outputs: list[Output]) -> list[Reject]:
    assert {output.topic for output in outputs} <= {TOPICS.rejects}
    return [msgspec.json.decode(output.value or b"", type=Reject) for output in outputs]


def test_bad_records_become_rejects_in_their_place() -> None:
    good = letter().lines[:30]
    records = [*good[:10], b"{broken", *good[10:20], b"", *good[20:]]
    stage = observe_stage()
    outputs = stage.process([Record(value, 100 + at, -1) for at, value in enumerate(records)])
    found = [(reject.reason, reject.offset, reject.size) for reject in rejects_of(outputs)]
    assert found == [("malformed_json", 110, 7), ("empty_record", 121, 0)]
    stage.idle()
    assert sum(stage.counts().values()) == 32


def test_a_stamp_ahead_of_the_broker_is_refused_and_one_without_a_broker_stamp_is_not() -> None:
    lines = letter().lines[:40]
    times = [json.loads(line)["ts"] for line in lines]
    stage = observe_stage()
    records = [Record(line, at, ts) for at, (line, ts) in enumerate(zip(lines, times, strict=True))]
    records[7] = Record(lines[7], 7, times[7] - FUTURE_MS - 1)
    records[8] = Record(lines[8], 8, times[8] - FUTURE_MS)
    records[9] = Record(lines[9], 9, -1)
    assert [(reject.reason, reject.offset) for reject in rejects_of(stage.process(records))] == [("time_future", 7)]
    stage.idle()
    assert stage.counts()["accepted", ""] == 39


def test_a_sketch_of_an_edge_counts_like_its_text_and_a_bad_one_is_refused() -> None:
    texts = [json.loads(line) for line in letter().lines[:40]]
    sketcher = Sketcher(SECRET.encode())
    sent = []
    for event in texts:
        sketches = sketcher.sketch(Strings.of([event["prompt"]]))
        packed = pack_sketch(sketches, 0, fingerprint=sketcher.fingerprint)
        sent.append({**event, "sketch": base64.b64encode(packed).decode()})
        del sent[-1]["prompt"]
    foreign = Sketcher(b"another secret of somebody").sketch(Strings.of(["x"]))
    sent[5]["sketch"] = base64.b64encode(pack_sketch(foreign, 0, fingerprint=99)).decode()
    stage, other = observe_stage(), observe_stage()
    rejects = rejects_of(stage.process([Record(json.dumps(event).encode(), at, -1) for at, event in enumerate(sent)]))
    assert [(reject.reason, reject.offset) for reject in rejects] == [("bad_sketch", 5)]
    other.process([Record(line, at, -1) for at, line in enumerate(letter().lines[:40]) if at != 5])
    stage.idle(), other.idle()
    values = [[output.value for output in each.advance()] for each in (stage, other)]
    assert values[0] == values[1]


def test_rules_are_taken_by_tenant_kept_in_snapshots_and_refused_where_wrong() -> None:
    rules = Rules(name="other", campaign=CampaignRule(open_score=9.0), account_volume=AccountRule(limit=7))
    observe, campaigns = specs_of()[0].make(0, 1), specs_of()[2].make(0, 1)
    assert isinstance(observe, ObserveStage)
    assert isinstance(campaigns, CampaignsStage)
    for stage in (observe, campaigns):
        stage.control(TOPICS.rules, b"default", rules.encode())
        stage.control(TOPICS.rules, b"another tenant", Rules(mode="off").encode())
        with pytest.raises(ValueError, match="open_score"):
            stage.control(TOPICS.rules, b"default", b'{"campaign":{"open_score":99}}')
    fresh, again = specs_of()[0].make(0, 1), specs_of()[2].make(0, 1)
    fresh.restore(observe.snapshot())
    again.restore(campaigns.snapshot())
    assert isinstance(fresh, ObserveStage)
    assert isinstance(again, CampaignsStage)
    assert fresh.observe.rules is not None
    assert fresh.observe.rules.rules == again.campaigns.rules == campaigns.campaigns.rules == rules
    assert fresh.observe.rules.limits[0, 0] == 7
    campaigns.control(TOPICS.rules, b"default", b"")
    assert campaigns.campaigns.rules == Rules()


def test_nothing_is_said_where_nothing_is_new() -> None:
    stage = observe_stage()
    assert stage.advance() == []
    stage.process([Record(line, at, -1) for at, line in enumerate(letter().lines[:100])])
    assert stage.advance()
    assert stage.advance() == []
    stage.idle()
    assert stage.advance()
    assert stage.advance() == []


def test_large_batches_are_cut_to_messages() -> None:
    stage = observe_stage()
    stage.process([Record(line, at, -1) for at, line in enumerate(letter().lines[:9_000])])
    sizes = [len(output.value or b"") for output in stage.advance()]
    assert len(sizes) > 2
    assert max(sizes) <= 512 * 1024


def test_a_repeated_envelope_counts_once() -> None:
    observe, fanin = observe_stage(), specs_of()[1].make(0, 1)
    assert isinstance(fanin, FanInStage)
    observe.process([Record(line, at, -1) for at, line in enumerate(letter().lines[:500])])
    values = [output.value or b"" for output in observe.advance() if output.topic == TOPICS.sightings]
    fanin.process([Record(value, at, -1) for at, value in enumerate(values * 2)])
    assert fanin.counts()["sightings", ""] == len(fanin.fanin.pending)
    assert fanin.counts()["repeated", ""] == len(values)


def test_all_stages_offer_metrics() -> None:
    for spec in specs_of():
        stage = spec.make(0, 1)
        assert isinstance(stage, Observed)
        assert stage.watermark_ms == 0
        assert all(isinstance(name, str) for key in stage.counts() for name in key)
    assert isinstance(stage, CampaignsStage)


def test_a_known_campaign_goes_from_stage_to_stage_and_is_taken_back() -> None:
    log = log_of(1, 1)
    specs = specs_of()
    drive(specs, log, seed=1, kills=0.0)
    published = log.topic(TOPICS.campaigns)
    assert published
    assert {record.key for record in published} == {published[-1].key}
    assert published[-1].value
    name = (published[-1].key or b"").decode()
    assert name.startswith("default:c-")

    campaigns, again = (specs[2].make(0, 1) for _ in range(2))
    campaigns.process(log.read(TOPICS.hubs, 0, 0, 1 << 30))
    assert [output for output in campaigns.advance() if output.topic == TOPICS.campaigns] == published[-1:]
    again.restore(campaigns.snapshot())
    assert again.advance() == [], "a restart publishes nothing again"

    stage = observe_stage()
    lines = letter().lines
    cut = len(lines) * 2 // 3
    feed = [Record(line, at, -1) for at, line in enumerate(lines)]
    assert stage.control(TOPICS.campaigns, b"another:" + name.encode()[8:], published[-1].value) == []
    assert not [output for output in stage.process(feed[:cut]) if output.topic == TOPICS.early]
    assert stage.control(TOPICS.campaigns, name.encode(), published[-1].value) == []
    restored = observe_stage()
    restored.restore(stage.snapshot())
    early = [output for output in stage.process(feed[cut:]) if output.topic == TOPICS.early]
    assert early == [output for output in restored.process(feed[cut:]) if output.topic == TOPICS.early]
    named = {(output.key or b"").decode() for output in early}
    assert named
    assert named <= letter().members
    assert specs[0].hurried_topic == TOPICS.early
    (*cleared,) = stage.control(TOPICS.campaigns, name.encode(), b"")
    assert {output.value for output in cleared} == {None}
    assert {(output.key or b"").decode() for output in cleared} <= named
