"""How much a channel matters, read off the weights."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from agmc.graph.model_graph import ChannelGroup

#: (weight, dim) -> one score >= 0 for every position along `dim`.
Importance = Callable[[Tensor, int], Tensor]


def l1(weight: Tensor, dim: int) -> Tensor:
    """Sum of absolute weights along all other dimensions (Li et al. 2017)."""
    return weight.abs().sum([d for d in range(weight.ndim) if d != dim])


def l2(weight: Tensor, dim: int) -> Tensor:
    """Euclidean norm along all other dimensions."""
    return weight.square().sum([d for d in range(weight.ndim) if d != dim]).sqrt()


def group_importance(
    group: ChannelGroup, weights: dict[str, Tensor], importance: Importance
) -> Tensor:
    """Scores of a group's channels over all layers that make or read them.

    Each layer's scores are divided by their mean, so that a layer counts by how its
    channels differ and not by its scale, and then averaged over the layers.

    Args:
        group: the channels.
        weights: qualified name -> tensor; must hold every parameter of the group.
        importance: `l1`, `l2` or another `Importance`.

    Returns:
        float32 [group.size], on the CPU; zeros where only vectors carry the channels.
    """
    total = torch.zeros(group.size)
    num_layers = 0
    for cut in group.slices:
        weight = weights[cut.parameter]
        if weight.ndim < 2:
            continue
        scores = importance(weight.detach().float(), cut.dim).cpu()
        channel_scores = scores[torch.from_numpy(cut.index)].sum(1)
        total += channel_scores / channel_scores.mean().clamp_min(1e-12)
        num_layers += 1
    return total / max(num_layers, 1)
