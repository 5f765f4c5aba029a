"""The envelope: what one partition of an operator says to one partition of the next.

What lives here: its fields, its wire form, and cutting it to the size of a message. What does not: when one is sent
(``streams.stages``). One form serves sightings, hubs and profiles: what a sender does not have stays empty.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from models.admission import UNSET
from models.errors import WireError
from models.sighting import PROFILE, SIGHTING, SightingBatch
from models.strings import Strings
from models.wire import pack, unpack

ROW_BYTES_MAX = 480 * 1024
"""Rows of one envelope: below 512 KiB with the header and the rounding of the cut."""
PARTS_BITS = 20
"""Room for parts in a sequence number: a million envelopes of one commit."""
KIND, VERSION = "envelope", 2


def _no_profiles() -> npt.NDArray[np.void]:
    return np.zeros(0, PROFILE)


def _no_ids() -> Strings:
    return Strings.of([])


@dataclass(slots=True)
class Envelope:
    """Rows and profiles of one source, and how far the source has come.

    ``sequence`` rises from envelope to envelope of a source. ``watermark_ms`` holds once this envelope is folded.
    ``observers`` and ``fanins`` are how many partitions the two operators have.
    """

    source: str
    sequence: int
    watermark_ms: int
    idle: bool
    observers: int
    fanins: int
    rows: SightingBatch = field(default_factory=SightingBatch.empty)
    profiles: npt.NDArray[np.void] = field(default_factory=_no_profiles)
    ids: Strings = field(default_factory=_no_ids)

    def encode(self) -> bytes:
        """The envelope as one wire message."""
        meta = {
            "source": self.source,
            "sequence": self.sequence,
            "watermark_ms": self.watermark_ms,
            "idle": self.idle,
            "observers": self.observers,
            "fanins": self.fanins,
        }
        return pack(KIND, VERSION, meta, rows_arrays(self.rows) | profile_arrays(self.profiles, self.ids))

    @classmethod
    def decode(cls, data: bytes) -> Envelope:
        """Read what ``encode`` wrote; raises WireError on anything else."""
        meta, arrays = unpack(data, KIND, VERSION)
        try:
            return cls(**meta, rows=read_rows(arrays), **read_profiles(arrays))
        except (TypeError, KeyError) as error:
            raise WireError("envelope has other fields than this code knows") from error

    def parts(self) -> Iterator[Envelope]:
        """The same in messages of bounded size; only the last moves the watermark and says whether it is idle.

        ``sequence`` of the whole is a number of commits; that of a part adds its place.
        """
        sizes = SIGHTING.itemsize + 1 + 8 * np.diff(self.rows.offsets)
        ids = PROFILE.itemsize + 8 + self.ids.lengths
        size = int(sizes.sum()) + int(ids.sum())
        count = 1 + size // ROW_BYTES_MAX
        row_cuts, id_cuts = _cuts(sizes, count), _cuts(ids, count)
        for part in range(count):
            rows = np.arange(row_cuts[part], row_cuts[part + 1])
            known = np.arange(id_cuts[part], id_cuts[part + 1])
            last = part == count - 1
            yield replace(
                self,
                sequence=(self.sequence << PARTS_BITS) + part,
                watermark_ms=self.watermark_ms if last else UNSET,
                idle=self.idle and last,
                rows=self.rows if count == 1 else self.rows.take(rows),
                profiles=self.profiles if count == 1 else self.profiles[known],
                ids=self.ids if count == 1 else self.ids.take(known),
            )


def rows_arrays(rows: SightingBatch, prefix: str = "") -> dict[str, npt.NDArray[Any]]:
    """Sightings as named arrays for ``wire.pack``; fewer than 256 keys a row."""
    counts = np.diff(rows.offsets).astype(np.uint8)
    return {f"{prefix}rows": rows.rows.view(np.uint8), f"{prefix}keys": rows.keys, f"{prefix}counts": counts}


def read_rows(arrays: dict[str, npt.NDArray[Any]], prefix: str = "") -> SightingBatch:
    """What ``rows_arrays`` gave."""
    return SightingBatch(
        arrays[f"{prefix}rows"].view(SIGHTING), arrays[f"{prefix}keys"], _offsets(arrays[f"{prefix}counts"])
    )


def profile_arrays(profiles: npt.NDArray[np.void], ids: Strings) -> dict[str, npt.NDArray[Any]]:
    """Profiles with their account ids as named arrays for ``wire.pack``."""
    data = ids.data[ids.offsets[0] : ids.offsets[-1]]
    return {"profiles": profiles.view(np.uint8), "ids": data, "id_sizes": ids.lengths.astype(np.uint32)}


def read_profiles(arrays: dict[str, npt.NDArray[Any]]) -> dict[str, Any]:
    """What ``profile_arrays`` gave, as ``profiles`` and ``ids``."""
    return {"profiles": arrays["profiles"].view(PROFILE), "ids": Strings(arrays["ids"], _offsets(arrays["id_sizes"]))}


def _offsets(sizes: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    offsets = np.zeros(len(sizes) + 1, np.int64)
    np.cumsum(sizes, out=offsets[1:])
    return offsets


def _cuts(sizes: npt.NDArray[Any], parts: int) -> list[int]:
    """Row numbers at which to cut so that every part has about the same bytes."""
    ends = np.cumsum(sizes)
    total = int(ends[-1]) if len(ends) else 0
    inner = np.searchsorted(ends, [total * part // parts for part in range(1, parts)], side="right")
    return [0, *(int(cut) for cut in inner), len(sizes)]
