"""What a bench says: figures, each with its mark, its setting and its peer, and the table they are shown in.

What lives here: the shape and the judgement of a figure. What does not: any measurement.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value; ``mark`` is the least it may be, or the most where ``most`` is set; None binds nothing."""

    name: str
    value: float
    unit: str
    mark: float | None = None
    most: bool = False
    peer: str = ""
    setting: str = ""

    @property
    def breached(self) -> bool:
        """Whether the mark is missed; a value that is no number misses every mark."""
        if self.mark is None:
            return False
        return not (self.value <= self.mark if self.most else self.value >= self.mark)


def table(figures: Sequence[Figure]) -> str:
    """One line a figure, under a heading."""
    rows = [("figure", "measured", "mark", "", "peer, same run")]
    for figure in figures:
        sign = "" if figure.mark is None else f"{'<=' if figure.most else '>='} {number(figure.mark)}"
        verdict = "" if figure.mark is None else "BREACH" if figure.breached else "ok"
        rows.append((figure.name, f"{number(figure.value)} {figure.unit}", sign, verdict, figure.peer))
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    settings = [f"{figure.name}: {figure.setting}" for figure in figures if figure.setting]
    return "\n".join([*lines, *settings])


def number(value: float) -> str:
    """A value with as many digits as say something."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.3g}"


def report(figures: Sequence[Figure]) -> int:
    """Print the table; 1 if a mark is missed."""
    print(table(figures))
    return int(any(figure.breached for figure in figures))
