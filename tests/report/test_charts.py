from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import pytest

from agmc.report import charts


def widths(svg: str) -> list[float]:
    return [
        float(width) for width in re.findall(r'class="bar"[^>]* width="(.+?)"', svg)
    ]


def test_bars_are_as_long_as_their_values() -> None:
    svg = charts.bars(
        [("a", 1.0, "all"), ("b", 0.25, "a quarter"), ("c", 7.0, "more")], title="t"
    )
    ElementTree.fromstring(svg)
    full, quarter, more = widths(svg)
    assert quarter == pytest.approx(full / 4, abs=0.1)
    assert more == full  # never past the frame


def test_names_are_escaped_and_long_ones_keep_their_end() -> None:
    name = "<b>" + "x" * 40 + ".conv1"
    svg = charts.bars([(name, 0.5, "50 %")], title='"quoted"')
    root = ElementTree.fromstring(svg)
    assert root.attrib["aria-label"].startswith('"quoted". <b>x')
    shown = [element.text for element in root.iter("text")]
    assert shown[0] == "…" + name[-23:]


def test_the_line_of_the_best_only_rises() -> None:
    points = [(0.0, 1.0), (1.0, 3.0), (2.0, 2.0), (3.0, 4.0), (4.0, 0.0)]
    svg = charts.rising_line(points, title="t", x_name="x", y_name="y")
    assert svg.count('class="dot"') == 5
    path = re.search(r'class="best" d="(.+?)"', svg).group(1)
    heights = [float(y) for y in re.findall(r"[V ]([\d.]+)", path)]
    assert len(heights) == 3  # 1, 3, 4
    assert heights == sorted(heights, reverse=True)  # up the page
    ElementTree.fromstring(svg)


@pytest.mark.parametrize("points", [[(0.0, -1.0)], [(3.0, 0.0), (4.0, 0.0)]])
def test_a_line_of_one_value_still_has_a_frame(points) -> None:
    svg = charts.rising_line(points, title="t", x_name="x", y_name="y")
    ElementTree.fromstring(svg)
    assert "nan" not in svg and "inf" not in svg


def test_scatter_shows_dots_marks_and_limit() -> None:
    marks = [charts.Mark(1.0, 0.9, "before", "before")]
    svg = charts.scatter(
        [(0.5, 0.8)], marks, title="t", x_name="x", y_name="y", limit=0.5
    )
    ElementTree.fromstring(svg)
    dot = re.search(r'class="dot" cx="([\d.]+)"', svg).group(1)
    limit = re.search(r'class="limit" x1="([\d.]+)"', svg).group(1)
    assert dot == limit
    assert "mark before" in svg


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (0.37, 0.93), (-5, 3), (0, 1e9), (99.1, 99.2), (5, 5)]
)
def test_ticks_are_few_and_span_the_data(low: float, high: float) -> None:
    ticks = charts._ticks(low, high)
    assert ticks[0] <= low and ticks[-1] >= high - 1e-9 * abs(high)
    assert 3 <= len(ticks) <= 8
