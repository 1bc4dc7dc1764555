"""Foldable: batch norms that can become part of the layer that they follow."""

from __future__ import annotations

from collections import Counter

from agmc.graph.program import Operation, Program, argument, name_of
from agmc.graph.weighted import OUTPUT_DIM, weighted_layers


def foldable_norms(program: Program) -> list[tuple[Operation, Operation]]:
    """Layers, and the batch norms with running statistics that alone read them.

    In execution order. A layer of `weighted_layers` and its bias must be read once, and
    a transposed convolution have one group, for its weight numbers channels by group.
    """
    uses = Counter(name for op in program.operations for name in op.refs())
    uses.update(program.output_names())
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
        if statistics and alone and norm.args[5] is False and not grouped:
            found.append((operation, norm))
    return found
