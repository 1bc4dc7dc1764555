"""Families: networks by what they are built of, to learn from and to be tested on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from torch import nn

from agmc.models.random_cnn import random_cnn
from agmc.models.registry import build

#: Family -> names for `build`, of which an embedding may learn.
FITTED: Mapping[str, tuple[str, ...]] = {
    "cifar_resnet": ("resnet20", "resnet32", "resnet44", "resnet56"),
    "resnet": ("resnet18", "resnet34", "resnet50", "resnext50_32x4d"),
    "vgg": ("vgg11", "vgg11_bn", "vgg16_bn"),
    "mobilenet": ("mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large"),
    "shufflenet": ("shufflenet_v2_x0_5", "shufflenet_v2_x1_0"),
    "squeezenet": ("squeezenet1_0", "squeezenet1_1"),
    "mnasnet": ("mnasnet0_5",),
    "regnet": ("regnet_x_400mf", "regnet_y_400mf"),
}
#: The same of families that it has never seen, for tests of what it has learned.
HELD_OUT: Mapping[str, tuple[str, ...]] = {
    "alexnet": ("alexnet",),
    "densenet": ("densenet121",),
    "googlenet": ("googlenet",),
    "inception": ("inception_v3",),
    "efficientnet": ("efficientnet_b0",),
    "convnext": ("convnext_tiny",),
}
#: The family of `random_cnn`, which is learned from, and how many of them.
RANDOM, NUM_RANDOM = "random", 48

#: Sides of the images in turn; own networks and random ones take those of CIFAR.
_SIZES = (224, 128, 96)
_SMALL = 32
_SMALL_FAMILIES = ("cifar_resnet", RANDOM)


class Member(NamedTuple):
    """A network of a family.

    Attributes:
        family: its name.
        name: of the network.
        model: with fresh weights, the same at every call, in evaluation mode.
        image_size: side of the images it is looked at with, pixels.
    """

    family: str
    name: str
    model: nn.Module
    image_size: int


def members(
    families: Mapping[str, tuple[str, ...]], *, random_networks: int = 0
) -> Iterator[Member]:
    """Builds the networks one by one; torch's own generator is left alone.

    Args:
        families: `FITTED`, `HELD_OUT`, or any other names for `build`.
        random_networks: how many random ones follow, of seeds from 0, >= 0.

    Raises:
        ValueError: a network is unknown.
    """
    count = 0
    for family, names in families.items():
        for name in names:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                model = build(name, num_classes=10).eval()
            large = _SIZES[count % len(_SIZES)]
            count += 1
            size = _SMALL if family in _SMALL_FAMILIES else large
            yield Member(family, name, model, size)
    for seed in range(random_networks):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = random_cnn(num_classes=10, seed=seed).eval()
        yield Member(RANDOM, f"{RANDOM}_{seed}", model, _SMALL)
