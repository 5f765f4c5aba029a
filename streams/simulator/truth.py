"""The truth of a run: who belonged to which campaign, kept apart from the events.

What lives here: counting and its JSON form. What does not: anything a detector may see.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import numpy.typing as npt

from streams.simulator.campaign import Campaign

if TYPE_CHECKING:
    from streams.simulator.groups import Batch
    from streams.simulator.simulation import Simulation, Stream


class Member(msgspec.Struct, frozen=True):
    """One campaign account and what it sent: ``requests`` of harvest, ``cover`` of organic talk."""

    account_id: str
    pool: int
    requests: int
    cover: int


class CampaignTruth(msgspec.Struct, frozen=True):
    """One campaign; times in ms since the epoch, ``end`` exclusive; 0 where it sent nothing."""

    name: str
    start: int
    end: int
    requests: int
    cover: int
    templates: int
    accounts: list[str]
    members: list[Member]


class Truth(msgspec.Struct, frozen=True):
    """One run."""

    scenario: str
    seed: int
    scale: float
    days: float
    campaigns: list[CampaignTruth]
    benign_accounts: int
    populations: dict[str, int]
    events: int

    @classmethod
    def of(cls, run: Simulation) -> Truth:
        """The truth of what ``run`` has produced so far."""
        campaigns = [_campaign(run, campaign) for campaign in run.campaigns]
        members = sum(len(campaign.accounts) for campaign in campaigns)
        return cls(
            scenario=run.scenario.name,
            seed=run.options.seed,
            scale=run.options.scale,
            days=run.days,
            campaigns=campaigns,
            benign_accounts=len(run.accounts) - members,
            populations=run.populations(),
            events=int(run.tally.events.sum()),
        )

    def encode(self) -> bytes:
        """The truth as one JSON object."""
        return msgspec.json.format(msgspec.json.encode(self), indent=1)


class Tally:
    """Counts by account while a run is streamed; arrays of shape ``(accounts,)``."""

    def __init__(self, accounts: int) -> None:
        self.events: npt.NDArray[np.int64] = np.zeros(accounts, np.int64)
        self.harvest: npt.NDArray[np.int64] = np.zeros(accounts, np.int64)
        self.spans: dict[str, tuple[int, int]] = {}

    def count(self, streams: Sequence[Stream], batches: Sequence[Batch]) -> None:
        """Add one slice, stream by stream."""
        accounts = np.concatenate([batch.events.account for batch in batches])
        np.add.at(self.events, accounts, 1)
        for stream, batch in zip(streams, batches, strict=True):
            events = batch.events
            if isinstance(stream, Campaign) and len(events):
                np.add.at(self.harvest, events.account, 1)
                first, last = int(events.ts.min()), int(events.ts.max()) + 1
                known = self.spans.get(stream.name, (first, last))
                self.spans[stream.name] = (min(first, known[0]), max(last, known[1]))


def _campaign(run: Simulation, campaign: Campaign) -> CampaignTruth:
    members = []
    for number, pool in enumerate(campaign.pools):
        for index in range(pool.first, pool.first + pool.size):
            harvest = int(run.tally.harvest[index])
            name = f"{int(run.accounts.name[index]):016x}"
            members.append(Member(name, number, harvest, int(run.tally.events[index]) - harvest))
    start, end = run.tally.spans.get(campaign.name, (0, 0))
    return CampaignTruth(
        name=campaign.name,
        start=start,
        end=end,
        requests=sum(member.requests for member in members),
        cover=sum(member.cover for member in members),
        templates=len(campaign.templates),
        accounts=[member.account_id for member in members],
        members=members,
    )
