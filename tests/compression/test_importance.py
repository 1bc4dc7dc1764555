from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from agmc.compression.importance import group_importance, l1, l2
from agmc.compression.prune import Pruner
from agmc.graph.model_graph import ChannelGroup, ParameterSlice
from agmc.graph.trace import trace
from agmc.plan import Plan

WEIGHT = torch.tensor([[3.0, -4.0], [0.0, 1.0], [-6.0, 8.0]])


def test_l1_and_l2_by_hand():
    assert l1(WEIGHT, 0).tolist() == [7, 1, 14]
    assert l1(WEIGHT, 1).tolist() == [9, 13]
    assert l2(WEIGHT, 0).tolist() == [5, 1, 10]
    assert l2(WEIGHT, 1).tolist() == pytest.approx([45**0.5, 9])
    assert l1(torch.full((2, 3, 4, 4), -1.0), 1).tolist() == [32, 32, 32]


def group(*slices):
    return ChannelGroup("g", len(slices[0].index), slices, (), ())


def test_the_mean_over_the_layers_each_scaled_to_mean_one():
    made = ParameterSlice("a.weight", 0, np.array([[0], [1], [2]]))
    bias = ParameterSlice("a.bias", 0, np.array([[0], [1], [2]]))
    read = ParameterSlice("b.weight", 1, np.array([[0, 1], [2, 3], [4, 5]]))
    weights = {
        "a.weight": WEIGHT,
        "a.bias": torch.tensor([100.0, 0, 0]),
        "b.weight": torch.tensor([[100.0, 100, 100, 0, 0, 0]]),
    }
    scores = group_importance(group(made, bias, read), weights, l1)
    # a: [7, 1, 14] / (22 / 3); b: [200, 100, 0] / 100. The bias does not count.
    expected = [(21 / 22 + 2) / 2, (3 / 22 + 1) / 2, (42 / 22 + 0) / 2]
    assert scores.tolist() == pytest.approx(expected)
    # The scale of a layer does not matter.
    weights["b.weight"] = weights["b.weight"] * 1e4
    again = group_importance(group(made, bias, read), weights, l1)
    assert torch.allclose(again, scores)


def test_zero_weights_and_vectors_give_finite_scores():
    made = ParameterSlice("a.weight", 0, np.array([[0], [1]]))
    zeros = group_importance(group(made), {"a.weight": torch.zeros(2, 3)}, l2)
    assert zeros.tolist() == [0, 0]
    vector = group_importance(group(made), {"a.weight": torch.ones(2)}, l2)
    assert vector.tolist() == [0, 0]


def test_the_ranking_decides_who_stays_and_ties_go_to_the_first():
    net = nn.Sequential(nn.Conv2d(1, 4, 1), nn.ReLU(), nn.Conv2d(4, 1, 1)).eval()
    with torch.no_grad():
        net[0].weight[:, 0, 0, 0] = torch.tensor([1.0, 1, 1, 9])
        net[2].weight[0, :, 0, 0] = torch.tensor([2.0, 2, 5, 0])
    graph = trace(net, torch.ones(2, 1, 3, 3))

    def kept(ratio, importance=l1):
        small = Pruner(net, graph, importance=importance).prune(Plan({"0": ratio}))
        return small.get_submodule("2").weight.flatten().tolist()

    # Scores: [1, 1, 1, 9] / 3 + [2, 2, 5, 0] / 2.25 = [1.2, 1.2, 2.6, 3.0].
    assert kept(0.25) == [0]
    assert kept(0.5) == [5, 0]
    assert kept(0.75) == [2, 5, 0]
    first = Pruner(net, graph).prune(Plan({"0": 0.75}))
    assert torch.equal(first.get_submodule("0").bias, net[0].bias[[0, 2, 3]])
    assert kept(0.25, lambda w, dim: -l1(w, dim) + 100) != [0]
