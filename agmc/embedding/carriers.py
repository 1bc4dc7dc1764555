"""Carriers: from vectors of feature maps to vectors of decisions."""

from __future__ import annotations

import torch
from torch import Tensor

from agmc.graph.model_graph import ModelGraph


def carriers_of(graph: ModelGraph) -> Tensor:
    """Mean over the feature maps that carry a group, float32 [num_groups, num_nodes].

    Nodes are those of `GraphConverter`; a group that no feature map carries has zeros.
    """
    position = {name: i for i, name in enumerate(graph.tensors)}
    result = torch.zeros(len(graph.groups), len(position))
    for row, group in zip(result, graph.groups, strict=True):
        row[[position[name] for name in group.tensors]] = 1 / max(1, len(group.tensors))
    return result
