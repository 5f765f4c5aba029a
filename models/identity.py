"""Campaign identity: which cluster of today is which of yesterday, and what was already said about it.

What lives here: the memory of open and past campaigns, and matching. What does not: detection. Matching is one to one,
the largest cluster first, so that a passing merge cannot fuse two campaigns for good.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from models.alert import Severity

FORGET_MS = 28 * 86_400_000
SETTLED_MS = 3_600_000  # until then a campaign's first pool may still be coming round
MEMBERS_PART = 0.2  # of the cluster's accounts that a campaign must hold to lend it its id ...
CAMPAIGN_PART = 0.5  # ... or of the campaign's accounts that the cluster must hold
TEMPLATE_PART = 0.5  # of the cluster's requests under the campaign's template keys: a returning pool
TEMPLATE_KEYS_MAX = 4_096
SHARED_PART = 0.2  # of the accounts that came with new templates, also touching an open campaign: its newest templates


def is_part(accounts: npt.NDArray[np.uint64], told: npt.NDArray[np.uint64]) -> bool:
    """Whether ``accounts`` that have come once may be of the open campaign that ``told`` touched.

    Where a pool takes turns, templates that have just turned hot look like a campaign of their own until their accounts
    come round. To wait for that costs another pool some minutes, and a pool cannot buy more with a decoy, which would
    also have to be as large as itself.
    """
    return len(accounts) <= len(told) and bool(np.isin(accounts, told).mean() >= SHARED_PART)


class Campaign(msgspec.Struct):
    """One campaign, open or remembered."""

    cluster_id: str
    opened_ms: int
    first_seen_ms: int
    last_seen_ms: int
    open: bool = True
    updates: int = 0
    said_accounts: int = 0
    said_severity: Severity | Literal[""] = ""
    said_ms: int = 0
    said_requests: int = 0
    episode: int = 0
    requests_before: int = 0
    second_pool: bool = False  # told of, and still coming
    mode: str = ""  # in which the open episode is told
    members: dict[int, int] = {}  # account hash -> time until which its signal holds
    keys: dict[int, int] = {}  # template key -> last time it was seen in the campaign

    @property
    def settled_ms(self) -> int:
        """When its first pool has come round: whoever first appears later is of another."""
        return self.opened_ms + SETTLED_MS


class Memory:
    """All campaigns known, by id."""

    def __init__(self) -> None:
        self.campaigns: dict[str, Campaign] = {}
        self.waiting: list[npt.NDArray[np.uint64]] = []  # accounts of clusters that were found once

    def seen_before(self, accounts: npt.NDArray[np.uint64]) -> bool:
        """Whether most of one of the waiting clusters is in ``accounts``."""
        return any(2 * np.isin(waiting, accounts).sum() >= len(waiting) for waiting in self.waiting)

    def known_keys(self, now_ms: int) -> Iterator[int]:
        """The template keys of all campaigns that were told ``SETTLED_MS`` ago or earlier, some more than once."""
        for campaign in self.campaigns.values():
            if campaign.episode and now_ms >= campaign.settled_ms:
                yield from campaign.keys

    def match(
        self, clusters: list[tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64], npt.NDArray[np.int64]]]
    ) -> list[Campaign | None]:
        """The campaign each cluster continues, or None; clusters come as (accounts, template keys, key requests)."""
        taken: set[str] = set()
        matched: list[Campaign | None] = []
        for accounts, keys, requests in clusters:
            chosen = self._oldest(accounts, keys, requests, taken)
            if chosen is not None:
                taken.add(chosen.cluster_id)
            matched.append(chosen)
        return matched

    def _oldest(
        self,
        accounts: npt.NDArray[np.uint64],
        keys: npt.NDArray[np.uint64],
        requests: npt.NDArray[np.int64],
        taken: set[str],
    ) -> Campaign | None:
        members = set(accounts.tolist())
        for campaign in sorted(self.campaigns.values(), key=lambda known: (known.opened_ms, known.cluster_id)):
            if campaign.cluster_id in taken:
                continue
            common = len(members & campaign.members.keys())
            if common and (
                common >= MEMBERS_PART * len(members) or common >= CAMPAIGN_PART * max(len(campaign.members), 1)
            ):
                return campaign
            known = np.fromiter((key in campaign.keys for key in keys.tolist()), np.bool_, len(keys))
            if requests[known].sum() >= TEMPLATE_PART * max(int(requests.sum()), 1):
                return campaign
        return None

    def forget(self, now_ms: int) -> None:
        """Drop what was not seen for four weeks, and members whose signal has long ended."""
        stale = [name for name, known in self.campaigns.items() if now_ms - known.last_seen_ms > FORGET_MS]
        for name in stale:
            del self.campaigns[name]
        for campaign in self.campaigns.values():
            if len(campaign.keys) > TEMPLATE_KEYS_MAX:
                keys = np.fromiter(campaign.keys, np.uint64, len(campaign.keys))
                seen = np.fromiter(campaign.keys.values(), np.int64, len(keys))
                newest = np.lexsort((keys, -seen))[:TEMPLATE_KEYS_MAX]
                campaign.keys = dict(zip(keys[newest].tolist(), seen[newest].tolist(), strict=True))

    def snapshot(self) -> list[Any]:
        """All campaigns as plain values, in a canonical order, and the waiting clusters."""
        rows = sorted(self.campaigns.values(), key=lambda known: known.cluster_id)
        campaigns = [msgspec.to_builtins(row, str_keys=True) for row in rows]
        return [campaigns, [accounts.tolist() for accounts in self.waiting]]

    def restore(self, rows: list[Any]) -> None:
        """Take over what ``snapshot`` gave."""
        known = msgspec.convert(rows[0], list[Campaign], strict=False)
        self.waiting = [np.array(accounts, np.uint64) for accounts in rows[1]]
        self.campaigns = {campaign.cluster_id: campaign for campaign in known}
