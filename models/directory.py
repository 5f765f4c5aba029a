"""The directory: who the accounts are, and how common each of their attributes is in the whole fleet.

What lives here: profiles by account hash, account ids for output, and counts per attribute value. What does not: any
statistic of requests, nor when accounts are added and forgotten (``arrivals``). From 150 bytes an account to 400 just
after its tables doubled.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from models.accounts import DAY_MS
from models.admission import UNSET
from models.compiled import jit
from models.sighting import PROFILE
from models.slices import Slices
from models.strings import Strings
from models.table import Table, fill, find, grown, insert, lookup

ATTRIBUTES = ("payment", "network", "client", "email_domain")
_WHO = ("key", "ts", "customer", "payment", "client", "network", "email_domain", "created")
_DAY = ("key", "told_at", "requests", "follow_ups", "hours", "spent_min")
WHO = np.dtype([(name, PROFILE[name]) for name in _WHO], align=True)
DAY = np.dtype([(name, PROFILE[name]) for name in _DAY], align=True)
DAY_KEPT_MS = 30 * 3_600_000
"""An account's day, as it was last told of, counts for so long: it is told of once a day where it is busy."""
IDLE_DAYS = 28
"""An account not told of for longer is forgotten. One that goes on is told of every week of its own, so nobody is
forgotten before three weeks of silence, and everybody by the end of the day after four."""
_COUNT = np.dtype([("key", "u8"), ("accounts", "i8")])
_PLACE = np.dtype([("start", "i8"), ("size", "i4")], align=True)


@jit
def _count(values: npt.NDArray[np.uint64], records: Any, index: npt.NDArray[np.int32], count: Any) -> None:
    for at in range(values.shape[0]):
        if values[at] == 0:
            continue
        slot = find(index, records["key"], values[at])
        if slot < 0:
            slot = count[0]
            count[0] = slot + 1
            insert(index, values[at], slot)
            records[slot]["key"] = values[at]
            records[slot]["accounts"] = 0
        records[slot]["accounts"] += 1


@jit
def _note(profiles: Any, records: Any, index: npt.NDArray[np.int32], count: Any) -> None:
    """Keep the newest day of each account; ``profiles`` come in the order in which they were told."""
    for at in range(profiles.shape[0]):
        profile = profiles[at]
        slot = find(index, records["key"], profile["key"])
        if slot < 0:
            slot = count[0]
            count[0] = slot + 1
            insert(index, profile["key"], slot)
        day = records[slot]
        day["key"] = profile["key"]
        day["told_at"] = profile["told_at"]
        day["requests"] = profile["requests"]
        day["follow_ups"] = profile["follow_ups"]
        day["hours"] = profile["hours"]
        day["spent_min"] = profile["spent_min"]


@jit
def _discount(values: npt.NDArray[np.uint64], records: Any, index: npt.NDArray[np.int32]) -> None:
    for at in range(values.shape[0]):
        if values[at] != 0:
            records[find(index, records["key"], values[at])]["accounts"] -= 1


_SLICED: dict[str, Any] = {"profiles": WHO, "id_sizes": np.int32, "ids": np.uint8}


