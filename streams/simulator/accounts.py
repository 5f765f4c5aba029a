"""The accounts of a run as columns: names, age, organisation, addresses, clients, payment.

What lives here: attributes that stay with an account. What does not: what it sends. Campaign accounts come from the
same functions as honest ones and differ only where a knob says so; names are random, so nothing about them tells
who is who.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

Int64 = npt.NDArray[np.int64]
UInt64 = npt.NDArray[np.uint64]

EPOCH = 1_772_409_600_000
"""First millisecond of every run: Monday 2 March 2026, 00:00 UTC."""
DAY_MS = 86_400_000
HOUR_MS = 3_600_000
RELEASE_H = 29.0
"""A new model comes out so many hours into the run."""

CLIENTS = 240
DOMAINS = 400
COUNTRIES = ("US", "IN", "DE", "GB", "BR", "JP", "FR", "CN", "KR", "CA", "ES", "NL", "PL", "ID", "VN", "MX", "SG", "AU")
PLANS = ("free", "pro", "team", "api", "business")
ABSENT = ("client_ip", "user_agent", "ja4", "payment_id", "account_created", "email_domain", "conversation_id", "plan")
"""Fields an account's integration may not send; bit ``i`` of ``absent`` stands for entry ``i``."""
_ABSENT_SHARES = (0.03, 0.04, 0.15, 0.08, 0.03, 0.10, 0.06, 0.2)
_AGE_MEAN_DAYS = 260.0


@dataclass(frozen=True, slots=True)
class Profile:
    """How a cohort of accounts was set up; every default is what unrelated customers look like.

    ``age_days`` (low, high) draws ages evenly instead of from the population; ``signup_share`` of the cohort signs up
    evenly during the run. Fans are accounts per shared value, 1 = own. An ``org_fan`` above 1 rolls that many accounts
    up to one customer; ``in_order`` fills fans with neighbours, which then share everything.
    """

    age_days: tuple[float, float] | None = None
    signup_share: float = 0.03
    payment_fan: int = 1
    network_fan: int = 1
    one_network: bool = False
    one_client: bool = False
    org_fan: int = 1
    in_order: bool = False
    own_org_share: float = 0.3
    education: bool = False


@dataclass(slots=True)
class Accounts:
    """One entry an account; an account is named by its index."""

    name: UInt64
    org: UInt64  # 0 = none
    created: Int64
    address: npt.NDArray[np.uint32]  # shape (n, 2): where it usually and sometimes is
    client: npt.NDArray[np.int16]
    payment: UInt64
    domain: npt.NDArray[np.int16]
    plan: npt.NDArray[np.int8]
    country: npt.NDArray[np.int8]
    absent: npt.NDArray[np.uint8]
    taste: npt.NDArray[np.float64]  # 0..1: which model it likes, when it follows a new one

    def __len__(self) -> int:
        return len(self.name)


def enrol(rng: np.random.Generator, n: int, profile: Profile, *, start: int = EPOCH, days: float = 2.0) -> Accounts:
    """``n`` accounts set up as ``profile`` says; ages count back from ``start``, signups spread over ``days``."""
    age_days = rng.exponential(_AGE_MEAN_DAYS, n) if profile.age_days is None else rng.uniform(*profile.age_days, n)
    created = start - (age_days * DAY_MS).astype(np.int64)
    fresh = (rng.random(n) < profile.signup_share) & (profile.age_days is None)
    created = np.where(fresh, EPOCH + rng.integers(int(days * DAY_MS), size=n), created)
    absent = np.zeros(n, np.uint8)
    for bit, share in enumerate(_ABSENT_SHARES):
        absent |= ((rng.random(n) < share) << bit).astype(np.uint8)
    own = rng.random(n) < profile.own_org_share
    org = np.where(own, names(rng, n), np.uint64(0))
    places = np.arange(n)
    domain = (DOMAINS * rng.random(n) ** 6).astype(np.int16)
    return Accounts(
        name=names(rng, n),
        org=names(rng, n)[places // profile.org_fan] if profile.org_fan > 1 else org,
        created=created,
        address=_addresses(rng, n, profile),
        client=np.full(n, _clients(rng, 1)[0]) if profile.one_client else _clients(rng, n),
        payment=names(rng, n)[(places if profile.in_order else rng.permutation(n)) // profile.payment_fan],
        domain=np.full(n, DOMAINS - 1 - int(rng.integers(100)), np.int16) if profile.education else domain,
        plan=rng.choice(len(PLANS), n, p=[0.2, 0.35, 0.15, 0.25, 0.05]).astype(np.int8),
        country=(len(COUNTRIES) * rng.random(n) ** 2).astype(np.int8),
        absent=absent,
        taste=rng.random(n),
    )


def combined(cohorts: list[Accounts]) -> Accounts:
    """All cohorts end to end."""
    columns = {
        field.name: np.concatenate([getattr(part, field.name) for part in cohorts]) for field in fields(Accounts)
    }
    return Accounts(**columns)


def names(rng: np.random.Generator, n: int) -> UInt64:
    """``n`` random 64-bit names, none zero."""
    return rng.integers(1, 2**64, n, dtype=np.uint64)


def _clients(rng: np.random.Generator, n: int) -> npt.NDArray[np.int16]:
    return (CLIENTS * rng.random(n) ** 3).astype(np.int16)


def _addresses(rng: np.random.Generator, n: int, profile: Profile) -> npt.NDArray[np.uint32]:
    networks = _public_networks(rng, 2 * n).reshape(n, 2)
    if profile.one_network:
        networks[:] = networks[0, 0]
    elif profile.network_fan > 1:
        places = np.arange(n) if profile.in_order else rng.permutation(n)
        networks = np.repeat(networks[places // profile.network_fan, :1], 2, axis=1)
    hosts = rng.integers(1, 255, (n, 2), dtype=np.uint32)
    return (networks << np.uint32(8)) | hosts


def _public_networks(rng: np.random.Generator, n: int) -> npt.NDArray[np.uint32]:
    """Random public /24 networks, as their upper 24 bits, clear of the private and special blocks."""
    first = rng.choice([*range(11, 100), *range(128, 169), *range(173, 192), *range(193, 198), *range(204, 223)], n)
    return (first.astype(np.uint32) << np.uint32(16)) | rng.integers(0, 2**16, n, dtype=np.uint32)
