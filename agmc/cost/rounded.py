"""Rounded: what sparsity and bits of a plan make of its bytes and bit operations."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property

import numpy as np

from agmc.cost.storage import bitmap_bits, stored_bits
from agmc.graph.foldable import foldable_norms
from agmc.graph.model_graph import ModelGraph
from agmc.graph.program import Operation, argument, name_of
from agmc.graph.quantized_values import QuantizedValues
from agmc.graph.weighted import OUTPUT_DIM, check_layers, weight_of, weighted_layers
from agmc.graph.widths import Widths
from agmc.plan import Plan

#: Of weights and of activations, unless a plan says other bits: float32.
FLOAT_BITS = 32

#: What the description of a file says of a rounded activation, and of a rounded weight
#: where no activation is; measured on the CIFAR families, the most that one takes.
_BYTES_PER_ACTIVATION = 44
_BYTES_PER_WEIGHT = 30
#: A codebook and its codes are described in less than the batch norms that go.
_BYTES_PER_CODEBOOK = -15


class Rounded:
    """Bytes and bit operations of plans that do more than remove channels.

    Args:
        widths: of the network.
        codebooks: whether weights with bits share numbers (see
            `agmc.compression.quantize.Quantization`), or are evenly spaced.
    """

    def __init__(self, widths: Widths, *, codebooks: bool = False) -> None:
        self._codebooks = codebooks
        self._widths = widths
        self._graph: ModelGraph = widths.graph

    def bops(self, counts: np.ndarray, plan: Plan) -> int:
        """Multiply-adds x bits of the weight x bits of the input, over all operations.

        Args:
            counts: kept channels, int [num_groups].
            plan: of the bits.
        """
        macs = self._widths.macs_by_operation(counts)
        total = FLOAT_BITS**2 * sum(macs.values())
        for name, operation in self._layers.items():
            weight_bits = plan.weight_bits.get(name, FLOAT_BITS)
            act_bits = plan.act_bits.get(name, FLOAT_BITS)
            total += macs[operation.name] * (weight_bits * act_bits - FLOAT_BITS**2)
        return total

    def bytes_saved(self, counts: np.ndarray, plan: Plan) -> float:
        """How many bytes a file is smaller than that of the channels alone.

        Args:
            counts: kept channels, int [num_groups].
            plan: of the zeros and bits.

        Raises:
            ValueError: the plan names a layer that the network does not have.
        """
        check_layers(plan.layers, self._layers)
        numels = dict(
            zip(self._widths.parameters, self._widths.numels(counts), strict=True)
        )
        saved = 0.0
        for name in {**plan.sparsity, **plan.weight_bits}:
            numel = numels[weight_of(self._layers[name])]
            bits = plan.weight_bits.get(name, FLOAT_BITS)
            if self._codebooks and name in plan.weight_bits:  # no number without weight
                bits = min(bits, math.ceil(math.log2(max(2, numel))))
            stored = stored_bits(numel, bits, plan.sparsity.get(name, 0.0))
            saved += FLOAT_BITS * numel - float(stored)
            if name in plan.weight_bits:
                channels = self._channels(name, counts)
                scales = FLOAT_BITS * channels + bitmap_bits(channels, FLOAT_BITS, 0)
                numbers = FLOAT_BITS * min(2**bits, numel)
                saved -= numbers if self._codebooks else scales
        if plan.rounds:
            saved += FLOAT_BITS * self._folded(numels, counts)
        values = QuantizedValues.of(self._graph.program, plan.act_bits)
        rounded = len(values.made) + len(values.read)
        saved -= 2 * FLOAT_BITS * rounded
        by_weight = _BYTES_PER_CODEBOOK if self._codebooks else _BYTES_PER_WEIGHT
        described = by_weight * len(plan.weight_bits)
        if rounded:
            described = max(described, _BYTES_PER_ACTIVATION * rounded)
        return saved / 8 - described

    def _folded(self, numels: Mapping[str, float], counts: np.ndarray) -> float:
        """Elements that go with the batch norms, less those of new biases."""
        gone = 0.0
        for layer, norm in foldable_norms(self._graph.program):
            gone += sum(numels[n] for a in norm.args[1:5] if (n := name_of(a)))
            if name_of(argument(layer, 2)) is None:
                gone -= numels[name_of(norm.args[3]) or ""]
        return gone

    def _channels(self, name: str, counts: np.ndarray) -> float:
        operation = self._layers[name]
        size = weight_of(operation), OUTPUT_DIM[operation.kind]
        constant, repeats = self._widths.size_form(size)
        return constant + float(counts @ repeats)

    @cached_property
    def _layers(self) -> dict[str, Operation]:
        return weighted_layers(self._graph.program)
