"""Carriers: from vectors of feature maps to vectors of decisions."""

from __future__ import annotations

import torch
from torch import Tensor

from agmc.decision import DROPPED
from agmc.graph.model_graph import ModelGraph
from agmc.graph.weighted import weighted_layers
from agmc.plan_space import PlanSpace


def carriers_of(graph: ModelGraph) -> Tensor:
    """Mean over the feature maps that carry a group, float32 [num_groups, num_nodes].

    Nodes are those of `GraphConverter`; a group that no feature map carries has zeros.
    """
    position = {name: i for i, name in enumerate(graph.tensors)}
    result = torch.zeros(len(graph.groups), len(position))
    for row, group in zip(result, graph.groups, strict=True):
        row[[position[name] for name in group.tensors]] = 1 / max(1, len(group.tensors))
    return result


def carriers_of_decisions(space: PlanSpace) -> Tensor:
    """Which feature maps decisions are about, float32 [num_decisions, num_nodes].

    A channel group's are those of `carriers_of`, a block's all that it computes; the
    weights of a layer belong to what it makes, the bits of its input to what it reads.
    """
    graph = space.graph
    if space.only_channels:
        return carriers_of(graph)
    position = {name: i for i, name in enumerate(graph.tensors)}
    groups = dict(zip([g.name for g in graph.groups], carriers_of(graph), strict=True))
    layers = weighted_layers(graph.program)
    result = torch.zeros(len(space), len(position))
    for row, decision in zip(result, space, strict=True):
        if decision.part == "keep_ratio":
            row += groups[decision.name]
            continue
        if decision.part == DROPPED:
            (block,) = (b for b in graph.blocks if b.name == decision.name)
            inside = [position[name] for name in block.operations if name in position]
            row[inside] = 1 / len(inside)
            continue
        layer = layers[decision.name]
        reads = decision.part == "act_bits"
        row[position[next(layer.refs()) if reads else layer.name]] = 1
    return result
