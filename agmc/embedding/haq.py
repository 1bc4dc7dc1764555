"""haq: the hand-written state of HAQ."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from agmc.decision import DROPPED, Decision
from agmc.embedding.columns import Column
from agmc.embedding.embedding import Embedding, EmbeddingContext
from agmc.embedding.operation_types import (
    channels_through,
    operation_type,
    spatial_size,
    window,
)
from agmc.embedding.progress import weight_of
from agmc.embedding.rules import min_max_scaled
from agmc.graph.program import Operation
from agmc.graph.weighted import weighted_layers
from agmc.plan_space import PlanSpace

#: What stays the same whatever the plan, before scaling.
_LAYER_COLUMNS = (
    Column("depthwise", "1 for a depthwise convolution"),
    Column("c_in", "channels that the layer reads"),
    Column("c_out", "channels that the layer makes"),
    Column("stride", "elements, geometric mean of both directions"),
    Column("kernel", "elements, geometric mean of both directions"),
    Column("weights", "elements of the weight"),
    Column("feature_map", "height x width of what the layer reads"),
    Column("index", "of the layer"),
)


class HAQEmbedding(Embedding):
    """Ten features of a layer whose bits are decided.

    HAQ: Hardware-Aware Automated Quantization, Wang et al. 2019 (arXiv 1811.08886),
    section 3.1, as published with its linear quantisation: the layer, the action
    before, and whether weights or inputs are at hand. The first eight are scaled over
    the layers to [0, 1], x -> (x - min) / (max - min), constant ones to 0.

    Args:
        space: decisions about layers only.

    Raises:
        ValueError: channels or blocks are decided as well.
    """

    def __init__(self, space: PlanSpace) -> None:
        if {"keep_ratio", DROPPED} & {*space.parts}:
            raise ValueError(
                "embedding haq sees layers only, and channels or blocks are to be "
                "decided as well; take rules or autoencoder, or decide those first"
            )
        self.graph = space.graph
        self.space = self._space = space
        self.columns = (
            *_LAYER_COLUMNS,
            Column("previous_action", "share kept by the decision before; 1 at first"),
            Column("inputs", "1 where the bits of inputs are decided"),
        )
        known = weighted_layers(self.graph.program)
        layers = list(known)
        scaled = min_max_scaled(
            np.array([self._layer(i, op) for i, op in enumerate(known.values())])
        )
        self._scaled = scaled[[layers.index(decision.name) for decision in space]]

    def rows(self, counts: np.ndarray) -> Tensor:
        """All rows, float32 [num_decisions, 10], see `Embedding.rows`."""
        return torch.stack([self.row(t, counts) for t in range(len(self._space))])

    def row(self, step: int, counts: np.ndarray) -> Tensor:
        """One row, float32 [10], see `Embedding.row`."""
        before = 1.0
        if step:
            before = _share(self._space[step - 1], int(np.asarray(counts)[step - 1]))
        inputs = float(self._space[step].part == "act_bits")
        return torch.tensor([*self._scaled[step], before, inputs], dtype=torch.float32)

    def _layer(self, index: int, operation: Operation) -> tuple[float, ...]:
        weight = self.graph.parameters[weight_of(operation)].shape
        taken, made = channels_through(self.graph, operation)
        moves = window(self.graph, operation)
        source = self.graph.tensors[next(operation.refs())].shape
        return (
            float(operation_type(self.graph, operation) == "depthwise_conv"),
            taken,
            made,
            math.sqrt(math.prod(moves.stride)),
            math.sqrt(math.prod(moves.kernel)),
            math.prod(weight),
            math.prod(spatial_size(source)),
            index,
        )


def _share(decision: Decision, count: int) -> float:
    """Of the most bits, or of the weights; not of the choices, as the action is."""
    if decision.values:
        return decision.value(count) / decision.values[-1]
    return count / decision.size


def haq(context: EmbeddingContext) -> HAQEmbedding:
    """Builds the embedding `haq`; it has nothing to learn and nothing to choose."""
    return HAQEmbedding(context.space)
