"""Sensitivity: the head that predicts what pruning one channel group alone costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch_geometric.data import Data


class Measured(NamedTuple):
    """A network whose channel groups were pruned one by one, and what it cost.

    Attributes:
        data: the unpruned network, from `GraphConverter`.
        carriers: mean over the feature maps that carry a group, float32 [G, N].
        drops: accuracy lost when a group alone is pruned to each keep ratio, shares,
            float32 [G, R].
    """

    data: Data
    carriers: Tensor
    drops: Tensor


class SensitivityHead(nn.Module):
    """Vectors of channel groups -> accuracy lost by pruning each of them alone.

    Args:
        ratios: keep ratios that are predicted, each in (0, 1), at least one.
        dim: of the vectors.
        hidden: width of the hidden layer.

    Shapes:
        vectors [G, dim], output [G, R] shares.

    Raises:
        ValueError: there is no ratio, or one is out of range.
    """

    def __init__(
        self, ratios: Sequence[float], *, dim: int = 32, hidden: int = 64
    ) -> None:
        super().__init__()
        if not ratios or not all(0 < ratio < 1 for ratio in ratios):
            raise ValueError(f"ratios (={[*ratios]}) must be in (0, 1), at least one")
        self.ratios = tuple(float(ratio) for ratio in ratios)
        self.layers = nn.Sequential(
            nn.Linear(dim, hidden), nn.ReLU(), nn.Linear(hidden, len(self.ratios))
        )
        self.mean: Tensor
        self.spread: Tensor
        self.register_buffer("mean", torch.zeros(len(self.ratios)))
        self.register_buffer("spread", torch.ones(len(self.ratios)))

    def forward(self, vectors: Tensor) -> Tensor:
        """The predicted drops, float32 [G, R]."""
        return self.mean + self.spread * self.layers(vectors)

    def loss(self, vectors: Tensor, drops: Tensor) -> Tensor:
        """Smooth L1 of the drops, in units of their spread, scalar."""
        scaled = (drops - self.mean) / self.spread
        return functional.smooth_l1_loss(self.layers(vectors), scaled)

    def measure(self, measured: Sequence[Measured]) -> None:
        """Takes mean and spread of the drops to learn from.

        Raises:
            ValueError: the drops of a network are for another number of ratios, or its
                groups and nodes do not fit.
        """
        for given in measured:
            groups, nodes = given.carriers.shape
            expected = (groups, len(self.ratios))
            if tuple(given.drops.shape) != expected or nodes != len(given.data.x):
                raise ValueError(
                    f"drops are {tuple(given.drops.shape)}, expected {expected}: a row "
                    f"a group, a column a ratio; carriers are {(groups, nodes)} for "
                    f"{len(given.data.x)} nodes"
                )
        drops = torch.cat([given.drops for given in measured])
        self.mean.copy_(drops.mean(dim=0))
        self.spread.copy_(drops.std(dim=0, correction=0).clamp(min=1e-3))
