from __future__ import annotations

import pytest
import torch

from agmc.embedding.autoencoder import GraphAutoencoder
from agmc.embedding.decoder import Reconstruction
from agmc.embedding.fidelity import fidelity
from agmc.embedding.pyg import NUM_TYPES, GraphConverter
from tests.embedding.embedding_nets import chain_graph, residual_graph

GRAPHS = [GraphConverter(graph()).data() for graph in (chain_graph, residual_graph)]


@pytest.fixture
def model():
    return GraphAutoencoder(dim=8, hidden=16, layers=1)


def decode(monkeypatch, model, nodes, numbers, types, links):
    """Puts another decoder in: functions of the graph that is to be decoded."""
    by_edges = {data.edge_index.shape[1]: data for data in GRAPHS}

    def forward(vectors, edge_index):
        data = model.standardised(by_edges[edge_index.shape[1]])
        made = (nodes(data.x), numbers(data.edge_attr[:, NUM_TYPES:]))
        kinds = types(data.edge_attr[:, :NUM_TYPES])
        return Reconstruction(*made, kinds, vectors.networks)

    monkeypatch.setattr(model.decoder, "forward", forward)
    monkeypatch.setattr(model.decoder, "link_logits", lambda z, pairs: links(pairs))


def test_all_right(model, monkeypatch):
    def is_edge(pairs):
        edges = {
            tuple(pair)
            for data in GRAPHS
            if int(pairs.max()) < data.num_nodes
            for pair in data.edge_index.T.tolist()
        }
        right = [tuple(pair) in edges for pair in pairs.T.tolist()]
        return torch.tensor(right).float() - 0.5

    def same(values):
        return values

    decode(monkeypatch, model, same, same, same, is_edge)
    # Chains: an absent link of one graph may be an edge of the other.
    assert fidelity(model, GRAPHS[:1]) == (1, 1, 1, 1)


def test_constants_explain_nothing(model, monkeypatch):
    x = torch.cat([data.x for data in GRAPHS]).mean(dim=0)
    e = torch.cat([data.edge_attr[:, NUM_TYPES:] for data in GRAPHS]).mean(dim=0)

    def first(types):
        return torch.eye(NUM_TYPES)[0].expand(len(types), -1)

    decode(
        monkeypatch,
        model,
        lambda values: x.expand(len(values), -1),
        lambda values: e.expand(len(values), -1),
        first,
        lambda pairs: torch.ones(pairs.shape[1]),
    )
    found = fidelity(model, GRAPHS)
    share = torch.cat([data.edge_attr[:, 0] for data in GRAPHS]).mean()
    assert found.types == pytest.approx(float(share))
    assert found.links == 0.5
    assert found.shapes == pytest.approx(0, abs=1e-6)
    assert found.shares == pytest.approx(0, abs=1e-6)


def test_same_seed_same_numbers(model):
    assert fidelity(model, GRAPHS) == fidelity(model, GRAPHS)
