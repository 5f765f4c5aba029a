"""Joiners: accounts that turn up under the templates of a known campaign, named on their own requests as they come.

What lives here: the count of each account's uses within a day, and the early signals. What does not: which campaigns
are known and what they ask (``known``), and every verdict; an early signal only holds until an evaluation has come
round. The fold is row by row in the order of the partition; campaigns come and go at places its host decides and can
repeat.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from models.accounts import DAY_MS, HOUR_MS
from models.alert import Signal
from models.compiled import jit
from models.errors import WireError
from models.known import Known, Terms
from models.newcomers import BEGAN_MS
from models.orders import Orders
from models.sighting import SightingBatch
from models.strings import Strings
from models.table import Index, Table, find, insert, rebuilt
from models.verdict import LATE_COUNT_MIN

EARLY_MS = 70 * 60_000
"""An early signal ends by itself after this: evaluations come hourly at least while a campaign is open."""
STALE_MS = 2 * HOUR_MS
"""A campaign that no evaluation has confirmed for this long names nobody early any more."""
LIST_PART = 0.75
"""Of the templates that chance would deal: more than an evaluation asks (``clusters``), which looks again and again,
where this says yes once; who keeps to two of a campaign's thirty prompts is told from who works through them."""
JOINS_MAX = 200_000
HOURS = DAY_MS // HOUR_MS
REPEATS, TOLD = 1, 2

JOIN = np.dtype(
    [
        ("key", "u8"),  # of the account and the campaign
        ("since_ms", "i8"),
        ("last_ms", "i8"),
        ("templates", "u8"),  # one bit for each, numbers above 63 share them
        ("prompt", "u8"),
        ("count", "i4"),
        ("state", "i4"),
    ],
    align=True,
)
BAR = np.dtype(
    [
        ("seed", "u8"),  # keeps the joins of one account to different campaigns apart
        ("count", "f8"),
        ("share", "f8"),
        ("even", "f8"),
        ("arrived_ms", "i8"),
        ("stale_ms", "i8"),
        ("pool_ms", "i8"),
        ("pool_share", "f8"),
        ("usual_ms", "f8"),
    ],
    align=True,
)
"""What a campaign asks of an account, its terms as the fold reads them (``known.Terms``)."""
_NOTHING: npt.NDArray[np.uint64] = np.zeros(0, np.uint64)


class Told(msgspec.Struct, frozen=True):
    """An early signal that stands, to be taken back where its campaign is let go or its account allowed."""

    account_id: str
    account: int
    customer: int
    cluster_id: str
    expires: int


@jit
def _again(
    rest: npt.NDArray[np.uint64],
    known: npt.NDArray[np.uint64],
    index: npt.NDArray[np.int32],
    code_of: npt.NDArray[np.int64],
    found: int,
) -> bool:
    """Whether another key than ``found`` is of its template."""
    for key in rest:
        other = find(index, known, key)
        if other >= 0 and other != found and code_of[other] == code_of[found]:
            return True
    return False


@jit
def _codes(
    keys: npt.NDArray[np.uint64],
    offsets: npt.NDArray[np.int64],
    known: npt.NDArray[np.uint64],
    index: npt.NDArray[np.int32],
    code_of: npt.NDArray[np.int64],
) -> npt.NDArray[np.int64]:
    """Per row the code (campaign << 16 | template) that two of its keys share, -1 where none do."""
    codes = np.full(offsets.shape[0] - 1, -1, np.int64)
    for at in range(codes.shape[0]):
        for first in range(offsets[at], offsets[at + 1]):
            found = find(index, known, keys[first])
            if found >= 0 and _again(keys[first + 1 : offsets[at + 1]], known, index, code_of, found):
                codes[at] = code_of[found]
                break
    return codes


@jit
def _enough_templates(bits: np.uint64, count: int, even: float) -> bool:
    """Whether so many requests touch several templates, and not far fewer than chance would deal them."""
    seen = 0
    while bits != np.uint64(0):
        bits &= bits - np.uint64(1)
        seen += 1
    expected = even * (1.0 - (1.0 - 1.0 / even) ** count)
    return seen >= 2 and seen >= LIST_PART * min(expected, 64.0)


@jit
def _count_needed(join: Any, row: Any, first_seen: int, bar: Any) -> float:
    """The requests an account must have sent: fewer where it came with a second pool (``newcomers``) and is young."""
    began_with_it = 0 < bar["pool_ms"] < first_seen and join["since_ms"] - first_seen <= BEGAN_MS
    if not began_with_it or join["count"] < bar["pool_share"] * row["requests_24h"]:
        return float(bar["count"])
    scaled: float = bar["count"] * min(1.0, (row["ts"] - first_seen) / bar["usual_ms"])
    return max(float(LATE_COUNT_MIN), scaled)


