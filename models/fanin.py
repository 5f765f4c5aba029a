"""Fan-in, the second operator: how many customers share a key, and which uses the third operator should see.

What lives here: the canonical order, the memory of recent sightings, growth and expiry. What does not: the path of a
key (``fanin_kernel``) and any judgement over several keys (``campaigns``). Keys are independent of one another, so the
number of partitions changes no answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from models.admission import UNSET
from models.doorkeeper import Doorkeeper
from models.fanin_kernel import BLOCK, FORGET_MS, HOT, HOT_CUSTOMERS, WARM, WINDOW_MS, fold, gather, settle
from models.fanin_slices import FanInSlices
from models.pending import Pending, rows_of
from models.sighting import SIGHTING, SightingBatch
from models.slices import Cut
from models.table import Table, grown, plain
from models.wire import pack, unpack

RING_MAX = 1 << 22
RING_MIN = 1 << 10
DOORKEEPER_BYTES_MAX = 1 << 30
ENTRIES_MAX = 1 << 22
"""Keys of several customers kept at once; two customers who send the same noise could otherwise fill the memory."""
SWEEP_MS = 6 * 3_600_000
ROWS_PER_FOLD = 16_384
EXPIRED_STEP = 4_096
MOVES_PER_PAIR = 16
"""Uses further out of order than this on average (thousands of one millisecond) are sorted instead."""


class FanIn:
    """Keys by the customers who share them. Pure; bounded by the limits above; ``ring_max`` is a power of two."""

    def __init__(
        self,
        *,
        ring_max: int = RING_MAX,
        doorkeeper_bytes_max: int = DOORKEEPER_BYTES_MAX,
        entries_max: int = ENTRIES_MAX,
    ) -> None:
        self.pending = Pending()
        self.doorkeeper = Doorkeeper(window_ms=WINDOW_MS, bytes_max=doorkeeper_bytes_max)
        self.warm = Table(WARM)
        self.hot: npt.NDArray[Any] = np.zeros(16, HOT)
        self.hot_count = np.zeros(1, np.int64)
        self.ring: npt.NDArray[Any] = np.zeros(RING_MIN, SIGHTING)
        self.span = np.zeros(2, np.int64)  # sequence numbers of the next and of the oldest sighting held
        self.evicted = 0  # keys of several customers forgotten before their time
        self._ring_max = ring_max
        self._entries_max = entries_max
        self._swept_ms = UNSET
        self.watermark_ms = UNSET
        self._slices = FanInSlices()

    @property
    def nbytes(self) -> int:
        """Bytes of state, the rows that wait excepted."""
        return self.doorkeeper.nbytes + self.warm.nbytes + int(self.hot.nbytes + self.ring.nbytes)

    def process(self, batch: SightingBatch) -> None:
        """Take sightings in any order; they count once the watermark has passed them."""
        self.pending.add(batch)

    def advance(self, watermark_ms: int) -> SightingBatch:
        """Fold what is complete and give every use of an open hot key, in the order it came to count."""
        if watermark_ms <= self.watermark_ms:
            return SightingBatch.empty()
        self.watermark_ms = watermark_ms
        due = self.pending.release(watermark_ms)
        parts = []
        first = 0
        while first < len(due):
            within = int(np.searchsorted(due.rows["at"], due.rows["at"][first] + WINDOW_MS))
            end = min(first + ROWS_PER_FOLD, first + self._ring_max, within)
            parts.append(self._fold(due.part(first, end)))
            first = end
        self._sweep(watermark_ms)
        return SightingBatch.concat(parts)

    def _fold(self, batch: SightingBatch) -> SightingBatch:
        now = int(batch.rows["at"][0])
        self._sweep(now)
        keys = len(batch.keys)
        self.doorkeeper.reserve(keys, now, int(batch.rows["at"][-1]))
        self._reserve_entries(keys)
        self._reserve_ring(len(batch), now)
        pairs = np.empty((HOT_CUSTOMERS * keys, 3), np.int64)  # the most it can give; untouched pages cost nothing
        total, start = 0, int(self.span[0])
        while (done := int(self.span[0]) - start) < len(batch):
            rest = batch.part(done, len(batch))
            self.hot = grown(self.hot, int(self.hot_count[0]) + int(rest.offsets[min(BLOCK, len(rest))]))
            total += fold(
                (rest.rows, rest.keys, rest.offsets),
                (self.doorkeeper.cells, self.doorkeeper.counts),
                (self.warm.records, self.warm.index, self.warm.count),
                (self.hot, self.hot_count),
                (self.ring, self.span),
                pairs[total:],
            )
        self._slices.use(batch.keys, self.doorkeeper)
        return self._gather(pairs[:total])

    def _gather(self, pairs: npt.NDArray[np.int64]) -> SightingBatch:
        """Uses as sightings, one row for each (time, request) with the keys it counts for."""
        if not len(pairs):
            return SightingBatch.empty()
        if not settle(pairs, MOVES_PER_PAIR * len(pairs)):
            pairs = pairs[np.lexsort((pairs[:, 2].view(np.uint64), pairs[:, 0], pairs[:, 1]))]
        offsets, keys = gather(pairs)
        first = offsets[:-1]
        rows = self.ring.take(pairs[first, 0] & (len(self.ring) - 1))
        rows["at"] = pairs[first, 1]
        return SightingBatch(rows, keys, offsets)

    def _reserve_ring(self, rows: int, now_ms: int) -> None:
        """Forget sightings that left the window; grow while those in it do not fit, up to the limit."""
        head, tail = int(self.span[0]), int(self.span[1])
        if head + rows - tail <= len(self.ring):
            return
        tail = self._expired_until(now_ms)
        size = len(self.ring)
        while size < head + rows - tail and size < self._ring_max:
            size *= 2
        self._resize_ring(size, max(tail, head + rows - size))

    def _expired_until(self, now_ms: int) -> int:
        """The sequence number of the oldest sighting inside the window.

        Looked for from the oldest on and in steps, for a full ring asks at every fold and has few to let go.
        """
        head, tail = int(self.span[0]), int(self.span[1])
        ts, mask = self.ring["ts"], len(self.ring) - 1
        while tail < head:
            part = ts[np.arange(tail, min(tail + EXPIRED_STEP, head)) & mask] < now_ms - WINDOW_MS
            if not part.all():
                return tail + int(np.argmin(part))
            tail += len(part)
        return head

    def _resize_ring(self, size: int, tail: int) -> None:
        if size != len(self.ring):
            self.ring = _resized(self.ring, size, tail, int(self.span[0]))
        self.span[1] = tail

    def _reserve_entries(self, keys: int) -> None:
        """Make room for ``keys`` new entries; at the limit those unused for longest go, hot ones last."""
        rows = self.warm.rows
        if len(rows) + keys > self._entries_max:
            kept = max(3 * self._entries_max // 4 - keys, 0)
            chosen = np.sort(np.lexsort((rows["key"], -rows["last_ts"], rows["hot"] < 0))[:kept])
            self.evicted += len(rows) - len(chosen)
            self._load_entries(rows.take(chosen), self.hot)
        self.warm.reserve(keys)

    def _sweep(self, now_ms: int) -> None:
        """Drop what nobody has used for its time, which would count as new anyway, and give its memory back."""
        if now_ms - self._swept_ms < SWEEP_MS:
            return
        self._swept_ms = now_ms
        self.doorkeeper.expire(now_ms)
        tail, size = self._expired_until(now_ms), len(self.ring)
        while size > RING_MIN and 4 * (int(self.span[0]) - tail) < size:
            size //= 2
        self._resize_ring(size, tail)
        rows = self.warm.rows
        limit = np.where(rows["hot"] >= 0, FORGET_MS, WINDOW_MS)
        kept = now_ms - rows["last_ts"] <= limit
        if not kept.all():
            self._load_entries(rows.take(np.flatnonzero(kept)), self.hot)

    def _load_entries(self, entries: npt.NDArray[Any], hot: npt.NDArray[Any]) -> None:
        """Hold exactly ``entries`` and the hot records they point at."""
        entries, hot = _renumbered(entries, hot)
        self._slices.renew_entries()
        self._load_hot(hot)
        self.warm.load(entries)

    def _load_hot(self, hot: npt.NDArray[Any]) -> None:
        self.hot = grown(np.zeros(16, HOT), len(hot))
        self.hot[: len(hot)] = hot
        self.hot_count[0] = len(hot)

    def snapshot(self) -> bytes:
        """The whole state."""
        entries, hot = _renumbered(self.warm.rows, self.hot)
        arrays: dict[str, npt.NDArray[Any]] = {
            "cells": self.doorkeeper.cells,
            "warm": entries.view(np.uint8),
            "hot": hot.view(np.uint8),
            "ring": self._held(self._span).view(np.uint8),
        }
        return self._packed(arrays | rows_of(self.pending.all()), {})

    def restore(self, data: bytes) -> None:
        """Take over a snapshot; raises WireError where it cannot be read."""
        meta, arrays = unpack(data, "fanin", 1)
        self._load_entries(arrays["warm"].view(WARM), arrays["hot"].view(HOT))
        self.pending.load(SightingBatch(arrays["rows"].view(SIGHTING), arrays["keys"], arrays["offsets"]))
        self._load(meta, arrays["cell_counts"], arrays["cells"], arrays["ring"].view(SIGHTING))

    def cut(self) -> Cut:
        """The whole state, its tables and what waits in parts."""
        fresh: dict[str, bytes] = {}
        names = self.pending.cut(self.watermark_ms, fresh)
        hot = self.hot[: int(self.hot_count[0])]
        sizes = [self.doorkeeper.cells.size, len(self.warm), len(hot)]
        names += self._slices.cut(self.doorkeeper, self.warm, hot, (self.ring, self._span), fresh)
        return Cut(self._packed({}, {"sizes": sizes}), names, fresh)

    def join(self, rest: bytes, parts: Mapping[str, bytes]) -> None:
        """Take over what ``cut`` gave; raises WireError where it cannot be read."""
        meta, arrays = unpack(rest, "fanin", 1)
        cells, warm, hot, ring = self._slices.join(parts, meta["sizes"], range(meta["tail"], meta["head"]))
        self._load_hot(hot)
        self.warm.load(warm)
        self.pending.join(parts, meta["watermark"])
        self._load(meta, arrays["cell_counts"], cells, ring)

    @property
    def _span(self) -> range:
        """The sequence numbers of the sightings held."""
        return range(int(self.span[1]), int(self.span[0]))

    def _held(self, span: range) -> npt.NDArray[Any]:
        rows: npt.NDArray[Any] = self.ring.take(np.arange(span.start, span.stop) & (len(self.ring) - 1))
        return rows

    def _packed(self, arrays: dict[str, npt.NDArray[Any]], counts: dict[str, list[int]]) -> bytes:
        span, size = self._span, len(self.ring)
        meta = {"head": span.stop, "tail": span.start, "size": size, "swept": self._swept_ms, "evicted": self.evicted}
        clocks = {"watermark": self.watermark_ms, "doorkeeper": self.doorkeeper.clocks()}
        return pack("fanin", 1, meta | clocks | counts, {"cell_counts": self.doorkeeper.counts} | arrays)

    def _load(self, meta: dict[str, Any], counts: npt.NDArray[np.int64], cells: Any, ring: npt.NDArray[Any]) -> None:
        self.doorkeeper.load(cells, counts, meta["doorkeeper"])
        self.ring = np.zeros(meta["size"], SIGHTING)
        self.ring[np.arange(meta["tail"], meta["head"]) & (meta["size"] - 1)] = ring
        self.span[:] = meta["head"], meta["tail"]
        self._swept_ms, self.watermark_ms, self.evicted = meta["swept"], meta["watermark"], meta["evicted"]


def _resized(ring: npt.NDArray[Any], size: int, tail: int, head: int) -> npt.NDArray[Any]:
    """A ring of ``size`` rows with the sightings from ``tail`` to ``head``, copied in runs that wrap in neither."""
    resized: npt.NDArray[Any] = np.zeros(size, SIGHTING)
    while tail < head:
        old, new = tail & (len(ring) - 1), tail & (size - 1)
        run = min(head - tail, len(ring) - old, size - new)
        plain(resized)[new : new + run] = plain(ring)[old : old + run]
        tail += run
    return resized


def _renumbered(entries: npt.NDArray[Any], hot: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """A copy of ``entries`` and only the hot records they point at, numbered in their order."""
    entries = plain(entries).copy().view(entries.dtype)
    pointing = np.flatnonzero(entries["hot"] >= 0)
    records = hot.take(entries["hot"][pointing])
    entries["hot"][pointing] = np.arange(len(pointing))
    return entries, records
