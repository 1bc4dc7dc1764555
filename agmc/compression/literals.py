"""Rewrites channel numbers that the forward code holds as literals."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np

from agmc.graph.model_graph import ModelGraph
from agmc.graph.program import Operation, Program, Ref, argument


def rewrite_literals(
    graph: ModelGraph, removed: np.ndarray, convolutions: Collection[str]
) -> tuple[Program, bool]:
    """The program of the pruned network.

    Args:
        graph: the original network.
        removed: ids of the atoms that go.
        convolutions: names of the network's convolution modules. They hold the number
            of groups of a depthwise convolution as an attribute, which can be mended.

    Returns:
        The program, and whether a literal of the forward code changed, so that the
        original code would no longer run with the pruned parameters.
    """
    operations = []
    broken = False
    for operation in graph.program.operations:
        rewritten = operation
        if operation.kind in ("pad", "constant_pad_nd"):
            rewritten = _pad(graph, operation, removed)
        elif operation.kind == "slice":
            rewritten = _slice(graph, operation, removed)
        elif operation.kind in ("conv1d", "conv2d", "conv3d"):
            rewritten = _depthwise(graph, operation, removed)
        broken |= rewritten is not operation and operation.layer not in convolutions
        operations.append(rewritten)
    return replace(graph.program, operations=tuple(operations)), broken


def _kept(graph: ModelGraph, tensor: str, dim: int, removed: np.ndarray) -> np.ndarray:
    """Bool [size along dim]: which positions of an activation stay."""
    atoms = np.moveaxis(graph.atoms[tensor], dim, 0)
    stays = ~np.isin(atoms.reshape(atoms.shape[0], -1)[:, 0], removed)
    return np.broadcast_to(stays, (graph.tensors[tensor].shape[dim],))


def _source(operation: Operation) -> str:
    source = operation.args[0]
    assert isinstance(source, Ref)
    return source.name


def _pad(graph: ModelGraph, operation: Operation, removed: np.ndarray) -> Operation:
    rank = len(graph.tensors[operation.name].shape)
    widths = list(operation.args[1])
    for position in range(0, len(widths), 2):
        dim = rank - 1 - position // 2
        before, after = widths[position], widths[position + 1]
        if graph.atoms[operation.name].shape[dim] == 1 or not (before or after):
            continue
        kept = _kept(graph, operation.name, dim, removed)
        widths[position] = int(kept[:before].sum())
        widths[position + 1] = int(kept[len(kept) - after :].sum())
    if widths == list(operation.args[1]):
        return operation
    return replace(operation, args=(operation.args[0], widths, *operation.args[2:]))


def _slice(graph: ModelGraph, operation: Operation, removed: np.ndarray) -> Operation:
    source = _source(operation)
    dim = argument(operation, 1, 0) % len(graph.tensors[source].shape)
    if graph.atoms[source].shape[dim] == 1:
        return operation
    kept = _kept(graph, source, dim, removed)
    written = slice(argument(operation, 2), argument(operation, 3))
    start, end, _ = written.indices(len(kept))
    new_start = int(kept[:start].sum())
    new_end = new_start + int(kept[start:end].sum())
    if written.indices(int(kept.sum())) == (new_start, new_end, 1):
        return operation  # the code as written takes the right channels
    return replace(
        operation,
        args=(operation.args[0], dim, new_start, new_end, *operation.args[4:]),
    )


def _depthwise(
    graph: ModelGraph, operation: Operation, removed: np.ndarray
) -> Operation:
    groups = operation.args[6] if len(operation.args) > 6 else 1
    weight = list(operation.refs())[1]
    if groups == 1 or graph.parameters.get(weight) is None:
        return operation
    if graph.parameters[weight].shape[1] != 1:
        return operation  # groups of several channels stay, and shrink evenly
    remaining = int(_kept(graph, _source(operation), 1, removed).sum())
    if remaining == groups:
        return operation
    return replace(
        operation, args=(*operation.args[:6], remaining, *operation.args[7:])
    )
