"""A tiny network and tiny data for the real rooms of the search."""

from __future__ import annotations

import torch
from torch import nn

from agmc.data import Split, Splits


def tiny_net(*, seed=0):
    """Two convolutions with batch norm, 8 and 12 channels, and a linear layer."""
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 12, 3, padding=1, stride=2, bias=False),
        nn.BatchNorm2d(12),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(12, 3),
    )
    with torch.no_grad():
        for norm in (net[1], net[4]):
            norm.running_mean.uniform_(-0.3, 0.3)
            norm.running_var.uniform_(0.5, 1.5)
    return net.eval()


def tiny_splits(*, seed=0, test_seed=0):
    """Noise of three classes, 6 x 6 pixels: 24 to train on, 18 to search with."""

    def split(number, of):
        generator = torch.Generator().manual_seed(of)
        images = torch.randint(0, 256, (number, 1, 6, 6), generator=generator)
        return Split(images.to(torch.uint8), torch.arange(number) % 3)

    return Splits(
        name="noise",
        train=split(24, seed),
        search=split(18, seed + 1),
        test=split(6, test_seed + 2),
        classes=("a", "b", "c"),
        mean=(0.5,),
        std=(0.25,),
        crop_padding=0,
        flip=False,
    )


def no_number(outcome):
    """A reward of somebody who divided by zero."""
    return float("nan")
