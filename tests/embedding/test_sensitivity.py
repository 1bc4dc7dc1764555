from __future__ import annotations

import numpy as np
import pytest
import torch

from agmc.embedding.autoencoder import GraphAutoencoder
from agmc.embedding.sensitivity import Measured, SensitivityHead, group_facts, left_out
from tests.embedding.embedding_nets import branches_graph, chain_graph, residual_graph

RATIOS = (0.75, 0.5, 0.25)
RANDOM = torch.Generator().manual_seed(0)


def network(groups: int, level: float) -> Measured:
    """Losses whose logarithm is linear in the third of six numbers."""
    described = torch.randn(groups, 6, generator=RANDOM)
    losses = torch.exp(level + described[:, 2:3] * torch.tensor([0.5, 1.0, 1.5]))
    return Measured(described, losses - 0.01)


@pytest.fixture(scope="module")
def networks():
    return [network(30, -1.0), network(50, -0.5), network(10, -1.5)]


def test_what_is_linear_is_learned(networks):
    head = SensitivityHead(RATIOS, dim=4)
    head.learn(networks)
    new = network(40, -1.0)
    expected = (new.drops + 0.01).log()
    off = head(new.described) - expected
    within = expected - expected.mean(0)
    # The penalty takes some hundredths of the slopes.
    assert (off - off.mean(0)).square().sum() < 0.01 * within.square().sum()
    assert off.mean(0).abs().max() < 0.1  # of the networks learned the mean is -1


def test_networks_count_the_same_whatever_their_size():
    """Two networks that say the opposite leave nothing, though one is larger."""
    slope = torch.tensor([1.0])

    def along(groups: int, sign: float) -> Measured:
        line = torch.linspace(-1, 1, groups)[:, None]
        described = torch.cat([line, torch.zeros(groups, 2)], dim=1)
        return Measured(described, (sign * slope * line - 1).exp() - 0.01)

    head = SensitivityHead([0.5], dim=1)
    head.learn([along(11, 1.0), along(101, -1.0)])
    # The small one's line spreads a little wider about its mean: 0.4 against 0.34.
    assert head.slopes[0].abs() < 0.1
    head.learn([along(101, -1.0)])
    assert head.slopes[0] < -0.5


def test_a_column_that_never_varies_says_nothing(networks):
    constant = [Measured(n.described.clone(), n.drops) for n in networks]
    for given in constant:
        given.described[:, 0] = 3.0
    head = SensitivityHead(RATIOS, dim=4)
    head.learn(constant)
    new = constant[0].described.clone()
    before = head(new)
    new[:, 0] = 1000.0
    assert torch.equal(head(new), before) and before.isfinite().all()


def test_what_is_gained_counts_as_nothing_lost(networks):
    head = SensitivityHead(RATIOS, dim=4)
    head.learn([Measured(n.described, n.drops - 1000) for n in networks])
    found = head(networks[0].described)
    assert torch.allclose(found, torch.full_like(found, 0.01).log())


def test_left_out_reads_families_that_were_not_learned(networks):
    families = {"a": networks[:1], "b": networks[1:]}
    for found in left_out(RATIOS, families).values():
        assert min(found) > 0.98
    same = [Measured(n.described, torch.zeros_like(n.drops)) for n in networks]
    assert left_out(RATIOS, {**families, "c": same})["c"] == [None] * 3
    turned = {**families, "a": [Measured(n.described, 1 - n.drops) for n in networks]}
    assert max(left_out(RATIOS, turned)["a"]) < 0


def test_group_facts():
    graph = residual_graph()
    for group, (size, readers) in zip(graph.groups, group_facts(graph), strict=True):
        assert size == pytest.approx(np.log(group.size))
        reading = [piece for piece in group.slices if piece.dim == 1]
        assert readers == pytest.approx(np.log(1 + len(reading)))


def test_an_auto_encoder_describes_networks_to_its_head():
    model = GraphAutoencoder(dim=8, hidden=16, layers=1, ratios=RATIOS)
    measured = []
    for graph in (residual_graph(), branches_graph(), chain_graph()):
        sizes = np.array([[float(group.size)] for group in graph.groups])
        measured.append(model.measured(graph, (1 - np.array([RATIOS])) / sizes))
    model.head().learn(measured)
    new = residual_graph(12, 3)
    described = model.describe(new)
    assert described.shape == (len(new.groups), 10)
    sizes = torch.tensor([group.size for group in new.groups])
    found = model.head()(described)[:, 1]
    assert found[sizes.argmin()] > found[sizes.argmax()]  # wider groups lose less


@pytest.mark.parametrize("ratios", [(), (0.5, 1.0), (0.0,)])
def test_ratios_are_checked(ratios):
    with pytest.raises(ValueError, match=r"ratios .* must be in \(0, 1\)"):
        SensitivityHead(ratios)


def test_without_the_head():
    model = GraphAutoencoder(dim=8, hidden=16, layers=1)
    with pytest.raises(ValueError, match="predicts no sensitivities; fit one with"):
        model.head()


def test_what_cannot_be_learned(networks):
    with pytest.raises(ValueError, match=r"drops are \(30, 3\), expected \(30, 1\)"):
        SensitivityHead([0.5], dim=4).learn(networks[:1])
    with pytest.raises(ValueError, match="at least one network"):
        SensitivityHead([0.5], dim=4).learn([])
