"""Charts: bars, a line of the best so far and a scatter, as inline SVG.

Every function returns one `<svg>` element as text. Colours come from CSS classes of
the page (`dot`, `best`, `bar`, `mark`, `limit`, `axis`, `grid`), so that a page can
offer a dark scheme; the coordinates fit a phone, 360 units wide.
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from agmc.search.best_so_far import best_so_far

WIDTH, HEIGHT = 360, 230
_LEFT, _RIGHT, _TOP, _BOTTOM = 50, 20, 10, 36

#: Of a file that is no part of a page, which has colours of its own.
ALONE_STYLE = """\
svg { background: #fff; } text { font: 11px system-ui, sans-serif; fill: #1b1f24; }
.grid { stroke: #d9dee3; stroke-width: .6; } .axis { stroke: #59636e; }
.mark { fill: #d55e00; }
@media (prefers-color-scheme: dark) {
  svg { background: #14171a; } text { fill: #e6e9ec; } .grid { stroke: #363d45; }
}
"""


@dataclass(frozen=True)
class Mark:
    """A named point of a scatter, drawn large.

    Attributes:
        x: in units of the horizontal axis.
        y: in units of the vertical axis.
        name: the text beside it.
        style: CSS class of the point.
    """

    x: float
    y: float
    name: str
    style: str


def bars(
    rows: Sequence[tuple[str, float, str]], *, title: str, full: float = 1.0
) -> str:
    """Horizontal bars, one a row.

    Args:
        rows: name, value >= 0 and the text of the value.
        title: what the bars show, for readers who cannot see them.
        full: the value that fills the whole width, > 0.
    """
    step, left, right = 19, 138, 66
    room = WIDTH - left - right
    parts = []
    for index, (name, value, text) in enumerate(rows):
        top = index * step
        length = room * min(max(value / full, 0.0), 1.0)
        parts.append(
            f"<g><title>{_escape(f'{name}: {text}')}</title>"
            f'<text x="{left - 6}" y="{top + 13}" text-anchor="end">'
            f"{_escape(_shortened(name, 24))}</text>"
            f'<rect class="grid" x="{left}" y="{top + 3}" width="{room}" height="13"/>'
            f'<rect class="bar" x="{left}" y="{top + 3}" width="{length:.1f}" '
            f'height="13"/>'
            f'<text x="{left + room + 6}" y="{top + 13}">{_escape(text)}</text></g>'
        )
    summary = "; ".join(f"{name}: {text}" for name, _, text in rows)
    return svg(title, summary, step * len(rows) + 2, parts)


def rising_line(
    points: Sequence[tuple[float, float]], *, title: str, x_name: str, y_name: str
) -> str:
    """Dots, and the line of the highest value up to each of them.

    Args:
        points: x ascending; at least one.
        title: what the chart shows.
        x_name: of the horizontal axis.
        y_name: of the vertical axis.
    """
    xs, ys = zip(*points, strict=True)
    frame = Frame.around(xs, ys)
    parts = frame.axes(x_name, y_name, whole_x=True)
    parts += [frame.dot(x, y) for x, y in points]
    best = best_so_far(ys)
    path = [f"M{frame.x(xs[0]):.1f} {frame.y(ys[0]):.1f}"]
    for rise in np.flatnonzero(np.diff(best)) + 1:
        path.append(f"H{frame.x(xs[rise]):.1f}V{frame.y(ys[rise]):.1f}")
    path.append(f"H{frame.x(xs[-1]):.1f}")
    parts.append(f'<path class="best" d="{"".join(path)}"/>')
    summary = f"{len(points)} points; the best is {best[-1]:.4g}"
    return svg(title, summary, HEIGHT, parts)


def scatter(
    points: Sequence[tuple[float, float]],
    marks: Sequence[Mark],
    *,
    title: str,
    x_name: str,
    y_name: str,
    limit: float | None = None,
    text: Callable[[float], str] = "{:g}".format,
    alone: bool = False,
) -> str:
    """Dots, named marks and a vertical line at the limit.

    Args:
        points: x and y; may be empty where there are marks.
        marks: points with a name.
        title: what the chart shows.
        x_name: of the horizontal axis, which begins at 0.
        y_name: of the vertical axis.
        limit: where the vertical line stands, in units of x.
        text: writes the numbers along both axes.
        alone: with colours and fonts of its own, for a file that is no page.
    """
    everything = [*points, *((mark.x, mark.y) for mark in marks)]
    xs, ys = zip(*everything, strict=True)
    frame = Frame.around((0.0, *xs, *([] if limit is None else [limit])), ys)
    parts = frame.axes(x_name, y_name, text=text)
    if limit is not None:
        x = frame.x(limit)
        parts.append(
            f'<line class="limit" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" '
            f'y2="{HEIGHT - _BOTTOM}"/>'
        )
    parts += [frame.dot(x, y) for x, y in points]
    for mark in marks:
        x, y = frame.x(mark.x), frame.y(mark.y)
        parts.append(
            f'<g><title>{_escape(mark.name)}</title><circle class="mark {mark.style}" '
            f'cx="{x:.1f}" cy="{y:.1f}" r="5"/></g>'
        )
    if alone:
        parts.insert(0, f"<style>{ALONE_STYLE}</style>")
    summary = "; ".join(f"{m.name}: {text(m.x)}, {text(m.y)}" for m in marks)
    return svg(title, f"{len(points)} points; {summary}", HEIGHT, parts, alone=alone)


@dataclass(frozen=True)
class Frame:
    """The rectangle of a chart: data ranges and where they lie on the page."""

    x_ticks: tuple[float, ...]
    y_ticks: tuple[float, ...]

    @classmethod
    def around(cls, xs: Iterable[float], ys: Iterable[float]) -> Frame:
        """The frame that shows all points."""
        xs, ys = list(xs), list(ys)
        return cls(_ticks(min(xs), max(xs)), _ticks(min(ys), max(ys)))

    def x(self, value: float) -> float:
        """Where a value lies on the page."""
        first, last = self.x_ticks[0], self.x_ticks[-1]
        return _LEFT + (value - first) / (last - first) * (WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        """Where a value lies on the page; greater ones are higher, with smaller y."""
        first, last = self.y_ticks[0], self.y_ticks[-1]
        share = (value - first) / (last - first)
        return HEIGHT - _BOTTOM - share * (HEIGHT - _TOP - _BOTTOM)

    def dot(self, x: float, y: float) -> str:
        """A point of many."""
        return f'<circle class="dot" cx="{self.x(x):.1f}" cy="{self.y(y):.1f}" r="2"/>'

    def axes(
        self,
        x_name: str,
        y_name: str,
        *,
        whole_x: bool = False,
        text: Callable[[float], str] = "{:g}".format,
    ) -> list[str]:
        """Lines, numbers and names; `whole_x` leaves fractions out."""
        floor = HEIGHT - _BOTTOM
        parts = []
        for value in self.y_ticks:
            y = self.y(value)
            parts.append(
                f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" '
                f'y2="{y:.1f}"/><text x="{_LEFT - 5}" y="{y + 4:.1f}" '
                f'text-anchor="end">{_escape(text(value))}</text>'
            )
        for value in self.x_ticks:
            if whole_x and value != int(value):
                continue
            parts.append(
                f'<text x="{self.x(value):.1f}" y="{floor + 14}" '
                f'text-anchor="middle">{_escape(text(value))}</text>'
            )
        middle_x, middle_y = (_LEFT + WIDTH - _RIGHT) / 2, (_TOP + floor) / 2
        return [
            *parts,
            f'<line class="axis" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{floor}" '
            f'y2="{floor}"/>',
            f'<text x="{middle_x}" y="{HEIGHT - 5}" text-anchor="middle">'
            f"{_escape(x_name)}</text>",
            f'<text transform="translate(11 {middle_y}) rotate(-90)" '
            f'text-anchor="middle">{_escape(y_name)}</text>',
        ]


def _ticks(low: float, high: float) -> tuple[float, ...]:
    """Three to seven round numbers that span [low, high]."""
    if high - low < 1e-9 * max(1.0, abs(low)):
        margin = abs(low) * 0.05 or 0.5
        low, high = low - margin, high + margin
    raw = (high - low) / 4
    unit = 10.0 ** math.floor(math.log10(raw))
    step = next(unit * m for m in (1, 2, 2.5, 5, 10) if unit * m >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return tuple(round(index * step, 12) for index in range(first, last + 1))


def svg(
    title: str, summary: str, height: int, parts: Iterable[str], *, alone: bool = False
) -> str:
    """An `<svg>` element; `alone` makes it a file that is no part of a page."""
    space = 'xmlns="http://www.w3.org/2000/svg" ' if alone else ""
    return (
        f'<svg {space}viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="{_escape(f"{title}. {summary}")}">{"".join(parts)}</svg>'
    )


def _shortened(name: str, longest: int) -> str:
    """The end of a layer's name tells more than its beginning."""
    return name if len(name) <= longest else "…" + name[1 - longest :]


def _escape(text: str) -> str:
    return html.escape(text, quote=True)
