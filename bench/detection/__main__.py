"""``python -m bench.detection``: every case over several seeds, its marks, and the baselines beside it."""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from concurrent.futures import ProcessPoolExecutor

from bench.detection.cases import FIRST, KNOBS, MARKS, Case
from bench.detection.trial import Score, run_trial

SEEDS = 3


def main(arguments: list[str] | None = None) -> int:
    """Run, print, and return 1 where a mark is missed."""
    parser = argparse.ArgumentParser(prog="python -m bench.detection", description=__doc__)
    names = [case.name for case in (*FIRST, *MARKS, *KNOBS)]
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(names)}; default the first marks")
    parser.add_argument("--seeds", type=int, default=SEEDS, help=f"seeds per case (default {SEEDS})")
    parser.add_argument("--seed", type=int, default=1, help="first seed (default 1)")
    parser.add_argument(
        "--corpus", default=os.environ.get("DISTILWATCH_CORPUS"), help="folder of corpora; default the built-in grammar"
    )
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    asked = parser.parse_args(arguments)
    unknown = set(asked.cases) - set(names)
    if unknown:
        parser.error(f"no case named {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    chosen = [case for case in (*FIRST, *MARKS, *KNOBS) if case.name in asked.cases] or list(FIRST)
    texts = "corpora" if asked.corpus else "built-in grammar"
    print(f"texts: {texts}; {asked.seeds} seeds from {asked.seed}")
    print(HEADER)
    failures: list[str] = []
    with ProcessPoolExecutor(asked.processes) as pool:
        jobs = [
            [pool.submit(run_trial, case, asked.seed + n, asked.corpus) for n in range(asked.seeds)] for case in chosen
        ]
        for case, futures in zip(chosen, jobs, strict=True):
            scores = [future.result() for future in futures]
            missed = judge(case, scores)
            failures += [f"{case.name}: {text}" for text in missed]
            report(case, scores, missed)
    for text in failures:
        print(f"BREACH {text}")
    print("all marks reached" if not failures else f"{len(failures)} marks missed")
    return 1 if failures else 0


HEADER = (
    f"{'case / detector':24} {'alerted':>8} {'delay h':>12} {'leaked':>8} {'recall':>13} {'purity':>7} "
    f"{'clusters':>8} {'false/100k':>10}"
)


def judge(case: Case, scores: list[Score]) -> list[str]:
    """The marks that ``scores`` miss."""
    missed = []
    campaigns = [campaign for score in scores for campaign in score.campaigns]
    alerted = [campaign for campaign in campaigns if campaign.delay_h is not None]
    if len(alerted) < case.alerted_part * len(campaigns):
        missed.append(f"{len(alerted)} of {len(campaigns)} campaigns alerted")
    for campaign in alerted:
        if None not in (campaign.delay_h, case.delay_h_max) and campaign.delay_h > case.delay_h_max:
            missed.append(f"first alert after {campaign.delay_h:.2f} h (mark {case.delay_h_max:g})")
        if campaign.recall < case.recall_min:
            missed.append(f"recall {campaign.recall:.3f} (mark {case.recall_min})")
        if campaign.purity < case.purity_min:
            missed.append(f"purity {campaign.purity:.3f} (mark {case.purity_min})")
        if campaign.clusters > case.clusters_max:
            missed.append(f"{campaign.clusters} clusters (mark {case.clusters_max})")
    false = sum(score.false_clusters for score in scores)
    if false:
        missed.append(f"{false} clusters of bystanders alerted")
    if case.false_per_100k_max is not None:
        worst = max(score.false_per_100k for score in scores)
        if worst > case.false_per_100k_max:
            missed.append(f"{worst:.1f} false accounts per 100,000 (mark {case.false_per_100k_max:g})")
    return missed


def report(case: Case, scores: list[Score], missed: list[str]) -> None:
    """Print one case's row and those of the baselines."""
    campaigns = [campaign for score in scores for campaign in score.campaigns]
    delays = [campaign.delay_h for campaign in campaigns if campaign.delay_h is not None]
    false = statistics.mean(score.false_per_100k for score in scores)
    events, accounts = scores[0].events, scores[0].accounts
    took = sum(score.wall_s for score in scores)
    print(f"-- {case.name}: {events:,} events, {accounts:,} accounts a seed, {took:.0f} s{'  MISSED' * bool(missed)}")
    if campaigns:
        recalls = [campaign.recall for campaign in campaigns]
        spread = f"{min(delays):.2f}-{max(delays):.2f}" if delays else "-"
        print(
            f"{'distilwatch':24} {len(delays):>4}/{len(campaigns):<3} {spread:>12} "
            f"{max(c.leaked for c in campaigns):>8.2%} "
            f"{min(recalls):>6.3f}-{max(recalls):<6.3f} {min(c.purity for c in campaigns):>7.3f} "
            f"{max(c.clusters for c in campaigns):>8} {false:>10.1f}"
        )
    else:
        print(f"{'distilwatch':24} {sum(s.cluster_alerts for s in scores):>4} cluster alerts {false:>60.1f}")
    wrong = {name: count for score in scores for name, count in score.false_by_population.items()}
    if wrong:
        print(f"{'':24} wrongly named: {wrong}")
    for name in scores[0].baselines:
        rows = [score.baselines[name] for score in scores]
        recall, purity, per = (statistics.mean(row[at] for row in rows) for at in range(3))
        print(f"{'  ' + name:24} {'':>8} {'':>12} {'':>8} {recall:>13.3f} {purity:>7.3f} {'':>8} {per:>10.1f}")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
