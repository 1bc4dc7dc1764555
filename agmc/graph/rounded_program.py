"""RoundedProgram: the operations of a network that rounds, without its tensors."""

from __future__ import annotations

import math
from typing import Any

from agmc.graph.program import Operation, Program, Ref, map_refs, reading
from agmc.graph.weighted import OUTPUT_DIM, beside, weight_of

#: (values, scale [C], zero_point [C], axis, first code, last code, gain)
PER_CHANNEL = "aten._fake_quantize_learnable_per_channel_affine.default"
#: (values, scale [1], zero_point [1], first code, last code, gain)
PER_TENSOR = "aten._fake_quantize_learnable_per_tensor_affine.default"
#: (numbers [k], codes)
SHARED = "aten.take.default"


class RoundedProgram:
    """Collects what is to be rounded; every method names the tensors that this takes.

    Args:
        program: without the batch norms that can be folded.
    """

    def __init__(self, program: Program) -> None:
        self._program = program
        self._before: dict[str, list[Operation]] = {}
        self._behind: dict[str, Operation] = {}
        self._read: dict[tuple[str, str], str] = {}

    def weight(self, layer: Operation, most: int, row_numel: int) -> tuple[str, str]:
        """The weight of a layer on an even grid, with a step size for each channel.

        Args:
            layer: of the program.
            most: the largest code, which is minus the smallest one.
            row_numel: weights of one channel.

        Returns:
            names of scale and zero point.
        """
        name = weight_of(layer)
        scale, zero = beside(name, "scale"), beside(name, "zero_point")
        dim = OUTPUT_DIM[layer.kind]
        gain = _gain(row_numel, most)
        args = (Ref(name), Ref(scale), Ref(zero), dim, -most, most, gain)
        made = Operation(f"{name}_q", PER_CHANNEL, args, layer=layer.layer)
        self._put_before(layer.name, name, made)
        return scale, zero

    def shared(self, layer: Operation, *, sparse: bool) -> tuple[str, str]:
        """The weight of a layer from a codebook, in the place of the weight.

        Args:
            layer: of the program.
            sparse: whether one more number is 0 and stays it.

        Returns:
            names of codebook and codes.
        """
        name = weight_of(layer)
        codebook, codes = beside(name, "codebook"), beside(name, "codes")
        table = Ref(codebook)
        if sparse:
            padded = f"{name}_q_table"
            padding = Operation(
                padded, "aten.constant_pad_nd.default", (table, [1, 0], 0.0)
            )
            self._before.setdefault(layer.name, []).append(padding)
            table = Ref(padded)
        made = Operation(f"{name}_q", SHARED, (table, Ref(codes)), layer=layer.layer)
        self._put_before(layer.name, name, made)
        return codebook, codes

    def value(self, name: str, bits: int, features: int) -> tuple[str, str]:
        """An activation where it is made, for all its readers.

        Args:
            name: of the activation.
            bits: of its grid.
            features: elements for one input.

        Returns:
            names of scale and zero point.
        """
        made = _activation(name, f"{name}_q", bits, features)
        self._behind[name] = made
        return f"{made.name}.scale", f"{made.name}.zero_point"

    def read(self, reader: str, name: str, bits: int, features: int) -> tuple[str, str]:
        """An activation for one operation alone; otherwise as `value`."""
        made = _activation(name, f"{reader}_reads_{name}", bits, features)
        self._put_before(reader, name, made)
        return f"{made.name}.scale", f"{made.name}.zero_point"

    def operations(self) -> list[Operation]:
        """All of them, in execution order."""
        program = self._program
        operations = [self._behind[n] for n in program.inputs if n in self._behind]
        for operation in program.operations:
            operations += map(self._reading, self._before.get(operation.name, ()))
            operations.append(self._reading(operation))
            if operation.name in self._behind:
                operations.append(self._behind[operation.name])
        return operations

    def outputs(self) -> Any:
        """Those of the program; what is rounded is returned rounded."""
        return map_refs(self._program.outputs, lambda name: Ref(self._new(name)))

    def _new(self, name: str) -> str:
        return self._behind[name].name if name in self._behind else name

    def _reading(self, operation: Operation) -> Operation:
        """The same operation, reading what was rounded."""

        def new(name: str) -> str:
            return self._read.get((operation.name, name), self._new(name))

        return reading(operation, new)

    def _put_before(self, reader: str, name: str, made: Operation) -> None:
        self._before.setdefault(reader, []).append(made)
        self._read[reader, name] = made.name


def _activation(name: str, made: str, bits: int, features: int) -> Operation:
    most = 2**bits - 1
    scale, zero = Ref(f"{made}.scale"), Ref(f"{made}.zero_point")
    gain = _gain(features, most)
    return Operation(made, PER_TENSOR, (Ref(name), scale, zero, 0, most, gain))


def _gain(features: int, most: int) -> float:
    """LSQ's factor on the gradient of a step size (its section 2.2)."""
    return 1 / math.sqrt(features * most)