@jit
def _join(
    rows: Any,
    first_seen: npt.NDArray[np.int64],
    codes: npt.NDArray[np.int64],
    bars: Any,
    table: tuple[Any, npt.NDArray[np.int32], npt.NDArray[np.int64]],
) -> npt.NDArray[np.bool_]:
    """Fold rows under known templates; which of them is the one that completes what its account must show.

    ``bars`` has a ``BAR`` for each campaign, by its number.
    """
    joins, index, size = table
    named = np.zeros(rows.shape[0], np.bool_)
    for at in range(rows.shape[0]):
        row = rows[at]
        ts = row["ts"]
        number, template = codes[at] >> 16, codes[at] & 0xFFFF
        bar = bars[number]
        key = max(row["account"] ^ bar["seed"], np.uint64(1))
        slot = find(index, joins["key"], key)
        fresh = slot < 0
        if fresh:
            slot = size[0]
            size[0] = slot + 1
            insert(index, key, slot)
            joins[slot]["key"] = key
        join = joins[slot]
        # As the account's own requests are counted, by the hour: else some of the uses would be in the share alone.
        if fresh or ts // HOUR_MS - join["since_ms"] // HOUR_MS >= HOURS:
            join["since_ms"] = ts
            join["last_ms"] = ts
            join["templates"] = 0
            join["prompt"] = row["prompt"]
            join["count"] = 0
            join["state"] = 0
        join["last_ms"] = max(ts, join["last_ms"])
        join["templates"] |= np.uint64(1) << np.uint64(template & 63)
        join["count"] += 1
        if row["prompt"] != join["prompt"]:
            join["state"] |= REPEATS
        if join["state"] != REPEATS:  # one prompt only, or told already
            continue
        if first_seen[at] < bar["arrived_ms"] or ts > bar["stale_ms"]:
            continue
        if join["count"] < max(_count_needed(join, row, first_seen[at], bar), bar["share"] * row["requests_24h"]):
            continue
        if _enough_templates(join["templates"], join["count"], bar["even"]):
            join["state"] |= TOLD
            named[at] = True
    return named


def _bar(terms: Terms) -> tuple[float, ...]:
    return (
        int(terms.cluster_id.removeprefix("c-"), 16),
        terms.count_min,
        terms.share_min,
        max(terms.even_templates, 1.0),
        terms.arrived_ms,
        terms.decided_ms + STALE_MS,
        terms.pool_ms,
        terms.pool_share,
        terms.usual_ms,
    )


