"""Cost of a plan: multiply-adds, parameters and bytes, without building a network."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass

import numpy as np
import torch

from agmc.graph.model_graph import ModelGraph
from agmc.graph.program import program_to_json
from agmc.graph.widths import Widths
from agmc.plan import Plan, kept_channels

#: What a budget can be set on; the fields of `Cost`.
METRICS = ("macs", "params", "bytes")

#: What the file says of one tensor besides its name: dtype, shape and place.
_HEADER_BYTES_PER_TENSOR = 64

#: So that a budget on bytes holds for the file with what its writer says of it.
_ROOM_FOR_INFO = 1024


@dataclass(frozen=True)
class Cost:
    """What a network costs.

    Attributes:
        macs: multiply-adds of convolutions and linear layers for one input; one
            multiplication with its addition counts as 1.
        params: elements of all parameters that the network reads.
        bytes: size of the saved file (`agmc.save`), within 2 %: all weights and
            buffers that the network reads, and the description of its operations.
    """

    macs: int
    params: int
    bytes: int


class CostModel:
    """Closed forms of all metrics over one graph.

    Args:
        graph: the traced network.
    """

    def __init__(self, graph: ModelGraph) -> None:
        self.widths = Widths(graph)
        specs = [graph.parameters[name] for name in self.widths.parameters]
        self._trainable = np.array([float(spec.trainable) for spec in specs])
        self._item_sizes = np.array(
            [float(getattr(torch, spec.dtype).itemsize) for spec in specs]
        )
        description = json.dumps(program_to_json(graph.program)).encode()
        # The file holds the description compressed, as text of 6 bits a character.
        self._description_bytes = (
            len(zlib.compress(description, 9)) * 4 // 3
            + sum(len(n) + _HEADER_BYTES_PER_TENSOR for n in self.widths.parameters)
            + _ROOM_FOR_INFO
        )

    def evaluate(self, metric: str, counts: np.ndarray) -> np.ndarray:
        """One metric of many plans at once.

        Args:
            metric: one of `METRICS`.
            counts: kept channels, int [..., num_groups], in the order of the groups.

        Returns:
            int64 [...]; never falls when a count grows.

        Raises:
            ValueError: no such metric.
        """
        if metric == "macs":
            values = self.widths.macs(counts).sum(-1)
        elif metric == "params":
            values = self.widths.numels(counts) @ self._trainable
        elif metric == "bytes":
            payload = self.widths.numels(counts) @ self._item_sizes
            values = payload + self._description_bytes
        else:
            raise ValueError(f"metric {metric!r} is none of {', '.join(METRICS)}")
        return np.rint(values).astype(np.int64)

    def cost(self, counts: np.ndarray) -> Cost:
        """All metrics of one plan; counts int [num_groups]."""
        return Cost(*(int(self.evaluate(metric, counts)) for metric in METRICS))


def cost_of(graph: ModelGraph, plan: Plan | None = None) -> Cost:
    """Cost of a plan, or of the original network for None."""
    return CostModel(graph).cost(kept_channels(graph, plan))
