"""Named scenarios: which campaigns run inside how large a fleet, for how long.

What lives here: the table, and scaling it. What does not: what the knobs mean (``campaign``). Sizes are those of
scale 1; ``scale`` multiplies the accounts of campaigns and fleet alike. Campaigns start half a day in, so that the
fleet has a past.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from models.errors import ConfigError
from streams.simulator import fleet
from streams.simulator.campaign import Knobs

LETTER_DAYS = 45.5


@dataclass(frozen=True, slots=True)
class Scenario:
    """``benign_ratio`` honest events for one of the campaigns', or ``benign_accounts`` where that is not 0.

    ``decoys`` honest people are made to send one to four campaign prompts; ``copied`` honest library users sent the
    campaign's first template before it did; ``days`` is the length of the run at scale 1.
    """

    name: str
    text: str
    campaigns: tuple[Knobs, ...] = ()
    benign_ratio: float = 10.0
    benign_accounts: int = 0
    days: float = 2.0
    decoys: int = 0
    copied: int = 0
    one_template: bool = False

    def scaled(self, scale: float) -> Scenario:
        """The scenario with its accounts multiplied by ``scale``."""
        campaigns = tuple(replace(knobs, accounts=max(12, round(knobs.accounts * scale))) for knobs in self.campaigns)
        honest = round(self.benign_accounts * scale)
        return replace(
            self,
            campaigns=campaigns,
            benign_accounts=honest,
            decoys=round(self.decoys * scale),
            copied=round(self.copied * scale),
        )

    @property
    def fleet_accounts(self) -> int:
        """Honest accounts the run needs."""
        if self.benign_accounts:
            return self.benign_accounts
        return fleet.accounts_for(
            self.benign_ratio * sum(knobs.accounts * knobs.requests_per_day for knobs in self.campaigns)
        )


_LETTER = Knobs(
    accounts=25_000, requests_per_day=25.6, templates=100, family_count=6, payment_fan=20, network_fan=8,
    one_client=True, young=True, dispatch="round_robin",
)  # fmt: skip
_BARE = replace(_LETTER, payment_fan=1, network_fan=1, one_client=False, young=False)
_PLAIN = Knobs()

SCENARIOS: dict[str, Scenario] = {
    scenario.name: scenario
    for scenario in (
        Scenario(
            "letter", "25,000 accounts, 28.8 M requests in 45 days, 25 a day each",
            (_LETTER,), days=LETTER_DAYS,
        ),
        Scenario(
            "bare", "the letter with nothing shared and aged accounts",
            (_BARE,), days=LETTER_DAYS,
        ),
        Scenario(
            "hydra", "70 % of each account's traffic is cover",
            (replace(_PLAIN, requests_per_day=40, cover=0.7, payment_fan=12, dispatch="lru"),),
        ),
        Scenario(
            "small", "60 accounts",
            (replace(_PLAIN, accounts=60, templates=12, network_fan=6),), benign_accounts=6000,
        ),
        Scenario(
            "two", "two operators with disjoint templates",
            (replace(_PLAIN, accounts=300, payment_fan=15), replace(_PLAIN, accounts=200, network_fan=10, start_h=14)),
        ),
        Scenario(
            "two_shared", "two operators with the same templates",
            (
                replace(_PLAIN, accounts=300, payment_fan=15, templates=10),
                replace(_PLAIN, accounts=200, network_fan=10, templates=10),
            ),
            one_template=True,
        ),
        Scenario(
            "calm", "no campaign, every look-alike",
            benign_accounts=20_400,
        ),
        Scenario(
            "reasoning", "asks for reasoning",
            (replace(_PLAIN, accounts=300, reasoning=0.9, young=True),),
        ),
        Scenario(
            "pivot", "moves to the new model within a day of its release",
            (replace(_PLAIN, accounts=300, pivot_h=30.0, reasoning=0.3),),
        ),
        Scenario(
            "evasive", "salted, 20 % of words changed, human hours, nothing shared",
            (replace(_PLAIN, accounts=300, paraphrase=0.2, salt=1.0, human_hours=0.9, burst=4, dispatch="random"),),
        ),
        Scenario(
            "spread", "heavy-tailed load, staggered starts, two-turn chats, nothing shared",
            (replace(_PLAIN, accounts=300, load_spread=1.1, stagger_h=24, multi_turn=0.6, dispatch="random", burst=2),),
            days=3.0,
        ),
        Scenario(
            "replaced", "the pool is banned and replaced",
            (replace(_PLAIN, accounts=300, young=True, replace_at_h=36.0),), days=3.0,
        ),
        Scenario(
            "relay", "organic talk through one client",
            (replace(_PLAIN, accounts=300, organic=True, one_client=True, multi_turn=0.5),),
        ),
        Scenario(
            "thousand", "1,000 templates",
            (replace(_PLAIN, templates=1000, family_count=8),),
        ),
        Scenario(
            "trickle", "0.1 % of traffic",
            (replace(_PLAIN, accounts=40, requests_per_day=15, templates=12),), benign_ratio=999.0,
        ),
        Scenario(
            "percent", "1 % of traffic",
            (replace(_PLAIN, accounts=100, requests_per_day=12, templates=20),), benign_ratio=99.0,
        ),
        Scenario(
            "framing", "400 decoys around 60 accounts, and 500 honest users of a copied template",
            (replace(_PLAIN, accounts=60, templates=12),), benign_accounts=6000, decoys=400, copied=500,
        ),
        Scenario(
            "public", "viral templates put to use",
            (replace(_PLAIN, accounts=300, public=True),),
        ),
        Scenario(
            "reworded", "twenty wordings of each template, nothing shared",
            (replace(_PLAIN, accounts=300, templates=20, variants=20),),
        ),
        Scenario(
            "sticky", "templates pinned to one account for an hour",
            (replace(_PLAIN, accounts=300, dispatch="sticky", templates=20),),
        ),
        Scenario(
            "churn", "a tenth of the accounts lost and replaced each day",
            (replace(_PLAIN, accounts=300, churn_per_day=0.1, young=True),), days=4.0,
        ),
        Scenario(
            "bursty", "heavy-tailed load in bursts of six, nothing shared",
            (replace(_PLAIN, accounts=300, load_spread=1.3, burst=6, dispatch="random"),),
        ),
        Scenario(
            "harvest", "three turns in four go on with the harvested answer, nothing shared",
            (replace(_PLAIN, accounts=300, multi_turn=0.75),),
        ),
        Scenario(
            "cold", "under way before the first event is seen, nothing shared",
            (replace(_PLAIN, accounts=500, start_h=0.0),),
        ),
    )
}  # fmt: skip


def scenario_of(name: str, scale: float) -> Scenario:
    """The named scenario at ``scale``.

    Raises:
        ConfigError: no such scenario, or a scale that is not above 0.
    """
    if name not in SCENARIOS:
        raise ConfigError(f"no scenario {name!r}; there are: {', '.join(SCENARIOS)}")
    if not scale > 0:
        raise ConfigError(f"scale must be above 0, not {scale}")
    return SCENARIOS[name].scaled(scale)
