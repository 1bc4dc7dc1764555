"""Widths: sizes of all parameters and work of all layers as functions of a plan."""

from __future__ import annotations

import math

import numpy as np

from agmc.graph.model_graph import ModelGraph
from agmc.graph.program import Operation

#: Operators whose multiply-adds are (positions) x (elements of the weight).
_LAYERS = frozenset(
    {
        *("conv1d", "conv2d", "conv3d", "linear"),
        *("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"),
    }
)
#: Matrix products of activations.
_PRODUCTS = frozenset({"matmul", "mm", "bmm", "addmm", "baddbmm"})
#: Operators that multiply and add in ways that nothing here counts.
_UNCOUNTED = frozenset(
    {
        *("einsum", "tensordot", "bilinear", "inner", "dot", "vdot", "mv", "addmv"),
        *("addbmm", "chain_matmul", "linalg_multi_dot", "linalg_matmul", "cdist"),
        *("scaled_dot_product_attention", "_native_multi_head_attention"),
        *("lstm", "gru", "rnn_tanh", "rnn_relu", "lstm_cell", "gru_cell", "conv_tbc"),
    }
)


class Widths:
    """Closed forms over the graph: no network is built.

    All channels of a group lie in the same slices, so along each dimension a
    parameter's size is linear in the kept channels: `full - sum_g repeats_g *
    (size_g - kept_g)`. Groups cut the first two dimensions only (output and input
    channels), so `numel = size_0 * size_1 * rest`.

    Args:
        graph: the traced network.

    Raises:
        ValueError: an operator multiplies in a way that has no closed form here.

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
        layers: dict[str, tuple[int, int]] = {}
        fixed: dict[str, int] = {}
        for op in graph.program.operations:
            if op.kind in _UNCOUNTED:
                raise ValueError(
                    f"no closed form counts the multiply-adds of {op.kind} "
                    f"{op.name!r} in {op.layer!r}"
                )
            if (weight := _weight(graph, op)) is not None:
                layers[op.name] = self._row[weight], _positions(graph, op)
            elif op.kind in _LAYERS:
                computed = graph.tensors[list(op.refs())[1]].shape
                fixed[op.name] = math.prod(computed) * _positions(graph, op)
            elif op.kind in _PRODUCTS:
                fixed[op.name] = _product_macs(graph, op)
        self.operations = (*layers, *fixed)
        self._weight_rows = np.array([row for row, _ in layers.values()], dtype=int)
        self._positions = np.array([n for _, n in layers.values()], dtype=float)
        self._fixed = np.array(list(fixed.values()), dtype=float)

    def numels(self, counts: np.ndarray) -> np.ndarray:
        """Elements of every parameter and buffer, float64 [..., num_parameters]."""
        counts = np.asarray(counts, dtype=float)
        first = self._constant[0] + counts @ self._repeats[0]
        second = self._constant[1] + counts @ self._repeats[1]
        return first * second * self._rest

    def macs(self, counts: np.ndarray) -> np.ndarray:
        """Multiply-adds for one input of every operation of `self.operations`."""
        layers = self.numels(counts)[..., self._weight_rows] * self._positions
        fixed = np.broadcast_to(self._fixed, (*layers.shape[:-1], len(self._fixed)))
        return np.concatenate([layers, fixed], axis=-1)

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
    if operation.kind not in _LAYERS:
        return None
    names = list(operation.refs())
    return names[1] if names[1] in graph.parameters else None


def _positions(graph: ModelGraph, operation: Operation) -> int:
    """How many times a layer applies its whole weight for one input."""
    if operation.kind.startswith("conv_transpose"):
        shape = graph.tensors[next(operation.refs())].shape
    else:
        shape = graph.tensors[operation.name].shape
    channel_dim = len(shape) - 1 if operation.kind == "linear" else 1
    return int(np.prod(shape, dtype=np.int64)) // shape[channel_dim]


def _product_macs(graph: ModelGraph, operation: Operation) -> int:
    """Of a product of two activations; its channels are left alone, so it is fixed."""
    names = list(operation.refs())
    first = names[1] if operation.kind in ("addmm", "baddbmm") else names[0]
    held = graph.tensors if first in graph.tensors else graph.parameters
    inner = held[first].shape[-1]
    return inner * int(np.prod(graph.tensors[operation.name].shape, dtype=np.int64))
