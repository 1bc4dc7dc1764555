"""Networks by name: own, torchvision's, anyone's; unknown names list the choices."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from agmc.models import CifarResNet, build, names


def wide(num_classes: int, in_channels: int = 3) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(in_channels * 4, num_classes))


def not_a_module(num_classes: int) -> int:
    return num_classes


def test_own_names():
    assert set(names()) >= {"resnet20", "resnet56", "plain20", "vgg16_bn_cifar"}
    assert isinstance(build("resnet20", num_classes=7), CifarResNet)


@pytest.mark.parametrize("name", ["torchvision.squeezenet1_1", "squeezenet1_1"])
def test_torchvision(name):
    model = build(name, num_classes=7).eval()
    assert type(model).__name__ == "SqueezeNet"
    assert model(torch.zeros(1, 3, 32, 32)).shape == (1, 7)


def test_torchvision_takes_three_channels():
    with pytest.raises(ValueError, match="takes 3 channels, the images have 1"):
        build("torchvision.resnet18", num_classes=7, in_channels=1)


def test_own_callable():
    model = build(f"{__name__}:wide", num_classes=5, in_channels=2)
    assert model(torch.zeros(1, 2, 2, 2)).shape == (1, 5)


@pytest.mark.parametrize("name", ["resnet21", "torchvision.nothing", ""])
def test_unknown_lists_the_choices(name):
    with pytest.raises(ValueError) as caught:
        build(name, num_classes=2)
    message = str(caught.value)
    assert "\n" not in message
    for word in (*names(), "torchvision.resnet18", "package.module:callable"):
        assert word in message


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("no_such_package:net", "no_such_package"),
        (f"{__name__}:missing", "missing"),
        (f"{__name__}:not_a_module", "int"),
        ("builtins:print", "num_classes"),
    ],
)
def test_bad_callable_is_one_line(name, word):
    with pytest.raises(ValueError) as caught:
        build(name, num_classes=2)
    assert word in str(caught.value)
    assert "\n" not in str(caught.value)


def test_num_classes_must_be_positive():
    with pytest.raises(ValueError, match=r"num_classes \(=0\)"):
        build("resnet20", num_classes=0)


@pytest.mark.parametrize("name", ["resnet20", "resnet18", f"{__name__}:wide"])
def test_arguments_that_a_network_does_not_take_are_one_line(name):
    with pytest.raises(ValueError, match=f"{name}' cannot be called with .*depths"):
        build(name, num_classes=10, depths=3)
