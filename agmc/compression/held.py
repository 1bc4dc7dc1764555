"""Held: what a training of a quantised network must not move."""

from __future__ import annotations

from collections.abc import Collection

import torch

from agmc.compression.rounding import PER_CHANNEL, PER_TENSOR
from agmc.graph.network import GraphNetwork
from agmc.graph.program import name_of
from agmc.graph.weighted import layer_name

#: A step size may fall to this share of what it was.
_LEAST_SHARE = 0.01


class Held:
    """Called after every step of a training, keeps zeros zero and step sizes positive.

    Args:
        network: quantised, on the device where it is trained.
        sparse: names of layers whose zeros stay zeros.
    """

    def __init__(self, network: GraphNetwork, sparse: Collection[str]) -> None:
        self._steps = []
        self._zeros = []
        for operation in network.program.operations:
            if operation.op not in (PER_CHANNEL, PER_TENSOR):
                continue
            rounded, scale = (name_of(arg) or "" for arg in operation.args[:2])
            step = network.get_parameter(scale)
            self._steps.append((step, _LEAST_SHARE * step.detach().clone()))
            if layer_name(rounded) in sparse:
                weight = network.get_parameter(rounded)
                self._zeros.append((weight, weight.detach() == 0))

    @torch.no_grad()
    def __call__(self, step: int, num_steps: int) -> None:
        """Takes note of a step; see `agmc.training.fit`, `after_step`."""
        for weight, zeros in self._zeros:
            weight.masked_fill_(zeros, 0)
        for size, least in self._steps:
            size.copy_(torch.maximum(size, least))
