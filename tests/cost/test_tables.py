from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from agmc.cost.energy import EnergyTable
from agmc.cost.model import METRICS, CostModel
from agmc.cost.tables import Tables
from agmc.graph.trace import trace


def test_metrics_are_those_that_there_is_a_table_for():
    graph = trace(
        nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 2, 1)), torch.ones(1, 3, 2, 2)
    )
    plain = CostModel(graph)
    assert plain.metrics == METRICS
    assert plain.cost(np.array([8])).energy is None
    for metric in ("latency", "energy"):
        with pytest.raises(ValueError, match=f"{metric} needs .*{metric}_table=FILE"):
            plain.evaluate(metric, np.array([8]))
    table = EnergyTable({"*": {"mac": 1e9}})
    priced = CostModel(graph, Tables(energy=table))
    assert priced.metrics == (*METRICS, "energy")
    cost = priced.cost(np.array([4]))
    assert cost.energy == cost.macs == 4 * (3 * 4 + 4 * 2)
    assert cost.known()["energy"] == cost.energy and "latency" not in cost.known()
