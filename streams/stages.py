"""The three operators as stages of the Kafka host, and the list of them.

What lives here: what each stage reads and writes, and how far it tells the next one that it has come. What does not:
the operators (``models``) and what runs the stages (``engine``). Everything a stage says follows from its records and
from where ``advance`` and ``idle`` fell; numbers of envelopes follow from offsets, so they rise whatever happened.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import msgspec
import numpy as np
import numpy.typing as npt

from models import reasons
from models.account_rules import AccountRules
from models.admission import SLICE_MS, UNSET
from models.announce import Announcer, Decisions
from models.campaigns import Campaigns
from models.decode import Decoder, Origin
from models.envelope import Envelope, profile_arrays, read_profiles, read_rows, rows_arrays
from models.errors import ConfigError
from models.event import Reject
from models.fanin import FanIn
from models.hashing import KeyedHash
from models.observe import Observe
from models.observe import Observed as Seen
from models.rules import Rules
from models.sighting import PROFILE, SightingBatch
from models.sketch import Sketcher
from models.sketching import sketch_events
from models.strings import Strings
from models.wire import pack, unpack
from streams.config import Settings
from streams.decided import decided, known_key
from streams.inbox import Counts, Inbox, Said, counted, left_out, plain, sent
from streams.kept import Kept
from streams.stage import Output, Record, StageSpec
from streams.topics import Topics

FUTURE_MS = 600_000
"""How far a request's own stamp may be ahead of the broker's: more is a broken clock, not a slow network."""
VERSION = 2


@dataclass(frozen=True, slots=True)
class Place:
    """One partition of an operator among all of both."""

    partition: int
    observers: int
    fanins: int
    topics: Topics
    tenant: str = "default"  # whose rules hold


class ObserveStage(Kept):
    """Requests of one partition in; sightings by key, profiles and rejects out."""

    def __init__(self, place: Place, keyed: KeyedHash, sketcher: Sketcher, rules: AccountRules) -> None:
        self.observe = Observe(rules)
        super().__init__(self.observe)
        self._rules = rules
        self.orders = rules.orders
        self._place = place
        self._sketcher = sketcher
        self._decoder = Decoder(keyed)
        self._next_offset = 0
        self._idle = False
        self._said = Said()
        self._counts: Counts = Counter()
        self._seen: list[Seen] = []  # since the last `advance`

    @property
    def watermark_ms(self) -> int:
        """What the sightings are complete up to, 0 while nothing is known."""
        return max(0, self._watermark_ms)

    @property
    def _watermark_ms(self) -> int:
        newest = self.observe.admission.newest_ms
        if not self._idle or newest == UNSET:
            return self.observe.watermark_ms
        return newest // SLICE_MS * SLICE_MS + SLICE_MS  # nothing is on its way: the newest slice is complete too

    def process(self, records: Sequence[Record]) -> list[Output]:
        """Fold requests; gives the rejects among them."""
        if not records:
            return []
        origin = Origin(self._place.topics.requests, self._place.partition, 0, [record.offset for record in records])
        decoded = self._decoder.decode([record.value for record in records], origin)
        self._idle = False
        self._next_offset = records[-1].offset + 1
        stamps = np.array([record.timestamp_ms for record in records], np.int64)[decoded.rows]
        ahead = (stamps >= 0) & (decoded.batch.ts > stamps + FUTURE_MS)
        here = np.flatnonzero(~ahead)
        sketched = sketch_events(self._sketcher, decoded.batch.take(here) if ahead.any() else decoded.batch)
        rejects = list(decoded.rejects)
        refused = {reasons.TIME_FUTURE: decoded.rows[ahead], reasons.BAD_SKETCH: decoded.rows[here[sketched.bad]]}
        for reason, rows in refused.items():
            rejects += [self._reject(reason, records[row]) for row in rows.tolist()]
        return self._note(self.observe.process(sketched.events, sketched.sketches), rejects)

    def _reject(self, reason: str, record: Record) -> Reject:
        digest = int(self._decoder.columns.hashes("reject", Strings.of_bytes([record.value]))[0])
        topics, partition = self._place.topics, self._place.partition
        return Reject(reason, topics.requests, partition, record.offset, f"{digest:016x}", len(record.value))

    def _note(self, seen: Seen, rejects: list[Reject]) -> list[Output]:
        self._seen.append(seen)
        topics, partition = self._place.topics, self._place.partition
        # Rows that waited for their stamp to be confirmed are known by their event alone.
        rejects += [
            Reject(reasons.TIME_FUTURE, topics.requests, partition, -1, f"{event:016x}", 0) for event in seen.future
        ]
        self._counts["accepted", ""] += seen.accepted
        self._counts["duplicate", ""] += seen.duplicate
        self._counts["late", ""] += seen.late
        self._counts.update(("rejected", reject.reason) for reject in rejects)
        refused = [Output(topics.rejects, None, None, msgspec.json.encode(reject)) for reject in rejects]
        return refused + decided(topics, seen.decisions)

    def advance(self) -> list[Output]:
        """What was seen since the last call, and how far that is complete; nothing where nothing is new."""
        rows, profiles, ids = self._gathered()
        said = Said(self._watermark_ms, self._idle)
        if said == self._said and not len(rows) and not len(profiles):
            return []
        self._said, self._seen = said, []
        place = self._place
        head = Envelope(
            source=f"observe-{place.partition}",
            sequence=2 * self._next_offset + self._idle,
            watermark_ms=said.watermark_ms,
            idle=said.idle,
            observers=place.observers,
            fanins=place.fanins,
        )
        outputs = []
        for fanin, share in enumerate(rows.partition(place.fanins)):
            outputs += sent(place.topics.sightings, fanin, replace(head, rows=share))
        return outputs + sent(place.topics.hubs, 0, replace(head, profiles=profiles, ids=ids))

    def _gathered(self) -> tuple[SightingBatch, npt.NDArray[np.void], Strings]:
        """Everything seen since the last ``advance``."""
        if not self._seen:
            return SightingBatch.empty(), np.zeros(0, PROFILE), Strings.of([])
        return (
            SightingBatch.concat([seen.sightings for seen in self._seen]),
            np.concatenate([seen.profiles for seen in self._seen]),
            Strings.concat([seen.profile_ids for seen in self._seen]),
        )

    def control(self, topic: str, key: bytes, value: bytes) -> list[Output]:
        """Take a label, as what people say of accounts holds for their own rules too, other rules, or a campaign."""
        place, name = self._place, key.decode("utf-8", "replace")
        cleared: list[str] = []
        if topic == place.topics.labels:
            cleared = self.observe.order(name, value)
        elif topic == place.topics.campaigns and name.startswith(known_key(place.tenant, "")):
            cleared = self.observe.know(name.removeprefix(known_key(place.tenant, "")), value)
        elif topic == place.topics.rules and key == place.tenant.encode():
            self._rules.use(_rules(value))
        return decided(place.topics, Decisions(early=[(account_id, None) for account_id in cleared]))

    def idle(self) -> list[Output]:
        """Nothing follows for now: admit what waits and call the newest slice complete."""
        self._idle = True
        return self._note(self.observe.finish(), [])

    def counts(self) -> Mapping[tuple[str, str], int]:
        """Events by outcome and reason, and what the allowlist left out."""
        return {**self._counts, **left_out(self.orders)}

    def _packed(self, operator: bytes) -> bytes:
        rows, profiles, ids = self._gathered()
        meta = {
            "operator": operator,
            "rules": self._rules.rules.encode(),
            "next_offset": self._next_offset,
            "idle": self._idle,
            "said": [self._said.watermark_ms, self._said.idle],
            "counts": plain(self._counts),
        }
        return pack("observe-stage", VERSION, meta, rows_arrays(rows) | profile_arrays(profiles, ids))

    def _load(self, data: bytes, restore: Callable[[bytes], None]) -> None:
        meta, arrays = unpack(data, "observe-stage", VERSION)
        self._rules.use(_rules(meta.get("rules", b"")))
        restore(meta["operator"])
        self._next_offset, self._idle = meta["next_offset"], meta["idle"]
        self._said, self._counts = Said(*meta["said"]), counted(meta["counts"])
        known = read_profiles(arrays)
        self._seen = [Seen(read_rows(arrays), known["profiles"], known["ids"])]


class FanInStage(Kept):
    """Sightings of one share of the keys in; uses of hot keys out."""

    def __init__(self, place: Place) -> None:
        self.fanin = FanIn()
        super().__init__(self.fanin)
        self._place = place
        self._inbox = Inbox()
        self._said = Said()
        self._fanins = place.fanins
        self._counts: Counts = Counter()

    @property
    def watermark_ms(self) -> int:
        """What has been folded up to, 0 while nothing is known."""
        return max(0, self.fanin.watermark_ms)

    def process(self, records: Sequence[Record]) -> list[Output]:
        """Take sightings; they count in ``advance``."""
        for record in records:
            envelope = self._inbox.take(record)
            if envelope is not None:
                self._inbox.sources.expected = envelope.observers
                self._fanins = envelope.fanins
                self._counts["sightings", ""] += len(envelope.rows)
                self.fanin.process(envelope.rows)
        return []

    def advance(self) -> list[Output]:
        """Fold what all observers have completed; gives the hubs of it."""
        sources = self._inbox.sources
        hubs = self.fanin.advance(sources.watermark_ms)
        self._counts["hubs", ""] += len(hubs)
        said = Said(max(sources.watermark_ms, self._said.watermark_ms), sources.all_idle)
        if said == self._said and not len(hubs):
            return []
        self._said = said
        whole = Envelope(
            source=f"fanin-{self._place.partition}",
            sequence=2 * self._inbox.next_offset + said.idle,
            watermark_ms=said.watermark_ms,
            idle=said.idle,
            observers=sources.expected,
            fanins=self._fanins,
            rows=hubs,
        )
        return sent(self._place.topics.hubs, 0, whole)

    def idle(self) -> list[Output]:
        """Silence of this topic says nothing: an observer says itself that it is idle."""
        return []

    def counts(self) -> Mapping[tuple[str, str], int]:
        """Rows in and out, envelopes that came again, and keys that a flood pushed out before their time."""
        pushed_out = self.fanin.evicted + int(self.fanin.doorkeeper.counts[1])
        return {**self._counts, ("repeated", ""): self._inbox.repeated, ("evicted", ""): pushed_out}

    def _packed(self, operator: bytes) -> bytes:
        meta = {
            "operator": operator,
            "inbox": self._inbox.state(),
            "said": [self._said.watermark_ms, self._said.idle],
            "fanins": self._fanins,
            "counts": plain(self._counts),
        }
        return pack("fanin-stage", VERSION, meta, {})

    def _load(self, data: bytes, restore: Callable[[bytes], None]) -> None:
        meta, _ = unpack(data, "fanin-stage", VERSION)
        restore(meta["operator"])
        self._inbox, self._said = Inbox.of(meta["inbox"]), Said(*meta["said"])
        self._fanins, self._counts = meta["fanins"], counted(meta["counts"])


class CampaignsStage(Kept):
    """Hubs and profiles of the whole fleet in; alerts and signals out."""

    def __init__(self, topics: Topics, announcer: Announcer, tenant: str = "default") -> None:
        self.campaigns = Campaigns(announcer)
        super().__init__(self.campaigns)
        self.orders = announcer.orders
        self._topics = topics
        self._tenant = tenant  # whose rules hold
        self._inbox = Inbox()
        self._finished = False
        self._known: dict[str, bytes] = {}
        self._counts: Counts = Counter()

    @property
    def watermark_ms(self) -> int:
        """What verdicts take into account, 0 while nothing is known."""
        return max(0, self.campaigns.watermark_ms)

    def process(self, records: Sequence[Record]) -> list[Output]:
        """Take hubs and profiles; they count in ``advance``."""
        for record in records:
            envelope = self._inbox.take(record)
            if envelope is not None:
                self._inbox.sources.expected = envelope.observers + envelope.fanins
                self._counts["hubs", ""] += len(envelope.rows)
                self._counts["profiles", ""] += len(envelope.profiles)
                self.campaigns.learn(envelope.profiles, envelope.ids)
                self.campaigns.process(envelope.rows)
        return []

    def advance(self) -> list[Output]:
        """Decide on what all sources have completed, and on everything once all of them are idle."""
        sources = self._inbox.sources
        decisions = self.campaigns.advance(sources.watermark_ms)
        if sources.all_idle and not self._finished:
            decisions.extend(self.campaigns.finish())
        self._finished = sources.all_idle
        return self._decided(decisions)

    def control(self, topic: str, key: bytes, value: bytes) -> list[Output]:
        """Take a label, clearing what it lets go with this commit; or rules, which hold from the next evaluation."""
        if topic == self._topics.rules and key == self._tenant.encode():
            self.campaigns.rules = _rules(value)
        if topic != self._topics.labels:
            return []
        return self._decided(self.campaigns.order(key.decode("utf-8", "replace"), value))

    def _published(self) -> list[Output]:
        """What has changed of the known campaigns since the last call."""
        now, before = self.campaigns.known, self._known
        if now is before:
            return []
        self._known = now
        changed = sorted(name for name in now.keys() | before.keys() if now.get(name) != before.get(name))
        key = partial(known_key, self._tenant)
        return [Output(self._topics.campaigns, 0, key(name).encode(), now.get(name)) for name in changed]

    def _decided(self, decisions: Decisions) -> list[Output]:
        self._counts.update(("alerts", alert.status) for alert in decisions.alerts)
        self._counts.update(("signals", signal.action if signal else "cleared") for _, signal in decisions.signals)
        return decided(self._topics, decisions) + self._published()

    def idle(self) -> list[Output]:
        """Silence of this topic says nothing: the sources say themselves that they are idle."""
        return []

    def counts(self) -> Mapping[tuple[str, str], int]:
        """Rows in, decisions out, envelopes that came again, and what the allowlist left out."""
        return {**self._counts, **left_out(self.orders), ("repeated", ""): self._inbox.repeated}

    def _packed(self, operator: bytes) -> bytes:
        meta = {
            "operator": operator,
            "rules": self.campaigns.rules.encode(),
            "inbox": self._inbox.state(),
            "finished": self._finished,
            "counts": plain(self._counts),
        }
        return pack("campaigns-stage", VERSION, meta, {})

    def _load(self, data: bytes, restore: Callable[[bytes], None]) -> None:
        meta, _ = unpack(data, "campaigns-stage", VERSION)
        self.campaigns.rules = _rules(meta.get("rules", b""))
        restore(meta["operator"])
        self._known = self.campaigns.known
        self._inbox, self._finished = Inbox.of(meta["inbox"]), meta["finished"]
        self._counts = counted(meta["counts"])


def _rules(value: bytes) -> Rules:
    """The rules of a record; an empty one, a tombstone, means those shipped. Raises ValueError where it is wrong."""
    return Rules.decode(value) if value else Rules()


def factory(settings: Settings, topics: Topics) -> list[StageSpec]:
    """The stages in the order the data flows; ``settings.kafka.partitions`` is how many the sightings topic has.

    Raises:
        ConfigError: the settings hold no secret.
    """
    if settings.secret is None:
        raise ConfigError("set DISTILWATCH_SECRET or DISTILWATCH_SECRET_FILE to at least 16 random bytes")
    secret = settings.secret.reveal().encode()
    keyed, sketcher = KeyedHash(secret), Sketcher(secret)
    fanins = settings.kafka.partitions

    def observe(partition: int, partitions: int) -> ObserveStage:
        rules = AccountRules(keyed, tenant=settings.tenant, mode=settings.mode)
        return ObserveStage(Place(partition, partitions, fanins, topics, settings.tenant), keyed, sketcher, rules)

    def fanin(partition: int, partitions: int) -> FanInStage:
        return FanInStage(Place(partition, 0, partitions, topics))

    def campaigns(partition: int, partitions: int) -> CampaignsStage:
        announcer = Announcer(keyed, tenant=settings.tenant, mode=settings.mode)
        return CampaignsStage(topics, announcer, settings.tenant)

    return [
        StageSpec("observe", topics.requests, topics.observe_state, observe, hurried_topic=topics.early, weight=0.55),
        StageSpec("fanin", topics.sightings, topics.fanin_state, fanin, follows=True, weight=0.2),
        StageSpec("campaigns", topics.hubs, topics.campaigns_state, campaigns, follows=True, weight=0.25),
    ]
