"""The mark of a self-test's accounts: how everybody downstream knows that a campaign is ours.

What lives here: the names of such accounts and how they are recognised. What does not: their traffic
(``streams.selftest``). The mark is keyed: who could give accounts these names by guessing could make a campaign that
nobody is told of.
"""

from __future__ import annotations

from models.alert import Alert
from models.hashing import KeyedHash

PREFIX = "distilwatch-selftest"


class CanaryMark:
    """Names accounts of self-tests, and knows them again, under one secret."""

    def __init__(self, keyed_hash: KeyedHash) -> None:
        self._hash = keyed_hash.derive(b"selftest")

    def account(self, run: str, number: int) -> str:
        """The name of one account of a run."""
        return f"{PREFIX}-{run}-{self._proof(run)}-{number:04d}"

    def _proof(self, run: str) -> str:
        return self._hash.digest(self._hash.text(run), "selftest")

    def knows(self, account_id: str) -> bool:
        """Whether an account is one of a self-test under this secret."""
        parts = account_id.removeprefix(f"{PREFIX}-").split("-")
        return account_id.startswith(PREFIX) and len(parts) == 3 and parts[1] == self._proof(parts[0])

    def made(self, alert: Alert) -> bool:
        """Whether an alert speaks of a self-test and of nobody else, as far as its sample of members says."""
        return bool(alert.members_sample) and all(map(self.knows, alert.members_sample))
