"""The tables of Fan-in in parts: which of its cells, entries and sightings a snapshot must write again.

What lives here: from the keys used since the last snapshot to the rows they touched. What does not: how parts are cut
and joined (``slices``), and the tables (``fanin``). The pass over sightings is left as it is: every row that it touches
is found again by a key it was given, and where tables were rebuilt all of them is written.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from models.doorkeeper import CELLS, Doorkeeper, places_of
from models.fanin_kernel import HOT, WARM
from models.sighting import SIGHTING
from models.slices import Selector, Slices
from models.table import Table, lookup

KEYS_PART = 4
"""More uses than a quarter of the cells: all are written, which is no more work."""


class FanInSlices:
    """Parts of the doorkeeper, the keys of several customers, and the ring of sightings."""

    def __init__(self) -> None:
        self._cells = Slices("cells", np.uint64)
        self._warm = Slices("warm", WARM)
        self._hot = Slices("hot", HOT)
        self._ring = Slices("ring", SIGHTING)
        self._keys: list[npt.NDArray[np.uint64]] | None = None  # used since the last cut, once there was one
        self._noted = 0
        self._rebuilds = -1
        self._head = 0

    def use(self, keys: npt.NDArray[np.uint64], doorkeeper: Doorkeeper) -> None:
        """Note keys whose rows the fold has touched."""
        if self._keys is None:
            return
        self._noted += len(keys)
        if self._noted > doorkeeper.cells.size // KEYS_PART:
            self._keys = None
        else:
            self._keys.append(keys)

    def renew_entries(self) -> None:
        """The keys of several customers were numbered anew."""
        self._warm.renew()
        self._hot.renew()

    def cut(
        self,
        doorkeeper: Doorkeeper,
        warm: Table,
        hot: npt.NDArray[Any],
        ring: tuple[npt.NDArray[Any], range],
        fresh: dict[str, bytes],
    ) -> list[str]:
        """Write what was touched into ``fresh``; gives the names of all parts. ``hot`` are the records in use."""
        if self._keys is None:
            self.renew_entries()
        if self._keys is None or self._rebuilds != doorkeeper.rebuilds:
            self._cells.renew()
        keys = np.concatenate([np.zeros(0, np.uint64), *(self._keys or [])])
        self._keys, self._noted, self._rebuilds = [], 0, doorkeeper.rebuilds
        cells = doorkeeper.cells.ravel()
        self._cells.cut(_distinct(places_of(doorkeeper.cells, keys)), range(len(cells)), cells.__getitem__, fresh)
        slots = _distinct(lookup(warm.index, warm.records["key"], keys))
        self._warm.cut(slots, range(len(warm)), warm.records.__getitem__, fresh)
        self._hot.cut(_distinct(warm.records["hot"][slots]), range(len(hot)), hot.__getitem__, fresh)
        new, self._head = range(max(self._head, ring[1].start), ring[1].stop), ring[1].stop
        self._ring.cut(new, ring[1], lambda at: _held(ring[0], at), fresh)
        return [name for slices in (self._cells, self._warm, self._hot, self._ring) for name in slices.names]

    def join(
        self, parts: Mapping[str, bytes], sizes: list[int], span: range
    ) -> tuple[npt.NDArray[np.uint64], npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]:
        """Cells, entries, hot records and sightings, as they were cut."""
        cells, warm, hot = (range(size) for size in sizes)
        self._keys, self._noted, self._head = [], 0, span.stop
        self._rebuilds = 0  # as that of the new doorkeeper that takes the cells
        return (
            self._cells.join(parts, cells).reshape(-1, CELLS),
            self._warm.join(parts, warm),
            self._hot.join(parts, hot),
            self._ring.join(parts, span),
        )


def _held(ring: npt.NDArray[Any], numbers: Selector) -> npt.NDArray[Any]:
    """The sightings of some sequence numbers."""
    numbers = np.arange(numbers.start, numbers.stop) if isinstance(numbers, slice) else numbers
    rows: npt.NDArray[Any] = ring.take(numbers & (len(ring) - 1))
    return rows


def _distinct(places: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    return np.unique(places[places >= 0]).astype(np.int64)
