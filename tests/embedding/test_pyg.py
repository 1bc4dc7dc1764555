from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from agmc.embedding.columns import index_of
from agmc.embedding.pyg import (
    EDGE_COLUMNS,
    NODE_COLUMNS,
    NUM_TYPES,
    GraphConverter,
)
from agmc.graph.widths import Widths
from agmc.plan_space import PlanSpace
from tests.embedding.embedding_nets import (
    Halves,
    branches_graph,
    chain,
    chain_graph,
    graph_of,
    residual_graph,
)

GRAPHS = [chain_graph, residual_graph, branches_graph]


def node(data, name):
    return data.x[:, index_of(NODE_COLUMNS, name)]


def edge(data, name):
    return data.edge_attr[:, index_of(EDGE_COLUMNS, name)]


@pytest.mark.parametrize("make", GRAPHS)
def test_shapes_types_and_ranges(make):
    graph = make()
    data = GraphConverter(graph).data()
    edges = data.edge_index.shape[1]
    assert data.x.shape == (len(graph.tensors), len(NODE_COLUMNS))
    assert data.edge_attr.shape == (edges, len(EDGE_COLUMNS))
    assert data.x.dtype == data.edge_attr.dtype == torch.float32
    assert data.edge_index.dtype == torch.int64
    assert data.x.min() >= 0 and data.x.max() <= 1
    assert data.edge_attr.abs().max() <= 1
    assert data.validate()


@pytest.mark.parametrize("make", GRAPHS)
def test_edges_follow_execution_and_have_one_type(make):
    data = GraphConverter(make()).data()
    assert (data.edge_index[0] < data.edge_index[1]).all()
    assert (data.edge_index[1].diff() >= 0).all()
    assert (data.edge_attr[:, :NUM_TYPES].sum(dim=1) == 1).all()
    assert torch.allclose((edge(data, "macs_share") ** 2).sum(), torch.ones(()))
    assert torch.allclose((node(data, "activation_share") ** 2).sum(), torch.ones(()))


def test_pieces_of_a_tuple_hang_on_what_was_cut():
    """A chunk makes a tuple, which is no feature map."""
    graph = graph_of(Halves())
    data = GraphConverter(graph).data()
    names = list(graph.tensors)
    edges = [(names[a], names[b]) for a, b in data.edge_index.T.tolist()]
    assert edges[:2] == [("x", "getitem"), ("x", "getitem_1")]
    assert len(edges) == 5


@pytest.mark.parametrize("make", GRAPHS)
def test_every_feature_map_but_the_input_is_reached(make):
    data = GraphConverter(make()).data()
    reached = set(data.edge_index[1].tolist())
    assert reached == set(range(1, data.num_nodes))
    assert node(data, "is_input").tolist() == [1.0] + [0.0] * (data.num_nodes - 1)
    assert node(data, "is_output").tolist() == [0.0] * (data.num_nodes - 1) + [1.0]


def test_hand_computed_attributes_of_a_chain():
    graph = chain_graph()
    converter = GraphConverter(graph)
    data = converter.data()
    # input, conv, relu, conv, relu, conv, pool, flatten, linear
    channels = [3, 4, 4, 6, 6, 5, 5, 5, 2]
    heights = [8, 8, 8, 4, 4, 4, 1, 1, 1]
    expected = [math.log2(1 + c) / 15 for c in channels]
    assert node(data, "log_channels").tolist() == pytest.approx(expected)
    expected = [math.log2(h) / 10 for h in heights]
    assert node(data, "log_height").tolist() == pytest.approx(expected)
    expected = [i / 8 for i in range(9)]
    assert node(data, "depth").tolist() == pytest.approx(expected)
    macs = [6912, 0, 3456, 0, 480, 0, 0, 10]
    expected = [math.sqrt(m / 10858) for m in macs]
    assert edge(data, "macs_share").tolist() == pytest.approx(expected)
    numels = [108, 0, 216, 0, 30, 0, 0, 10]
    expected = [math.sqrt(n / 364) for n in numels]
    assert edge(data, "parameter_share").tolist() == pytest.approx(expected)
    strides = [0, 0, 1 / 4, 0, 0, 2 / 4, 0, 0]
    assert edge(data, "log_stride").tolist() == pytest.approx(strides)
    kernel = math.log2(3) / 4
    kernels = [kernel, 0, kernel, 0, 0, 2 / 4, 0, 0]
    assert edge(data, "log_kernel_width").tolist() == pytest.approx(kernels)
    assert edge(data, "is_conv").tolist() == [1, 0, 1, 0, 1, 0, 0, 0]
    weight = graph.parameters["2.weight"]
    assert edge(data, "weight_std")[2].item() == pytest.approx(
        math.tanh(weight.std * 6 / 2)
    )


def test_residual_add_is_two_edges():
    data = GraphConverter(residual_graph()).data()
    adds = data.edge_index[:, edge(data, "is_add") > 0]
    assert adds.shape[1] == 2
    assert adds[1, 0] == adds[1, 1] and adds[0, 0] != adds[0, 1]
    assert node(data, "in_degree")[adds[1, 0]] == pytest.approx(math.log2(3) / 4)


def test_a_plan_gives_the_attributes_of_the_smaller_network():
    pruned = GraphConverter(chain_graph()).data([2, 3, 4])
    small = GraphConverter(graph_of(chain(2, 3, 4))).data()
    assert torch.equal(pruned.x, small.x)
    assert torch.equal(pruned.edge_index, small.edge_index)
    statistics = [index_of(EDGE_COLUMNS, f"weight_{name}") for name in ("mean", "std")]
    others = [i for i in range(len(EDGE_COLUMNS)) if i not in statistics]
    assert torch.equal(pruned.edge_attr[:, others], small.edge_attr[:, others])


@pytest.mark.parametrize("make", GRAPHS)
def test_channels_are_those_of_widths(make):
    graph = make()
    space, widths = PlanSpace(graph), Widths(graph)
    counts = space.counts(space.sample(torch.Generator().manual_seed(3)))
    data = GraphConverter(graph).data(counts)
    whole = np.array([group.size for group in graph.groups])
    left = widths.activation_elements(counts) / widths.activation_elements(whole)
    channels = left * [(*spec.shape, 1)[1] for spec in graph.tensors.values()]
    expected = torch.tensor(np.log2(1 + channels) / 15).float()
    assert torch.allclose(node(data, "log_channels"), expected)


def test_depthwise_groups_follow_the_plan():
    graph = branches_graph()
    data = GraphConverter(graph).data()
    depthwise = edge(data, "is_depthwise_conv") > 0
    assert edge(data, "log_groups")[depthwise].item() == pytest.approx(
        math.log2(9) / 15
    )
    counts = [group.size // 2 for group in graph.groups]
    pruned = GraphConverter(graph).data(counts)
    assert edge(pruned, "log_groups")[depthwise].item() == pytest.approx(
        math.log2(5) / 15
    )


def test_is_a_pure_function():
    converter = GraphConverter(residual_graph())
    first, _, again = converter.data(), converter.data([3, 5]), converter.data()
    other = GraphConverter(residual_graph()).data()
    for data in (again, other):
        assert torch.equal(first.x, data.x)
        assert torch.equal(first.edge_attr, data.edge_attr)
