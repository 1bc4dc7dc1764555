"""line_chart: several curves with a band around each, as inline SVG."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agmc.report.charts import ALONE_STYLE, HEIGHT, Frame, svg

#: Classes `c0`, `c1`, ... of `LINE_STYLE`; a ninth curve looks like the first, dashed.
COLOURS = 8

#: Okabe and Ito's colours, told apart by colour-blind readers; some are lighter in
#: the dark scheme, some darker in the light one.
LINE_STYLE = """\
:root {
  --c0: #0072b2; --c1: #d55e00; --c2: #009e73; --c3: #b8548c; --c4: #8a6d00;
  --c5: #3d9bd6; --c6: #6b4fa0; --c7: #59636e;
}
@media (prefers-color-scheme: dark) {
  :root {
    --c0: #5ab0e6; --c1: #f08a3c; --c2: #3fc9a0; --c3: #e08fbd; --c4: #d8bd3a;
    --c5: #9fd3f2; --c6: #b39ddb; --c7: #9aa5b1;
  }
}
.line { fill: none; stroke-width: 1.8; }
.band { fill-opacity: .16; }
.dashed { stroke-dasharray: 5 3; }
.key.line { height: .2rem; border-radius: 0; vertical-align: .22rem; }
""" + "".join(
    f".line.c{i} {{ stroke: var(--c{i}); }} .band.c{i} {{ fill: var(--c{i}); }} "
    f".key.c{i} {{ background: var(--c{i}); }}\n"
    for i in range(COLOURS)
)


@dataclass(frozen=True)
class Line:
    """A curve over 1, 2, 3, ...

    Attributes:
        name: what the curve is of.
        style: CSS classes, see `style_of`.
        values: float [n]; NaN is a gap.
        half: float [n], half of the height of the band; NaN for none.
    """

    name: str
    style: str
    values: np.ndarray
    half: np.ndarray


def style_of(position: int) -> str:
    """CSS classes of the curve at a position, counted from 0."""
    return f"c{position % COLOURS}" + (" dashed" if position >= COLOURS else "")


def line_chart(
    lines: Sequence[Line], *, title: str, x_name: str, y_name: str, alone: bool = False
) -> str:
    """All curves on one pair of axes, as an `<svg>` element.

    Args:
        lines: at least one with a value that is no NaN.
        title: what the chart shows.
        x_name: of the horizontal axis.
        y_name: of the vertical axis.
        alone: with colours and fonts of its own, for a file that is no page.
    """
    heights = [
        float(value)
        for line in lines
        for part in (line.values, *_edges(line))
        for value in part
        if not np.isnan(value)
    ]
    longest = max(len(line.values) for line in lines)
    frame = Frame.around((0.0, float(longest)), heights)
    parts = frame.axes(x_name, y_name, whole_x=True)
    for line in lines:
        low, high = _edges(line)
        there = np.flatnonzero(~np.isnan(low)).tolist()
        if there:
            above = [_point(frame, i, high[i]) for i in there]
            below = [_point(frame, i, low[i]) for i in there[::-1]]
            parts.append(
                f'<path class="band {line.style}" d="M{"L".join(above + below)}Z"/>'
            )
    for line in lines:
        there = np.flatnonzero(~np.isnan(line.values)).tolist()
        if there:
            points = "L".join(_point(frame, i, line.values[i]) for i in there)
            parts.append(
                f'<g><title>{html.escape(line.name)}</title><path class="line '
                f'{line.style}" d="M{points}"/></g>'
            )
    if alone:
        parts.insert(0, f"<style>{LINE_STYLE}{ALONE_STYLE}</style>")
        parts += [
            f'<text x="62" y="{HEIGHT + 12 + 13 * i}">'
            f'{html.escape(line.name)}</text><path class="line {line.style}" '
            f'd="M40 {HEIGHT + 8 + 13 * i}h16"/>'
            for i, line in enumerate(lines)
        ]
    summary = "; ".join(f"{line.name}: {_last(line.values)}" for line in lines)
    height = HEIGHT + (13 * len(lines) + 8 if alone else 0)
    return svg(title, summary, height, parts, alone=alone)


def _edges(line: Line) -> tuple[np.ndarray, np.ndarray]:
    return line.values - line.half, line.values + line.half


def _point(frame: Frame, index: int, value: float) -> str:
    return f"{frame.x(index + 1.0):.1f} {frame.y(float(value)):.1f}"


def _last(values: np.ndarray) -> str:
    return f"{values[-1]:.4g}" if len(values) and not np.isnan(values[-1]) else "none"
