"""Members: who is named with which cluster, as the signals say.

What lives here: the newest signal of every account, and the accounts of a cluster. What does not: deciding either.
"""

from __future__ import annotations

import msgspec

from models.alert import Signal

ACCOUNTS_MAX = 2_000_000
_DECODER = msgspec.json.Decoder(Signal)


class Members:
    """A table of the signals feed; beyond ``accounts_max`` the account heard of longest ago is dropped and counted."""

    def __init__(self, accounts_max: int = ACCOUNTS_MAX) -> None:
        self.dropped = 0
        self.newest_ms = 0
        self._accounts_max = accounts_max
        self._signals: dict[str, Signal] = {}
        self._clusters: dict[str, dict[str, None]] = {}

    def __len__(self) -> int:
        return len(self._signals)

    def take(self, account_id: str, signal: Signal | None) -> None:
        """Take what the feed says of an account; None clears it. An older signal than the known one changes nothing."""
        known = self._signals.get(account_id)
        if signal is not None and known is not None and (signal.ts, signal.seq) < (known.ts, known.seq):
            return
        self._forget(account_id)
        if signal is None:
            return
        self.newest_ms = max(self.newest_ms, signal.ts)
        self._signals[account_id] = signal
        if signal.cluster_id is not None:
            self._clusters.setdefault(signal.cluster_id, {})[account_id] = None
        if len(self._signals) > self._accounts_max:
            self.dropped += 1
            self._forget(next(iter(self._signals)))

    def _forget(self, account_id: str) -> None:
        known = self._signals.pop(account_id, None)
        if known is None or known.cluster_id is None:
            return
        accounts = self._clusters[known.cluster_id]
        del accounts[account_id]
        if not accounts:
            del self._clusters[known.cluster_id]

    def signal(self, account_id: str) -> Signal | None:
        """The newest signal of an account."""
        return self._signals.get(account_id)

    def cluster_of(self, account_id: str) -> str | None:
        """The cluster an account is named with."""
        signal = self._signals.get(account_id)
        return None if signal is None else signal.cluster_id

    def of(self, cluster_id: str) -> list[str]:
        """The accounts named with a cluster, in the order of their ids."""
        return sorted(self._clusters.get(cluster_id, ()))


def read_signal(data: bytes) -> Signal | None:
    """The signal in a record; None where it is none, which callers count."""
    try:
        return _DECODER.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