class Directory:
    """Profiles of the accounts known, with the popularity of their attributes."""

    def __init__(self) -> None:
        self.profiles = Table(WHO)
        self.days = Table(DAY)  # of busy accounts
        self._heard: npt.NDArray[np.int32] = np.zeros(16, np.int32)  # the day each account was last told of
        self._places: npt.NDArray[Any] = np.zeros(16, _PLACE)
        self._ids = np.zeros(256, np.uint8)
        self._ids_end = 0
        self._popularity = {name: Table(_COUNT) for name in ATTRIBUTES}
        self._slices = tuple(Slices(name, dtype) for name, dtype in _SLICED.items())
        self._written = dict.fromkeys(_SLICED, 0)  # up to which place the slices were cut
        self.oldest_ms, self.newest_ms = 1 << 62, UNSET  # of all accounts ever added

    def __len__(self) -> int:
        return len(self.profiles)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        tables = sum(table.nbytes for table in self._popularity.values())
        tables += self.days.nbytes
        return self.profiles.nbytes + tables + int(self._places.nbytes + self._ids.nbytes + self._heard.nbytes)

    def add(self, profiles: npt.NDArray[Any], ids: Strings) -> None:
        """Learn accounts; of one already known only that it was told of again, and its last day."""
        if not len(profiles):
            return
        keys = np.ascontiguousarray(profiles["key"])
        _, first = np.unique(keys, return_index=True)
        new = np.sort(first[self.rows(keys[first]) < 0])
        if len(new):
            self._append(profiles.take(new), ids.take(new))
        np.maximum.at(self._heard, self.rows(keys), (profiles["ts"] // DAY_MS).astype(np.int32))
        told = profiles[profiles["told_at"] != 0]
        self.days.reserve(len(told))
        _note(told[np.argsort(told["told_at"], kind="stable")], self.days.records, self.days.index, self.days.count)

    def _append(self, rows: npt.NDArray[Any], texts: Strings) -> None:
        start = len(self.profiles)
        self.profiles.reserve(len(rows))
        self.profiles.records[start : start + len(rows)] = rows[list(_WHO)]
        self.profiles.count[0] = start + len(rows)
        fill(self.profiles.index, self.profiles.records["key"], start, len(self.profiles))
        self._heard = grown(self._heard, len(self.profiles))
        self._heard[start : len(self.profiles)] = rows["ts"] // DAY_MS
        self._keep_ids(texts, start)
        for name in ATTRIBUTES:
            table = self._popularity[name]
            table.reserve(len(rows))
            _count(np.ascontiguousarray(rows[name]), table.records, table.index, table.count)
        self.oldest_ms = min(self.oldest_ms, int(rows["ts"].min()))
        self.newest_ms = max(self.newest_ms, int(rows["ts"].max()))

    def forget(self, day: int, kept: npt.NDArray[np.uint64]) -> None:
        """Drop the accounts not told of for ``IDLE_DAYS`` at the beginning of ``day``, those in ``kept`` excepted."""
        recent = self.days.rows["told_at"] >= day * DAY_MS - DAY_KEPT_MS
        if not recent.all():
            self.days.keep(recent)
        stale = self._heard[: len(self)] < day - IDLE_DAYS
        if not stale.any():
            return
        rows = self.rows(kept)
        stale[rows[rows >= 0]] = False
        gone = self.profiles.rows.take(np.flatnonzero(stale))
        for name in ATTRIBUTES:
            table = self._popularity[name]
            _discount(np.ascontiguousarray(gone[name]), table.records, table.index)
            used = table.rows["accounts"] > 0
            if 2 * int(used.sum()) < len(table):
                table.keep(used)
        for slices in self._slices:
            slices.renew()
        stay = np.flatnonzero(~stale)
        places = self._places[: len(self)]
        ids = Strings(self._ids[: self._ids_end], np.append(places["start"], np.int64(self._ids_end))).take(stay)
        heard = self._heard[stay]
        self._heard = grown(np.zeros(16, np.int32), len(stay))
        self._heard[: len(stay)] = heard
        self.profiles.load(self.profiles.rows.take(stay))
        self._ids, self._ids_end, self._places = np.zeros(256, np.uint8), 0, np.zeros(16, _PLACE)
        self._keep_ids(ids, 0)

    def _keep_ids(self, texts: Strings, start: int) -> None:
        size = int(texts.offsets[-1])
        if self._ids_end + size > len(self._ids):
            larger = np.zeros(2 * (self._ids_end + size), np.uint8)
            larger[: self._ids_end] = self._ids[: self._ids_end]
            self._ids = larger
        self._ids[self._ids_end : self._ids_end + size] = texts.data
        if start + len(texts) > len(self._places):
            places = np.zeros(2 * (start + len(texts)), _PLACE)
            places[:start] = self._places[:start]
            self._places = places
        self._places["start"][start : start + len(texts)] = self._ids_end + texts.offsets[:-1]
        self._places["size"][start : start + len(texts)] = texts.lengths
        self._ids_end += size

    def rows(self, accounts: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
        """The directory row of each account hash, -1 where unknown."""
        found: npt.NDArray[np.int64] = lookup(self.profiles.index, self.profiles.records["key"], accounts)
        return found

    def customers(self, accounts: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
        """The customer of each account hash, 0 where the account is unknown."""
        rows = self.rows(accounts)
        return np.where(rows >= 0, self.profiles.records["customer"][np.maximum(rows, 0)], np.uint64(0))

    def first_seen(self, accounts: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
        """When each account hash was first seen, ms; 0 where the account is unknown."""
        rows = self.rows(accounts)
        return np.where(rows >= 0, self.profiles.records["ts"][np.maximum(rows, 0)], 0)

    def account_ids(self, accounts: npt.NDArray[np.uint64]) -> list[str]:
        """The ids of accounts by their hash; an unknown one is given as its hash."""
        rows = self.rows(accounts)
        places = self._places[np.maximum(rows, 0)]
        starts, ids = places["start"], self._ids.data
        return [
            str(ids[start:end], "utf-8") if row >= 0 else f"hash:{account:016x}"
            for row, account, start, end in zip(
                rows.tolist(), accounts.tolist(), starts.tolist(), (starts + places["size"]).tolist(), strict=True
            )
        ]

    def busy(self, since_ms: int) -> npt.NDArray[Any]:
        """Full profiles of the accounts whose day was told of at ``since_ms`` or later."""
        days = self.days.rows[self.days.rows["told_at"] >= since_ms]
        places = self.rows(np.ascontiguousarray(days["key"]))
        days, places = days[places >= 0], places[places >= 0]
        found = np.zeros(len(days), PROFILE)
        for name in _WHO:
            found[name] = self.profiles.records[name][places]
        for name in _DAY:
            found[name] = days[name]
        return found[np.argsort(found["key"])]

    def popular(self, name: str) -> Table:
        """The table of all values of attribute ``name`` with their accounts, for kernels."""
        return self._popularity[name]

    def popularity(self, name: str, values: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
        """Accounts in the whole fleet that carry each value of attribute ``name``."""
        table = self._popularity[name]
        slots = lookup(table.index, table.records["key"], values)
        return np.where(slots >= 0, table.records["accounts"][np.maximum(slots, 0)], 0)

    def snapshot(self) -> tuple[dict[str, list[int]], dict[str, npt.NDArray[Any]]]:
        """The state as plain values and arrays."""
        count = len(self)
        arrays: dict[str, npt.NDArray[Any]] = {
            "profiles": self.profiles.rows.view(np.uint8),
            "days": np.sort(self.days.rows, order="key").view(np.uint8),
            "heard": self._heard[:count].copy(),
            "id_sizes": self._places["size"][:count].copy(),
            "ids": self._ids[: self._ids_end],
        }
        return {"directory_ms": [self.oldest_ms, self.newest_ms]}, arrays

    def restore(self, meta: dict[str, list[int]], arrays: dict[str, npt.NDArray[Any]]) -> None:
        """Take over what ``snapshot`` gave; popularity is counted anew from the profiles."""
        self.__init__()  # type: ignore[misc]
        offsets = np.zeros(len(arrays["id_sizes"]) + 1, np.int64)
        np.cumsum(arrays["id_sizes"], out=offsets[1:])
        if len(arrays["id_sizes"]):
            self._append(arrays["profiles"].view(WHO), Strings(arrays["ids"], offsets))
        self.days.load(arrays["days"].view(DAY))
        self._heard[: len(self)] = arrays["heard"]
        self.oldest_ms, self.newest_ms = meta["directory_ms"]

    def cut(self, fresh: dict[str, bytes]) -> tuple[dict[str, list[int]], dict[str, npt.NDArray[Any]], list[str]]:
        """As ``snapshot``, but what is only appended in parts: those not written before go into ``fresh``.

        The last of what it gives are the names of all parts.
        """
        meta, arrays = self.snapshot()
        sizes = {"profiles": len(self), "id_sizes": len(self), "ids": self._ids_end}
        for slices in self._slices:
            rows, end = arrays.pop(slices.name).view(_SLICED[slices.name]), sizes[slices.name]
            slices.cut(range(self._written[slices.name], end), range(end), rows.__getitem__, fresh)
        self._written = sizes
        meta["directory"] = [len(self), self._ids_end]
        return meta, arrays, [name for slices in self._slices for name in slices.names]

    def join(self, meta: dict[str, list[int]], arrays: dict[str, npt.NDArray[Any]], parts: Mapping[str, bytes]) -> None:
        """Take over what ``cut`` gave."""
        count, end = meta["directory"]
        sizes = {"profiles": count, "id_sizes": count, "ids": end}
        slices = tuple(Slices(name, dtype) for name, dtype in _SLICED.items())
        joined = {each.name: each.join(parts, range(sizes[each.name])) for each in slices}
        self.restore(meta, arrays | joined)
        self._slices, self._written = slices, sizes
