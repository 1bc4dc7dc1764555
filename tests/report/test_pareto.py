from __future__ import annotations

import csv
import xml.etree.ElementTree as ET

from agmc.cost.model import Cost
from agmc.plan import Plan
from agmc.report.pareto import write_front
from agmc.search.found import FrontPoint

POINTS = [
    FrontPoint(
        f"macs:{share}", Plan({"a": share}), -0.1, 0.5 + share / 2, Cost(m, 7, 8)
    )
    for share, m in ((0.25, 2_000_000), (0.5, 4_000_000))
]


def test_a_plan_for_each_point_and_a_table(tmp_path):
    write_front(POINTS, tmp_path, metric="macs")
    rows = list(csv.DictReader((tmp_path / "pareto.csv").read_text().splitlines()))
    assert [row["budget"] for row in rows] == ["macs:0.25", "macs:0.5"]
    assert [float(row["accuracy"]) for row in rows] == [0.625, 0.75]
    assert [int(row["macs"]) for row in rows] == [2_000_000, 4_000_000]
    plans = [Plan.load(tmp_path / row["plan"]) for row in rows]
    assert [plan.keep_ratio["a"] for plan in plans] == [0.25, 0.5]


def test_a_plot_in_short_numbers(tmp_path):
    write_front(POINTS, tmp_path, metric="macs")
    root = ET.fromstring((tmp_path / "pareto.svg").read_text())
    circles = [e for e in root.iter() if e.tag.endswith("circle")]
    assert len(circles) == 2
    assert float(circles[0].get("cx")) < float(circles[1].get("cx"))
    assert float(circles[0].get("cy")) > float(circles[1].get("cy"))
    assert "MACs in M" in "".join(root.itertext())


def test_the_axis_is_the_metric_of_the_range(tmp_path):
    write_front(POINTS, tmp_path, metric="bytes")
    root = ET.fromstring((tmp_path / "pareto.svg").read_text())
    assert "bytes" in "".join(root.itertext())
