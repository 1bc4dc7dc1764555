"""Foldable: batch norms that can become part of the layer that they follow."""

from __future__ import annotations

import dataclasses
from typing import Any

from agmc.graph.program import (
    Operation,
    Program,
    Ref,
    argument,
    map_refs,
    name_of,
    reading,
)
from agmc.graph.weighted import OUTPUT_DIM, beside, weight_of, weighted_layers

#: Leave the number of dimensions as it is.
_ELEMENTWISE = frozenset(
    {"relu", "relu6", "hardtanh", "gelu", "silu", "dropout", "linear", "batch_norm"}
)


def foldable_norms(program: Program) -> list[tuple[Operation, Operation]]:
    """Layers, and the batch norms with running statistics that alone read them.

    In execution order. A layer of `weighted_layers` and its bias, which is stored, must
    be read once. A transposed convolution must have one group, for its weight numbers
    channels by group, and a linear layer two dimensions, for a batch norm takes the
    second for the channels.
    """
    stored, uses = {*program.parameters, *program.buffers}, program.reads
    layers = {op.name: op for op in weighted_layers(program).values()}
    found = []
    for norm in program.operations:
        source = name_of(argument(norm, 0))
        if norm.op != "aten.batch_norm.default" or source not in layers:
            continue
        operation = layers[source]
        bias = name_of(argument(operation, 2))
        grouped = OUTPUT_DIM[operation.kind] == 1 and argument(operation, 6, 1) != 1
        statistics = name_of(norm.args[3]) and name_of(norm.args[4])
        alone = uses[source] == 1 and (bias is None or uses[bias] == 1)
        known = bias is None or bias in stored
        flat = operation.kind != "linear" or _is_flat(program, source)
        if statistics and alone and known and flat:
            if norm.args[5] is False and not grouped:
                found.append((operation, norm))
    return found


def bias_of(layer: Operation) -> str:
    """Name of the bias of a layer that takes a batch norm over."""
    return name_of(argument(layer, 2)) or beside(weight_of(layer), "bias")


def without_foldable_norms(program: Program) -> tuple[list[Operation], Any]:
    """Operations and outputs when layers have taken their batch norms over."""
    folded: dict[str, Operation] = {}
    renamed: dict[str, str] = {}
    for layer, norm in foldable_norms(program):
        args = list(layer.args)
        args[2:3] = [Ref(bias_of(layer))]
        folded[layer.name] = dataclasses.replace(layer, args=tuple(args))
        renamed[norm.name] = layer.name
    operations = [
        reading(folded.get(operation.name, operation), lambda n: renamed.get(n, n))
        for operation in program.operations
        if operation.name not in renamed
    ]
    outputs = map_refs(program.outputs, lambda name: Ref(renamed.get(name, name)))
    return operations, outputs


def _is_flat(program: Program, value: str) -> bool:
    """Whether a value surely has two dimensions: those of the batch and of channels."""
    operations = program.by_name
    while value in operations and operations[value].kind in _ELEMENTWISE:
        value = next(operations[value].refs())
    if value in program.inputs:
        return len(program.input_shapes[program.inputs.index(value)]) == 2
    if value not in operations:
        return False
    operation = operations[value]
    if operation.kind in ("view", "reshape"):
        return len(argument(operation, 1, [])) == 2
    if operation.kind == "flatten":
        return argument(operation, 1, 0) == 1 and argument(operation, 2, -1) == -1
    if operation.kind == "mean":
        return argument(operation, 1) in ([2, 3], [-1, -2], [-2, -1]) and not argument(
            operation, 2, False
        )
    return False
