from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from agmc.embedding.probe_targets import depths, macs_shares, makers, meetings
from tests.embedding.embedding_nets import (
    branches_graph,
    chain_graph,
    graph_of,
    residual_graph,
)


class Gated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.gate = nn.Linear(8, 8)
        self.fc = nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = x * torch.sigmoid(self.gate(x.mean((2, 3))))[:, :, None, None] + x
        return self.fc(x.mean((2, 3)))


def test_chain():
    graph = chain_graph()
    assert makers(graph).tolist() == ["conv", "conv", "pointwise_conv"]
    assert meetings(graph).tolist() == ["none"] * 3
    # 6912 + 3456 + 480 and a linear layer of 5 * 2.
    assert macs_shares(graph) == pytest.approx(np.array([6912, 3456, 480]) / 10858)
    # conv relu conv relu conv pool flatten linear: 8 operations.
    assert depths(graph) == pytest.approx(np.array([1.5, 3.5, 6]) / 8)


def test_residual():
    graph = residual_graph(blocks=2)
    assert meetings(graph).tolist() == ["add", "none", "none"]
    found = depths(graph)
    assert 0 < found[1] < found[2] < 1


def test_branches():
    graph = branches_graph()
    names = [group.name for group in graph.groups]
    found = dict(zip(names, meetings(graph), strict=True))
    assert found["left"] == "concat"
    # Sliced in half after the depthwise layer: what the other branch reads is pooled.
    assert found[names[0]] == "depthwise_conv"
    assert dict(zip(names, makers(graph), strict=True))["left"] == "pointwise_conv"


def test_a_gate_says_more_than_a_sum():
    graph = graph_of(Gated())
    assert meetings(graph).tolist() == ["multiply"]
    assert makers(graph).tolist() == ["conv"]
