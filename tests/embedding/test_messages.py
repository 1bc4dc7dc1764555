from __future__ import annotations

import pytest
import torch

from agmc.embedding.messages import GAT, GCN, LAYERS, layer_named
from agmc.embedding.pyg import EDGE_COLUMNS, GraphConverter
from agmc.embedding.topological import Edges
from tests.embedding.embedding_nets import residual_graph


@pytest.fixture
def data():
    return GraphConverter(residual_graph()).data()


@pytest.mark.parametrize("name", LAYERS)
def test_gradients_reach_every_weight_and_every_input(name, data):
    torch.manual_seed(0)
    layer = layer_named(name, 8)
    attributes = data.edge_attr.clone().requires_grad_()
    nodes = torch.randn(data.num_nodes, 8, requires_grad=True)
    made = layer(nodes, Edges(data.edge_index, attributes, data.num_nodes))
    assert made.shape == (data.num_nodes, 8)
    made.square().sum().backward()
    for value in (*layer.parameters(), nodes, attributes):
        assert value.grad is not None and value.grad.abs().sum() > 0


def test_graph_convolution_by_hand():
    torch.manual_seed(0)
    layer = GCN(4)
    nodes, attributes = torch.randn(3, 4), torch.randn(3, len(EDGE_COLUMNS))
    # 0 -> 1, 0 -> 2, 1 -> 2
    made = layer(nodes, Edges(torch.tensor([[0, 0, 1], [1, 2, 2]]), attributes, 3))
    h, e = layer.nodes(nodes), layer.edges(attributes)
    from_0 = (h[0, :4] + e[1, :4]) / (2 * 2) ** 0.5
    from_1 = (h[1, :4] + e[2, :4]) / (1 * 2) ** 0.5
    assert torch.allclose(made[2], layer.own(nodes[2]) + from_0 + from_1, atol=1e-6)
    from_1 = (h[1, 4:] + e[0, 4:]) / (2 * 1) ** 0.5
    from_2 = (h[2, 4:] + e[1, 4:]) / (2 * 2) ** 0.5
    assert torch.allclose(made[0], layer.own(nodes[0]) + from_1 + from_2, atol=1e-6)


def test_attention_by_hand():
    torch.manual_seed(0)
    layer = GAT(4)  # four heads of width 1
    nodes, attributes = torch.randn(3, 4), torch.randn(2, len(EDGE_COLUMNS))
    # 0 -> 2, 1 -> 2
    made = layer(nodes, Edges(torch.tensor([[0, 1], [2, 2]]), attributes, 3))
    along, against = layer.along, layer.against
    said = along.sent(nodes[:2]) + along.edges(attributes)
    asked = torch.nn.functional.leaky_relu(said + along.asked(nodes[2]), 0.2)
    shares = (asked * along.weight.flatten()).softmax(dim=0)
    expected = layer.own(nodes[2]) + (shares * said).sum(dim=0)
    assert torch.allclose(made[2], expected, atol=1e-6)
    # Whoever hears of one alone hears all of it.
    heard = against.sent(nodes[2]) + against.edges(attributes[0])
    assert torch.allclose(made[0], layer.own(nodes[0]) + heard, atol=1e-6)
