"""Whole biases: multiples of what a runtime on integers adds up in."""

from __future__ import annotations

import torch

from agmc.graph.network import GraphNetwork, tensors_of
from agmc.graph.program import argument, name_of
from agmc.graph.quantized_values import source_of
from agmc.graph.rounded_program import PER_CHANNEL, PER_TENSOR
from agmc.graph.weighted import OUTPUT_DIM

#: Sums are 32-bit integers; the bias leaves room for the products.
_LARGEST = 2**30


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
    program, held = network.program, tensors_of(network)
    with torch.no_grad():
        for operation in program.operations:
            bias = name_of(argument(operation, 2))
            if operation.kind not in OUTPUT_DIM or bias not in held:
                continue
            value, weight = (name_of(arg) or "" for arg in operation.args[:2])
            made = program.by_name.get(source_of(program, value))
            by = program.by_name.get(weight)
            if made is None or by is None:
                continue
            if made.op == PER_TENSOR and by.op == PER_CHANNEL:
                inner, outer = (held[name_of(op.args[1]) or ""] for op in (made, by))
                values = held[bias]
                # A group of a transposed convolution has the same channels as another.
                repeats = len(values) // len(outer)
                largest = values.abs().reshape(repeats, -1).amax(0)
                # Weights so small beside their bias are zero on any grid.
                outer.copy_(torch.maximum(outer, largest / (inner * _LARGEST)))
                step = (inner.double() * outer.double()).repeat(repeats)
                values.copy_((values.double() / step).round() * step)
