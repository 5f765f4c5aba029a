"""What a whole fleet costs: memory by live accounts, and memory and time an event as events go by.

What lives here: 10 million accounts through the operators that know accounts, and weeks of events over a fleet that
slowly changes. What does not: bytes of one account and one key beside their peers (``memory``), decoding and text.

``accounts`` is Observe in as many partitions as a worker has by default, and the directory of Campaigns with what waits
for it. ``events`` is Observe, Fan-in and that directory at ``DAY_EVENTS`` a day: by the tenth day whatever a window or
a horizon of a day or a week lets go has begun to go. Hubs are not evaluated: how many there are depends on the traffic.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.figures import Figure, report
from bench.memory import BATCH, batches, rss
from bench.traffic import ROOT

FULL = 10_000_000
LINEAR = 1.5
FULL_BYTES = 6e9
PARTITIONS = 4
DAY_MS = 86_400_000
DAY_EVENTS = 100_000
LIVE = 60_000
TURNOVER_DAY = 0.01
WINDOW = 1_000_000
EVENTS = 20_000_000
FLAT = 1.10


def _fed(observers: list[Any], campaigns: Any, events: Any, sketches: Any) -> Any:
    """One batch through its partition of Observe and into the directory; gives its sightings."""
    observe = observers.pop(0)
    observers.append(observe)
    seen = observe.process(events, sketches)
    campaigns.learn(seen.profiles, seen.profile_ids)
    campaigns.advance(observe.watermark_ms)
    return seen.sightings


def _operators(partitions: int) -> tuple[list[Any], Any]:
    from models.announce import Announcer
    from models.campaigns import Campaigns
    from models.hashing import KeyedHash
    from models.observe import Observe

    return [Observe() for _ in range(partitions)], Campaigns(Announcer(KeyedHash(b"bench-secret-0123456789")))


def accounts(count: int) -> dict[str, float]:
    """Bytes by which the process grew for ``count`` live accounts, at its end and at the most."""
    from bench.kafka import memory_most

    observers, campaigns = _operators(PARTITIONS)
    for events, sketches in batches(BATCH):
        _fed(*_operators(1), events, sketches)
    before = rss()
    for events, sketches in batches(count):
        _fed(observers, campaigns, events, sketches)
    campaigns.advance(campaigns.watermark_ms + DAY_MS)
    held = sum(len(observe.accounts) for observe in observers)
    if held != count or len(campaigns.directory) != count:
        raise RuntimeError(f"{held:,} and {len(campaigns.directory):,} accounts of {count:,} are known")
    return {"rss": rss() - before, "most": memory_most() - before, "base": before}


def events(count: int) -> dict[str, float]:
    """CPU per event and bytes after the first million events, and at the end."""
    from models.fanin import FanIn

    (observe,), campaigns = _operators(1)
    fanin, rng = FanIn(), np.random.default_rng(7)
    source, start = batches(1 << 60), None
    done, spent, windows = 0, 0.0, []
    while done < count:
        batch, sketches = next(source)
        start = int(batch.ts[0]) if start is None else start
        rows = done + np.arange(len(batch))
        batch.ts = start + rows * DAY_MS // DAY_EVENTS
        oldest = (rows * TURNOVER_DAY * LIVE / DAY_EVENTS).astype(np.int64)
        who = oldest + rng.integers(0, LIVE, len(batch))
        batch.account = batch.customer = (who + 1).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        begun = time.process_time()
        fanin.process(_fed([observe], campaigns, batch, sketches))
        fanin.advance(observe.watermark_ms)
        spent += time.process_time() - begun
        done += len(batch)
        if done // WINDOW > len(windows):
            windows.append((spent, float(rss())))
            spent = 0.0
    first, last = windows[1], windows[-1]
    return {
        "first_us": first[0] / WINDOW * 1e6,
        "last_us": last[0] / WINDOW * 1e6,
        "first_bytes": first[1],
        "last_bytes": last[1],
        "live": len(observe.accounts),
        "known": len(campaigns.directory),
        "keys": float(np.count_nonzero(fanin.doorkeeper.cells)),
    }


CHILDREN: dict[str, Callable[[int], dict[str, float]]] = {"accounts": accounts, "events": events}


def measured(name: str, count: int) -> dict[str, float]:
    """The result of one measurement in a process of its own."""
    command = [sys.executable, "-m", "bench.memory_fleet", "--child", name, str(count)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, float] = json.loads(done.stdout)
    return result


def of_accounts(count: int) -> list[Figure]:
    """Memory of the whole fleet, and of an account in it beside one of a tenth of it."""
    tenth, whole = measured("accounts", count // 10), measured("accounts", count)
    each, before = whole["rss"] / count, tenth["rss"] / (count // 10)
    return [
        Figure(
            f"memory of {count / 1e6:g} M accounts",
            (whole["base"] + whole["most"]) / 1e9,
            "GB",
            FULL_BYTES / 1e9 * count / FULL,
            most=True,
            setting=f"the most the process had, of which {whole['base'] / 1e9:.2f} GB before the first account; "
            f"Observe in {PARTITIONS} partitions and the directory of Campaigns; keys are not among it",
        ),
        Figure(
            "memory of an account, beside a tenth of them",
            each / before,
            "times",
            LINEAR,
            most=True,
            setting=f"{each:,.0f} and {before:,.0f} bytes; tables double, so it may differ by up to twice",
        ),
    ]


def of_events(count: int) -> list[Figure]:
    """How cost and memory move from the second million events to the last."""
    run = measured("events", count)
    setting = (
        f"{count / 1e6:.0f} M events of {run['live']:,.0f} live accounts over {count / DAY_EVENTS:.0f} days, "
        f"{run['known']:,.0f} known, {run['keys']:,.0f} cells of keys"
    )
    return [
        Figure(
            "cost of an event, last million to second",
            run["last_us"] / run["first_us"],
            "times",
            FLAT,
            most=True,
            setting=f"{run['first_us']:.2f} and {run['last_us']:.2f} us of CPU; {setting}",
        ),
        Figure(
            "memory, last million to second",
            run["last_bytes"] / run["first_bytes"],
            "times",
            FLAT,
            most=True,
            setting=f"{run['first_bytes'] / 1e6:,.0f} and {run['last_bytes'] / 1e6:,.0f} MB",
        ),
    ]


def main(arguments: list[str] | None = None) -> int:
    """Print the figures; 1 above a mark."""
    parser = argparse.ArgumentParser(prog="python -m bench.memory_fleet", description=__doc__.splitlines()[0])
    parser.add_argument("--accounts", type=int, default=FULL, help="default: %(default)s, which the mark is for")
    parser.add_argument("--events", type=int, default=EVENTS, help="default: %(default)s; the mark is for 100000000")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child:
        name, count = options.child
        print(json.dumps(CHILDREN[name](int(count))))
        return 0
    return report(of_accounts(options.accounts) + of_events(options.events))


if __name__ == "__main__":
    sys.exit(main())
