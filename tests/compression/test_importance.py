from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from agmc.compression import importance as importances
from agmc.compression.importance import Importance, Part, gradients, l1, l1_norm
from agmc.compression.prune import Pruner
from agmc.graph.model_graph import ChannelGroup, ParameterSlice
from agmc.graph.trace import trace
from agmc.plan import Plan

WEIGHT = torch.tensor([[3.0, -4.0], [0.0, 1.0], [-6.0, 8.0]])
READY = (
    *("l1", "l2", "batch_norm_scale", "taylor", "geometric_median", "lamp", "random"),
)


def part(value, dim=0, name="a.weight", gradient=None):
    return Part(name, value, dim, gradient)


def test_norms_by_hand():
    assert l1_norm(part(WEIGHT)).tolist() == [7, 1, 14]
    assert l1_norm(part(WEIGHT, 1)).tolist() == [9, 13]
    assert importances.l2_norm(part(WEIGHT)).tolist() == [5, 1, 10]
    four = part(torch.full((2, 3, 4, 4), -1.0), 1)
    assert l1_norm(four).tolist() == [32, 32, 32]
    assert l1_norm(part(torch.ones(3))) is None


def test_scale_reads_vectors_called_weight():
    assert importances.scale(part(torch.tensor([-2.0, 1.0]))).tolist() == [2, 1]
    assert importances.scale(part(torch.ones(2), name="a.bias")) is None
    assert importances.scale(part(WEIGHT)) is None


def test_taylor_squares_gradient_times_weight():
    gradient = torch.tensor([[1.0, 0.0], [5.0, 2.0], [0.5, 0.5]])
    scores = importances.first_order_taylor(part(WEIGHT, 0, gradient=gradient))
    assert scores.tolist() == [9, 4, 25]
    with pytest.raises(ValueError, match="a.weight needs gradients"):
        importances.first_order_taylor(part(WEIGHT))


def test_distances_to_all_others():
    rows = torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 1.0]])
    expected = [5 + 1, 5 + 18**0.5, 1 + 18**0.5]
    scores = importances.distance_to_others(part(rows))
    assert scores.tolist() == pytest.approx(expected)


def test_lamp_divides_by_all_that_are_no_smaller():
    # Squared norms 25, 1, 100.
    scores = importances.layer_adaptive(part(WEIGHT))
    assert scores.tolist() == pytest.approx([25 / 125, 1 / 126, 1.0])


def test_of_equals_the_later_one_counts_as_larger():
    scores = importances.share_of_no_smaller(torch.tensor([2.0, 1.0, 2.0, 0.0]))
    assert scores.tolist() == pytest.approx([0.5, 0.2, 1.0, 0.0])


def test_random_is_the_same_for_the_same_name():
    one = importances.random_score(part(WEIGHT))
    assert torch.equal(one, importances.random_score(part(WEIGHT * 2)))
    assert not torch.equal(one, importances.random_score(part(WEIGHT, name="b")))


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
    scores = l1(group(made, bias, read), weights)
    # a: [7, 1, 14] / (22 / 3); b: [200, 100, 0] / 100. The bias does not count.
    expected = [(21 / 22 + 2) / 2, (3 / 22 + 1) / 2, (42 / 22 + 0) / 2]
    assert scores.tolist() == pytest.approx(expected)
    # The scale of a layer does not matter.
    weights["b.weight"] = weights["b.weight"] * 1e4
    assert torch.allclose(l1(group(made, bias, read), weights), scores)
    strongest = Importance(l1_norm, importances.by_maximum, importances.maximum)
    assert strongest(group(made, bias, read), weights).tolist() == pytest.approx(
        [1.0, 0.5, 1.0]
    )
    plain = Importance(l1_norm, importances.as_they_are, importances.first)
    assert plain(group(made, bias, read), weights).tolist() == [7, 1, 14]


def test_channels_of_a_transposed_convolution_lie_along_dim_1():
    up = nn.ConvTranspose2d(1, 4, 2, stride=2, bias=False)
    layers = (up, nn.ReLU(), nn.Conv2d(4, 1, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    net = nn.Sequential(*layers).eval()
    with torch.no_grad():
        up.weight[0, :, 0, 0] = torch.tensor([9.0, 99, 999, 9999])
    graph = trace(net, torch.randn(2, 1, 3, 3))
    (found,) = graph.groups
    assert {(c.parameter, c.dim) for c in found.slices} == {
        ("0.weight", 1),
        ("2.weight", 1),
    }
    plain = Importance(l1_norm, importances.as_they_are, importances.maximum)
    scores = plain(found, dict(net.named_parameters()))
    assert torch.allclose(scores, up.weight.detach().abs().sum((0, 2, 3)))


def test_zero_weights_and_vectors_give_finite_scores():
    made = ParameterSlice("a.weight", 0, np.array([[0], [1]]))
    for name in READY:
        chosen = getattr(importances, name)
        zeros = {"a.weight": torch.zeros(2, 3)}
        assert chosen(group(made), zeros, zeros).isfinite().all()
    assert l1(group(made), {"a.weight": torch.ones(2)}).tolist() == [0, 0]


def test_without_batch_norm_the_l1_norm_decides():
    made = ParameterSlice("a.weight", 0, np.array([[0], [1], [2]]))
    tensors = {"a.weight": WEIGHT}
    scores = importances.batch_norm_scale(group(made), tensors)
    assert torch.equal(scores, l1(group(made), tensors))


def chain():
    torch.manual_seed(0)
    layers = (nn.Conv2d(1, 4, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1))
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def test_gradients_are_root_mean_squares_and_leave_the_model_alone():
    net = chain()
    batches = [(torch.randn(6, 1, 3, 3), torch.randint(2, (6,))) for _ in range(2)]
    found = gradients(net, batches)
    assert net.training and all(p.grad is None for p in net.parameters())
    assert int(net[1].num_batches_tracked) == 0
    net.eval()
    expected = torch.zeros_like(net[0].weight)
    for images, labels in batches:
        loss = nn.functional.cross_entropy(net(images), labels)
        expected += torch.autograd.grad(loss, net[0].weight)[0].square() / 2
    assert torch.allclose(found["0.weight"], expected.sqrt(), atol=1e-6)


@pytest.mark.parametrize("name", READY)
def test_every_importance_prunes(name):
    net = chain().eval()
    x = torch.randn(4, 1, 3, 3)
    graph = trace(net, x)
    found = gradients(net, [(x, torch.tensor([0, 1, 1, 0]))])
    chosen = getattr(importances, name)
    pruner = Pruner(net, graph, importance=chosen, gradients=found)
    small, plan = pruner.prune(Plan({"0": 0.5})), Plan({"0": 0.5})
    assert torch.allclose(small(x), pruner.mask(plan)(x), atol=1e-6)


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
    assert kept(0.25, lambda g, t, _: torch.tensor([9.0, 1, 1, 0])) == [2]
