"""Small networks and their graphs, traced once."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn

from agmc.graph.model_graph import ModelGraph
from agmc.graph.trace import trace


def chain(first: int = 4, second: int = 6, third: int = 5) -> nn.Module:
    """Three convolutions and a linear layer; the numbers of test_rules.py."""
    return nn.Sequential(
        nn.Conv2d(3, first, 3, padding=1, bias=False),
        nn.ReLU(),
        nn.Conv2d(first, second, 3, stride=2, padding=1, bias=False),
        nn.ReLU(),
        nn.Conv2d(second, third, 1, bias=False),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(third, 2, bias=False),
    )


class Residual(nn.Module):
    """A stem and some residual blocks, with batch norm."""

    def __init__(self, width: int = 8, blocks: int = 1) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(width, 2 * width, 3, padding=1, bias=False),
                nn.BatchNorm2d(2 * width),
                nn.ReLU(),
                nn.Conv2d(2 * width, width, 3, padding=1, bias=False),
                nn.BatchNorm2d(width),
            )
            for _ in range(blocks)
        )
        self.fc = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.stem(x)))
        for block in self.blocks:
            x = torch.relu(x + block(x))
        return self.fc(nn.functional.adaptive_avg_pool2d(x, 1).flatten(1))


class Branches(nn.Module):
    """Depthwise convolution, slice, concatenation, max pooling, a clipped ReLU."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, stride=2, padding=1)
        self.depthwise = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.left = nn.Conv2d(width // 2, 6, 1)
        self.right = nn.Conv2d(width, 4, 3, padding=1)
        self.fc = nn.Linear(10 * 4, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.relu6(self.depthwise(self.stem(x)))
        left = self.left(x[:, : x.shape[1] // 2])
        x = torch.cat([left, torch.relu(self.right(x))], dim=1)
        return self.fc(nn.functional.max_pool2d(x, 2).flatten(1))


class Halves(nn.Module):
    """Chunks its input, an operation that makes a tuple, and adds the halves."""

    def forward(self, x: Tensor) -> Tensor:
        first, second = x.chunk(2, dim=2)
        return first + torch.special.gammaln(second)


def graph_of(model: nn.Module) -> ModelGraph:
    return trace(model, torch.zeros(2, 3, 8, 8))


@cache
def chain_graph() -> ModelGraph:
    return graph_of(_seeded(chain))


@cache
def residual_graph(width: int = 8, blocks: int = 1) -> ModelGraph:
    return graph_of(_seeded(Residual, width, blocks))


@cache
def branches_graph(width: int = 8) -> ModelGraph:
    return graph_of(_seeded(Branches, width))


def _seeded(build, *args) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build(*args)
