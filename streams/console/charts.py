"""Drawings of the console as SVG inside the page: traffic, the growth of a cluster, shared attributes, evidence.

What lives here: geometry. What does not: colours (``static/console.css``) and words. No style attributes: the content
security policy refuses them. Every text goes through ``Markup.format``, which escapes it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise

from markupsafe import Markup

from streams.console.words import attribute, clock, count, figure, plural, short, visible

WIDTH = 900
LEFT, RIGHT = 64, 16
TICK_STEPS = (5, 15, 30, 60, 180, 360, 720, 1440, 2880, 10_080)  # minutes
ROW_BUBBLES = 5
BUBBLE_X, BUBBLE_STEP = 398, 110
POINTS_MAX = 240
"""Points drawn of a long series: two a pixel would only cost bytes."""


def _join(parts: Iterable[Markup]) -> Markup:
    return Markup("").join(parts)


def _svg(height: float, label: str, parts: Iterable[Markup], *, kind: str) -> Markup:
    frame = Markup('<svg class="{}" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>')
    return frame.format(kind, WIDTH, round(height), visible(label), _join(parts))


def _text(x: float, y: float, text: str, kind: str, *, anchor: str = "start") -> Markup:
    shape = Markup('<text x="{:.1f}" y="{:.1f}" class="{}" text-anchor="{}">{}</text>')
    return shape.format(x, y, kind, anchor, visible(text))


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    shape = Markup('<line x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}" class="{}"/>')
    return shape.format(x1, y1, x2, y2, kind)


class _Time:
    """Event time on the horizontal axis."""

    def __init__(self, first: float, last: float) -> None:
        self.first = first
        self.last = max(last, first + 60_000)

    def x(self, ts: float) -> float:
        part = (ts - self.first) / (self.last - self.first)
        return LEFT + min(1.0, max(0.0, part)) * (WIDTH - LEFT - RIGHT)

    def ticks(self) -> list[float]:
        minutes = (self.last - self.first) / 60_000
        step = next((step for step in TICK_STEPS if minutes / step <= 7), TICK_STEPS[-1])
        step = max(step, math.ceil(minutes / 7 / 1440) * 1440 if minutes / step > 7 else step) * 60_000
        start = math.ceil(self.first / step) * step
        return [start + step * at for at in range(int(max(0.0, self.last - start) // step) + 1)]

    def axis(self, y: float) -> Iterable[Markup]:
        for at in self.ticks():
            midnight = at % 86_400_000 == 0
            form = "%d %b" if midnight else "%H:%M"
            yield _line(self.x(at), y, self.x(at), y + 4, "axis")
            edge = self.x(at) > WIDTH - 40
            place = WIDTH - RIGHT if edge else self.x(at)
            yield _text(place, y + 18, clock(at, form=form), "tick", anchor="end" if edge else "middle")


def _top(values: Iterable[float]) -> float:
    """A round number above every value."""
    most = max(values, default=0) or 1
    size = 10 ** math.floor(math.log10(most))
    return float(next(size * part for part in (1, 2, 2.5, 5, 10) if size * part >= most))


def _panel(time: _Time, series: Sequence[tuple[float, float]], *, y: float, height: float, kind: str) -> list[Markup]:
    """A step area of one series with its largest value at the axis."""
    top = _top(value for _, value in series)
    base = y + height
    parts = [
        _line(LEFT, base, WIDTH - RIGHT, base, "axis"),
        _line(LEFT, y, WIDTH - RIGHT, y, "grid"),
        _text(LEFT - 8, y + 5, short(top), "tick", anchor="end"),
        _text(LEFT - 8, base + 2, "0", "tick", anchor="end"),
    ]
    if series:
        path = [f"M{time.x(series[0][0]):.1f},{base:.1f}"]
        for ts, value in series:
            path.append(f"H{time.x(ts):.1f}V{base - value / top * height:.1f}")
        path.append(f"H{WIDTH - RIGHT}V{base:.1f}Z")
        parts.append(Markup('<path d="{}" class="{}"/>').format("".join(path), kind))
    return parts


def _marks(time: _Time, marks: Sequence[tuple[float, str]], *, bottom: float) -> Iterable[Markup]:
    """Dashed lines with a word above them; words that would touch are dropped, their lines stay."""
    free = 0.0
    for ts, word in (mark for mark in marks if time.first <= mark[0] <= time.last):
        x = time.x(ts)
        yield _line(x, 16, x, bottom, "mark")
        width = 7.4 * len(word)
        if x - 2 >= free:
            end = x + width > WIDTH
            yield _text(x - 4 if end else x + 4, 13, word, "mark-name", anchor="end" if end else "start")
            free = x + width + 8


def traffic(buckets: Sequence[tuple[float, float, float]], marks: Sequence[tuple[float, str]], name: str) -> Markup:
    """All requests, and below at a scale of its own those inside clusters; ``buckets`` are (time, all, inside)."""
    if not buckets:
        return Markup("")
    buckets = _thin(buckets)
    width = min((b[0] - a[0] for a, b in pairwise(buckets)), default=60_000)
    time = _Time(buckets[0][0], buckets[-1][0] + width)
    inside = any(row[2] for row in buckets)
    parts = _panel(time, [(ts, total) for ts, total, _ in buckets], y=26, height=84, kind="all")
    parts.append(_text(LEFT + 4, 42, name, "name"))
    bottom = 110
    if inside:
        parts += _panel(time, [(ts, part) for ts, _, part in buckets], y=140, height=54, kind="covered")
        parts.append(_text(LEFT + 4, 134, "of these, inside campaigns (own scale)", "name covered-name"))
        bottom = 194
    parts += [*time.axis(bottom), *_marks(time, marks, bottom=bottom)]
    total = sum(row[1] for row in buckets)
    return _svg(bottom + 24, f"{name}: {count(total)} requests shown", parts, kind="chart")


def _thin(rows: Sequence[tuple[float, float, float]]) -> Sequence[tuple[float, float, float]]:
    """Neighbouring buckets added up until few enough are left to draw."""
    per = math.ceil(len(rows) / POINTS_MAX)
    groups = [rows[at : at + per] for at in range(0, len(rows), per)]
    return [(group[0][0], sum(row[1] for row in group), sum(row[2] for row in group)) for group in groups]


def growth(
    accounts: Sequence[tuple[float, float]],
    requests: Sequence[tuple[float, float]],
    marks: Sequence[tuple[float, str]],
    *,
    first: float,
    last: float,
) -> Markup:
    """Members and requests of a cluster over event time, with what was said and done."""
    time = _Time(first, last)
    parts = _panel(time, accounts, y=30, height=74, kind="members")
    parts.append(_text(LEFT + 4, 46, "accounts", "name"))
    parts += _panel(time, requests, y=134, height=74, kind="covered")
    parts.append(_text(LEFT + 4, 150, "requests in the last 24 hours", "name covered-name"))
    parts += [*time.axis(208), *_marks(time, sorted(marks), bottom=208)]
    said = f"{count(accounts[-1][1])} accounts, {count(requests[-1][1])} requests" if accounts and requests else ""
    return _svg(232, f"Growth over time: {said}", parts, kind="chart")


def spark(values: Sequence[float]) -> Markup:
    """The course of one number, as high as a line of text."""
    if len(values) < 2:
        return Markup("")
    top, step = max(max(values), 1), 96 / (len(values) - 1)
    line = " ".join(f"{at * step:.1f},{22 - value / top * 20:.1f}" for at, value in enumerate(values))
    shape = Markup('<svg class="spark" viewBox="0 0 96 24" aria-hidden="true"><polyline points="{}"/></svg>')
    return shape.format(line)


def weight(value: float, most: float) -> Markup:
    """One piece of evidence as a bar to the right (for) or the left (against)."""
    size = min(1.0, abs(value) / (most or 1)) * 68
    shape = Markup(
        '<svg class="weight-bar" viewBox="0 0 140 18" aria-hidden="true"><rect class="track" x="0" y="4" width="140" '
        'height="10" rx="2"/><rect class="{}" x="{:.1f}" y="4" width="{:.1f}" height="10" rx="2"/>'
        '<line class="axis" x1="70" y1="0" x2="70" y2="18"/></svg>'
    )
    return shape.format("against" if value < 0 else "for", 70 - size if value < 0 else 70, max(2.0, size))


def attributes(accounts: int, groups: Sequence[tuple[str, Sequence[tuple[str, int]]]]) -> Markup:
    """The cluster, and the groups of its accounts that share a payment, a network and so on.

    ``groups`` are (kind, [(value, accounts)]); a circle's area follows the number of accounts in it.
    """
    rows = [(kind, list(values)[:ROW_BUBBLES]) for kind, values in groups if values]
    if not rows:
        return Markup("")
    height = 122.0
    middle = height * len(rows) / 2
    most = max([accounts, *(number for _, values in rows for _, number in values)])
    parts: list[Markup] = []
    for at, (kind, values) in enumerate(rows):
        y = height * at + 46
        parts.append(_curve(100, middle, 226, y))
        parts.append(_text(230, y - 6, attribute(kind), "kind"))
        parts.append(_text(230, y + 12, f"{plural(len(values), 'largest group')}", "tick"))
        parts.append(_line(226, y + 24, BUBBLE_X, y + 24, "link"))
        ends = [BUBBLE_X + place * BUBBLE_STEP for place in range(len(values))]
        parts += [_line(x1, y + 24, x2, y + 24, "link") for x1, x2 in pairwise(ends)]
        long = any(len(_name(value)) > 13 for value, _ in values)
        for place, item in enumerate(values):
            parts.append(_bubble(ends[place], y, item, most, lower=long and place % 2 == 1))
    parts.append(Markup('<circle class="hub" cx="76" cy="{:.1f}" r="58"/>').format(middle))
    parts.append(_text(76, middle - 2, count(accounts), "hub-count", anchor="middle"))
    parts.append(_text(76, middle + 20, "accounts", "hub-name", anchor="middle"))
    said = "; ".join(f"{attribute(kind)}: {', '.join(count(n) for _, n in values)}" for kind, values in rows)
    return _svg(height * len(rows) + 10, f"Groups of accounts that share something. {said}", parts, kind="graph")


def _curve(x1: float, y1: float, x2: float, y2: float) -> Markup:
    shape = Markup('<path class="link" d="M{:.1f},{:.1f}C{:.1f},{:.1f} {:.1f},{:.1f} {:.1f},{:.1f}"/>')
    bend = (x1 + x2) / 2 + 20
    return shape.format(x1, y1, bend, y1, bend, y2 + 24, x2, y2 + 24)


def _name(value: str) -> str:
    return value if len(value) <= 18 else f"{value[:8]}…"


def _bubble(x: float, y: float, item: tuple[str, int], most: int, *, lower: bool) -> Markup:
    value, number = item
    radius = 9 + 25 * math.sqrt(number / max(1, most))
    shape = Markup('<g><title>{}</title><circle class="group" cx="{:.1f}" cy="{:.1f}" r="{:.1f}"/>{}{}</g>')
    return shape.format(
        visible(f"{value}: {plural(number, 'account')}"),
        x,
        y + 24 - 6,
        radius,
        _text(x, y + 24 - 1, figure(number), "group-count", anchor="middle"),
        _text(x, y + (80 if lower else 65), _name(value), "value", anchor="middle"),
    )
