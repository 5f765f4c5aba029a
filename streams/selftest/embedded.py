"""The self-test in one process: decoding, the three operators, an alert and its signals; no brokers.

What lives here: the run. What does not: the canary's traffic.
"""

from __future__ import annotations

from models.alert import Alert, Signal
from models.canary import CanaryMark
from models.decode import Decoder, Origin
from models.hashing import KeyedHash
from models.pipeline import Pipeline
from streams.selftest.canary import ACCOUNTS, Canary
from streams.selftest.hops import Way, strangers

START_MS = 1_772_409_600_000
SPAN_MS = 3_600_000
STEP_MS = 10_000


def run(way: Way, secret: bytes) -> None:
    """An hour of the canary through a detector of its own."""
    keyed = KeyedHash(secret)
    mark = CanaryMark(keyed)
    canary, decoder, pipeline = Canary("embedded", mark), Decoder(keyed), Pipeline(secret)
    alerts: list[Alert] = []
    signals: dict[str, Signal] = {}
    for now_ms in range(START_MS, START_MS + SPAN_MS, STEP_MS):
        records = [record for _, _, record in canary.requests(now_ms, now_ms + STEP_MS)]
        prepared = pipeline.prepare(decoder.decode(records, Origin("selftest", 0, 0)).batch)
        decided = pipeline.process(prepared.events, prepared.sketches)
        alerts += decided.alerts
        signals |= {account_id: signal for account_id, signal in decided.signals if signal is not None}
    _tell(way, canary, pipeline.counts.accepted)
    _judge(way, mark, alerts, signals)


def _tell(way: Way, canary: Canary, accepted: int) -> None:
    text = f"{accepted} of {canary.sent} requests of {ACCOUNTS} accounts accepted"
    way.note("decoded", text, "ok" if accepted == canary.sent else "failed")


def _judge(way: Way, mark: CanaryMark, alerts: list[Alert], signals: dict[str, Signal]) -> None:
    if not alerts:
        way.note("alert", "the campaign was not found in an hour of event time", "failed")
        return
    first = alerts[0]
    way.note("alert", f"{first.cluster_id}, {(first.ts - START_MS) / 60_000:.0f} minutes of event time after its start")
    named = [account_id for account_id in signals if mark.knows(account_id)]
    way.note("signals", f"{len(named)} of {ACCOUNTS} accounts named", "ok" if named else "failed")
    others = [*strangers(first, mark), *(account_id for account_id in signals if not mark.knows(account_id))]
    way.note("apart", f"{len(others)} accounts that are not the canary's named", "failed" if others else "ok")
