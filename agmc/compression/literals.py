"""Rewrites channel numbers that the forward code holds as literals."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from agmc.graph.model_graph import ModelGraph, Shuffle
from agmc.graph.part_rules import piece_sizes, slice_bounds
from agmc.graph.program import (
    Operation,
    Program,
    Ref,
    argument,
    name_of,
    without_unread,
)
from agmc.graph.shape_rules import squeezed_dims

_CONVOLUTIONS = frozenset(
    f"conv{kind}{n}d" for kind in ("", "_transpose") for n in (1, 2, 3)
)


def rewrite_literals(
    graph: ModelGraph, removed: np.ndarray
) -> tuple[Program, dict[str, Tensor]]:
    """The program of the pruned network.

    Args:
        graph: the original network.
        removed: ids of the atoms that go.

    Returns:
        The program, and the buffers that hold positions of channels: those that are
        new and those whose values change.
    """
    gone = np.zeros(1 + _largest_atom(graph), dtype=bool)
    gone[removed] = True
    rewriter = _Rewriter(graph, gone)
    operations = []
    for operation in graph.program.operations:
        operations.append(rewriter.rewritten(operation))
    names = [name for name in rewriter.buffers if name not in graph.program.buffers]
    if names:
        # The steps of a shuffle that has become one index_select are read no more.
        operations = without_unread(operations, graph.program.outputs)
    program = replace(
        graph.program,
        operations=tuple(operations),
        buffers=(*graph.program.buffers, *names),
    )
    return program, rewriter.buffers


def _largest_atom(graph: ModelGraph) -> int:
    return max((int(atoms.max()) for atoms in graph.group_atoms), default=0)


class _Rewriter:
    def __init__(self, graph: ModelGraph, gone: np.ndarray) -> None:
        self.graph = graph
        self.gone = gone
        self.buffers: dict[str, Tensor] = {}

    def stays(self, tensor: str, dim: int) -> np.ndarray | None:
        """Bool [size along dim]; None where every position stays."""
        atoms = self._atoms(tensor, dim)
        if atoms is None:
            return None
        # Atom -1 reads the last entry, so it is masked.
        stays = ~self.gone[atoms] | (atoms < 0)
        return None if stays.all() else stays

    def _atoms(self, tensor: str, dim: int) -> np.ndarray | None:
        """The channel of every position; None where there are none along `dim`."""
        if tensor not in self.graph.parameters:
            channels = self.graph.channels.get(tensor)
            return None if channels is None or channels.dim != dim else channels.atoms
        found = np.full(self.graph.parameters[tensor].shape[dim], -1)
        for group, atoms in zip(self.graph.groups, self.graph.group_atoms, strict=True):
            for cut in group.slices:
                if (cut.parameter, cut.dim) == (tensor, dim):
                    found[cut.index] = atoms[:, None]
        return found

    def rewritten(self, operation: Operation) -> Operation:
        """The operation itself where no literal changes."""
        if operation.name in self.graph.shuffles:
            return self._shuffle(operation, self.graph.shuffles[operation.name])
        kind = operation.kind
        rule = {
            "pad": self._pad,
            "constant_pad_nd": self._pad,
            "slice": self._slice,
            "narrow": self._slice,
            "select": self._select,
            "split": self._split,
            "split_with_sizes": self._split,
            "unsafe_split": self._split,
            "chunk": self._split,
            "unsafe_chunk": self._split,
            "view": self._sizes,
            "reshape": self._sizes,
            "_unsafe_view": self._sizes,
            "expand": self._sizes,
            "squeeze": self._squeeze,
            "group_norm": self._group_norm,
            "index_select": self._index_select,
            "scaled_dot_product_attention": self._attention,
        }.get(kind, self._convolution if kind in _CONVOLUTIONS else None)
        return operation if rule is None else rule(operation)

    def _source(self, operation: Operation) -> str:
        name = name_of(operation.args[0])
        assert name is not None
        return name

    def _rank(self, name: str) -> int:
        return len(self._shape(name))

    def _shape(self, name: str) -> tuple[int, ...]:
        if name in self.graph.parameters:
            return self.graph.parameters[name].shape
        return self.graph.tensors[name].shape

    def _pad(self, operation: Operation) -> Operation:
        rank = self._rank(operation.name)
        widths = list(operation.args[1])
        for position in range(0, len(widths), 2):
            stays = self.stays(operation.name, rank - 1 - position // 2)
            if stays is None:
                continue
            before, after = widths[position], widths[position + 1]
            widths[position] = int(stays[:before].sum())
            widths[position + 1] = int(stays[len(stays) - after :].sum())
        return _with(operation, 1, widths)

    def _slice(self, operation: Operation) -> Operation:
        source = self._source(operation)
        dim = argument(operation, 1, 0) % self._rank(source)
        stays = self.stays(source, dim)
        if stays is None:
            return operation
        bounds = slice_bounds(operation, len(stays))
        assert bounds is not None
        start = int(stays[: bounds.start].sum())
        end = start + int(stays[bounds].sum())
        return replace(
            operation,
            op="aten.slice.Tensor",
            args=(operation.args[0], dim, start, end, *operation.args[4:]),
        )

    def _select(self, operation: Operation) -> Operation:
        source = self._source(operation)
        dim, index = operation.args[1] % self._rank(source), operation.args[2]
        stays = self.stays(source, dim)
        if stays is None:
            return operation
        return _with(operation, 2, int(stays[: index % len(stays)].sum()))

    def _split(self, operation: Operation) -> Operation:
        source = self._source(operation)
        dim = argument(operation, 2, 0) % self._rank(source)
        stays = self.stays(source, dim)
        if stays is None:
            return operation
        sizes = piece_sizes(self._shape(source), operation)
        assert sizes is not None
        pieces = np.split(stays, np.cumsum(sizes)[:-1])
        kept = [int(piece.sum()) for piece in pieces]
        return replace(
            operation,
            op="aten.split_with_sizes.default",
            args=(operation.args[0], kept, dim),
        )

    def _sizes(self, operation: Operation) -> Operation:
        sizes = list(operation.args[1])
        for dim, size in enumerate(sizes):
            stays = self.stays(operation.name, dim)
            if stays is not None and size != -1:
                sizes[dim] = int(stays.sum())
        return _with(operation, 1, sizes)

    def _squeeze(self, operation: Operation) -> Operation:
        """Names the dimensions, so that channels stay where one of them is left."""
        source = self._source(operation)
        shape = self._shape(source)
        if operation.op != "aten.squeeze.default" or all(
            self.stays(source, dim) is None for dim in range(len(shape))
        ):
            return operation
        dims = squeezed_dims(operation, shape)
        return replace(
            operation, op="aten.squeeze.dims", args=(operation.args[0], dims)
        )

    def _group_norm(self, operation: Operation) -> Operation:
        stays = self.stays(self._source(operation), 1)
        if stays is None:
            return operation
        per_group = len(stays) // operation.args[1]
        return _with(operation, 1, int(stays.sum()) // per_group)

    def _convolution(self, operation: Operation) -> Operation:
        groups = argument(operation, 6, 1)
        stays = self.stays(self._source(operation), 1)
        if stays is None or groups == 1:
            return operation
        by_group = stays.reshape(groups, -1)
        if by_group.any(axis=1).all():
            return operation  # the groups shrink evenly
        return _with(operation, 6, int(by_group.any(axis=1).sum()))

    def _attention(self, operation: Operation) -> Operation:
        query = self._source(operation)
        rank = self._rank(query)
        if self.stays(query, rank - 1) is None or operation.kwargs.get("scale"):
            return operation
        scale = 1 / math.sqrt(self._shape(query)[-1])
        return replace(operation, kwargs={**operation.kwargs, "scale": scale})

    def _index_select(self, operation: Operation) -> Operation:
        index = name_of(operation.args[2])
        source = self._source(operation)
        stays = self.stays(source, operation.args[1] % self._rank(source))
        if stays is None or index is None:
            return operation
        self.buffers[index] = _order(self.graph.integers[index], stays)
        return operation

    def _shuffle(self, operation: Operation, shuffle: Shuffle) -> Operation:
        stays = self.stays(shuffle.source, shuffle.dim)
        if stays is None:
            return operation
        index = f"{operation.name}_order"
        self.buffers[index] = _order(shuffle.order, stays)
        return replace(
            operation,
            op="aten.index_select.default",
            args=(Ref(shuffle.source), shuffle.dim, Ref(index)),
            kwargs={},
        )


def _order(order: np.ndarray, stays: np.ndarray) -> Tensor:
    """The positions that stay, in their order, counted among those that stay."""
    kept = order[stays[order]]
    return torch.from_numpy((np.cumsum(stays) - 1)[kept])


def _with(operation: Operation, position: int, value: Any) -> Operation:
    """The operation with another argument, or itself where it is the same."""
    if operation.args[position] == value:
        return operation
    args = list(operation.args)
    args[position] = value
    return replace(operation, args=tuple(args))
