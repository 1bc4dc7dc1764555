"""The network for MNIST: published size, a forward by hand, channels that can go."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from agmc.compression.prune import Pruner
from agmc.graph.trace import trace
from agmc.models import build
from agmc.models.mnist_conv import MnistConv
from agmc.plan_space import PlanSpace


def small(**knobs):
    torch.manual_seed(0)
    return MnistConv(num_classes=3, widths=(3, 4, 6), **knobs)


def test_it_has_as_many_numbers_as_published():
    model = build("conv_mnist", num_classes=10, in_channels=1)
    numbers = [v for v in model.state_dict().values() if v.is_floating_point()]
    assert sum(value.numel() for value in numbers) == 3_274_762
    # Keras counts the running mean and variance of batch norm, 2 x 32, as well.
    assert sum(p.numel() for p in model.parameters()) == 3_274_762 - 64


def test_forward_by_hand():
    model = small(image_size=9).eval()
    x = torch.rand(2, 1, 9, 9, generator=torch.Generator().manual_seed(0))
    out = F.relu(F.conv2d(x, model.conv1.weight, model.conv1.bias, padding=2))
    out = F.max_pool2d(out, 2) / (1 + 1e-5) ** 0.5  # batch norm of a fresh network
    out = F.relu(F.conv2d(out, model.conv2.weight, model.conv2.bias, padding=2))
    out = F.max_pool2d(out, 2)
    assert out.shape == (2, 4, 2, 2)
    out = F.relu(out.reshape(2, 16) @ model.linear1.weight.T + model.linear1.bias)
    expected = out @ model.linear2.weight.T + model.linear2.bias
    assert torch.allclose(model(x), expected, atol=1e-6)


@pytest.mark.parametrize(("size", "channels"), [(4, 1), (9, 3), (28, 1)])
def test_shapes(size, channels):
    model = small(image_size=size, in_channels=channels).eval()
    assert model(torch.zeros(2, channels, size, size)).shape == (2, 3)


def test_dropout_is_there_in_training_only():
    model, x = small(), torch.ones(2, 1, 28, 28)
    assert not torch.equal(model(x), model(x))
    model.eval()
    assert torch.equal(model(x), model(x))


def test_all_channels_can_go_and_removal_equals_zeroing():
    model = small(image_size=9).double().train()
    images = torch.randn(8, 1, 9, 9, dtype=torch.float64)
    model(images)  # running statistics that are not those of a fresh network
    model.eval()
    graph = trace(model, images)
    assert graph.unprunable == ()
    assert [group.size for group in graph.groups] == [3, 4, 6]
    space = PlanSpace(graph, min_keep_ratio=0.1)
    pruner, plan = Pruner(model, graph), space.plan([2, 1, 3])
    with torch.no_grad():
        expected = pruner.mask(plan)(images)
        assert torch.allclose(pruner.prune(plan)(images), expected, rtol=1e-9)
        assert not torch.allclose(expected, model(images), rtol=1e-3)


@pytest.mark.parametrize(
    ("knobs", "words"),
    [
        ({"num_classes": 0}, r"num_classes \(=0\)"),
        ({"in_channels": 0}, r"in_channels \(=0\)"),
        ({"image_size": 3}, r"image_size \(=3\) must be >= 4"),
        ({"widths": (1, 2)}, "must be 3 numbers"),
    ],
)
def test_bad_numbers(knobs, words):
    with pytest.raises(ValueError, match=words):
        MnistConv(**{"num_classes": 2, **knobs})
