from __future__ import annotations

import pytest
import torch
from torch_geometric.data import Batch, Data

from agmc.embedding.autoencoder import GraphAutoencoder
from agmc.embedding.encoder import GraphEncoder
from agmc.embedding.messages import LAYERS
from agmc.embedding.pyg import GraphConverter
from tests.embedding.embedding_nets import branches_graph, chain_graph, residual_graph


@pytest.fixture
def data():
    return GraphConverter(residual_graph()).data()


@pytest.fixture(params=[*LAYERS])
def encoder(request):
    return GraphAutoencoder(encoder=request.param, dim=8, hidden=16, layers=2).encoder


def close(one, other, atol=1e-5):
    return all(
        torch.allclose(*pair, atol=atol) for pair in zip(one, other, strict=True)
    )


def test_shape_and_scale(encoder, data):
    vectors = encoder(data)
    assert vectors.nodes.shape == (data.num_nodes, 8)
    assert vectors.networks.shape == (1, 8)
    z = torch.cat(vectors)
    assert torch.allclose(z.mean(dim=1), torch.zeros(len(z)), atol=1e-5)
    assert torch.allclose(z.std(dim=1, correction=0), torch.ones(len(z)), atol=1e-2)


def test_renaming_the_nodes_renames_the_vectors(encoder, data):
    order = torch.randperm(data.num_nodes, generator=torch.Generator().manual_seed(0))
    place = order.argsort()
    shuffled = Data(
        x=data.x[order],
        edge_index=place[data.edge_index].flip(1),
        edge_attr=data.edge_attr.flip(0),
    )
    renamed, plain = encoder(shuffled), encoder(data)
    assert close(renamed, (plain.nodes[order], plain.networks))


def test_direction_and_edge_attributes_matter(encoder, data):
    backwards = Data(
        x=data.x, edge_index=data.edge_index.flip(0), edge_attr=data.edge_attr
    )
    blind = Data(
        x=data.x,
        edge_index=data.edge_index,
        edge_attr=torch.zeros_like(data.edge_attr),
    )
    plain = encoder(data)
    for other in (encoder(backwards), encoder(blind)):
        assert not torch.allclose(other.nodes, plain.nodes, atol=1e-2)
        assert not torch.allclose(other.networks, plain.networks, atol=1e-4)


def test_networks_side_by_side_do_not_hear_each_other(encoder):
    graphs = (chain_graph(), residual_graph(), branches_graph())
    alone = [GraphConverter(graph).data() for graph in graphs]
    together = encoder(Batch.from_data_list(alone))
    apart = [encoder(data) for data in alone]
    assert close(together, map(torch.cat, zip(*apart, strict=True)))


def test_the_virtual_node_joins_what_is_far_away(encoder):
    """Two layers of messages do not get from one end of the chain to the other."""
    data = GraphConverter(chain_graph()).data()
    other = data.clone()
    other.x[-1] += 1
    near, far = encoder(data), encoder(other)
    assert not torch.allclose(near.networks, far.networks, atol=1e-3)
    assert not torch.allclose(near.nodes[0], far.nodes[0], atol=1e-4)


def test_the_walk_sees_the_whole_way():
    """One layer, and so nothing comes through the virtual node."""
    data = GraphConverter(residual_graph(8, 2)).data()
    other = data.clone()
    other.x[0] += 1

    def last(layer):
        encoder = GraphAutoencoder(encoder=layer, dim=8, hidden=16, layers=1).encoder
        return encoder(data).nodes[-1], encoder(other).nodes[-1]

    assert not torch.allclose(*last("dag"), atol=1e-4)
    assert torch.equal(*last("gin"))


@pytest.mark.parametrize("name", ["dim", "hidden", "layers"])
def test_sizes_are_checked(name):
    with pytest.raises(ValueError, match=rf"{name} \(=0\) must be >= 1"):
        GraphEncoder(**{name: 0})


def test_an_unknown_layer():
    with pytest.raises(ValueError, match="encoder 'bert' is unknown; choose one of"):
        GraphEncoder(layer="bert")


def test_attention_needs_a_width_for_its_heads():
    with pytest.raises(ValueError, match=r"hidden \(=6\) must be a multiple of 4"):
        GraphEncoder(layer="gat", hidden=6)
