from __future__ import annotations

import pytest
import torch

from agmc.embedding.pyg import EDGE_COLUMNS, GraphConverter
from agmc.embedding.topological import BothWaysGRU, Edges
from tests.embedding.embedding_nets import branches_graph

#: 0 -> 1 -> 2 -> 4 and 0 -> 3 -> 4, twice from 0 to 3.
DIAMOND = [[0, 1, 0, 0, 2, 3], [1, 2, 3, 3, 4, 4]]


def edges_of(pairs, num_nodes):
    index = torch.tensor(pairs)
    return Edges(index, torch.zeros(index.shape[1], len(EDGE_COLUMNS)), num_nodes)


def test_levels_of_a_diamond():
    along, against = edges_of(DIAMOND, 5).levels
    assert [level.nodes.tolist() for level in along] == [[0], [1, 3], [2], [4]]
    assert [level.nodes.tolist() for level in against] == [[4], [2, 3], [1], [0]]
    last = along[3]
    assert last.edges.tolist() == [4, 5]
    assert last.earlier == (1, 2)
    # The nodes of levels 1 and 2 are [1, 3] and [2]: node 2 sends, then node 3.
    assert last.senders.tolist() == [2, 1]
    assert last.places.tolist() == [0, 0]
    assert last.scale.tolist() == [[0.5]]
    assert along[1].scale.tolist() == [[1], [0.5]]


def test_every_node_and_edge_once():
    data = GraphConverter(branches_graph()).data()
    for levels in Edges(data.edge_index, data.edge_attr, data.num_nodes).levels:
        nodes = torch.cat([level.nodes for level in levels])
        edges = torch.cat([level.edges for level in levels])
        assert sorted(nodes.tolist()) == [*range(data.num_nodes)]
        assert sorted(edges.tolist()) == [*range(data.edge_index.shape[1])]


def test_a_cycle_is_refused():
    with pytest.raises(ValueError, match="cycle before 2 of 3 nodes"):
        _ = edges_of([[0, 1, 2], [1, 2, 1]], 3).levels


def test_one_way_states_by_hand():
    """The walk, node by node, without levels."""
    torch.manual_seed(0)
    layer = BothWaysGRU(4)
    edges = edges_of(DIAMOND, 5)
    edges.attributes = torch.randn(6, len(EDGE_COLUMNS))
    nodes = torch.randn(5, 4)
    walk = layer.along
    states = {}
    for v in range(5):
        messages = []
        for e, (u, to) in enumerate(edges.index.T.tolist()):
            if to == v:
                said = walk.send(states[u]) + walk.edges(edges.attributes[e])
                messages.append(torch.sigmoid(said[:4]) * said[4:])
        heard = torch.stack(messages).mean(dim=0) if messages else torch.zeros(4)
        x, h = walk.input(nodes[v]), walk.state(heard)
        reset, update = torch.sigmoid(x[:4] + h[:4]), torch.sigmoid(x[4:8] + h[4:8])
        new = torch.tanh(x[8:] + reset * h[8:])
        states[v] = (1 - update) * new + update * heard
    expected = torch.stack([states[v] for v in range(5)])
    made = walk(nodes, edges.attributes, edges.levels.along)
    assert torch.allclose(made, expected, atol=1e-6)


def test_the_way_back_begins_with_the_way_there():
    torch.manual_seed(0)
    layer = BothWaysGRU(4)
    edges = edges_of(DIAMOND, 5)
    nodes = torch.randn(5, 4)
    there = layer.along(nodes, edges.attributes, edges.levels.along)
    back = layer.against(nodes + there, edges.attributes, edges.levels.against)
    assert torch.equal(layer(nodes, edges), there + back)
