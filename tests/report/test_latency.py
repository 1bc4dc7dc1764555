"""The tables of `agmc profile`."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from agmc.cost.latency import LatencyModel
from agmc.cost.latency_table import LatencyTable
from agmc.cost.units import Units
from agmc.export.stopwatch import Measured
from agmc.graph.trace import trace
from agmc.report.latency import latency_tables


def test_slowest_first_and_the_totals_side_by_side() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 1))
    graph = trace(net, torch.randn(1, 3, 8, 8))
    units, table = Units(graph), LatencyTable({})
    for unit, shape in zip(units.units, units.shapes(np.array([8])), strict=True):
        table.add(unit.family, tuple(int(n) for n in shape), (1.0, 2.0, 0.5))
    times = np.array([[1.0, 3.0], [2.0, 2.0], [0.5, 0.5]])
    operators, totals = latency_tables(
        LatencyModel(graph, table), np.array([8]), Measured(times, times.sum(-1))
    )
    assert [row[0] for row in operators.rows] == ["2", "0"]
    assert operators.rows[0][2:] == ("3.000", "2.000", "0.500", "75.0%")
    assert totals.rows[0][:2] == ("ONNX Runtime", "4.000")
    assert abs(float(totals.rows[0][2]) - 2) < 0.02
    assert [row[0] for row in totals.rows[1:]] == ["torch", "8 bits"]
