"""The directory: who the accounts are, and how common each of their attributes is in the whole fleet.

What lives here: profiles by account hash, account ids for output, and counts per attribute value. What does not: any
statistic of requests. From 150 bytes an account to 400 just after its tables doubled; accounts are never dropped.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from models.admission import UNSET
from models.compiled import jit
from models.sighting import PROFILE
from models.strings import Strings
from models.table import Table, fill, find, insert

ATTRIBUTES = ("payment", "network", "client", "email_domain")
_COUNT = np.dtype([("key", "u8"), ("accounts", "i8")])
_PLACE = np.dtype([("start", "i8"), ("size", "i4")], align=True)


@jit
def _lookup(index: npt.NDArray[np.int32], keys: npt.NDArray[np.uint64], wanted: npt.NDArray[np.uint64]) -> Any:
    rows = np.empty(wanted.shape[0], np.int64)
    for at in range(wanted.shape[0]):
        rows[at] = find(index, keys, wanted[at])
    return rows


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


class Directory:
    """Profiles of all accounts seen, with the popularity of their attributes."""

    def __init__(self) -> None:
        self.profiles = Table(PROFILE)
        self._places: npt.NDArray[Any] = np.zeros(16, _PLACE)
        self._ids = np.zeros(256, np.uint8)
        self._ids_end = 0
        self._popularity = {name: Table(_COUNT) for name in ATTRIBUTES}
        self.newest_ms = UNSET

    def __len__(self) -> int:
        return len(self.profiles)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        tables = sum(table.nbytes for table in self._popularity.values())
        return self.profiles.nbytes + tables + int(self._places.nbytes + self._ids.nbytes)

    def add(self, profiles: npt.NDArray[Any], ids: Strings) -> None:
        """Learn accounts; one already known is left as it was."""
        if not len(profiles):
            return
        _, first = np.unique(profiles["key"], return_index=True)
        known = _lookup(self.profiles.index, self.profiles.records["key"], profiles["key"][first])
        new = np.sort(first[known < 0])
        if not len(new):
            return
        rows, texts = profiles[new], ids.take(new)
        start = len(self.profiles)
        self.profiles.reserve(len(new))
        self.profiles.records[start : start + len(new)] = rows
        self.profiles.count[0] = start + len(new)
        fill(self.profiles.index, self.profiles.records["key"], start, len(self.profiles))
        self._keep_ids(texts, start)
        for name in ATTRIBUTES:
            table = self._popularity[name]
            table.reserve(len(rows))
            _count(np.ascontiguousarray(rows[name]), table.records, table.index, table.count)
        self.newest_ms = max(self.newest_ms, int(rows["ts"].max()))

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
        found: npt.NDArray[np.int64] = _lookup(self.profiles.index, self.profiles.records["key"], accounts)
        return found

    def customers(self, accounts: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
        """The customer of each account hash, 0 where the account is unknown."""
        rows = self.rows(accounts)
        return np.where(rows >= 0, self.profiles.records["customer"][np.maximum(rows, 0)], np.uint64(0))

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

    def popularity(self, name: str, values: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
        """Accounts in the whole fleet that carry each value of attribute ``name``."""
        table = self._popularity[name]
        slots = _lookup(table.index, table.records["key"], values)
        return np.where(slots >= 0, table.records["accounts"][np.maximum(slots, 0)], 0)

    def snapshot(self) -> tuple[dict[str, int], dict[str, npt.NDArray[Any]]]:
        """The state as plain values and arrays."""
        count = len(self)
        arrays: dict[str, npt.NDArray[Any]] = {
            "profiles": self.profiles.rows.view(np.uint8),
            "id_sizes": self._places["size"][:count].copy(),
            "ids": self._ids[: self._ids_end],
        }
        return {"directory_newest_ms": self.newest_ms}, arrays

    def restore(self, meta: dict[str, int], arrays: dict[str, npt.NDArray[Any]]) -> None:
        """Take over what ``snapshot`` gave; popularity is counted anew from the profiles."""
        self.__init__()  # type: ignore[misc]
        offsets = np.zeros(len(arrays["id_sizes"]) + 1, np.int64)
        np.cumsum(arrays["id_sizes"], out=offsets[1:])
        self.add(arrays["profiles"].view(PROFILE), Strings(arrays["ids"], offsets))
        self.newest_ms = meta["directory_newest_ms"]
