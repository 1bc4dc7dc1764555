"""Probe targets: facts about decisions that an observation should tell."""

from __future__ import annotations

import math

import numpy as np

from agmc.embedding.carriers import carriers_of
from agmc.embedding.columns import index_of
from agmc.embedding.operation_types import operation_type, window
from agmc.embedding.progress import layers_of
from agmc.embedding.pyg import NODE_COLUMNS, GraphConverter
from agmc.embedding.rules import LAYER_COLUMNS, layer_features
from agmc.graph.model_graph import ModelGraph
from agmc.graph.widths import Widths

#: What channels can meet on their way, that which says most first.
_MEETINGS = ("multiply", "concat", "add", "depthwise_conv")


def makers(graph: ModelGraph) -> np.ndarray:
    """The type of the layer that makes the channels, str [num_decisions].

    As in `OPERATION_TYPES`, but that a convolution of one pixel is a `pointwise_conv`;
    `none` where no layer with a weight makes them.
    """
    widths = Widths(graph)
    result = []
    for group in graph.groups:
        layers = layers_of(widths, group)
        name = operation_type(graph, layers[0]) if layers else "none"
        if name == "conv" and math.prod(window(graph, layers[0]).kernel) == 1:
            name = "pointwise_conv"
        result.append(name)
    return np.array(result)


def meetings(graph: ModelGraph) -> np.ndarray:
    """What the channels meet on their way, str [num_decisions].

    A product of activations, else a concatenation, a sum or a depthwise convolution,
    named as in `OPERATION_TYPES`; `none` of these.
    """
    found: dict[str, set[str]] = {name: set() for name in graph.tensors}
    for operation in graph.program.operations:
        for name in graph.inputs_of(operation):
            found[name].add(operation_type(graph, operation))
    result = []
    for group in graph.groups:
        types = set().union(*(found[name] for name in group.tensors))
        result.append(next((kind for kind in _MEETINGS if kind in types), "none"))
    return np.array(result)


def macs_shares(graph: ModelGraph) -> np.ndarray:
    """Multiply-adds of the layers that make the channels, shares, [num_decisions]."""
    whole = np.array([group.size for group in graph.groups])
    total = max(1.0, float(Widths(graph).macs(whole).sum()))
    return layer_features(graph)[:, index_of(LAYER_COLUMNS, "macs")] / total


def depths(graph: ModelGraph) -> np.ndarray:
    """Mean depth of the feature maps that carry the channels, [num_decisions].

    In operations from the input, as a share of the longest path.
    """
    nodes = GraphConverter(graph).data().x
    means = (carriers_of(graph) @ nodes).double().numpy()
    return means[:, index_of(NODE_COLUMNS, "depth")]
