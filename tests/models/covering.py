"""Covered requests made by hand: rows as templates and clusters are read from, with nobody's text behind them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from models.clusters import Candidate, Ground, find_candidates
from models.committed import find_committed
from models.covered import COVERED, KEYS_MAX
from models.directory import Directory
from models.sighting import FIRST_TURN, PROFILE
from models.strings import Strings
from models.swarm import Swarm
from models.templates import Templates, find_templates
from tests.models.inputs import START

Use = tuple[int, list[int]]
"""A request by account and key numbers."""
MIX = 0x9E3779B97F4A7C15
ACTIVE = 100_000


def mixed(number: int) -> int:
    """A 64-bit hash of a small number, all its bits in use."""
    value = (number + 1) * MIX & 0xFFFFFFFFFFFFFFFF
    value = (value ^ (value >> 31)) * 0xD6E8FEB86659FD93 & 0xFFFFFFFFFFFFFFFF
    return value ^ (value >> 32)


def template(number: int, width: int = 4) -> list[int]:
    """The keys of one template; no other has any of them."""
    return list(range(number * width, (number + 1) * width))


def covered(uses: Sequence[Use], **columns: Any) -> np.ndarray:
    """COVERED rows of ``uses`` a second apart; each account its own customer and network, each prompt its own.

    Every account sends nothing else unless ``requests_24h`` says so.
    """
    rows = np.zeros(len(uses), COVERED)
    rows["key"] = [mixed(at) for at in range(len(uses))]
    rows["ts"] = START + 1_000 * np.arange(len(uses))
    rows["account"] = rows["customer"] = [mixed(account) for account, _ in uses]
    rows["network"] = rows["account"] ^ np.uint64(7)
    rows["prompt"] = rows["key"] ^ np.uint64(9)
    rows["tokens"] = 80
    rows["flags"] = FIRST_TURN
    rows["age_days"] = -1
    rows["hours_24h"] = 1
    sent: dict[int, int] = {}
    for at, (account, keys) in enumerate(uses):
        sent[account] = sent.get(account, 0) + 1
        rows["requests_24h"][at] = sent[account]
        rows["width"][at] = len(keys)
        rows["keys"][at, : len(keys)] = keys
    for name, values in columns.items():
        rows[name] = values
    return rows


def dealt(accounts: range, templates: range, requests: int, seed: int = 1) -> list[Use]:
    """Each account sends ``requests`` requests with templates drawn at random, in random order of all."""
    generator = np.random.default_rng(seed)
    who = generator.permutation(np.repeat(np.asarray(accounts), requests))
    used = generator.integers(templates.start, templates.stop, len(who))
    return [(int(account), template(int(number))) for account, number in zip(who, used, strict=True)]


def keys_of(rows: np.ndarray) -> int:
    """One more than the highest key number."""
    held = np.arange(KEYS_MAX) < rows["width"][:, None]
    return int(rows["keys"][held].max(initial=-1)) + 1


def templates_of(rows: np.ndarray) -> Templates:
    return find_templates(rows, keys_of(rows))


def candidates_of(rows: np.ndarray, *, active: int = ACTIVE, swarm: Swarm | None = None) -> list[Candidate]:
    templates = templates_of(rows)
    everyone = find_committed(rows, templates)
    swarm = swarm or Swarm.none(len(rows), len(templates.requests))
    return find_candidates(Ground(rows, templates, everyone, swarm), active)


def hashes(accounts: range) -> set[int]:
    return {mixed(account) for account in accounts}


def members(candidate: Candidate) -> set[int]:
    """The hashes of its committed accounts."""
    return {int(account) for account in candidate.account[candidate.committed]}


def profiles(accounts: range, **columns: Any) -> tuple[np.ndarray, Strings]:
    """Profiles of ``accounts``, each its own customer with its own payment, network and client, of unknown age."""
    rows = np.zeros(len(accounts), PROFILE)
    rows["key"] = rows["customer"] = [mixed(account) for account in accounts]
    for name in ("payment", "network", "client"):
        rows[name] = rows["key"]
    rows["ts"] = START
    rows["created"] = -1
    for name, values in columns.items():
        rows[name] = values
    return rows, Strings.of([f"account-{account}" for account in accounts])


def directory_of(accounts: range, **columns: Any) -> Directory:
    directory = Directory()
    directory.add(*profiles(accounts, **columns))
    return directory
