"""What a million active accounts and their fan-in keys cost in memory, beside the obvious Python structures.

What lives here: synthetic columns straight into the operators, and the counting of bytes: what the arrays say, and how
much the process grew. What does not: decoding and text. Every measurement is a process of its own. The mix of keys is
natural traffic's: 98 % of them are used by one customer only, the others by two to some hundreds.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bench.figures import Figure, report
from bench.traffic import ROOT

ACCOUNTS = 1_000_000
ACCOUNT_BYTES = 1_229  # 1.2 KB
KEY_BYTES = 64
KEYS = 16  # of a prompt
SHARED_SLOTS = 0.08  # of uses: with four uses of each on average these are 2 % of the keys
SHARED_KEYS = 320_000
BATCH = 4_096
START_MS = 1_780_000_000_000
RUN_MS = 12 * 3_600_000
PEER_ACCOUNTS = 50_000
PEER_PROMPTS = 10_000


def rss() -> int:
    """Bytes of the process in memory, with what was freed given back first."""
    ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def batches(accounts: int) -> Iterator[tuple[Any, Any]]:
    """Events and sketches, one request an account, over half a day."""
    from models.event import EventBatch
    from models.sketch import Sketches
    from models.strings import Strings

    rng = np.random.default_rng(1)
    pool = rng.integers(1, 1 << 63, SHARED_KEYS, dtype=np.uint64)
    clients, domains = rng.integers(1, 1 << 63, (2, 500), dtype=np.uint64)
    blank = EventBatch.empty()
    for first in range(0, accounts, BATCH):
        rows = np.arange(first, min(first + BATCH, accounts))
        names, events, payments, networks = rng.integers(1, 1 << 63, (4, len(rows)), dtype=np.uint64)
        zeros = np.zeros(len(rows), np.int64)
        values = {name: zeros.astype(getattr(blank, name).dtype) for name in _columns(blank)}
        values |= {"account": names, "customer": names, "event": events, "payment": payments}
        values |= {"ts": START_MS + rows * RUN_MS // accounts, "created": zeros + START_MS - RUN_MS}
        values |= {"network": (networks % np.uint64(200_000)) + np.uint64(1 << 40)}
        values |= {"client": clients[rows % 500], "email_domain": domains[rows % 499]}
        ids = Strings.of([f"{name:016x}" for name in names.tolist()])
        keys = rng.integers(1, 1 << 63, (len(rows), KEYS), dtype=np.uint64)
        shared = rng.random(keys.shape) < SHARED_SLOTS
        keys[shared] = pool[(SHARED_KEYS * rng.random(int(shared.sum())) ** 1.5).astype(np.int64)]
        sketches = Sketches(
            digest=events,
            tokens=np.full(len(rows), 80, np.int32),
            signature=np.zeros((len(rows), 64), np.uint32),
            bands=np.zeros((len(rows), 4), np.uint64),
            keys=keys.ravel(),
            key_offsets=np.arange(0, keys.size + 1, KEYS),
            reasoning=np.zeros(len(rows), np.bool_),
            truncated=np.zeros(len(rows), np.bool_),
        )
        yield EventBatch(**values, account_id=ids, prompt=Strings.of([""] * len(rows)), sketch={}), sketches


def _columns(events: Any) -> list[str]:
    return [name for name in events.arrays("") if name not in ("id_data", "id_offsets")]


def accounts(count: int) -> dict[str, float]:
    """Observe and the directory, per account."""
    from models.directory import Directory
    from models.observe import Observe

    warm_up = Observe()
    for events, sketches in batches(BATCH):
        warm = warm_up.process(events, sketches)
        Directory().add(warm.profiles, warm.profile_ids)
    observe, directory, before = Observe(), Directory(), rss()
    for events, sketches in batches(count):
        seen = observe.process(events, sketches)
        directory.add(seen.profiles, seen.profile_ids)
    del events, sketches, seen
    held = len(observe.accounts)
    arrays = observe.accounts.nbytes + observe.admission.seen.nbytes + directory.nbytes
    parts = {"observe": observe.accounts.nbytes / held, "directory": directory.nbytes / held}
    return {"rss": (rss() - before) / held, "nbytes": arrays / held, "count": held, **parts}


def keys(count: int) -> dict[str, float]:
    """Fan-in, per live key."""
    from models.fanin import FanIn
    from models.observe import Observe

    observe, fanin, uses, before = Observe(), FanIn(), 0, rss()
    for events, sketches in batches(count):
        fanin.process(observe.process(events, sketches).sightings)
        fanin.advance(observe.watermark_ms)
        uses += len(sketches.keys)
    fanin.advance(START_MS + 2 * RUN_MS)
    del events, sketches
    other = observe.accounts.nbytes + observe.admission.seen.nbytes
    tables = fanin.doorkeeper.nbytes + fanin.warm.nbytes + fanin.hot.nbytes
    live = int(np.count_nonzero(fanin.doorkeeper.cells))  # nothing has expired: half a day of a day's window
    return {
        "rss": (rss() - before - other - fanin.ring.nbytes) / live,
        "nbytes": tables / live,
        "count": live,
        "shared": len(fanin.warm) / live,
        "ring": fanin.ring.nbytes / live,
        "evicted": float(fanin.doorkeeper.counts[1]) / live,
        "uses": uses,
    }


@dataclass
class _Account:
    """What one writes first: the same windows as lists of integers."""

    first_seen: int
    last_ts: int
    requests: list[int] = field(default_factory=lambda: [0] * 24)
    follow_ups: list[int] = field(default_factory=lambda: [0] * 24)
    reasoning: list[int] = field(default_factory=lambda: [0] * 24)
    daily: list[int] = field(default_factory=lambda: [0] * 7)
    prompts: list[int] = field(default_factory=list)
    conversations: list[str] = field(default_factory=list)


def dataclasses(count: int) -> dict[str, float]:
    """A dictionary of dataclasses, per account."""
    before = rss()
    table = {f"{at:016x}": _Account(START_MS + at, START_MS + at) for at in range(count)}
    for at, account in enumerate(table.values()):
        account.prompts.append(hash((at, 1)))
        account.conversations.append(f"{at:08x}")
    return {"rss": (rss() - before) / len(table)}


def datasketch(count: int) -> dict[str, float]:
    """``MinHashLSH``, per prompt; its 4 bands of 4 are its keys."""
    from datasketch import MinHash, MinHashLSH

    rng = np.random.default_rng(1)
    index, before = MinHashLSH(params=(4, 4), num_perm=64), rss()
    shape = MinHash(num_perm=64)
    for at in range(count):
        values = rng.integers(0, 1 << 32, 64, dtype=np.uint64)
        index.insert(
            f"{at:016x}", MinHash(num_perm=64, hashvalues=values, permutations=shape.permutations, scheme=shape.scheme)
        )
    return {"rss": (rss() - before) / count}


CHILDREN: dict[str, tuple[Callable[[int], dict[str, float]], int]] = {
    "accounts": (accounts, ACCOUNTS),
    "keys": (keys, ACCOUNTS),
    "dataclasses": (dataclasses, PEER_ACCOUNTS),
    "datasketch": (datasketch, PEER_PROMPTS),
}


def measured(name: str) -> dict[str, float]:
    """The result of one measurement in a process of its own."""
    command = [sys.executable, "-m", "bench.memory", "--child", name]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    result: dict[str, float] = json.loads(done.stdout)
    return result


def figures() -> list[Figure]:
    """Bytes per account and per key."""
    of = {name: measured(name) for name in CHILDREN}
    account, key, classes, sketch = (of[name] for name in ("accounts", "keys", "dataclasses", "datasketch"))
    return [
        Figure(
            "memory of an active account",
            max(account["rss"], account["nbytes"]),
            "bytes",
            ACCOUNT_BYTES,
            most=True,
            peer=f"dict of dataclasses {classes['rss']:,.0f} bytes ({PEER_ACCOUNTS:,} accounts)",
            setting=f"{account['count']:,.0f} accounts, process grew by {account['rss']:,.0f} each, arrays by "
            f"{account['nbytes']:,.0f} (Observe {account['observe']:,.0f}, directory {account['directory']:,.0f}); "
            "arrays double, so just past a doubling it is up to twice as much",
        ),
        Figure(
            "memory of a live key",
            max(key["rss"], key["nbytes"]),
            "bytes",
            KEY_BYTES,
            most=True,
            peer=f"datasketch MinHashLSH 4x4 {sketch['rss']:,.0f} bytes a prompt, {sketch['rss'] / 4:,.0f} a key",
            setting=f"{key['count']:,.0f} live keys of {key['uses']:,.0f} uses, {key['shared']:.1%} of many customers; "
            f"process grew by {key['rss']:.1f} each, arrays {key['nbytes']:.1f}; {key['evicted']:.2%} evicted alive; "
            f"beside them the ring of recent sightings, {key['ring']:.1f} a key here",
        ),
    ]


def main(arguments: list[str] | None = None) -> int:
    """Print the figures; 1 above a mark."""
    parser = argparse.ArgumentParser(prog="python -m bench.memory", description=__doc__.splitlines()[0])
    parser.add_argument("--child", choices=CHILDREN, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child:
        measure, count = CHILDREN[options.child]
        print(json.dumps(measure(count)))
        return 0
    return report(figures())


if __name__ == "__main__":
    sys.exit(main())
