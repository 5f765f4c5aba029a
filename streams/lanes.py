"""Several sets of rules over the same events: decoded, sketched and counted once, judged once for each.

What lives here: the wiring for ``backtest`` and ``calibrate``. What does not: the operators. Observe runs once per set,
as limits of accounts are in its state; Fan-in knows no rules and runs once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from models.announce import Decisions
from models.decode import Decoder
from models.event import EventBatch
from models.hashing import KeyedHash
from models.observe import Observed
from models.pipeline import Pipeline
from models.rules import Rules
from models.sketch import Sketches
from streams.embedded import ahead, prepare
from streams.progress import Progress
from streams.replay import batches_of, open_files


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """The files to read and how."""

    files: Sequence[str]
    secret: bytes
    format: str = "auto"
    tenant: str = "default"
    quiet: bool = True


@dataclass(slots=True)
class Lane:
    """One set of rules and what it decided."""

    rules: Rules
    pipeline: Pipeline
    decisions: Decisions = field(default_factory=Decisions)


class Lanes:
    """Feeds every batch to all lanes; the first one's Fan-in serves all."""

    def __init__(self, traffic: Traffic, rules: Sequence[Rules]) -> None:
        self.lanes = [Lane(each, Pipeline(traffic.secret, tenant=traffic.tenant, rules=each)) for each in rules]
        self.read = 0
        self.first_ts = 1 << 62
        self.last_ts = 0
        self._traffic = traffic

    def run(self) -> None:
        """Read all files to their end."""
        traffic, first = self._traffic, self.lanes[0].pipeline
        files = open_files(list(traffic.files))
        sizes = [file.size for file in files]
        progress = Progress(None if None in sizes else sum(size or 0 for size in sizes))
        decoder = Decoder(KeyedHash(traffic.secret), traffic.format)
        try:
            for prepared in ahead(prepare(batches_of(files), decoder, first)):
                counted = prepared.counted
                self.read += counted.read
                if counted.first_ts is not None and counted.last_ts is not None:
                    self.first_ts = min(self.first_ts, counted.first_ts)
                    self.last_ts = max(self.last_ts, counted.last_ts)
                self.feed(prepared.events, prepared.sketches)
                if not traffic.quiet:
                    progress.update(self.read, counted.bytes_read, self.last_ts or None)
        finally:
            progress.finish()
        self.finish()

    def feed(self, events: EventBatch, sketches: Sketches) -> None:
        """Fold one batch in every lane."""
        observed = [lane.pipeline.observe.process(events, sketches) for lane in self.lanes]
        self._onward(observed, self.lanes[0].pipeline.observe.watermark_ms)

    def finish(self) -> None:
        """Nothing follows: everything held comes to a verdict, as at the end of a replay."""
        observed = [lane.pipeline.observe.finish() for lane in self.lanes]
        self._onward(observed, self.lanes[0].pipeline.observe.watermark_ms)
        end_ms = self.lanes[0].pipeline.observe.admission.newest_ms // 10_000 * 10_000 + 10_000
        self._judge(end_ms)
        for lane in self.lanes:
            lane.decisions.extend(lane.pipeline.campaigns.finish())

    def _onward(self, observed: Sequence[Observed], watermark_ms: int) -> None:
        self.lanes[0].pipeline.fanin.process(observed[0].sightings)
        for lane, seen in zip(self.lanes, observed, strict=True):
            lane.pipeline.campaigns.learn(seen.profiles, seen.profile_ids)
            lane.decisions.extend(seen.decisions)
        self._judge(watermark_ms)

    def _judge(self, watermark_ms: int) -> None:
        hubs = self.lanes[0].pipeline.fanin.advance(watermark_ms)
        for lane in self.lanes:
            lane.pipeline.campaigns.process(hubs)
            lane.decisions.extend(lane.pipeline.campaigns.advance(watermark_ms))
