"""The letter at full size: 294 million events of 45 days through the embedded host on two cores.

What lives here: the run, its progress and the gates. What does not: the traffic (``letter_pool``) and what the peers
do (``plain``). 25,000 accounts send 28.8 million requests inside ten times as much honest traffic. The run is JSON
lines to alerts, as ``replay`` reads them, in a process of its own pinned to two cores; making the lines is part of its
time and is also measured apart. ``--days`` runs the beginning: half a day before the campaign and so many days of it.
``--kafka`` runs a day of it through two workers on a real broker (``letter_kafka``).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import islice, pairwise
from typing import Any

from bench.detection.cases import MARKS
from bench.figures import Figure, report
from bench.kafka import memory_most
from bench.letter_pool import DAY_H, HOUR_MS, PAST_H, Pool, pool
from bench.plain import seconds_per_event
from bench.throughput import WARM_EVENTS, Clocks, run, stages
from bench.traffic import ROOT
from streams.records import RecordBatch
from tests.servers import Missing

DAYS = 45.0
CORES = 2
WORKERS = 2
EVENTS_PER_S = 88_000
BYTES_MAX = 6 << 30
PEER_EVENTS = 1_500
PEER_WARM_EVENTS = 200
SAY_S = 5.0
WATCH_H = 7
COUNTED_REQUESTS = 3
"""Fewer cannot be told from a visitor, so that recall does not count such an account."""


@dataclass(slots=True)
class Found:
    """What the run has said of clusters."""

    first: dict[str, int] = field(default_factory=dict)  # cluster -> when its first alert was
    named: dict[str, set[str]] = field(default_factory=dict)  # cluster -> accounts

    def note(self, decisions: Any) -> None:
        """Add what one batch decided."""
        for alert in decisions.alerts:
            if alert.cluster_id and alert.status == "open":
                self.first.setdefault(alert.cluster_id, alert.ts)
        for account, signal in decisions.signals:
            if signal is not None and signal.cluster_id:
                self.named.setdefault(signal.cluster_id, set()).add(account)

    def score(self, source: Pool, plan: list[tuple[int, int]]) -> dict[str, Any]:
        """The figures of detection, as ``bench.detection`` defines them."""
        members = set(source.members)
        requests = source.sent[:, [hour for hour, _ in plan]].sum(axis=1)
        counted = {name for name, sent in zip(source.members, requests, strict=True) if sent >= COUNTED_REQUESTS}
        clusters = set(self.first) | set(self.named)
        own = {cluster for cluster in clusters if 2 * len(self._of(cluster) & members) >= len(self._of(cluster)) > 0}
        inside = set().union(*(self._of(cluster) for cluster in own))
        wrong = set().union(*self.named.values()) - members
        opened = [self.first[cluster] for cluster in own if cluster in self.first]
        return {
            "delay_h": (min(opened) - source.start) / HOUR_MS if opened else float("nan"),
            "recall": len(inside & counted) / len(counted) if counted else float("nan"),
            "purity": len(inside & members) / len(inside) if inside else float("nan"),
            "clusters": len(own),
            "false": len(wrong),
            "honest": source.honest[max(hour for hour, _ in plan)],
        }

    def _of(self, cluster: str) -> set[str]:
        return self.named.get(cluster, set())


class Progress:
    """Says on standard error how far the run is."""

    def __init__(self, events: int) -> None:
        self._events = events
        self._started = self._said = time.monotonic()

    def say(self, read: int, alerts: int) -> None:
        """One line every few seconds."""
        now = time.monotonic()
        if now - self._said < SAY_S:
            return
        self._said = now
        rate = read / max(now - self._started, 1e-9)
        left = (self._events - read) / max(rate, 1e-9)
        sys.stderr.write(
            f"letter: {read:,} of {self._events:,} events ({read / self._events:.1%}), {rate:,.0f}/s, "
            f"{left / 60:.1f} min left, {memory_most() >> 20:,} MB, {alerts} alerts\n"
        )


class Weeks:
    """When each week began, from the campaign's second day on: what weeks of events make of the speed."""

    def __init__(self, source: Pool, plan: list[tuple[int, int]], past_h: int) -> None:
        ends = range(past_h + DAY_H, len(plan) + 1, 7 * DAY_H)
        self._begin = [source.total(plan[:hours]) for hours in ends]
        self._began: list[float] = []

    def note(self, read: int) -> None:
        """So many events were read until now."""
        while len(self._began) < len(self._begin) and read >= self._begin[len(self._began)]:
            self._began.append(time.monotonic())

    def rates(self) -> list[float]:
        """Events a second of each whole week."""
        events, seconds = (pairwise(each) for each in (self._begin, self._began))
        return [
            (end - first) / (later - before) for (first, end), (before, later) in zip(events, seconds, strict=False)
        ]


