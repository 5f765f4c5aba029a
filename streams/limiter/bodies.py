"""Bodies of the intake to records: an array, a line each, or one object; checked as the worker will read them.

What lives here: where one record ends, which are good, and the account each goes by. What does not: HTTP and Kafka
(``intake``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np

from models.decode import Decoder, Origin
from models.hashing import KeyedHash
from models.limits import RECORD_BYTES_MAX

RECORDS_MAX: Final = 20_000
"""Records in one body; LiteLLM sends a hundred."""
NOT_RECORDS: Final = "not_records"
TOO_MANY: Final = "too_many_records"
SEVERAL_ACCOUNTS: Final = "several_accounts"

_ARRAY = msgspec.json.Decoder(list[msgspec.Raw])
_ANYTHING = msgspec.json.Decoder(msgspec.Raw)


class Record(NamedTuple):
    """One good record: its bytes, and the account whose partition it goes to."""

    account_id: str
    value: bytes


class Sorted(NamedTuple):
    """What a body held: good records, and the places of the others with their reasons."""

    good: list[Record]
    bad: dict[int, str]


def split(body: bytes) -> list[bytes]:
    """The records of a body; what is no JSON at all comes out line by line, for the decoder to refuse."""
    text = body.strip()
    try:
        if text.startswith(b"["):
            return [bytes(item) for item in _ARRAY.decode(text)]
        return [bytes(_ANYTHING.decode(text))] if text else []
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return [line for line in text.split(b"\n") if line.strip()]


class Sorter:
    """Tells good records from bad; the worker's own decoder, under a secret of no meaning."""

    def __init__(self) -> None:
        self._decoder = Decoder(KeyedHash(b"the intake keeps no hash"), record_bytes_max=RECORD_BYTES_MAX)
        self.sort([b"{}"])  # loads the compiled code

    def sort(self, records: Sequence[bytes]) -> Sorted:
        """Decode the records and keep nothing of what they say but their accounts."""
        if len(records) > RECORDS_MAX:
            return Sorted([], dict.fromkeys(range(len(records)), TOO_MANY))
        decoded = self._decoder.decode(records, Origin("intake", 0, 0))
        bad = {reject.offset: reject.reason for reject in decoded.rejects}
        good: dict[int, int] = {}
        for at, row in enumerate(decoded.rows.tolist()):
            first = good.setdefault(row, at)
            if decoded.batch.account[first] != decoded.batch.account[at]:
                bad[row] = SEVERAL_ACCOUNTS  # its key could name only one of them
        kept = [row for row in good if row not in bad]
        ids = decoded.batch.account_id.take(np.array([good[row] for row in kept], np.int64))
        return Sorted([Record(account, records[row]) for account, row in zip(ids, kept, strict=True)], bad)