class Joiners:
    """The known campaigns of one partition and its accounts under their templates; bounded by ``joins_max``."""

    def __init__(self, orders: Orders | None = None, *, joins_max: int = JOINS_MAX) -> None:
        self.joins = Table(JOIN)
        self._orders = orders
        self._joins_max = joins_max
        self._records: dict[str, bytes] = {}
        self._known: list[Known] = []  # in the order of their ids
        self._told: dict[str, Told] = {}
        self._keys, self._codes = _NOTHING, np.zeros(0, np.int64)
        self._index: Index = rebuilt(_NOTHING, 0, 0)
        self._bars = np.zeros(0, BAR)

    def know(self, cluster_id: str, value: bytes, now_ms: int) -> list[str]:
        """Take what is published of a campaign, nothing where it is known no more.

        Returns the accounts whose early signal is taken back.

        Raises:
            WireError: the record is none, or of another campaign.
        """
        if value:
            try:
                named = Known.decode(value).terms.cluster_id
            except ValueError as error:
                raise WireError(f"a known campaign cannot be read: {error}") from error
            if named != cluster_id:
                raise WireError("a known campaign is under another one's key")
            self._records[cluster_id] = value
        else:
            self._records.pop(cluster_id, None)
        self._rebuild(now_ms)
        return [] if value else self._take_back(lambda told: told.cluster_id == cluster_id, now_ms)

    def follow_labels(self, now_ms: int) -> list[str]:
        """Look at the labels again, one of which has changed; gives the accounts whose early signal is taken back."""
        self._rebuild(now_ms)
        return self._take_back(lambda told: self._let_go(told, now_ms), now_ms)

    def _let_go(self, told: Told, now_ms: int) -> bool:
        """Whether people have taken the account or its campaign out of the limiter's reach."""
        if self._orders is None:
            return False
        account, customer = np.array([told.account], np.uint64), np.array([told.customer], np.uint64)
        allowed = bool(self._orders.allowed(account, customer, now_ms)[0])
        return allowed or self._orders.is_undone(told.cluster_id, now_ms)

    def _take_back(self, ends: Any, now_ms: int) -> list[str]:
        """Those of the early signals that hold at ``now_ms``; others may have been swept or not."""
        gone = [told for told in self._told.values() if ends(told)]
        for told in gone:
            del self._told[told.account_id]
        return [told.account_id for told in gone if told.expires >= now_ms]

    def _rebuild(self, now_ms: int) -> None:
        """Index the keys again; one that two campaigns claim stands for neither, and an allowed one for nobody."""
        self._known = [Known.decode(self._records[name]) for name in sorted(self._records)]
        keys = np.concatenate([_NOTHING, *(known.keys for known in self._known)])
        codes = np.concatenate(
            [
                np.zeros(0, np.int64),
                *(number << 16 | known.template_of.astype(np.int64) for number, known in enumerate(self._known)),
            ]
        )
        unique, first, counts = np.unique(keys, return_index=True, return_counts=True)
        alone = counts == 1
        if self._orders is not None:
            alone &= ~self._orders.allowed_keys(unique, now_ms)
        self._keys, self._codes = unique[alone], codes[first[alone]]
        self._index = rebuilt(self._keys, len(self._keys), len(self._keys))
        self._bars = np.array([_bar(known.terms) for known in self._known], BAR)

    @property
    def known(self) -> dict[str, bytes]:
        """The records of the known campaigns by id."""
        return self._records

    def fold(
        self,
        seen: SightingBatch,
        counts: npt.NDArray[np.bool_],
        first_seen: npt.NDArray[np.int64],
        ids: Strings,
    ) -> list[tuple[str, Signal | None]]:
        """Count those rows of a batch that ``counts`` marks; gives early signals, none of them a None.

        ``first_seen`` and ``ids`` are of the accounts.
        """
        if not len(self._keys) or not len(seen):
            return []
        codes = _codes(seen.keys, seen.offsets, self._keys, self._index, self._codes)
        picked = np.flatnonzero((codes >= 0) & counts)
        if not len(picked):
            return []
        self._reserve(len(picked))
        rows = seen.rows[picked]
        named = _join(
            rows,
            first_seen[picked],
            codes[picked],
            self._bars,
            (self.joins.records, self.joins.index, self.joins.count),
        )
        found = [
            self._signal(rows[at], ids[int(picked[at])], int(codes[picked[at]]) >> 16) for at in np.flatnonzero(named)
        ]
        return [(signal.account_id, signal) for signal in found if signal is not None]

    def _signal(self, row: Any, account_id: str, number: int) -> Signal | None:
        """The early signal of an account, unless people have let it go.

        Its ``ts`` is that of the evaluation it rests on and its ``seq`` is 0, so that whatever an evaluation says of
        the account, then or later, goes over it.
        """
        terms, expires = self._known[number].terms, int(row["ts"]) + EARLY_MS
        told = Told(account_id, int(row["account"]), int(row["customer"]), terms.cluster_id, expires)
        if self._let_go(told, int(row["ts"])):
            return None
        self._told[account_id] = told
        return Signal(
            account_id=account_id,
            cluster_id=terms.cluster_id,
            action=terms.action,
            multiplier=terms.multiplier,
            score=terms.score,
            rule="campaign",
            alert_id=terms.alert_id,
            mode=terms.mode,
            ts=terms.decided_ms,
            expires=expires,
            seq=0,
        )

    def _reserve(self, more: int) -> None:
        """Make room; at the limit those unused for longest go."""
        rows = self.joins.rows
        if len(rows) + more > self._joins_max:
            kept = max(3 * self._joins_max // 4 - more, 0)
            self.joins.load(rows[np.sort(np.lexsort((rows["key"], -rows["last_ms"]))[:kept])])
        self.joins.reserve(more)

    def sweep(self, now_ms: int) -> None:
        """Forget what is older than a day, and early signals that have ended."""
        self.joins.keep(self.joins.rows["last_ms"] >= now_ms - DAY_MS)
        self._told = {name: told for name, told in self._told.items() if told.expires >= now_ms}

    def snapshot(self) -> tuple[dict[str, Any], npt.NDArray[Any]]:
        """The state as plain values and as rows."""
        told = [msgspec.to_builtins(one) for one in self._told.values()]
        rows = np.sort(self.joins.rows, order="key")
        return {"records": dict(sorted(self._records.items())), "told": told}, rows.view(np.uint8)

    def restore(self, state: dict[str, Any], rows: npt.NDArray[Any], now_ms: int) -> None:
        """Take over what ``snapshot`` gave; labels must have been restored before."""
        self._records = dict(state["records"])
        self._told = {one.account_id: one for one in msgspec.convert(state["told"], list[Told])}
        self.joins.load(rows.view(JOIN))
        self._rebuild(now_ms)
