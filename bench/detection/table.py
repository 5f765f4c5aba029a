"""The marks: each figure of a case over its seeds, beside its mark and the verdict on it.

What lives here: judging and printing. What does not: the marks themselves (``cases``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import mean, median

from bench.detection.cases import Case
from bench.detection.score import CampaignScore, Score

WEEK_DAYS = 7


@dataclass(frozen=True, slots=True)
class Row:
    """One figure: its spread, or one text for all seeds; no ``verdict`` where nothing is asked of it."""

    name: str
    spread: str
    mark: str = ""
    missed: bool = False

    def line(self) -> str:
        """The row as printed."""
        verdict = ("MISSED" if self.missed else "ok") if self.mark else ""
        return f"  {self.name:36} {self.spread:>24}  {self.mark:18} {verdict}".rstrip()


def rows_of(case: Case, scores: list[Score]) -> list[Row]:
    """Every figure of a case."""
    campaigns = [campaign for score in scores for campaign in score.campaigns]
    found = [campaign for campaign in campaigns if campaign.delay_h is not None]
    rows = [*_alerted(case, campaigns, found), *_members(case, found)] if campaigns else []
    if case.second_pool_h_max is not None:
        rows += _second_pool(case, campaigns)
    if case.throttled_share_max is not None:
        rows += _framed(case, scores)
    return [*rows, *_bystanders(case, scores)]


def _alerted(case: Case, campaigns: list[CampaignScore], found: list[CampaignScore]) -> list[Row]:
    needed = case.alerted_part * len(campaigns)
    delays = [campaign.delay_h for campaign in found if campaign.delay_h is not None]
    wanted = "all" if case.alerted_part == 1 else f">= {case.alerted_part:.0%}"
    return [
        Row("campaigns alerted", f"{len(found)} of {len(campaigns)}", wanted, len(found) < needed),
        _most("first alert, h", delays, case.delay_h_max, "{:.2f}"),
        _most("leaked before it", [campaign.leaked for campaign in found], case.leaked_max, "{:.3%}"),
    ]


def _members(case: Case, found: list[CampaignScore]) -> list[Row]:
    after = {hours: [getattr(campaign, f"recall_{hours}h") for campaign in found] for hours in (1, 24)}
    rows = [
        Row(f"recall {hours} h after the alert", _spread([v for v in values if v is not None], "{:.3f}"))
        for hours, values in after.items()
    ]
    pieces = [float(campaign.clusters) for campaign in found]
    bound = f"mean <= {case.clusters_max:g}" if case.clusters_max < 99 else ""
    return [
        *rows,
        _least("recall at the end", [campaign.recall for campaign in found], case.recall_min),
        _least("purity", [campaign.purity for campaign in found], case.purity_min),
        Row("clusters a campaign", _spread(pieces, "{:.0f}"), bound, bool(pieces) and mean(pieces) > case.clusters_max),
        Row("of them holding a second campaign", _spread([float(c.merged) for c in found], "{:.0f}")),
    ]


def _second_pool(case: Case, campaigns: list[CampaignScore]) -> list[Row]:
    delays = [campaign.second_pool_h for campaign in campaigns]
    known = [60 * delay for delay in delays if delay is not None]
    late = len(known) < len(campaigns) or max(known) > 60 * (case.second_pool_h_max or 0)
    same = sum(campaign.same_id for campaign in campaigns)
    bound = f"<= {60 * (case.second_pool_h_max or 0):.0f}"
    return [
        Row("second pool named after, min", _spread(known, "{:.0f}"), bound, late),
        Row("under the same id", f"{same} of {len(campaigns)}", "all", same < len(campaigns)),
    ]  # fmt: skip


def _framed(case: Case, scores: list[Score]) -> list[Row]:
    shares = [score.framed_throttled / max(score.framed, 1) for score in scores]
    challenged = [float(score.framed_challenged) for score in scores]
    return [
        _most("framed honest accounts throttled", shares, case.throttled_share_max, "{:.2%}"),
        _most("framed honest accounts challenged", challenged, 0.0, "{:.0f}"),
    ]


def _bystanders(case: Case, scores: list[Score]) -> list[Row]:
    honest, false = sum(score.benign for score in scores), sum(score.false_accounts for score in scores)
    pooled = 1e5 * false / max(honest, 1)
    weekly = [score.false_clusters * WEEK_DAYS / score.days for score in scores]
    bound = case.false_per_100k_max
    unasked = case.throttled_share_max is not None
    return [
        Row(
            "false accounts in 100,000, pooled",
            f"{pooled:.1f} ({false} of {honest:,})",
            "" if bound is None else f"<= {bound:g}",
            bound is not None and pooled > bound,
        ),
        Row("false clusters a week", _spread(weekly, "{:.1f}"), *(("", False) if unasked else ("0", max(weekly) > 0))),
        Row("alerts and updates a day", _spread([score.alerts / score.days for score in scores], "{:.1f}")),
        Row("adjusted Rand index", _spread([score.agreement for score in scores], "{:.3f}")),
    ]  # fmt: skip


def _most(name: str, values: list[float], bound: float | None, form: str) -> Row:
    mark = "" if bound is None else f"<= {form.format(bound)}"
    return Row(name, _spread(values, form), mark, bound is not None and bool(values) and max(values) > bound)


def _least(name: str, values: list[float], bound: float) -> Row:
    return Row(name, _spread(values, "{:.3f}"), f">= {bound:g}" if bound else "", bool(values) and min(values) < bound)


def _spread(values: Iterable[float], form: str) -> str:
    """Least, median and most."""
    known = list(values)
    show: Callable[[float], str] = form.format
    return f"{show(min(known))} / {show(median(known))} / {show(max(known))}" if known else "-"


def report(case: Case, scores: list[Score]) -> str:
    """The block of one case."""
    first = scores[0]
    took = sum(score.wall_s for score in scores)
    seeds = f"seed {first.seed}" if len(scores) == 1 else f"seeds {first.seed} to {scores[-1].seed}"
    lines = [f"-- {case.name}: {first.events:,} requests, {first.accounts:,} accounts, {seeds}, {took:.0f} s"]
    lines += [row.line() for row in rows_of(case, scores)]
    wrong: dict[str, int] = {}
    for score in scores:
        for name, count in score.false_by_population.items():
            wrong[name] = wrong.get(name, 0) + count
    if wrong:
        lines.append(f"  wrongly named: {', '.join(f'{count} {name}' for name, count in wrong.items())}")
    if first.baselines:
        lines.append(
            f"  {'baseline (first two seeds)':36} {'recall':>8} {'purity':>8} {'false/100k':>11} {'at 90 % recall':>15}"
        )
    for name in first.baselines:
        peers = [score.baselines[name] for score in scores if score.baselines]
        recall, purity = mean(peer.recall for peer in peers), mean(peer.purity for peer in peers)
        false, costs = mean(peer.false_per_100k for peer in peers), mean(peer.false_at_90 for peer in peers)
        lines.append(f"  {name:36} {recall:>8.3f} {purity:>8.3f} {false:>11.1f} {costs:>15.1f}")
    return "\n".join(lines)


SUMMARY = (
    f"{'case':14} {'alerted':>8} {'first alert h':>18} {'recall':>7} {'purity':>7} {'clusters':>8} {'false/100k':>10}  "
    "verdict"
)


def summary(case: Case, scores: list[Score]) -> str:
    """One line of the table of all cases: delays in full, the least recall and purity, mean clusters."""
    campaigns = [campaign for score in scores for campaign in score.campaigns]
    found = [campaign for campaign in campaigns if campaign.delay_h is not None]
    delays = _spread((campaign.delay_h for campaign in found if campaign.delay_h is not None), "{:.2f}")
    missed = [row.name for row in rows_of(case, scores) if row.missed]
    false = 1e5 * sum(score.false_accounts for score in scores) / max(sum(score.benign for score in scores), 1)
    alerted = f"{len(found)} of {len(campaigns)}" if campaigns else "-"
    least = [
        f"{min(values):.3f}" if values else "-" for values in ([c.recall for c in found], [c.purity for c in found])
    ]
    pieces = f"{mean(c.clusters for c in found):.1f}" if found else "-"
    verdict = f"MISSED: {', '.join(missed)}" if missed else "ok"
    return (
        f"{case.name:14} {alerted:>8} {delays.replace(' ', ''):>18} {least[0]:>7} {least[1]:>7} {pieces:>8} "
        f"{false:>10.1f}  {verdict}"
    )  # fmt: skip
