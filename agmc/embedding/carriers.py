"""Carriers: from values of feature maps to values of decisions."""

from __future__ import annotations

import numpy as np

from agmc.graph.model_graph import ModelGraph


def carrier_means(graph: ModelGraph, values: np.ndarray) -> np.ndarray:
    """The mean over the feature maps that carry the channels of every decision.

    Args:
        graph: the traced network.
        values: float [num_nodes, columns], one row a feature map, in the order of
            `ModelGraph.tensors`.

    Returns:
        float64 [num_decisions, columns].
    """
    position = {name: i for i, name in enumerate(graph.tensors)}
    places = [[position[name] for name in group.tensors] for group in graph.groups]
    values = np.asarray(values, dtype=float)
    return np.array([values[at].mean(axis=0) for at in places])
