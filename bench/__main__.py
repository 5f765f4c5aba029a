"""``python -m bench [NAME...]``: the benches one after another, each with its table, and the outcome of all.

What lives here: the list of benches. What does not: any measurement; each also runs alone as ``python -m bench.NAME``.
Every bench is a process of its own, so that none inherits the memory or the warm caches of another.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

from bench.traffic import ROOT

NAMES = (
    "sketch",
    "throughput",
    "memory",
    "memory_fleet",
    "recovery",
    "detection",
    "kafka",
    "latency",
    "limiter",
    "console",
    "letter",
)
LONG = ("letter",)
"""Run when named: an hour."""


def main(arguments: list[str] | None = None) -> int:
    """Run the named benches, all by default; 1 if any misses a mark or fails."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="every figure beside its mark and its peer")
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; default all but {', '.join(LONG)}"
    )
    options = parser.parse_args(arguments)
    unknown = set(options.names) - set(NAMES)
    if unknown:
        parser.error(f"no bench named {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    outcomes = []
    for name in options.names or [name for name in NAMES if name not in LONG]:
        started = time.monotonic()
        print(f"\n== {name}", flush=True)
        code = subprocess.run([sys.executable, "-m", f"bench.{name}"], cwd=ROOT, check=False).returncode
        outcomes.append((name, code, time.monotonic() - started))
    print("\n== outcome")
    for name, code, spent in outcomes:
        print(f"{name:12} {'ok' if code == 0 else 'BREACH' if code == 1 else f'failed with {code}':14} {spent:6.0f} s")
    return int(any(code for _, code, _ in outcomes))


if __name__ == "__main__":
    sys.exit(main())
