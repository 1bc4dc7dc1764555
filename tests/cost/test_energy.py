"""Energy by hand, and tables that are none."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

from agmc.cost.energy import EnergyModel, EnergyTable
from agmc.graph.trace import trace


@pytest.fixture
def graph():
    net = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Flatten(), nn.Linear(32, 5))
    return trace(net, torch.randn(1, 3, 2, 2))


def test_every_operator_pays_for_work_and_for_bytes_moved(graph):
    table = EnergyTable({"conv2d": {"mac": 2, "byte": 10}, "*": {"byte": 1}})
    # The convolution multiplies 3 * 8 * 4 times and moves 12 + 32 activations and
    # 24 + 8 weights of 4 bytes; relu moves 64 of them, flatten is a view, the linear
    # layer moves 32 + 5 activations and 160 + 5 weights.
    picojoules = 2 * 96 + 10 * 4 * (12 + 32 + 32) + 4 * (64 + 37 + 165)
    model = EnergyModel(graph, table)
    assert model.evaluate(np.array([8])) == pytest.approx(picojoules * 1e-9)
    half = 2 * 48 + 10 * 4 * (12 + 16 + 16) + 4 * (32 + 16 + 5 + 80 + 5)
    assert model.evaluate(np.array([[4], [8]])) == pytest.approx(
        np.array([half, picojoules]) * 1e-9
    )


def test_operators_without_an_entry_are_named(graph):
    with pytest.raises(ValueError, match=r"no entry for 'relu' \(in layer '1'\); add"):
        EnergyModel(graph, EnergyTable({"conv2d": {"mac": 1}}))


def test_a_file_comes_back(tmp_path):
    path = tmp_path / "energy.json"
    path.write_text(json.dumps({"conv2d": {"mac": 4.6}, "*": {"byte": 160}}))
    table = EnergyTable.load(path)
    assert table.of("conv2d") == (4.6, 0.0) and table.of("add") == (0.0, 160.0)
    path.write_text("{")
    with pytest.raises(ValueError, match="energy.json"):
        EnergyTable.load(path)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({}, "no energy table"),
        ([1], "no energy table"),
        ({"conv2d": 4.6}, "'conv2d' .* must map mac and byte"),
        ({"conv2d": {"macs": 1}}, "must map mac and byte"),
        ({"*": {"mac": -1}}, r"mac of '\*' \(=-1\) must be a finite number"),
        ({"*": {"byte": float("inf")}}, "must be a finite number"),
        ({"*": {"byte": "1"}}, "must be a finite number"),
    ],
)
def test_what_is_no_table_is_refused(table, message):
    with pytest.raises(ValueError, match=message):
        EnergyTable(table)
