"""``python -m bench.detection``: cases over several seeds, beside their marks and the baselines.

What lives here: the command line, the processes, the progress. What does not: any measurement.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed

from bench.detection import ablation
from bench.detection.cases import FIRST, KNOBS, MARKS, Case
from bench.detection.plots import draw
from bench.detection.score import Score
from bench.detection.table import SUMMARY, report, rows_of, summary
from bench.detection.trial import Setting, calibrated, run_parts, run_trial
from streams.rules_file import load

SEEDS, MARKS_SEEDS = 3, 5
PEER_SEEDS = 2  # the baselines run on the first seeds only: they take as long as the detector
CALIBRATION_SEED = 1001  # of the calm run that sets the baselines' thresholds, and no case's seed
EXAMPLES = """examples:
  python -m bench.detection                              the first marks, as in make bench
  python -m bench.detection --marks --plots              the whole table and docs/plots, as make bench-detection
  python -m bench.detection --only evasive,spread        these cases alone
  python -m bench.detection sixty --seeds 1 --no-peers   one quick look
  python -m bench.detection --marks --rules rules.yaml   the marks with the rules that calibrate wrote
  python -m bench.detection --ablate --seeds 1           what each part of the detector buys
"""


def main(arguments: list[str] | None = None) -> int:
    """Run, print, and return 1 where a mark is missed."""
    asked = _parser().parse_args(arguments)
    every = {case.name: case for case in (ablation.ABLATED if asked.ablate else (*FIRST, *MARKS, *KNOBS))}
    wanted = [*asked.cases, *(name for name in asked.only.split(",") if name)]
    unknown = [name for name in wanted if name not in every]
    if unknown:
        sys.exit(f"no case named {', '.join(unknown)}; there are {', '.join(every)}")
    cases = [every[name] for name in wanted] or list(MARKS if asked.marks else KNOBS if asked.knobs else FIRST)
    seeds = range(asked.seed, asked.seed + (asked.seeds or (MARKS_SEEDS if asked.marks else SEEDS)))
    rules = f"rules of {os.path.basename(asked.rules)}" if asked.rules else "default rules"
    print(f"texts: {'corpora' if asked.corpus else 'built-in grammar'}; {rules}; {asked.processes} processes")
    code = 0
    with ProcessPoolExecutor(asked.processes) as pool:
        if asked.ablate:
            _ablate(pool, [every[name] for name in wanted or every], seeds, asked.corpus)
        elif wanted or not asked.plots or asked.marks:
            code = _judge(pool, cases, seeds, asked)
        if asked.plots:
            draw(pool, asked.corpus)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.detection", description=__doc__, epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("cases", nargs="*", metavar="CASE", help="default: the first marks")
    parser.add_argument("--only", default="", metavar="A,B", help="the same, as one argument")
    parser.add_argument("--marks", action="store_true", help="the whole table of marks")
    parser.add_argument("--knobs", action="store_true", help="further kinds of campaign, held to false accounts only")
    parser.add_argument("--ablate", action="store_true", help="the detector without each of its parts")
    parser.add_argument("--plots", action="store_true", help="write docs/plots as well")
    parser.add_argument("--seeds", type=int, help=f"seeds a case (default {SEEDS}, with --marks {MARKS_SEEDS})")
    parser.add_argument("--seed", type=int, default=1, help="first seed (default 1)")
    parser.add_argument("--no-peers", action="store_true", help="leave the baselines out")
    parser.add_argument(
        "--corpus", default=os.environ.get("DISTILWATCH_CORPUS"), help="folder of corpora; default the built-in grammar"
    )
    parser.add_argument("--rules", metavar="FILE", help="judge by these rules, as distilwatch calibrate writes them")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    return parser


def _judge(pool: ProcessPoolExecutor, cases: list[Case], seeds: range, asked: argparse.Namespace) -> int:
    """Run the cases, print each as it is complete, then the table; 1 where a mark is missed."""
    started = time.monotonic()
    bounds = None
    if not asked.no_peers and any(case.peers for case in cases):
        bounds = pool.submit(calibrated, FIRST[-1], CALIBRATION_SEED, asked.corpus).result()
        print("thresholds of the baselines: " + ", ".join(f"{name} {bound:.4g}" for name, bound in bounds.items()))
    rules = load(asked.rules) if asked.rules else None
    setting = Setting(asked.corpus, bounds, rules)
    order = sorted(cases, key=lambda case: -case.weight)  # the long ones first, so that no process idles at the end
    plain = Setting(asked.corpus, rules=rules)
    jobs = {
        pool.submit(run_trial, case, seed, setting if seed < seeds.start + PEER_SEEDS else plain): case
        for case in order
        for seed in seeds
    }
    scores: dict[str, list[Score]] = {case.name: [] for case in cases}
    for future in _progress(jobs):
        case = jobs[future]
        scores[case.name].append(future.result())
        if len(scores[case.name]) == len(seeds):
            scores[case.name].sort(key=lambda score: score.seed)
            print(report(case, scores[case.name]), flush=True)
    print(f"\n{SUMMARY}")
    for case in cases:
        print(summary(case, scores[case.name]))
    missed = sum(row.missed for case in cases for row in rows_of(case, scores[case.name]))
    print("all marks reached" if not missed else f"{missed} marks missed", end="")
    print(f"; {len(jobs)} trials in {(time.monotonic() - started) / 60:.1f} minutes")
    return int(missed > 0)


def _progress(jobs: dict[Future[Score], Case]) -> Iterator[Future[Score]]:
    """The jobs as they end, with the time left on stderr, judged by the weights of what is done."""
    started, done, total = time.monotonic(), 0.0, sum(case.weight for case in jobs.values())
    for count, future in enumerate(as_completed(jobs), 1):
        yield future
        done += jobs[future].weight
        spent = time.monotonic() - started
        left = spent * (total / done - 1) / 60
        print(f"[{count} of {len(jobs)} trials, {spent / 60:.1f} min, about {left:.1f} min left]", file=sys.stderr)


def _ablate(pool: ProcessPoolExecutor, cases: list[Case], seeds: range, corpus: str | None) -> None:
    """Every part off in turn, on every case."""
    jobs = [pool.submit(run_parts, case, seed, corpus) for case in cases for seed in seeds]
    for count, _ in enumerate(as_completed(jobs), 1):
        print(f"[{count} of {len(jobs)} runs]", file=sys.stderr)
    results = [job.result() for job in jobs]
    print(ablation.table({part: [result[part] for result in results] for part in results[0]}))


if __name__ == "__main__":
    sys.exit(main())
