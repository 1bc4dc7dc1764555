"""Sensitivity: the head that predicts what pruning one channel group alone costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from agmc.embedding.standardised import standardised
from agmc.graph.model_graph import ModelGraph

#: Added to a loss before its logarithm is taken: of smaller ones noise decides.
_FLOOR = 0.01
#: Weight of the squared coefficients, for every network that is learned from.
_RIDGE = 0.01
#: Numbers that `group_facts` gives.
NUM_FACTS = 2


class Measured(NamedTuple):
    """A network whose channel groups were pruned one by one, and what it cost.

    Attributes:
        described: of the unpruned network, float32 [G, dim + 2]: the encoder's vector
            of every group, then `group_facts`.
        drops: accuracy lost when a group alone is pruned to each keep ratio, shares,
            float [G, R].
    """

    described: Tensor
    drops: Tensor


class SensitivityHead(nn.Module):
    """Described channel groups -> accuracy lost by pruning each of them alone.

    Linear in what describes a group, and in the logarithm of the loss: where it is a
    tenth of a point or ten is told better than by how much it is more than ten. Within
    networks: how much accuracy a whole network loses depends on more than its graph,
    and the head says of all networks the mean of those it has learned.

    Args:
        ratios: keep ratios that are predicted, each in (0, 1), at least one.
        dim: of the encoder's vectors.

    Shapes:
        described [G, dim + 2], output [G, R] logarithms of share + 0.01.

    Raises:
        ValueError: there is no ratio, or one is out of range.
    """

    def __init__(self, ratios: Sequence[float], *, dim: int = 32) -> None:
        super().__init__()
        if not ratios or not all(0 < ratio < 1 for ratio in ratios):
            raise ValueError(f"ratios (={[*ratios]}) must be in (0, 1), at least one")
        self.ratios = tuple(float(ratio) for ratio in ratios)
        self.centre: Tensor
        self.scale: Tensor
        self.slopes: Tensor
        self.level: Tensor
        features, outputs = dim + NUM_FACTS, len(self.ratios)
        self.register_buffer("centre", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))
        self.register_buffer("slopes", torch.zeros(features, outputs))
        self.register_buffer("level", torch.zeros(outputs))

    def forward(self, described: Tensor) -> Tensor:
        """The predicted log(drop + 0.01), float32 [G, R]."""
        return self.level + (described - self.centre) / self.scale @ self.slopes

    def learn(self, measured: Sequence[Measured]) -> None:
        """Ridge regression in closed form, every network with the same weight.

        Raises:
            ValueError: there is no network, or drops do not fit the description.
        """
        if not measured:
            raise ValueError("measured (=[]) must hold at least one network")
        for given in measured:
            expected = (len(given.described), len(self.ratios))
            if tuple(given.drops.shape) != expected:
                raise ValueError(
                    f"drops are {tuple(given.drops.shape)}, expected {expected}: a row "
                    "a group, a column a ratio"
                )
        rows = torch.cat([given.described for given in measured]).double()
        losses = [_logarithm(given.drops.double()) for given in measured]
        within = torch.cat([loss - loss.mean(dim=0) for loss in losses])
        weights = torch.cat([torch.ones(len(x), 1) / len(x) for x in losses]).double()
        centre = rows.mean(dim=0)
        scale = rows.std(dim=0, correction=0)
        scale = torch.where(scale > 1e-6, scale, torch.inf)
        inputs = torch.cat([(rows - centre) / scale, torch.ones(len(rows), 1)], dim=1)
        penalty = torch.full((inputs.shape[1],), _RIDGE * len(measured))
        penalty[-1] = 0  # the constant
        system = inputs.T @ (weights * inputs) + torch.diag(penalty.double())
        found = torch.linalg.solve(system, inputs.T @ (weights * within))
        level = torch.stack([loss.mean(dim=0) for loss in losses]).mean(dim=0)
        self.centre.copy_(centre)
        self.scale.copy_(torch.where(scale.isfinite(), scale, 1.0))
        self.slopes.copy_(torch.where(scale.isfinite()[:, None], found[:-1], 0.0))
        self.level.copy_(level + found[-1])


def sensitivities(losses: Tensor) -> tuple[float, ...]:
    """How much each decision is expected to matter, see `Embedding.sensitivities`.

    Args:
        losses: their logarithms, of a head, [G, R].
    """
    mean = losses.mean(dim=1, keepdim=True).double()
    return tuple(standardised(mean, mean)[:, 0].tolist())


def left_out(
    ratios: Sequence[float], families: Mapping[str, Sequence[Measured]]
) -> dict[str, list[float | None]]:
    """How well a head says which groups of a network of a new family lose most.

    Args:
        ratios: see `SensitivityHead`.
        families: measured networks by family, two families or more.

    Returns:
        For every network the correlation (Pearson's) of what was measured with what a
        head predicts that has learned from the other families: of the logarithms, mean
        over the ratios, over its groups; None where one of them does not
        vary. By family, in the given order.
    """
    result = {}
    for family, members in families.items():
        head = SensitivityHead(ratios, dim=members[0].described.shape[1] - NUM_FACTS)
        head.learn([m for f, ms in families.items() if f != family for m in ms])
        result[family] = [
            _correlation(head(m.described).mean(1), _logarithm(m.drops).mean(1))
            for m in members
        ]
    return result


def _correlation(first: Tensor, second: Tensor) -> float | None:
    both = torch.stack([first.double(), second.double()])
    both = both - both.mean(dim=1, keepdim=True)
    lengths = both.norm(dim=1)
    return (both[0] @ both[1] / lengths.prod()).item() if lengths.min() > 1e-9 else None


def group_facts(graph: ModelGraph) -> Tensor:
    """What the mean over the carriers of a group does not tell, float32 [G, 2].

    The logarithms of its number of channels and of 1 + the weights that read them.
    """
    rows = [
        [group.size, 1 + sum(piece.dim == 1 for piece in group.slices)]
        for group in graph.groups
    ]
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, NUM_FACTS).log()


def _logarithm(drops: Tensor) -> Tensor:
    return (drops.clamp(min=0) + _FLOOR).log()
