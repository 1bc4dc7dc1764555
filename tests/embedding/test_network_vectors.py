from __future__ import annotations

import copy

import pytest
import torch
from embedding_nets import chain_graph, residual_graph

from agmc.embedding.autoencoder import GraphAutoencoder
from agmc.embedding.network_vectors import NetworkVectors
from agmc.embedding.pyg import GraphConverter


def vectors_of(graph, *, freeze: bool, seed: int = 0) -> NetworkVectors:
    model = GraphAutoencoder(dim=4, hidden=8, layers=2, seed=seed)
    return NetworkVectors(graph, model, freeze=freeze)


def test_decisions_are_means_over_what_carries_them():
    graph = residual_graph(8, 2)
    vectors = vectors_of(graph, freeze=True)
    nodes, networks = vectors.encoder.vectors(GraphConverter(graph).data())
    decisions, network = vectors()
    names = list(graph.tensors)
    for row, group in zip(decisions, graph.groups, strict=True):
        carrying = torch.stack([nodes[names.index(name)] for name in group.tensors])
        torch.testing.assert_close(row, carrying.mean(0))
    torch.testing.assert_close(network, networks[0])


def test_pruned_networks_are_encoded_one_by_one_as_together():
    graph = residual_graph(8, 2)
    vectors = vectors_of(graph, freeze=True)
    counts = torch.tensor([[8, 16, 16], [3, 5, 16]])
    found = vectors.under_plans(counts)
    converter = GraphConverter(graph)
    for row, kept in zip(found, counts, strict=True):
        nodes = vectors.encoder(converter.data(kept.numpy()))
        torch.testing.assert_close(row, vectors.carriers @ nodes)
    torch.testing.assert_close(found[0], vectors()[0])


@pytest.mark.parametrize("fused", [False, True])
def test_what_is_remembered_is_forgotten_when_the_weights_change(fused):
    vectors = vectors_of(chain_graph(), freeze=False)
    weights = [p for p in vectors.parameters() if p.requires_grad]
    adam = torch.optim.Adam(weights, lr=0.1, fused=fused)
    with torch.no_grad():
        first = vectors()
        assert vectors()[0] is first[0]
    other = copy.deepcopy(vectors)
    for _ in range(3):
        adam.zero_grad()
        vectors()[0].square().sum().backward()
        adam.step()
        with torch.no_grad():
            fresh = vectors._vectors()
            assert torch.equal(vectors()[0], fresh[0])
            assert not torch.equal(first[0], fresh[0])
    with torch.no_grad():
        assert torch.equal(other()[0], first[0])
        for target, source in zip(
            other.parameters(), vectors.parameters(), strict=True
        ):
            target.lerp_(source, 0.5)
        assert torch.equal(other()[0], other._vectors()[0])
        other.load_state_dict(vectors.state_dict())
        assert torch.equal(other()[0], vectors()[0])


def test_only_weights_behind_the_vectors_are_trained():
    free = vectors_of(chain_graph(), freeze=False)
    trained = {n for n, p in free.named_parameters() if p.requires_grad}
    assert trained and all(name.startswith("encoder.encoder.") for name in trained)
    frozen = vectors_of(chain_graph(), freeze=True)
    assert not any(p.requires_grad for p in frozen.parameters())
    assert not frozen()[0].requires_grad


def test_weights_load_into_the_vectors_of_another_network():
    small = vectors_of(chain_graph(), freeze=True)
    large = vectors_of(residual_graph(8, 2), freeze=True, seed=1)
    before = large()[0]
    large.load_state_dict(small.state_dict())
    assert large()[0].shape == before.shape and not torch.equal(large()[0], before)
