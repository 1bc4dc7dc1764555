"""A data set of two classes, told apart by which half is bright, and its execution."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from agmc.data import Split, Splits
from agmc.training import Execution


def halves(count: int, seed: int) -> Split:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 2
    images = torch.randint(0, 120, (count, 1, 4, 4), generator=generator)
    for half in (0, 1):
        images[labels == half, :, :, 2 * half : 2 * half + 2] += 100
    return Split(images.to(torch.uint8), labels)


@pytest.fixture
def splits() -> Splits:
    return Splits(
        name="halves",
        train=halves(40, 1),
        search=halves(10, 2),
        test=halves(10, 3),
        classes=("left", "right"),
        mean=(0.43,),
        std=(0.25,),
        crop_padding=0,
        flip=False,
    )


@pytest.fixture
def execution() -> Execution:
    return Execution(device="cpu", precision="float32")


@pytest.fixture
def build():
    """Builds the same tiny network every time."""

    def build(seed: int = 0) -> nn.Module:
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1, bias=False),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dropout(0.1),
            nn.Linear(64, 2),
        )

    return build
