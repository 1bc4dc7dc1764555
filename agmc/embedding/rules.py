"""rules: the 11 hand-written features of AMC."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from agmc.decision import DROPPED
from agmc.embedding.about import operations_of
from agmc.embedding.columns import Column
from agmc.embedding.embedding import Embedding, EmbeddingContext
from agmc.embedding.fixed import FixedEmbedding
from agmc.embedding.operation_types import channels_through, spatial_size, window
from agmc.embedding.progress import PROGRESS_COLUMNS, Progress
from agmc.graph.model_graph import ModelGraph
from agmc.graph.program import Operation
from agmc.graph.widths import Widths
from agmc.plan_space import PlanSpace

#: What stays the same whatever the plan, before scaling.
LAYER_COLUMNS = (
    Column("t", "index of the decision"),
    Column("n", "channels that the layer makes"),
    Column("c", "channels that the layer reads"),
    Column("h", "height of what the layer reads, elements"),
    Column("w", "width of what the layer reads, elements"),
    Column("stride", "elements, geometric mean of both directions"),
    Column("k", "kernel size, elements, geometric mean of both directions"),
    Column("macs", "multiply-adds for one input, summed over all layers of the group"),
)

RULES_COLUMNS = LAYER_COLUMNS + PROGRESS_COLUMNS


class RulesEmbedding(Embedding):
    """The features (t, n, c, h, w, stride, k, MACs, reduced, rest, previous action).

    AMC: AutoML for Model Compression, He et al. 2018 (arXiv 1802.03494), section 3.1,
    with keep ratios for actions. The first eight are scaled over the decisions to
    [0, 1], x -> (x - min) / (max - min), constant ones to 0. The last three are shares
    and stay as they are: scaling them over rows would show the future to the agent.
    Where several layers make the channels of a group, `macs` is their sum and the
    first layer gives the other columns.

    Args:
        graph: the traced network, with at least one channel group.
    """

    def __init__(self, graph: ModelGraph) -> None:
        self.graph = graph
        self.columns = RULES_COLUMNS
        self.features = layer_features(graph)
        self._scaled = min_max_scaled(self.features)
        self._progress = Progress(graph)

    def rows(self, counts: np.ndarray) -> Tensor:
        """All rows, float32 [num_decisions, 11], see `Embedding.rows`."""
        rows = np.concatenate([self._scaled, self._progress.rows(counts)], axis=1)
        return torch.from_numpy(rows.astype(np.float32))

    def row(self, step: int, counts: np.ndarray) -> Tensor:
        """One row, float32 [11], see `Embedding.row`."""
        progress = self._progress.row(step, counts)
        row = np.concatenate([self._scaled[step], progress])
        return torch.from_numpy(row.astype(np.float32))


def rules(context: EmbeddingContext) -> Embedding:
    """Builds the embedding `rules`; it has nothing to learn and nothing to choose.

    Where layers or blocks are decided about, the features are those of the layer, or of
    the first one of the block, and `LayerProgress` says how far the plan has come.
    """
    if context.space.only_channels:
        return RulesEmbedding(context.graph)
    scaled = min_max_scaled(_features_of(context.space))
    return FixedEmbedding(context.space, LAYER_COLUMNS, scaled)


def min_max_scaled(features: np.ndarray) -> np.ndarray:
    """Columns x -> (x - min) / (max - min), in [0, 1]; constant ones become 0.

    Args:
        features: float [rows, columns].
    """
    low, high = features.min(axis=0), features.max(axis=0)
    return (features - low) / np.where(high > low, high - low, 1.0)


def layer_features(graph: ModelGraph) -> np.ndarray:
    """`LAYER_COLUMNS` in their units, float64 [num_groups, 8]."""
    return _features_of(PlanSpace(graph))


def _features_of(space: PlanSpace) -> np.ndarray:
    """The same of decisions of any kind."""
    widths = Widths(space.graph)
    groups = {group.name: group for group in space.graph.groups}
    blocks = {block.name: block for block in space.graph.blocks}
    rows = []
    for t, decision in enumerate(space):
        layers = operations_of(space, decision, widths)
        if layers:
            rows.append([t, *_layer(widths, layers)])
        elif decision.part == DROPPED:
            output = blocks[decision.name].output
            size = space.graph.tensors[output].shape[1]
            rows.append([t, *_without_layers(space.graph, size, output)])
        else:
            group = groups[decision.name]
            rows.append(
                [t, *_without_layers(space.graph, group.size, group.tensors[0])]
            )
    return np.array(rows, dtype=float)


def _without_layers(graph: ModelGraph, size: int, name: str) -> tuple[float, ...]:
    """Features of channels, or of a block, that no layer with a weight makes."""
    height, width = spatial_size(graph.tensors[name].shape)
    return (size, size, height, width, 1, 1, 0)


def _layer(widths: Widths, layers: Sequence[Operation]) -> tuple[float, ...]:
    """Features of the first of the layers, with the multiply-adds of all."""
    graph = widths.graph
    first = layers[0]
    macs = widths.macs_by_operation(np.array([g.size for g in graph.groups]))
    taken, made = channels_through(graph, first)
    moves = window(graph, first)
    height, width = spatial_size(graph.tensors[next(first.refs())].shape)
    return (
        made,
        taken,
        height,
        width,
        math.sqrt(math.prod(moves.stride)),
        math.sqrt(math.prod(moves.kernel)),
        sum(macs[layer.name] for layer in layers),
    )
