from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ElementTree

import numpy as np

from agmc.report.line_chart import Line, line_chart, style_of


def drawn(values: list[float], half: float = math.nan, **options: bool) -> str:
    curve = np.array(values)
    lines = [Line("<a>", "c0", curve, np.full_like(curve, half))]
    return line_chart(lines, title="t", x_name="x", y_name="y", **options)


def test_a_curve_rises_on_the_page_and_leaves_gaps_out() -> None:
    svg = drawn([math.nan, 1.0, 2.0])
    path = re.search(r'class="line c0" d="M(.+?)"', svg).group(1)
    points = [tuple(map(float, point.split())) for point in path.split("L")]
    assert len(points) == 2
    assert points[0][0] < points[1][0] and points[0][1] > points[1][1]
    assert "band" not in svg and "&lt;a&gt;" in svg


def test_the_band_surrounds_the_curve() -> None:
    svg = drawn([1.0, 2.0], half=0.5)
    band = re.search(r'class="band c0" d="M(.+?)Z"', svg).group(1)
    heights = [float(point.split()[1]) for point in band.split("L")]
    line = re.search(r'class="line c0" d="M(.+?)"', svg).group(1)
    middle = [float(point.split()[1]) for point in line.split("L")]
    assert len(heights) == 4
    assert heights[0] < middle[0] < heights[3] and heights[1] < middle[1] < heights[2]


def test_alone_it_is_a_file_with_names() -> None:
    root = ElementTree.fromstring(drawn([1.0, 2.0], half=0.1, alone=True))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "<a>" in {element.text for element in root.iter() if element.text}


def test_a_ninth_curve_is_dashed() -> None:
    assert [style_of(i) for i in (0, 7, 8)] == ["c0", "c7", "c0 dashed"]
