"""Plots of the detection bench: how delay, recall and false alarms move with one knob at a time.

What lives here: the sweeps and their pictures. What does not: running a trial (``trial``).
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt

from bench.detection.cases import Case
from bench.detection.score import Score
from bench.detection.trial import Setting, run_thresholds, run_trial
from models.verdict import OPEN_SCORE

FOLDER = Path(__file__).parents[2] / "docs" / "plots"
SEEDS = (1, 2)
SCALE, DAYS = 0.006, 2.0
SIZE = "150 accounts, 25.6 requests a day each, nothing shared, among 4,200 honest ones, seeds 1 and 2"
THRESHOLDS = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 7.5, 8.0, 9.0, 10.0)


@dataclass(frozen=True, slots=True)
class Sweep:
    """One knob over its values; ``read`` takes the plotted figure from a trial, None where there is none."""

    name: str
    knob: str
    values: tuple[float, ...]
    title: str
    labels: tuple[str, str]
    read: Callable[[Score], float | None]
    log: bool = False


def _delay(score: Score) -> float | None:
    return score.campaigns[0].delay_h


def _recall(score: Score) -> float:
    return score.campaigns[0].recall


SWEEPS = (
    Sweep("delay_by_templates", "templates", (1, 10, 30, 100, 300, 1000), "Time to detect by templates",
          ("templates", "first alert, hours after the first request"), _delay, log=True),
    Sweep("recall_by_cover", "cover", (0, 0.3, 0.5, 0.7, 0.8, 0.9), "Recall by share of cover traffic",
          ("share of each account's requests that is cover", "recall (accounts with three requests)"), _recall),
    Sweep("recall_by_paraphrase", "paraphrase", (0, 0.1, 0.15, 0.2, 0.3, 0.4), "Recall by words changed",
          ("share of words changed in every request", "recall (accounts with three requests)"), _recall),
)  # fmt: skip


def draw(pool: Executor, corpus: str | None) -> None:
    """Run the sweeps and write their pictures."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    cases = {
        (sweep.name, value): Case(
            name=sweep.name, scenario="bare", scale=SCALE, days=DAYS, knobs=((sweep.knob, _typed(sweep, value)),)
        )
        for sweep in SWEEPS
        for value in sweep.values
    }
    setting = Setting(corpus)
    jobs = {key: [pool.submit(run_trial, case, seed, setting) for seed in SEEDS] for key, case in cases.items()}
    calm = Case(name="calm", scenario="calm", scale=0.5)
    judged = [pool.submit(run_thresholds, calm, seed, corpus, THRESHOLDS) for seed in SEEDS]
    for sweep in SWEEPS:
        rows = [[future.result() for future in jobs[sweep.name, value]] for value in sweep.values]
        _picture(sweep, rows)
    _thresholds([future.result() for future in judged])


def _typed(sweep: Sweep, value: float) -> Any:
    return int(value) if sweep.knob == "templates" else value


def _picture(sweep: Sweep, rows: list[list[Score]]) -> None:
    figure, axes = plt.subplots(figsize=(6.4, 4.0), layout="constrained")
    points = [(value, sweep.read(score)) for value, scores in zip(sweep.values, rows, strict=True) for score in scores]
    known = [(value, read) for value, read in points if read is not None]
    axes.plot(*zip(*known, strict=True), "o", color="#1f6f8b", alpha=0.6, label="one seed")
    by_value = {value: [read for at, read in known if at == value] for value in sweep.values}
    middle = [(value, median(reads)) for value, reads in by_value.items() if reads]
    axes.plot(*zip(*middle, strict=True), "-", color="#1f6f8b", label="median of those alerted")
    missed = sorted({value for value, read in points if read is None})
    if missed:
        axes.plot(missed, [axes.get_ylim()[1]] * len(missed), "x", color="#b03a2e", label="a seed without alert")
    if sweep.log:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:,.0f}")
    else:
        axes.set_ylim(-0.03, 1.03)
    _finish(figure, axes, sweep.title, sweep.labels, SIZE)
    figure.savefig(FOLDER / f"{sweep.name}.png", dpi=110)
    plt.close(figure)


def _thresholds(runs: list[list[Score]]) -> None:
    figure, axes = plt.subplots(figsize=(6.4, 4.0), layout="constrained")
    for at, scores in enumerate(runs):
        rates = [1e5 * score.false_accounts / score.benign for score in scores]
        axes.plot(THRESHOLDS, rates, "o-", alpha=0.7, label=f"seed {SEEDS[at]}")
    axes.axvline(OPEN_SCORE, color="#888888", linestyle="--", label="as shipped")
    axes.set_yscale("symlog", linthresh=1)
    axes.set_ylim(bottom=-0.1)
    setting = "10,200 honest accounts, every look-alike, two days"
    _finish(
        figure,
        axes,
        "False accounts by opening score",
        ("points that open a campaign", "false accounts in 100,000"),
        setting,
    )
    figure.savefig(FOLDER / "false_by_threshold.png", dpi=110)
    plt.close(figure)


def _finish(figure: Any, axes: Any, title: str, labels: tuple[str, str], setting: str) -> None:
    axes.set_xlabel(labels[0])
    axes.set_ylabel(labels[1])
    axes.set_title(title)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    figure.supxlabel(setting, fontsize=7, color="#555555")
