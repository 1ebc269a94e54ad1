"""Plots as SVG: small, sharp, and coloured by the style sheet of the page, so that they work in the dark."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Final

from loadtest.report.series import Series

WIDTH: Final = 640
HEIGHT: Final = 230
LEFT: Final = 46
RIGHT: Final = 12
TOP: Final = 14
BOTTOM: Final = 28
COLOURS: Final = 8
TICKS: Final = 5
GAP_SECONDS: Final = 3.0
GAP_SHARE: Final = 0.05
LETTER: Final = 6.2  # how wide one is, about
MARK_GAP: Final = 4
MARK_ROWS: Final = 4
MARK_HEIGHT: Final = 13


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """Lines over time.

    Attributes:
        title: what is seen.
        unit: of the figures.
        series: the lines.
        limit: a line that must not be crossed.
        marks: moments with a name.
        seconds: how long the run was.
        filled: the first line as an area.
    """

    title: str
    unit: str
    series: Sequence[Series]
    seconds: float
    limit: float | None = None
    marks: Sequence[tuple[float, str]] = field(default_factory=tuple)
    filled: bool = False

    def draw(self) -> str:
        """Return the plot as a figure of HTML."""
        return (
            f'<figure><figcaption>{escape(self.title)} <span class="unit">{escape(self.unit)}</span></figcaption>'
            f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(self.title)}">{self.inside()}</svg>'
            f"{self._legend()}</figure>"
        )

    def inside(self) -> str:
        """Return what is drawn, as elements of SVG."""
        top = self._top()
        parts = [*self._grid(top), *self._marks()]
        for number, series in enumerate(self.series):
            colour = f"c{number % COLOURS}"
            if self.filled and number == 0 and series.points:
                parts.append(f'<path class="area {colour}" d="{self._area(series, top)}"/>')
            title = escape(f"{series.name}: most {_figure(max((v for _, v in series.points), default=0))} {self.unit}")
            parts.append(f'<path class="line {colour}" d="{self._path(series, top)}"><title>{title}</title></path>')
        if self.limit is not None:
            y = self._y(self.limit, top)
            parts.append(f'<path class="limit" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
            parts.append(
                f'<text class="limit-name" x="{WIDTH - RIGHT}" y="{y - 4:.1f}">limit {_figure(self.limit)}</text>'
            )
        return "".join(parts)

    def _top(self) -> float:
        most = max((value for series in self.series for _, value in series.points), default=0.0)
        return nice(max(most * 1.05, (self.limit or 0) * 1.15, 1e-9))

    def _grid(self, top: float) -> list[str]:
        parts = []
        for tick in range(TICKS):
            value = top * tick / (TICKS - 1)
            y = self._y(value, top)
            parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
            parts.append(f'<text class="tick y" x="{LEFT - 6}" y="{y + 4:.1f}">{_figure(value)}</text>')
        step = time_step(self.seconds)
        for number in range(int(self.seconds // step) + 1):
            at = number * step
            parts.append(f'<text class="tick x" x="{self._x(at):.1f}" y="{HEIGHT - 8}">{clock(at)}</text>')
        return parts

    def _marks(self) -> list[str]:
        """Draw moments with their names: left of them where they would not fit, and lower where another name stands."""
        parts = []
        taken = [0.0] * MARK_ROWS
        for at, name in self.marks:
            x, width = self._x(at), len(name) * LETTER
            begin = x + MARK_GAP if x + MARK_GAP + width <= WIDTH else x - MARK_GAP - width
            row = next((row for row, end in enumerate(taken) if begin >= end), 0)
            taken[row] = begin + width
            y = TOP + 8 + row * MARK_HEIGHT
            where = f'x="{begin:.1f}"' if begin > x else f'x="{x - MARK_GAP:.1f}" text-anchor="end"'
            parts.append(
                f'<path class="mark" d="M{x:.1f} {TOP}V{HEIGHT - BOTTOM}"><title>{escape(name)}</title></path>'
            )
            parts.append(f'<text class="mark-name" {where} y="{y}">{escape(name)}</text>')
        return parts

    def _legend(self) -> str:
        if self.filled and len(self.series) == 1:  # the title is its name
            return ""
        names = "".join(
            f'<li><i class="c{number % COLOURS}"></i>{escape(series.name)}</li>'
            for number, series in enumerate(self.series)
        )
        return f'<ul class="legend">{names}</ul>'

    def _path(self, series: Series, top: float) -> str:
        """Draw a line; where nothing was seen for a while there is a gap, and what stands alone in it is a dot."""
        gap_seconds = math.inf if series.stepped else max(GAP_SECONDS, self.seconds * GAP_SHARE)
        path: list[str] = []
        last = -math.inf
        for at, value in series.points:
            x, y = f"{self._x(at):.1f}", f"{self._y(value, top):.1f}"
            if not path or at - last > gap_seconds:
                path.append(f"M{x} {y}h0")  # a line of no length has round ends
            else:
                path.append(f"H{x}V{y}" if series.stepped else f"L{x} {y}")
            last = at
        return "".join(path)

    def _area(self, series: Series, top: float) -> str:
        floor = HEIGHT - BOTTOM
        return f"{self._path(series, top)}V{floor}H{self._x(series.points[0][0]):.1f}Z"

    def _x(self, at: float) -> float:
        share = min(max(at / self.seconds, 0.0), 1.0)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def _y(self, value: float, top: float) -> float:
        return HEIGHT - BOTTOM - value / top * (HEIGHT - TOP - BOTTOM)


def nice(value: float) -> float:
    """Return a round figure that is not below this one, and can be divided by four."""
    size = 10.0 ** math.floor(math.log10(value))
    return next(size * step for step in (1, 1.2, 1.6, 2, 2.4, 3, 4, 5, 6, 8, 10) if size * step >= value)


def time_step(seconds: float) -> float:
    """Return a round distance between the times that are written below a plot."""
    steps = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200)
    return next((step for step in steps if seconds / step <= 8), 14400)  # noqa: PLR2004 - as many as fit


def clock(seconds: float) -> str:
    """Return a time since the beginning, such as 1:30."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02}"


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value == round(value) else f"{value:,.3g}"
