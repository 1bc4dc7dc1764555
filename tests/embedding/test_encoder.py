from __future__ import annotations

import pytest
import torch
from torch_geometric.data import Data

from agmc.embedding.autoencoder import GraphAutoencoder
from agmc.embedding.encoder import GraphEncoder
from agmc.embedding.pyg import GraphConverter
from tests.embedding.embedding_nets import residual_graph


@pytest.fixture
def data():
    return GraphConverter(residual_graph()).data()


@pytest.fixture
def encoder():
    return GraphAutoencoder(dim=8, hidden=16, layers=2).encoder


def test_shape_and_scale(encoder, data):
    z = encoder(data)
    assert z.shape == (data.num_nodes, 8)
    assert torch.allclose(z.mean(dim=1), torch.zeros(data.num_nodes), atol=1e-5)
    assert torch.allclose(
        z.std(dim=1, correction=0), torch.ones(data.num_nodes), atol=1e-2
    )


def test_renaming_the_nodes_renames_the_vectors(encoder, data):
    order = torch.randperm(data.num_nodes, generator=torch.Generator().manual_seed(0))
    place = order.argsort()
    shuffled = Data(
        x=data.x[order],
        edge_index=place[data.edge_index].flip(1),
        edge_attr=data.edge_attr.flip(0),
    )
    assert torch.allclose(encoder(shuffled), encoder(data)[order], atol=1e-5)


def test_direction_and_edge_attributes_matter(encoder, data):
    backwards = Data(
        x=data.x, edge_index=data.edge_index.flip(0), edge_attr=data.edge_attr
    )
    blind = Data(
        x=data.x,
        edge_index=data.edge_index,
        edge_attr=torch.zeros_like(data.edge_attr),
    )
    z = encoder(data)
    assert not torch.allclose(encoder(backwards), z, atol=1e-2)
    assert not torch.allclose(encoder(blind), z, atol=1e-2)


@pytest.mark.parametrize("name", ["dim", "hidden", "layers"])
def test_sizes_are_checked(name):
    with pytest.raises(ValueError, match=rf"{name} \(=0\) must be >= 1"):
        GraphEncoder(**{name: 0})