def timed(items: Iterator[RecordBatch], clocks: Clocks) -> Iterator[RecordBatch]:
    """The same batches; making each is counted as a stage of its own."""
    take = clocks.around("making lines", lambda: next(items, None))
    while (item := take()) is not None:
        yield item


def child(days: float, past_h: int) -> None:
    """The pinned run; its result as JSON on standard output."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    source = pool(days)
    plan = source.plan(days, past_h)
    run(source.batches(plan[-1:]), threads=True, events_max=WARM_EVENTS)
    alone = time.process_time()
    made = sum(len(batch.records) for batch in source.batches(plan[-1:]))
    alone = time.process_time() - alone
    total = source.total(plan)
    clocks, found, progress, weeks = Clocks(), Found(), Progress(total), Weeks(source, plan, past_h)

    def see(host: Any, decisions: Any) -> None:
        found.note(decisions)
        progress.say(host.totals.read, len(host.totals.alerts))
        weeks.note(host.totals.read)

    result = run(timed(source.batches(plan), clocks), threads=True, clocks=clocks, on_batch=see)
    result |= {"alone": alone / made, "bytes": memory_most(), "weeks": weeks.rates(), **found.score(source, plan)}
    print(json.dumps(result))


def measured(days: float, past_h: int) -> dict[str, Any]:
    """The result of a process of its own; its progress is shown."""
    command = [sys.executable, "-m", "bench.letter", "--child", str(days), str(past_h)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def part_of(source: Pool, days: float, past_h: int) -> str:
    """Which part of the letter is run, for people."""
    if days >= DAYS and past_h == PAST_H:
        return f"all of it, {source.total(source.plan(days, past_h)):,} events"
    whole = f", the whole has {source.total(source.plan(DAYS, PAST_H)):,}" if source.whole_day else ""
    run_now = f"{days * 24:.0f} hours of {DAYS:g} days of campaign and {past_h} of {PAST_H} hours before it"
    return f"A PART: {run_now}, {source.total(source.plan(days, past_h)):,} events{whole}"


def figures(days: float, past_h: int) -> list[Figure]:
    """Run ``days`` of the campaign through the embedded host."""
    source = pool(days)
    part = part_of(source, days, past_h)
    sys.stderr.write(f"letter: {part}\n")
    lines = (line for batch in source.batches([(0, 0)]) for line in batch.records)
    plain_s = seconds_per_event(islice(lines, PEER_EVENTS), warm=PEER_WARM_EVENTS)
    result = measured(days, past_h)
    events, cores = result["events"], min(CORES, len(os.sched_getaffinity(0)))
    rate = events / result["wall"]
    evaluation_ms = 1000 * result["stages"]["campaigns"] / max(result["evaluations"], 1)
    setting = (
        f"{part}; {result['wall'] / 60:.1f} min on {cores} cores; CPU {result['cpu'] / events * 1e6:.1f} us an event: "
        f"{stages(result)}; making lines without the rest {result['alone'] * 1e6:.1f}; {result['evaluations']} "
        f"evaluations of {evaluation_ms:,.0f} ms, {result['covered']:,} covered requests, {result['alerts']} alerts"
    )
    if result["weeks"]:
        setting += f"; weeks from the second day on: {', '.join(f'{rate:,.0f}' for rate in result['weeks'])} events/s"
    peer = f"plain composition {1 / plain_s:,.0f}/s on one core"
    return [
        Figure("the letter, JSON lines to alerts", rate, "events/s", EVENTS_PER_S, peer=peer, setting=setting),
        Figure("the letter, most memory", result["bytes"] / (1 << 30), "GiB", BYTES_MAX / (1 << 30), most=True),
        *detection(result, days, past_h),
    ]


def figures_on_kafka(days: float, past_h: int) -> list[Figure]:
    """Run ``days`` of the campaign through two workers on a broker."""
    from bench import letter_kafka

    source = pool(days)
    plan, part = source.plan(days, past_h), part_of(source, days, past_h)
    sys.stderr.write(f"letter: {part}\n")
    spent, decisions = letter_kafka.run(source, plan, WORKERS)
    found = Found()
    found.note(decisions)
    events, rate = spent["events"], spent["events"] / spent["wall"]
    each = ", ".join(f"{cpu / events * 1e6:.1f}" for cpu in spent["cpu"])
    setting = (
        f"{part}; {WORKERS} workers, a broker and a producer on {os.cpu_count()} cores, waiting after each hour; "
        f"CPU of the workers {each} us an event"
    )
    return [
        Figure("the letter over Kafka", rate, "events/s", setting=setting),
        Figure("the letter over Kafka, most memory of a worker", spent["bytes"] / (1 << 30), "GiB", 6.0, most=True),
        *detection(found.score(source, plan), days, past_h),
    ]


def detection(result: dict[str, Any], days: float, past_h: int) -> list[Figure]:
    """The marks of ``bench.detection`` for the letter at its full pace.

    They bind after a watch in which known text has settled, and that of recall over whole days.
    """
    case = next(case for case in MARKS if case.name == "letter_pace")
    watched = past_h >= WATCH_H
    wrong = 1e5 * result["false"] / max(result["honest"], 1)
    setting = f"{result['false']} of {result['honest']:,} honest accounts"
    figures = [
        Figure("the letter, first alert", result["delay_h"], "h", case.delay_h_max, most=True),
        Figure("the letter, recall", result["recall"], "", case.recall_min if days >= 1 else None),
        Figure("the letter, purity", result["purity"], "", case.purity_min),
        Figure("the letter, clusters", result["clusters"], "", case.clusters_max, most=True),
        Figure("the letter, false accounts", wrong, "in 100,000", case.false_per_100k_max, most=True, setting=setting),
    ]
    return [figure if watched else replace(figure, mark=None) for figure in figures]


def main(arguments: list[str] | None = None) -> int:
    """Print the figures; 1 where a mark is missed."""
    parser = argparse.ArgumentParser(prog="python -m bench.letter", description=__doc__.splitlines()[0])
    parser.add_argument("--days", type=float, help="days of the campaign, by the hour; default 45, with --kafka 1")
    parser.add_argument("--past", type=int, default=PAST_H, help="hours before the campaign; default and most 12")
    parser.add_argument("--kafka", action="store_true", help="two workers on a real broker instead of one process")
    parser.add_argument("--child", nargs=2, type=float, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child is not None:
        child(options.child[0], int(options.child[1]))
        return 0
    days = options.days if options.days is not None else 1.0 if options.kafka else DAYS
    if not (0.5 / 24 <= days <= DAYS and 0 <= options.past <= PAST_H):
        parser.error(f"--days is from 0.04 (an hour) to {DAYS:g} and --past from 0 to {PAST_H}")
    try:
        return report((figures_on_kafka if options.kafka else figures)(days, options.past))
    except Missing as reason:
        print(f"BREACH letter: {reason}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
