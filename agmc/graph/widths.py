"""Widths: sizes of all parameters and work of all layers as functions of a plan."""

from __future__ import annotations

import numpy as np

from agmc.graph.model_graph import ModelGraph
from agmc.graph.program import Operation

#: Operators whose multiply-adds are (positions) x (elements of the weight).
MULTIPLY_ADD_KINDS = frozenset({"conv1d", "conv2d", "conv3d", "linear"})


class Widths:
    """Closed forms over the graph: no network is built.

    All channels of a group lie in the same slices, so along each dimension a
    parameter's size is linear in the kept channels: `full - sum_g repeats_g *
    (size_g - kept_g)`. Groups cut the first two dimensions only (output and input
    channels), so `numel = size_0 * size_1 * rest`.

    Args:
        graph: the traced network.

    Arguments named `counts` are kept channels, int [..., num_groups], in the order of
    `graph.groups`; results have the shape of the leading dimensions.
    """

    def __init__(self, graph: ModelGraph) -> None:
        self.graph = graph
        self.parameters = tuple(graph.parameters)
        self._row = {name: i for i, name in enumerate(self.parameters)}
        full = np.ones((2, len(self.parameters)))
        self._rest = np.ones(len(self.parameters))
        for row, spec in enumerate(graph.parameters.values()):
            for dim, size in enumerate(spec.shape):
                if dim < 2:
                    full[dim, row] = size
                else:
                    self._rest[row] *= size
        self._repeats = np.zeros((2, len(graph.groups), len(self.parameters)))
        for g, group in enumerate(graph.groups):
            for cut in group.slices:
                self._repeats[cut.dim, g, self._row[cut.parameter]] = cut.index.shape[1]
        sizes = np.array([float(group.size) for group in graph.groups])
        self._constant = full - np.einsum("g,dgp->dp", sizes, self._repeats)
        self._positions = {
            op.name: positions
            for op in graph.program.operations
            if (positions := _positions(graph, op)) is not None
        }
        self.operations = tuple(self._positions)
        self._weight_rows = np.array(
            [
                self._row[_weight(graph, graph.operations[name])]
                for name in self.operations
            ],
            dtype=np.int64,
        )
        self._position_counts = np.array(list(self._positions.values()), dtype=float)

    def numels(self, counts: np.ndarray) -> np.ndarray:
        """Elements of every parameter and buffer, float64 [..., num_parameters]."""
        counts = np.asarray(counts, dtype=float)
        first = self._constant[0] + counts @ self._repeats[0]
        second = self._constant[1] + counts @ self._repeats[1]
        return first * second * self._rest

    def macs(self, counts: np.ndarray) -> np.ndarray:
        """Multiply-adds for one input of every operation of `self.operations`."""
        return self.numels(counts)[..., self._weight_rows] * self._position_counts

    def macs_by_operation(self, counts: np.ndarray) -> dict[str, int]:
        """Operation name -> multiply-adds for one input, of one plan."""
        return {
            name: int(value)
            for name, value in zip(self.operations, self.macs(counts), strict=True)
        }

    def shape_of(self, parameter: str, counts: np.ndarray) -> tuple[int, ...]:
        """Shape of one parameter under one plan."""
        row = self._row[parameter]
        shape = list(self.graph.parameters[parameter].shape)
        for dim in range(min(2, len(shape))):
            repeats = self._repeats[dim, :, row]
            shape[dim] = int(self._constant[dim, row] + np.asarray(counts) @ repeats)
        return tuple(shape)

    def channels_of(self, tensor: str, counts: np.ndarray) -> int:
        """Channels (second dimension) of an activation under one plan."""
        shape = self.graph.tensors[tensor].shape
        if len(shape) < 2:
            return 1
        atoms = np.broadcast_to(self.graph.atoms[tensor], shape)
        column = np.moveaxis(atoms, 1, 0).reshape(shape[1], -1)[:, 0]
        removed = 0
        for g, ids in enumerate(self.graph.group_atoms):
            carried = np.isin(column, ids).sum()
            size = self.graph.groups[g].size
            removed += int(carried) * (size - int(counts[g])) // size
        return shape[1] - removed


def _weight(graph: ModelGraph, operation: Operation) -> str | None:
    """Name of the weight of a layer that multiplies by a parameter, else None."""
    if operation.kind not in MULTIPLY_ADD_KINDS:
        return None
    named = list(operation.refs())
    return named[1] if named[1] in graph.parameters else None


def _positions(graph: ModelGraph, operation: Operation) -> int | None:
    """How many times a layer applies its weight for one input; None: no such layer."""
    if _weight(graph, operation) is None:
        return None
    shape = graph.tensors[operation.name].shape
    channel_dim = len(shape) - 1 if operation.kind == "linear" else 1
    return int(np.prod(shape, dtype=np.int64)) // shape[channel_dim]
