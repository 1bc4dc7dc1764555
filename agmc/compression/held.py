"""Held: what keeps a quantised network in shape while it is trained."""

from __future__ import annotations

import functools
from collections.abc import Collection

import torch

from agmc.graph.network import GraphNetwork
from agmc.graph.program import Operation, name_of
from agmc.graph.rounded_program import PER_CHANNEL, PER_TENSOR, SHARED
from agmc.graph.weighted import layer_name

#: A step size may fall to this share of what it was.
_LEAST_SHARE = 0.01


class Held:
    """Called after every step of a training, keeps zeros zero and step sizes positive.

    A number of a codebook moves as its members would on average (HAQ, arXiv 1811.08886,
    section 3.4), and not by the sum of what thousands of them want: its gradient is
    divided by their number, from here on.

    Args:
        network: quantised, on the device where it is trained.
        sparse: names of layers whose zeros stay zeros.
    """

    def __init__(self, network: GraphNetwork, sparse: Collection[str]) -> None:
        self._steps = []
        # Codes are buffers, and do not move.
        self._zeros = [
            (weight, weight.detach() == 0)
            for name, weight in network.named_parameters()
            if layer_name(name) in sparse
        ]
        for operation in network.program.operations:
            if operation.op == SHARED:
                _average(network, operation)
            if operation.op not in (PER_CHANNEL, PER_TENSOR):
                continue
            step = network.get_parameter(name_of(operation.args[1]) or "")
            self._steps.append((step, _LEAST_SHARE * step.detach().clone()))

    @torch.no_grad()
    def __call__(self, step: int, num_steps: int) -> None:
        """Takes note of a step; see `agmc.training.fit`, `after_step`."""
        for weight, zeros in self._zeros:
            weight.masked_fill_(zeros, 0)
        for size, least in self._steps:
            size.copy_(torch.maximum(size, least))


def _average(network: GraphNetwork, taken: Operation) -> None:
    """Divides the gradient of a codebook by the members of each number."""
    table, codes = (name_of(arg) or "" for arg in taken.args)
    # Where a 0 stands before the others, it is not trained.
    padded = network.program.by_name.get(table)
    first = 0 if padded is None else 1
    numbers = network.get_parameter(name_of(padded.args[0]) or "" if padded else table)
    counts = torch.bincount(
        network.get_buffer(codes).flatten(), minlength=len(numbers) + first
    )
    share = 1 / counts[first:].clamp_min(1).to(numbers)
    if numbers.requires_grad:
        numbers.register_hook(functools.partial(torch.mul, share))
