"""Evidence: what each measured feature of a cluster speaks for, with its weight in points and one plain sentence.

What lives here: the reading of every feature, for and against, each capped so that no single source convicts. What does
not: measuring (``features``) and deciding (``verdict``). Where a person comes from is never evidence.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from models.alert import Evidence
from models.features import Features

MEAN_REQUESTS_MIN = 4.0  # a variance over fewer requests an account says nothing
HANDFUL, LARGE, VERY_LARGE = 20, 100, 400  # committed accounts
LIST_MIN = 3  # templates from which a cluster works through a list
WIDE = 0.6  # share of its accounts that use several, to say that it does
BYSTANDERS = 0.3  # share of committed among all who touched the templates, below which most are passers-by
CAME_ONCE = 2.0  # requests an account, below which the core stands on having come with the templates
TOGETHER = 0.8
"""The same where nobody has come round: of pools 0.85 and more are alike, of prompts that go round 0.65 to 0.7."""
AGED, AWOKEN = 0.3, 0.9  # share of young accounts at the most, of accounts that came with the templates at the least
OLD = 0.2  # share of new templates up to which a cluster is as old as the watch
NEW = 0.8  # share of new templates from which a cluster has come since the watch had settled
ALIKE = 1.3
"""`mixing` up to which accounts draw on one list alike: campaigns have 0.9 to 1.2, and people have favourites."""
OWN_TASKS = 2.0
"""`network_mixing` above which the networks are places with tasks of their own: schools have 2.7 to 5.7, pools 1."""
SEVERAL = 1.5  # accounts per customer from which a cluster looks like firms with their staff
Reading = Callable[[Features], Iterator[Evidence]]


def _steps(value: float, steps: tuple[tuple[float, float], ...], beyond: float) -> float:
    """The weight of the first step whose bound is at least ``value``."""
    return next((weight for bound, weight in steps if value <= bound), beyond)


def _percent(part: float) -> str:
    return f"{100 * part:.0f} %"


def _dealt(features: Features) -> bool:
    """Whether all accounts draw on one new list of templates alike, as from one dispatcher."""
    listed = features.templates >= LIST_MIN and features.several_templates >= WIDE and features.new_templates >= NEW
    return listed and 0.0 <= features.mixing <= ALIKE and not _passed_by(features)


def _even_load(features: Features) -> Iterator[Evidence]:
    if features.mean_requests < MEAN_REQUESTS_MIN:
        return
    value = features.dispersion
    weight = _steps(value, ((2.0, 2.0), (3.5, 1.0), (6.0, 0.0), (10.0, -1.0)), -3.0)
    if _dealt(features):  # a dispatcher can send a heavy-tailed load at no cost: it clears nobody then
        weight = max(weight, 0.0)
    how = "almost the same number of" if weight > 0 else "very different numbers of" if weight < 0 else "unequal"
    text = (
        f"The accounts send {how} template requests (variance {value:.1f} times the mean; organic users 10 and more)."
    )
    yield Evidence("even_load", value, 10.0, "variance/mean", weight, text)


def _early_even_load(features: Features) -> Iterator[Evidence]:
    if features.mean_requests >= MEAN_REQUESTS_MIN or features.evenness < 0:
        return
    value = features.evenness
    weight = _steps(value, ((1.25, 2.0), (1.6, 1.0), (2.5, 0.0), (4.0, -1.0)), -2.0)
    text = (
        f"Repeat use is spread as chance spreads one common rate ({value:.2f}; 1 is just that, organic users 2 to 10)."
    )
    if weight <= 0:
        text = f"Repeat use piles up on some of the accounts ({value:.2f}; one common rate would give 1)."
    yield Evidence("even_repeats", value, 2.0, "ratio", weight, text)


def _several_templates(features: Features) -> Iterator[Evidence]:
    if features.templates < LIST_MIN:
        if features.templates == 1:
            text = "One text is all that the accounts share, as after a tutorial or with a common starter."
            yield Evidence("one_template", 1.0, 3.0, "templates", -1.0, text)
        return
    value = features.several_templates
    weight = 2.0 if value >= WIDE else 0.0
    text = f"{_percent(value)} of the accounts work through several of the {features.templates} shared templates."
    yield Evidence("several_templates", value, 0.1, "share", weight, text)


def _mixing(features: Features) -> Iterator[Evidence]:
    if not _dealt(features):
        return
    value = features.mixing
    how = "no" if value < 1.1 else f"{value:.1f} times"
    text = (
        f"The accounts draw on the new templates alike: two requests of one account are {how} likelier to share one "
        "than two of different accounts; people have favourites."
    )
    yield Evidence("dealt_templates", value, 3.0, "ratio", 2.0, text)


def _bursts(features: Features) -> Iterator[Evidence]:
    value = features.burst
    weight = 2.0 if value < 0.15 else 0.0 if value < 0.35 else -1.0 if value < 0.65 else -2.0
    text = f"{_percent(value)} of the template requests come within five minutes of the account's request before."
    yield Evidence("no_bursts", value, 0.5, "share", weight, text)


def _follow_ups(features: Features) -> Iterator[Evidence]:
    value = features.follow_up
    weight = 1.0 if value < 0.05 else 0.0 if value <= 0.3 else -3.0
    text = f"{_percent(value)} of these accounts' requests continue a conversation."
    yield Evidence("single_turn", value, 0.4, "share", weight, text)


def _persistence(features: Features) -> Iterator[Evidence]:
    value = features.persistent
    if value < 0.5:
        return
    text = f"{_percent(value)} of the accounts are active in at least 12 different hours of the day."
    yield Evidence("round_the_clock", value, 0.1, "share", 1.0, text)


def _shared_attributes(features: Features) -> Iterator[Evidence]:
    kinds = (
        ("payment", "payment methods", features.payment_hubs, features.payment_part, features.payment_top),
        ("network", "networks", features.network_hubs, features.network_part, features.network_top),
    )
    best = 0.0
    for kind, words, hubs, part, top in kinds:
        weight = 0.0
        if hubs >= 3 and part >= 0.5 and top <= 0.6:
            weight = 3.0
        elif hubs >= 2 and part >= 0.5 and top <= 0.7:
            weight = 2.0
        elif top >= 0.9:
            weight = -2.0 if kind == "payment" else 0.0
        if weight == 0.0:
            continue
        if kind == "network" and features.network_mixing > OWN_TASKS:
            text = f"{hubs} networks are shared, each with templates of its own, as are those of schools and offices."
            yield Evidence("shared_network", part, 0.02, "share", 0.0, text)
            continue
        weight, best = (max(0.0, weight - best), max(best, weight)) if weight > 0 else (weight, best)
        text = f"{hubs} {words} are each shared by three or more accounts, together {_percent(part)} of them."
        if weight < 0:
            text = f"One {kind} method stands behind {_percent(top)} of the accounts, as with one customer or gateway."
        yield Evidence(f"shared_{kind}", part, 0.02, "share", weight, text)


def _one_network(features: Features) -> Iterator[Evidence]:
    if features.network_top > 0.5:
        part = _percent(features.network_top)
        text = f"{part} of the customers first came from one network, as from a campus or a gateway."
        yield Evidence("one_network", features.network_top, 0.05, "share", -3.0, text)


def _youth(features: Features) -> Iterator[Evidence]:
    if features.young >= 0.6 and features.young > 2 * max(features.young_fleet, 0.0):
        fleet = max(features.young_fleet, 0.0)
        text = f"{_percent(features.young)} of the accounts are younger than ten days; in the fleet {_percent(fleet)}."
        yield Evidence("young_accounts", features.young, features.young_fleet, "share", 1.0, text)


def _reasoning(features: Features) -> Iterator[Evidence]:
    if features.reasoning >= 0.5:
        text = f"{_percent(features.reasoning)} of the template requests ask for the model's reasoning."
        yield Evidence("reasoning_elicitation", features.reasoning, 0.05, "share", 1.0, text)


def _client(features: Features) -> Iterator[Evidence]:
    if features.client_lift >= 5 and features.client_part >= 0.5:
        part, lift = _percent(features.client_part), features.client_lift
        text = f"{part} of the accounts use one client build, {lift:.0f} times its part in the fleet."
        yield Evidence(
            "shared_client", features.client_part, features.client_part / features.client_lift, "share", 1.0, text
        )


def _repeats(features: Features) -> Iterator[Evidence]:
    if features.repeats > 0.03:
        part = _percent(features.repeats)
        text = f"{part} of the template requests were sent word for word by another customer, as a common exercise is."
        yield Evidence("common_items", features.repeats, 0.0, "share", -2.0, text)


def _new_templates(features: Features) -> Iterator[Evidence]:
    value = features.new_templates
    weight = 1.0 if value >= NEW else -2.0 if value <= OLD else 0.0
    text = f"{_percent(value)} of the template requests use shared text that nobody used when the watch had settled."
    yield Evidence("new_templates", value, 0.5, "share", weight, text)


def _new_accounts(features: Features) -> Iterator[Evidence]:
    value, fleet = features.new_accounts, features.new_accounts_fleet
    if value < 0:
        return
    weight = 2.0 if value >= 0.7 and value >= 1.5 * fleet else -2.0 if value <= fleet else 0.0
    text = f"{_percent(value)} of the accounts first appeared with the templates; in the fleet {_percent(fleet)}."
    yield Evidence("new_accounts", value, fleet, "share", weight, text)


def _dormant(features: Features) -> Iterator[Evidence]:
    fleet = features.new_accounts_fleet
    if not 0.0 <= features.young <= AGED or features.new_accounts < AWOKEN or features.new_accounts < 1.5 * fleet:
        return
    aged, unseen = _percent(1.0 - features.young), _percent(features.new_accounts)
    text = f"{aged} of the accounts are older than ten days, yet {unseen} were never seen before the templates came."
    yield Evidence("aged_accounts", features.new_accounts, fleet, "share", 1.0, text)


def _coming_again(features: Features) -> float:
    """The part of those who came once that would have come again, if all came at one rate."""
    rate = features.rate
    return 1.0 - rate / math.expm1(min(rate, 50.0)) if rate > 0 else 1.0


def _passed_by(features: Features) -> bool:
    """Whether most of those who used the templates were only passing; unknown of a pool that has not come round."""
    if features.rate <= 0 and features.new_accounts >= AWOKEN:
        return False
    return features.core_part < min(BYSTANDERS, 0.5 * _coming_again(features))


def _bystanders(features: Features) -> Iterator[Evidence]:
    value = features.core_part
    if _passed_by(features):
        text = (
            f"Only {_percent(value)} of the {features.touched:,} accounts that used the templates came back to them as "
            "a member does; a prompt that goes round is tried once or twice."
        )
        yield Evidence("bystanders", value, _coming_again(features), "share", -4.0, text)
    elif features.rate <= 0 and features.mean_requests < CAME_ONCE and value < TOGETHER:
        text = (
            f"Nobody has come back to the templates yet, and only {_percent(value)} of the {features.touched:,} "
            "accounts that used them came with them and send little else; all sorts try a prompt that goes round."
        )
        yield Evidence("bystanders", value, 1.0, "share", -2.0, text)


def _devotion(features: Features) -> Iterator[Evidence]:
    value = features.share
    weight = 1.0 if value >= 0.8 else 0.0
    text = f"The templates are {_percent(value)} of all that the middle account sends."
    yield Evidence("nothing_else", value, 0.3, "share", weight, text)


def _firms(features: Features) -> Iterator[Evidence]:
    value = features.accounts / max(features.customers, 1)
    if value < SEVERAL:
        return
    text = f"The accounts belong to {features.customers:,} organisations with {value:.1f} accounts each, as firms have."
    yield Evidence("organisations", value, 1.0, "accounts/customer", -2.0 if value >= 2 else -1.0, text)


def _scale(features: Features) -> Iterator[Evidence]:
    value = features.accounts
    if value < HANDFUL:
        text = f"Only {value:,} accounts are alike: among the many groups of a fleet so few come together by chance."
        yield Evidence("scale", value, HANDFUL, "accounts", -2.0, text)
    if value < LARGE:
        return
    weight = 1.0 if value < VERY_LARGE else 2.0
    text = (
        f"{value:,} accounts commit to the same templates; look-alikes of this size that are this alike are not known."
    )
    yield Evidence("scale", value, LARGE, "accounts", weight, text)


READINGS: tuple[Reading, ...] = (
    _even_load,
    _early_even_load,
    _several_templates,
    _mixing,
    _bursts,
    _follow_ups,
    _persistence,
    _shared_attributes,
    _one_network,
    _youth,
    _reasoning,
    _client,
    _repeats,
    _new_templates,
    _new_accounts,
    _dormant,
    _bystanders,
    _devotion,
    _firms,
    _scale,
)
"""Every reading, in the order in which an alert lists them."""


def weigh(features: Features) -> list[Evidence]:
    """All evidence that ``features`` give; the score is the sum of the weights."""
    return [evidence for reading in READINGS for evidence in reading(features)]
