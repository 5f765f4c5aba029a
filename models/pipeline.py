"""The three operators wired by calls: what the embedded host runs, and what the Kafka host must agree with.

What lives here: the visible order of the steps. What does not: any of the steps.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from models.account_rules import AccountRules
from models.alert import Mode
from models.announce import Announcer, Decisions
from models.campaigns import Campaigns
from models.event import EventBatch
from models.fanin import FanIn
from models.hashing import KeyedHash
from models.observe import Observe, Observed
from models.reasons import TIME_FUTURE
from models.rules import Rules
from models.sighting import SightingBatch
from models.sketch import Sketcher, Sketches
from models.sketching import Sketched, sketch_events
from models.wire import pack, unpack


@dataclass(slots=True)
class Counts:
    """What became of the events given to the pipeline."""

    accepted: int = 0
    duplicate: int = 0
    late: int = 0
    rejected: dict[str, int] = field(default_factory=dict)

    def add(self, observed: Observed) -> None:
        """Count one batch."""
        self.accepted += observed.accepted
        self.duplicate += observed.duplicate
        self.late += observed.late
        if observed.future:
            self.rejected[TIME_FUTURE] = self.rejected.get(TIME_FUTURE, 0) + len(observed.future)


@dataclass(slots=True)
class Folded:
    """What Observe and Fan-in made of one batch, which is all that Campaigns needs of it; without its sightings."""

    observed: Observed
    hubs: SightingBatch
    watermark_ms: int


class Pipeline:
    """Events in, decisions out, in one process."""

    def __init__(
        self, secret: bytes, *, tenant: str = "default", mode: Mode = "enforce", rules: Rules | None = None
    ) -> None:
        keyed = KeyedHash(secret)
        self.sketcher = Sketcher(secret)
        self.observe = Observe(AccountRules(keyed, tenant=tenant, mode=mode, rules=rules))
        self.fanin = FanIn()
        self.campaigns = Campaigns(Announcer(keyed, tenant=tenant, mode=mode), rules)
        self.counts = Counts()

    def prepare(self, events: EventBatch) -> Sketched:
        """The stateless part, with what edges sent checked and taken over: may run ahead in another thread."""
        return sketch_events(self.sketcher, events)

    def sketch(self, events: EventBatch) -> Sketches:
        """The stateless part for events that all carry their text."""
        return self.sketcher.sketch(events.prompt, signatures=False)

    def order(self, key: str, value: bytes) -> Decisions:
        """Take a record of the labels topic."""
        cleared = self.observe.order(key, value)
        decisions = self.campaigns.order(key, value)
        decisions.early += [(account_id, None) for account_id in cleared]
        return self._told(decisions)

    @property
    def hits(self) -> Counter[str]:
        """Requests that the allowlist left out, by the key of the entry."""
        own = self.observe.rules.orders.hits if self.observe.rules is not None else Counter[str]()
        return self.campaigns.announcer.orders.hits + own

    def process(self, events: EventBatch, sketches: Sketches) -> Decisions:
        """Fold one batch through all three operators."""
        return self._told(self.decide(self.fold(events, sketches)))

    def fold(self, events: EventBatch, sketches: Sketches) -> Folded:
        """The part of ``process`` before Campaigns: may run ahead of ``decide`` in another thread.

        What Campaigns knows is then not told to Observe, which gives no early signals.
        """
        return self._folded(self.observe.process(events, sketches))

    def decide(self, folded: Folded) -> Decisions:
        """The part of ``process`` in Campaigns: batches in the order in which they were folded."""
        observed = folded.observed
        self.campaigns.learn(observed.profiles, observed.profile_ids)
        self.campaigns.process(folded.hubs)
        decisions = observed.decisions
        decisions.extend(self.campaigns.advance(folded.watermark_ms))
        return decisions

    def finish(self) -> Decisions:
        """Nothing follows for now: let everything held come to a verdict. More may still follow later."""
        decisions = self.decide(self._folded(self.observe.finish()))
        end_ms = self.observe.admission.newest_ms // 10_000 * 10_000 + 10_000
        self.campaigns.process(self.fanin.advance(end_ms))
        decisions.extend(self.campaigns.advance(end_ms))
        decisions.extend(self.campaigns.finish())
        return self._told(decisions)

    def _told(self, decisions: Decisions) -> Decisions:
        """``decisions``, once Observe has been told of the campaigns known now."""
        known, held = self.campaigns.known, self.observe.joiners.known
        if known != held:
            for name in sorted(known.keys() | held.keys()):
                if known.get(name) != held.get(name):
                    cleared = self.observe.know(name, known.get(name, b""))
                    decisions.early += [(account_id, None) for account_id in cleared]
        return decisions

    def _folded(self, observed: Observed) -> Folded:
        self.counts.add(observed)
        self.fanin.process(observed.sightings)
        observed.sightings = SightingBatch.empty()  # most of what it holds, and many may wait for Campaigns
        watermark = self.observe.watermark_ms
        return Folded(observed, self.fanin.advance(watermark), watermark)

    def snapshot(self) -> bytes:
        """The state of all operators in one message."""
        parts = {"observe": self.observe.snapshot(), "fanin": self.fanin.snapshot()}
        parts["campaigns"] = self.campaigns.snapshot()
        return pack("pipeline", 2, dict(parts), {})

    def restore(self, data: bytes) -> None:
        """Take over a snapshot; raises WireError where it cannot be read."""
        parts, _ = unpack(data, "pipeline", 2)
        self.observe.restore(parts["observe"])
        self.fanin.restore(parts["fanin"])
        self.campaigns.restore(parts["campaigns"])
