"""rules_weights: the features of AMC and what the weights of the layers are like."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from agmc.embedding.columns import Column
from agmc.embedding.embedding import EmbeddingContext
from agmc.embedding.fixed import FixedEmbedding
from agmc.embedding.operation_types import operation_type
from agmc.embedding.rules import LAYER_COLUMNS, RulesEmbedding
from agmc.graph.model_graph import ChannelGroup, ModelGraph, ParameterSpec

#: What is added; the statistics are of the original weights, biases left out.
WEIGHT_COLUMNS = (
    Column("made_mean", "tanh(mean * sqrt(fan_in)) of weights that make the channels"),
    Column("made_std", "tanh(std * sqrt(fan_in) / 2) of weights that make them"),
    Column("read_mean", "tanh(mean * sqrt(fan_in)) of weights that read the channels"),
    Column("read_std", "tanh(std * sqrt(fan_in) / 2) of weights that read them"),
    Column("scale_mean", "tanh(mean / 2) of the scales of normalisation"),
    Column("scale_std", "tanh(std) of the same, over the channels"),
    Column("shift_mean", "tanh(mean) of the shifts of normalisation"),
    Column("shift_std", "tanh(std) of the same, over the channels"),
)


def rules_weights(context: EmbeddingContext) -> FixedEmbedding:
    """Builds the embedding `rules_weights`: those of `rules` and `WEIGHT_COLUMNS`.

    A reference: hand-written features that know as much of the weights as the
    attributes do which the graph auto-encoder is fitted on. Several weights of a group
    are averaged by their numbers of elements; what a group does not have is 0.
    """
    context.require_channels("rules_weights")
    graph = context.graph
    whole = np.array([group.size for group in graph.groups], dtype=np.int64)
    rules = RulesEmbedding(graph).rows(whole).double().numpy()[:, : len(LAYER_COLUMNS)]
    vectors = np.concatenate([rules, weight_statistics(graph)], axis=1)
    return FixedEmbedding(context.space, (*LAYER_COLUMNS, *WEIGHT_COLUMNS), vectors)


def weight_statistics(graph: ModelGraph) -> np.ndarray:
    """`WEIGHT_COLUMNS`, float64 [num_decisions, 8], in (-1, 1)."""
    scales, shifts = _normalisations(graph)
    return np.array([_of_group(graph, g, scales, shifts) for g in graph.groups])


def _normalisations(graph: ModelGraph) -> tuple[set[str], set[str]]:
    """Names of the scales and of the shifts of all normalisations."""
    scales, shifts = set(), set()
    for operation in graph.layers:
        if operation_type(graph, operation) in ("batch_norm", "other_norm"):
            names = graph.parameters_of(operation)
            trained = [name for name in names if graph.parameters[name].trainable]
            scales.update(trained[:1])
            shifts.update(trained[1:2])
    return scales, shifts


def _of_group(
    graph: ModelGraph, group: ChannelGroup, scales: set[str], shifts: set[str]
) -> list[float]:
    cut = {piece.parameter for piece in group.slices}
    # A layer that reads channels of the group and makes others of it counts as making.
    weights = [name for name in cut if len(graph.parameters[name].shape) > 1]
    made = [n for n in weights if n.rpartition(".")[0] in group.producers]
    read = [n for n in weights if n.rpartition(".")[0] not in group.producers]
    result = []
    for names in (made, read):
        specs = [graph.parameters[name] for name in names]
        factors = [math.sqrt(_fan_in(spec)) for spec in specs]
        result.append(math.tanh(_mean(specs, (s.mean for s in specs), factors)))
        result.append(math.tanh(_mean(specs, (s.std for s in specs), factors) / 2))
    for known, divisor in ((scales, 2), (shifts, 1)):
        specs = [graph.parameters[name] for name in cut & known]
        result.append(math.tanh(_mean(specs, (s.mean for s in specs)) / divisor))
        result.append(math.tanh(_mean(specs, (s.std for s in specs))))
    return result


def _fan_in(spec: ParameterSpec) -> float:
    return spec.numel / spec.shape[0]


def _mean(
    specs: list[ParameterSpec],
    values: Iterable[float],
    factors: Iterable[float] | None = None,
) -> float:
    """Mean over parameters by their numbers of elements; 0 for none."""
    sizes = [spec.numel for spec in specs]
    scaled = [
        value * factor * size
        for value, factor, size in zip(
            values, factors or [1.0] * len(sizes), sizes, strict=True
        )
    ]
    return math.fsum(scaled) / max(1, sum(sizes))
