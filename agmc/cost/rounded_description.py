"""RoundedDescription: what a file says of a network that rounds, written down."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np

from agmc.cost.description import (
    HEADER_BYTES,
    bytes_around_tensors,
    packed_bytes,
)
from agmc.cost.storage import expected_coding, tensor_record
from agmc.graph.blocks import without_blocks
from agmc.graph.foldable import bias_of, foldable_norms, without_foldable_norms
from agmc.graph.program import Operation, Program
from agmc.graph.quantized_values import RESIDUAL_BITS, QuantizedValues
from agmc.graph.rounded_program import RoundedProgram
from agmc.graph.weighted import OUTPUT_DIM, weight_of, weighted_layers
from agmc.graph.widths import Widths
from agmc.plan import FLOAT_BITS, LayerParts

#: What rounding adds to a description, at most: with the first of a kind come words
#: that are new to it, the others repeat them. The most that was found on random
#: networks and the CIFAR families.
_BYTES_OF_FIRST = 60
_BYTES_PER_ACTIVATION = 38
_BYTES_PER_WEIGHT = 50
_BYTES_PER_CODEBOOK = 26

#: How often a description is tried out, and by how much another one may be longer.
_TRIALS = 4
_ROOM = 1.02

#: Of other blocks, that are kept at a time.
_MOST_PROGRAMS = 16

_Records = dict[str, dict[str, Any]]


class RoundedDescription:
    """Bytes of a file besides the data of its tensors, of one plan with bits.

    The operations are those that `agmc.compression.quantize.Quantization` makes. How
    long they are after zlib follows from how many numbers in them are the same, which
    no closed form tells.

    Args:
        widths: of the network.
        codebooks: whether weights with bits are from codebooks.
        info: what the writer of the file says of the network.
    """

    def __init__(
        self, widths: Widths, *, codebooks: bool, info: Mapping[str, Any] | None
    ) -> None:
        self._widths = widths
        self._graph = widths.graph
        self._codebooks = codebooks
        self._info = info
        self._folded: dict[bytes, Program] = {}

    def __call__(
        self, counts: np.ndarray, parts: LayerParts, kept: np.ndarray | None = None
    ) -> int:
        """Bytes of one plan.

        Args:
            counts: kept channels, int [num_groups].
            parts: of every layer, arrays [num_layers].
            kept: the blocks that stay, bool [num_blocks]; None for all.
        """
        program = self._program(kept)
        shapes = self._shapes(counts)
        layers = weighted_layers(program)
        rounded = RoundedProgram(program)
        parameters: _Records = {}
        buffers: _Records = {}
        for name, shape in shapes.items():
            spec = self._graph.parameters.get(name)
            trained = spec is None or spec.trainable
            record = tensor_record(shape, spec.dtype if spec else "float32")
            (parameters if trained else buffers)[name] = record
        densities = parts.density.round(9).tolist()  # the same however they came about
        every = zip(self._layers, densities, parts.weight_bits.tolist(), strict=True)
        for layer, density, bits in every:
            if layer not in layers:
                continue
            weight, operation = weight_of(layers[layer]), layers[layer]
            shape, numel = shapes[weight], int(np.prod(shapes[weight]))
            coding = expected_coding(numel, bits, density) if density < 1 else {}
            if bits == FLOAT_BITS:
                parameters[weight] |= coding
            elif self._codebooks:
                sparse = density < 1
                book, codes = rounded.shared(operation, sparse=sparse)
                needed = min(bits, max(1, (numel - 1).bit_length()))
                size = min(2**needed, numel) - sparse
                parameters[book] = tensor_record([size], "float32")
                buffers[codes] = tensor_record(shape, "int64", bits=needed, **coding)
            else:
                channels = shape[OUTPUT_DIM[operation.kind]]
                most = max(1, 2 ** (bits - 1) - 1)  # of one bit until it is refused
                scale, zero = rounded.weight(operation, most, numel // channels)
                parameters[weight] |= {"bits": bits, **coding}
                parameters[scale] = tensor_record([channels], "float32")
                zeros = expected_coding(channels, FLOAT_BITS, 0)
                buffers[zero] = tensor_record([channels], "float32", **zeros)
        act_bits = zip(self._layers, parts.act_bits.tolist(), strict=True)
        asked = {n: b for n, b in act_bits if n in layers and b < FLOAT_BITS}
        for scale, zero in self._values(rounded, program, counts, asked):
            parameters[scale] = tensor_record([1], "float32")
            buffers[zero] = tensor_record([1], "float32")
        return self._bytes(program, rounded, parameters, buffers)

    def added(self, weights: np.ndarray, values: np.ndarray) -> np.ndarray:
        """How many bytes longer rounding makes what is said of the network, at most.

        Args:
            weights: how many are rounded, float64 [...].
            values: how many activations are, likewise.

        Returns:
            float64 [...]; never falls when a number grows.
        """
        by_weight = _BYTES_PER_CODEBOOK if self._codebooks else _BYTES_PER_WEIGHT
        one_by_one = by_weight * weights + _BYTES_PER_ACTIVATION * values
        one_by_one += _BYTES_OF_FIRST * ((weights > 0) * 1.0 + (values > 0))
        if not one_by_one.any():
            return one_by_one
        again = _BYTES_PER_ACTIVATION * np.maximum(0, values - self._num_values)
        every, both = self._whole
        return np.minimum(one_by_one, np.where(values > 0, both + again, every))

    @cached_property
    def _whole(self) -> tuple[float, float]:
        """`added` with bits for all weights, and for all activations as well.

        The numbers in it are random ones, so that few are the same.
        """
        around = bytes_around_tensors(self._graph, self._info)
        sizes = np.array([group.size for group in self._graph.groups], dtype=int)
        draw = np.random.default_rng(0)
        # Codebooks with zeros take one more operation, whatever number of zeros.
        density = 1 - 1e-6 if self._codebooks else 1.0
        found: list[float] = []
        for act_bits in (FLOAT_BITS, RESIDUAL_BITS):
            said = []
            for _ in range(_TRIALS):
                bits = draw.integers(2, 17, len(self._layers))
                same = np.full(len(bits), act_bits)
                parts = LayerParts(np.full(len(bits), density), bits, same)
                said.append(self(draw.integers(1, sizes + 1), parts))
            found.append(max(0.0, _ROOM * max(said) - around))
        return found[0], max(found)

    @cached_property
    def _num_values(self) -> int:
        """How many activations are rounded where all layers take as many bits."""
        program = self._program(None)
        bits = dict.fromkeys(weighted_layers(program), RESIDUAL_BITS)
        return len(QuantizedValues.of(program, bits).made)

    def _values(
        self,
        rounded: RoundedProgram,
        program: Program,
        counts: np.ndarray,
        act_bits: Mapping[str, int],
    ) -> list[tuple[str, str]]:
        """Rounds the activations; names of the scales and zero points."""
        tensors = self._graph.tensors
        elements = self._widths.activation_elements(counts).tolist()
        features = {
            name: round(number / (spec.shape[0] if spec.shape else 1))
            for (name, spec), number in zip(tensors.items(), elements, strict=True)
            if spec.dtype == "float32"
        }
        values = QuantizedValues.of(program, act_bits)
        found = [
            rounded.value(value, bits, features[value])
            for value, bits in values.made.items()
            if value in features
        ]
        return found + [
            rounded.read(reader, value, bits, features[value])
            for (reader, value), bits in values.read.items()
            if value in features
        ]

    def _bytes(
        self,
        program: Program,
        rounded: RoundedProgram,
        parameters: _Records,
        buffers: _Records,
    ) -> int:
        operations, outputs = rounded.operations(), rounded.outputs()
        read = {name for operation in operations for name in operation.refs()}
        parameters = {n: r for n, r in parameters.items() if n in read}
        buffers = {n: r for n, r in buffers.items() if n in read}
        whole = dataclasses.replace(
            program,
            operations=tuple(operations),
            outputs=outputs,
            parameters=tuple(parameters),
            buffers=tuple(buffers),
        )
        records = [*parameters.values(), *buffers.values()]
        return packed_bytes(whole, records, self._info) + HEADER_BYTES

    def _program(self, kept: np.ndarray | None) -> Program:
        """What is left of the network, without the batch norms that are folded."""
        key = b"" if kept is None else kept.tobytes()
        if key not in self._folded:
            if len(self._folded) >= _MOST_PROGRAMS:
                self._folded.clear()
            blocks = self._graph.blocks
            stays = np.ones(len(blocks), dtype=bool) if kept is None else kept
            gone = [b for b, stay in zip(blocks, stays, strict=True) if not stay]
            program = without_blocks(self._graph.program, gone)
            operations, outputs = without_foldable_norms(program)
            self._folded[key] = dataclasses.replace(
                program, operations=tuple(operations), outputs=outputs
            )
        return self._folded[key]

    def _shapes(self, counts: np.ndarray) -> dict[str, list[int]]:
        """Of every parameter and buffer, and of the new biases behind them."""
        shapes = {
            name: [round(offset + float(counts @ slope)) for offset, slope in forms]
            for name, forms in self._forms.items()
        }
        for layer in self._normed:
            shape = shapes[weight_of(layer)]
            shapes.setdefault(bias_of(layer), [shape[OUTPUT_DIM[layer.kind]]])
        return shapes

    @cached_property
    def _layers(self) -> list[str]:
        return list(weighted_layers(self._graph.program))

    @cached_property
    def _normed(self) -> list[Operation]:
        return [layer for layer, _ in foldable_norms(self._graph.program)]

    @cached_property
    def _forms(self) -> dict[str, list[tuple[float, np.ndarray]]]:
        return {
            name: [
                self._widths.size_form((name, dim))
                for dim in range(len(self._graph.parameters[name].shape))
            ]
            for name in self._widths.parameters
        }
