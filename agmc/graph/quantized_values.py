"""QuantizedValues: which activations of a network are rounded, and to how many bits."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from agmc.graph.foldable import foldable_norms
from agmc.graph.program import Operation, Program
from agmc.graph.weighted import check_layers, weighted_layers

#: Make no new numbers: rounding what they read rounds what they make.
_CARRIERS = frozenset(
    {
        *("max_pool1d", "max_pool2d", "max_pool3d", "flatten", "view", "reshape"),
        *("permute", "transpose", "contiguous", "clone", "squeeze", "unsqueeze"),
        "slice",
        *(
            "pad",
            "select",
            "narrow",
            "pixel_shuffle",
            "pixel_unshuffle",
            "channel_shuffle",
        ),
    }
)
#: Make several values out of the numbers of one.
_SPLITS = frozenset({"chunk", "split", "split_with_sizes", "unbind", "tensor_split"})
#: Computed on integers by runtimes, if all that they read is rounded.
_ON_INTEGERS = frozenset(
    {"add", "mul", "cat", "mean", "avg_pool2d", "adaptive_avg_pool2d"}
)
#: Computed on floats by runtimes, and not within the layer that they read: it takes
#: integers alone to make integers of what it computes.
_BEHIND_LAYERS = frozenset(
    {
        *("silu", "sigmoid", "hardswish", "hardsigmoid", "gelu", "tanh", "mish"),
        *("elu", "celu", "selu", "leaky_relu", "prelu", "softplus", "rrelu"),
        *("layer_norm", "group_norm", "instance_norm", "add", "mul", "sub", "div"),
        *("upsample_nearest2d", "upsample_bilinear2d", "upsample_bicubic2d"),
    }
)
#: Of what is read by `_ON_INTEGERS` and `_BEHIND_LAYERS`.
RESIDUAL_BITS = 8


@dataclass
class QuantizedValues:
    """Where activations are rounded.

    A layer with `act_bits` reads its input rounded to them. What is added, multiplied,
    joined or averaged is rounded to 8 bits as well, and so is what such a layer makes
    for an activation function other than a rectifier, so that a runtime can compute
    the whole network on integers. A value is rounded where it is made, once and for
    all its readers; a layer that takes fewer bits than others rounds it again.

    Attributes:
        made: value -> bits, rounded where it is made.
        read: (operation, value) -> bits, rounded again for this reader.
    """

    made: dict[str, int] = field(default_factory=dict)
    read: dict[tuple[str, str], int] = field(default_factory=dict)

    @classmethod
    def of(cls, program: Program, act_bits: Mapping[str, int]) -> QuantizedValues:
        """The activations that a plan rounds.

        Args:
            program: of the network.
            act_bits: layer name -> bits of its input; empty rounds nothing.

        Raises:
            ValueError: it names a layer that the network does not have.
        """
        result = cls()
        reads = rounded_reads(program, act_bits)
        bits = [act_bits[r.layer] if r.layer else RESIDUAL_BITS for r in reads]
        for read, own in zip(reads, bits, strict=True):
            result.made[read.source] = max(own, result.made.get(read.source, 0))
        for read, own in zip(reads, bits, strict=True):
            if own < result.made[read.source]:
                result.read[read.operation, read.value] = own
        return result


class RoundedRead(NamedTuple):
    """An activation that an operation reads rounded.

    Attributes:
        operation: that reads it.
        value: name of the activation.
        source: where its numbers were made.
        layer: whose bits count; None: `RESIDUAL_BITS`.
    """

    operation: str
    value: str
    source: str
    layer: str | None


def rounded_reads(program: Program, layers: Collection[str]) -> list[RoundedRead]:
    """What is read rounded where the inputs of some layers have bits.

    Args:
        program: of the network.
        layers: their names; none rounds nothing.

    Raises:
        ValueError: the network does not have such a layer.
    """
    known = weighted_layers(program)
    check_layers(layers, known)
    if not layers:
        return []
    asked = {known[name].name: name for name in layers}
    norms = {norm.name: layer.name for layer, norm in foldable_norms(program)}
    activations = _activations(program)
    reads = []
    for op in program.operations:
        on_integers = op.kind in _ON_INTEGERS and _several(op, activations)
        every = op.name in asked or on_integers
        if not every and op.kind not in _BEHIND_LAYERS:
            continue
        for value in dict.fromkeys(op.refs()):
            if value not in activations:
                continue
            source = source_of(program, value)
            if every or norms.get(source, source) in asked:
                layer = asked.get(op.name)
                reads.append(RoundedRead(op.name, value, source, layer))
    return reads


def _activations(program: Program) -> set[str]:
    """The values that depend on an input."""
    found = set(program.inputs)
    for operation in program.operations:
        if found.intersection(operation.refs()):
            found.add(operation.name)
    return found


def _several(operation: Operation, activations: set[str]) -> bool:
    """Whether an operation with two sides has activations on both: none is constant."""
    read = [name for name in operation.refs() if name in activations]
    return operation.kind not in ("add", "mul") or len(read) > 1


def source_of(program: Program, value: str) -> str:
    """Where the numbers of a value were made: behind all that only carries them."""
    operations = program.by_name
    while value in operations:
        operation = operations[value]
        source = next(operation.refs(), "")
        if operation.kind == "getitem":
            parts = operations.get(source)
            if parts is None or parts.kind not in _SPLITS:
                break
            source = next(parts.refs())
        elif operation.kind not in _CARRIERS:
            break
        value = source
    return value
