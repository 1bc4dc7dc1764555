"""Widths: sizes of all parameters and work of all layers as functions of a plan."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from agmc.graph.mixing_rules import product_of
from agmc.graph.model_graph import ModelGraph
from agmc.graph.presence import Presence
from agmc.graph.program import Operation

_CONVOLUTIONS = frozenset({"conv1d", "conv2d", "conv3d"})
_TRANSPOSED = frozenset({"conv_transpose1d", "conv_transpose2d", "conv_transpose3d"})
_PRODUCTS = frozenset(
    {"matmul", "mm", "bmm", "mv", "dot", "vdot", "addmm", "baddbmm", "einsum"}
)
#: Operators that multiply and add in ways that nothing here counts.
_UNCOUNTED = frozenset(
    {
        *("tensordot", "bilinear", "inner", "addmv", "convolution", "_convolution"),
        *("addbmm", "chain_matmul", "linalg_multi_dot", "linalg_matmul", "cdist"),
        *("_native_multi_head_attention", "conv_tbc"),
        *("lstm", "gru", "rnn_tanh", "rnn_relu", "lstm_cell", "gru_cell"),
    }
)

#: One size: a parameter or activation, and the dimension.
_Size = tuple[str, int]


class Widths:
    """Closed forms over the graph: no network is built.

    All channels of a group lie in the same slices, so every size is linear in the kept
    channels: `full - sum_g repeats_g * (size_g - kept_g)`. Numbers of elements and of
    multiply-adds are products of such sizes.

    Args:
        graph: the traced network.

    Raises:
        ValueError: an operator multiplies in a way that has no closed form here.

    Arguments named `counts` are kept channels, int [..., num_groups], in the order of
    `graph.groups`; `kept` are the blocks that stay, bool [..., num_blocks], in that of
    `graph.blocks`, None for all. Leading dimensions are the same, and those of the
    results.
    """

    def __init__(self, graph: ModelGraph) -> None:
        self.graph = graph
        self.parameters = tuple(graph.parameters)
        self._group_sizes = np.array([g.size for g in graph.groups], dtype=float)
        self._repeats = _repeats(graph)
        self._numels = _Products(self, [_numel(graph, n) for n in self.parameters])
        work: dict[str, list[list[_Size | int]]] = {}
        for operation in graph.program.operations:
            if factors := _factors(graph, operation):
                work[operation.name] = factors
        self.operations = tuple(work)
        terms = [(row, f) for row, found in enumerate(work.values()) for f in found]
        self._work = _Products(self, [factors for _, factors in terms])
        self._operation_of = np.zeros((len(terms), len(work)))
        for term, (row, _) in enumerate(terms):
            self._operation_of[term, row] = 1
        self._activations: _Products | None = None
        self.presence = Presence(graph)
        self._regions = self.presence.rows(self.operations)

    def numels(self, counts: np.ndarray, kept: np.ndarray | None = None) -> np.ndarray:
        """Elements of every parameter and buffer, float64 [..., num_parameters]."""
        numels = self._numels(counts)
        return numels if kept is None else numels * self.presence.parameters(kept)

    def macs(self, counts: np.ndarray, kept: np.ndarray | None = None) -> np.ndarray:
        """Multiply-adds for one input of every operation of `self.operations`."""
        macs = self._work(counts) @ self._operation_of
        if kept is None:
            return macs
        return macs * self.presence.regions(kept)[..., self._regions]

    def total_macs(
        self, counts: np.ndarray, kept: np.ndarray | None = None
    ) -> np.ndarray:
        """Multiply-adds for one input, float64 [...]."""
        if kept is None:
            return self._work(counts).sum(-1)
        return self.macs(counts, kept).sum(-1)

    def activation_elements(self, counts: np.ndarray) -> np.ndarray:
        """Elements of every activation of `graph.tensors`, float64 [..., number]."""
        if self._activations is None:
            shapes = {name: spec.shape for name, spec in self.graph.tensors.items()}
            self._activations = _Products(
                self,
                [[(name, d) for d in range(len(s))] for name, s in shapes.items()],
            )
        return self._activations(counts)

    def macs_by_operation(self, counts: np.ndarray) -> dict[str, int]:
        """Operation name -> multiply-adds for one input, of one plan."""
        macs = self.macs(counts)
        return {n: int(value) for n, value in zip(self.operations, macs, strict=True)}

    def size_form(self, size: _Size) -> tuple[float, np.ndarray]:
        """A size as `constant + counts @ repeats`; repeats float64 [num_groups]."""
        name, dim = size
        held = self.graph.tensors if name in self.graph.tensors else None
        spec = held[name] if held is not None else self.graph.parameters[name]
        repeats = self._repeats.get(size)
        if repeats is None:
            return float(spec.shape[dim]), np.zeros(len(self._group_sizes))
        return spec.shape[dim] - float(repeats @ self._group_sizes), repeats


class _Products:
    """Products of linear forms of the counts, many at once.

    Args:
        widths: gives the linear form of each size.
        factors: for every product its sizes; whole numbers are constants.
    """

    def __init__(
        self, widths: Widths, factors: Sequence[Sequence[_Size | int]]
    ) -> None:
        constants = np.ones(len(factors))
        moving: list[list[_Size]] = []
        forms: dict[_Size, int] = {}
        offsets, slopes = [1.0], [np.zeros(len(widths.graph.groups))]
        for row, sizes in enumerate(factors):
            moving.append([])
            for size in sizes:
                if isinstance(size, int):
                    constants[row] *= size
                    continue
                offset, slope = widths.size_form(size)
                if not slope.any():
                    constants[row] *= offset
                    continue
                if size not in forms:
                    forms[size] = len(offsets)
                    offsets.append(offset)
                    slopes.append(slope)
                moving[-1].append(size)
        # Row 0 is the form 1, which fills up products of fewer factors.
        depth = max(map(len, moving), default=0)
        self._constants = constants
        self._offsets, self._slopes = np.array(offsets), np.array(slopes).T.copy()
        self._rows = [
            np.array([forms[m[i]] if i < len(m) else 0 for m in moving], dtype=int)
            for i in range(depth)
        ]

    def __call__(self, counts: np.ndarray) -> np.ndarray:
        """Float64 [..., number of products]."""
        sizes = np.asarray(counts, dtype=float) @ self._slopes + self._offsets
        result = np.broadcast_to(
            self._constants, (*sizes.shape[:-1], len(self._constants))
        )
        for rows in self._rows:
            result = result * sizes[..., rows]
        return result


def _repeats(graph: ModelGraph) -> dict[_Size, np.ndarray]:
    """Positions of each size that go with one channel of each group."""
    result: dict[_Size, np.ndarray] = {}
    for g, group in enumerate(graph.groups):
        for cut in group.slices:
            row = result.setdefault(
                (cut.parameter, cut.dim), np.zeros(len(graph.groups))
            )
            row[g] = cut.index.shape[1]
    carried = [channels.atoms for channels in graph.channels.values()]
    largest = max((int(ids.max()) for ids in (*carried, *graph.group_atoms)), default=0)
    group_of = np.full(largest + 2, -1)  # the last entry is that of atom -1
    for g, ids in enumerate(graph.group_atoms):
        group_of[ids] = g
    for name, channels in graph.channels.items():
        owners = group_of[channels.atoms]
        times = np.bincount(owners[owners >= 0], minlength=len(graph.groups))
        sizes = np.array([group.size for group in graph.groups])
        result[name, channels.dim] = times / sizes
    return result


def _numel(graph: ModelGraph, parameter: str) -> list[_Size | int]:
    return [(parameter, dim) for dim in range(len(graph.parameters[parameter].shape))]


def _factors(graph: ModelGraph, operation: Operation) -> list[list[_Size | int]]:
    """The multiply-adds of an operation for one input: a sum of products of sizes.

    Raises:
        ValueError: it multiplies in a way that has no closed form here.
    """
    kind, names = operation.kind, list(operation.refs())
    if kind in _UNCOUNTED:
        raise _no_closed_form(graph, operation)
    if kind in _CONVOLUTIONS or kind in _TRANSPOSED or kind == "linear":
        # The whole weight is applied at every position.
        place = names[0] if kind in _TRANSPOSED else operation.name
        shape = graph.tensors[place].shape
        spatial = 0 if kind == "linear" else len(_shape(graph, names[1])) - 2
        features = len(shape) - 1 - spatial
        return [
            [
                *_sizes(graph, names[1]),
                *((place, d) for d in range(len(shape)) if d != features),
            ]
        ]
    if kind == "scaled_dot_product_attention":
        query, key, value = names[:3]
        last = len(graph.tensors[key].shape) - 2
        return [
            [*_sizes(graph, query), (key, last)],
            [*_sizes(graph, operation.name), (key, last)],
        ]
    if kind in _PRODUCTS:
        factors = [n for n in names if n in graph.tensors or n in graph.parameters]
        if kind in ("addmm", "baddbmm"):
            factors = factors[-2:]
        first = len(_shape(graph, factors[0]))
        if kind != "einsum":  # the last dimension of the first factor is summed over
            return [[*_sizes(graph, operation.name), (factors[0], first - 1)]]
        ranks = [len(_shape(graph, name)) for name in factors]
        found = product_of(operation, ranks) if len(factors) == 2 else None
        if found is None:
            raise _no_closed_form(graph, operation)
        one, other = found.letters
        if set(one + other) <= set(found.out):
            return []  # nothing is summed: element by element
        return [
            [
                *_sizes(graph, factors[0]),
                *(
                    (factors[1], d)
                    for d, letter in enumerate(other)
                    if letter not in one
                ),
            ]
        ]
    return []


def _no_closed_form(graph: ModelGraph, operation: Operation) -> ValueError:
    source = graph.sources.get(operation.name)
    return ValueError(
        f"no closed form counts the multiply-adds of {operation.kind} "
        f"{operation.name!r} in {operation.layer!r}"
        + (f" ({source})" if source else "")
    )


def _shape(graph: ModelGraph, name: str) -> tuple[int, ...]:
    held = graph.tensors if name in graph.tensors else graph.parameters
    return held[name].shape


def _sizes(graph: ModelGraph, name: str) -> list[_Size | int]:
    return [(name, dim) for dim in range(len(_shape(graph, name)))]
