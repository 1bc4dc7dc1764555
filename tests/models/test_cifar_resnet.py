"""CIFAR ResNets: names, sizes and the parameter-free shortcut."""

from __future__ import annotations

import pytest
import torch

from agmc.models.cifar_resnet import (
    BasicBlock,
    CifarResNet,
    resnet20,
    resnet32,
    resnet44,
    resnet56,
    resnet110,
)


@pytest.mark.parametrize(
    ("function", "layers", "parameters"),
    [
        # Trainable parameters: convolutions, batch norms and the linear layer.
        (resnet20, 20, 269_722),
        (resnet32, 32, 464_154),
        (resnet44, 44, 658_586),
        (resnet56, 56, 853_018),
        (resnet110, 110, 1_727_962),
    ],
)
def test_sizes(function, layers, parameters):
    model = function(num_classes=10)
    weights = [p for p in model.parameters() if p.dim() > 1]
    assert len(weights) == layers
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_names_are_those_of_public_checkpoints():
    names = set(resnet20(num_classes=10).state_dict())
    norm = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
    expected = {"conv1.weight", "linear.weight", "linear.bias"}
    expected |= {f"bn1.{part}" for part in norm}
    for stage in (1, 2, 3):
        for block in range(3):
            for index in (1, 2):
                at = f"layer{stage}.{block}"
                expected.add(f"{at}.conv{index}.weight")
                expected |= {f"{at}.bn{index}.{part}" for part in norm}
    assert names == expected


def test_shortcut_takes_every_second_pixel_and_pads_channels():
    block = BasicBlock(2, 4, stride=2).eval()
    torch.nn.init.zeros_(block.bn2.weight)  # leaves the shortcut alone
    x = torch.arange(1.0, 33.0).reshape(1, 2, 4, 4)
    expected = torch.zeros(1, 4, 2, 2)
    expected[0, 1] = torch.tensor([[1.0, 3.0], [9.0, 11.0]])
    expected[0, 2] = torch.tensor([[17.0, 19.0], [25.0, 27.0]])
    assert torch.equal(block(x), expected)


def test_shortcut_of_odd_widths():
    block = BasicBlock(3, 8).eval()
    torch.nn.init.zeros_(block.bn2.weight)
    x = torch.rand(1, 3, 5, 5)
    out = block(x)
    assert torch.equal(out[:, 2:5], x)
    assert not out[:, :2].any() and not out[:, 5:].any()


def test_block_cannot_shrink():
    with pytest.raises(ValueError, match=r"planes \(=4\) must be >= in_planes \(=8\)"):
        BasicBlock(8, 4)


@pytest.mark.parametrize("size", [8, 16, 28, 32])
def test_any_image_size(size):
    model = CifarResNet(1, num_classes=5, in_channels=1).eval()
    assert model(torch.zeros(2, 1, size, size)).shape == (2, 5)


@pytest.mark.parametrize("argument", ["num_classes", "in_channels"])
def test_bad_numbers(argument):
    arguments = {"num_classes": 10, argument: 0}
    with pytest.raises(ValueError, match=rf"{argument} \(=0\)"):
        CifarResNet(1, **arguments)
