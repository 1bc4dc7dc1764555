"""Whole biases: multiples of what a runtime on integers adds up in."""

from __future__ import annotations

import torch

from agmc.compression.rounding import PER_CHANNEL, PER_TENSOR
from agmc.graph.network import GraphNetwork
from agmc.graph.program import argument, name_of
from agmc.graph.quantized_values import source_of
from agmc.graph.weighted import OUTPUT_DIM


def round_biases(network: GraphNetwork) -> None:
    """Rounds the biases of quantised layers, in place.

    A runtime adds up products of codes as 32-bit integers, in steps of the product of
    the step sizes of input and weight (Jacob et al. 2018, arXiv 1712.05877, eq. 11).
    The bias joins in as such an integer, and the network computes the same only if it
    is one. The steps are far below those of the output, so that nothing else changes.

    Args:
        network: quantised; after a training, which moves biases and step sizes, this is
            to be done again.
    """
    operations = {op.name: op for op in network.program.operations}
    with torch.no_grad():
        for operation in network.program.operations:
            bias = name_of(argument(operation, 2))
            if operation.kind not in OUTPUT_DIM or bias is None:
                continue
            value, weight = (name_of(arg) or "" for arg in operation.args[:2])
            made = operations.get(source_of(operations, value))
            by = operations.get(weight)
            if made is None or by is None:
                continue
            if made.op == PER_TENSOR and by.op == PER_CHANNEL:
                inner, outer = (
                    network.get_parameter(name_of(op.args[1]) or "")
                    for op in (made, by)
                )
                held = network.get_parameter(bias)
                step = inner.double() * outer.double()
                held.copy_((held.double() / step).round() * step)
