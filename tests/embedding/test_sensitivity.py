from __future__ import annotations

import pytest
import torch

from agmc.embedding.autoencoder import GraphAutoencoder
from agmc.embedding.pyg import GraphConverter
from agmc.embedding.sensitivity import Measured, SensitivityHead
from tests.embedding.embedding_nets import branches_graph, chain_graph, residual_graph

RATIOS = (0.75, 0.5, 0.25)


def measured(graph):
    """Wider groups cost less, and the more is pruned the more it costs."""
    position = {name: i for i, name in enumerate(graph.tensors)}
    carriers = torch.zeros(len(graph.groups), len(position))
    for row, group in zip(carriers, graph.groups, strict=True):
        row[[position[name] for name in group.tensors]] = 1 / len(group.tensors)
    sizes = torch.tensor([[float(group.size)] for group in graph.groups])
    drops = (1 - torch.tensor([RATIOS])) / sizes
    return Measured(GraphConverter(graph).data(), carriers, drops)


@pytest.fixture(scope="module")
def networks():
    graphs = (residual_graph(), residual_graph(16, 2), branches_graph(), chain_graph())
    return [measured(graph) for graph in graphs]


def test_drops_are_learned_where_they_were_measured(networks):
    graphs = [given.data for given in networks]
    model = GraphAutoencoder(dim=16, hidden=32, layers=2, ratios=RATIOS)
    model.fit(graphs, measured=networks, steps=80, batch_size=4, learning_rate=0.01)
    mean = torch.cat([given.drops for given in networks]).mean(dim=0)

    def unexplained(given):
        with torch.no_grad():
            found = model.drops(given.data, given.carriers)
        assert found.shape == given.drops.shape
        wrong = (found - given.drops).square().mean()
        return wrong / (mean - given.drops).square().mean()

    for given in networks:
        assert unexplained(given) < 0.2
    assert unexplained(measured(residual_graph(12, 3))) < 0.5


def test_the_loss_reaches_the_encoder_only_through_measured_networks(networks):
    def weights(given):
        model = GraphAutoencoder(dim=8, hidden=16, layers=1, ratios=RATIOS)
        model.fit([networks[0].data], measured=given, steps=2)
        head = torch.cat([value.flatten() for value in model.sensitivity.parameters()])
        return head, model.encoder.output.weight

    fresh = GraphAutoencoder(dim=8, hidden=16, layers=1, ratios=RATIOS).sensitivity
    before = torch.cat([value.flatten() for value in fresh.parameters()])
    untouched, plain = weights(())
    moved, with_head = weights(networks)
    assert torch.equal(untouched, before)
    assert not torch.equal(moved, before)
    assert not torch.equal(plain, with_head)


def test_scale_of_the_drops(networks):
    head = SensitivityHead(RATIOS, dim=4)
    head.measure(networks)
    drops = torch.cat([given.drops for given in networks])
    assert torch.allclose(head.mean, drops.mean(dim=0))
    with torch.no_grad():
        for value in head.layers.parameters():
            value.zero_()
    assert torch.allclose(head(torch.randn(2, 4)), drops.mean(dim=0).expand(2, -1))


@pytest.mark.parametrize("ratios", [(), (0.5, 1.0), (0.0,)])
def test_ratios_are_checked(ratios):
    with pytest.raises(ValueError, match=r"ratios .* must be in \(0, 1\)"):
        SensitivityHead(ratios)


def test_without_the_head(networks):
    model = GraphAutoencoder(dim=8, hidden=16, layers=1)
    with pytest.raises(ValueError, match="predicts no sensitivities; make it with"):
        model.drops(networks[0].data, networks[0].carriers)
    with pytest.raises(ValueError, match="predicts no sensitivities"):
        model.fit([networks[0].data], measured=networks, steps=1)


def test_another_number_of_ratios(networks):
    with pytest.raises(ValueError, match=r"drops are \(2, 3\), expected \(2, 1\)"):
        SensitivityHead([0.5]).measure(networks[:1])
