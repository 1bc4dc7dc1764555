"""pyg: ModelGraph x kept channels -> torch_geometric Data."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch_geometric.data import Data

from agmc.embedding.columns import Column
from agmc.embedding.operation_types import (
    OPERATION_TYPES,
    operation_type,
    spatial_size,
    window,
)
from agmc.graph.model_graph import ModelGraph
from agmc.graph.program import Operation
from agmc.graph.widths import Widths

#: What a node, a feature map, is described by; every entry lies in [0, 1].
NODE_COLUMNS = (
    Column("log_channels", "log2(1 + channels) / 15, at most 1"),
    Column("log_height", "log2(elements) / 10, at most 1"),
    Column("log_width", "log2(elements) / 10, at most 1"),
    Column("depth", "operations from the input, share of the longest path"),
    Column("activation_share", "square root of the share of all activation elements"),
    Column("in_degree", "log2(1 + edges) / 4, at most 1"),
    Column("out_degree", "log2(1 + edges) / 4, at most 1"),
    Column("is_input", "0 or 1"),
    Column("is_output", "0 or 1"),
)

#: What an edge, an operation, is described by: one-hot type, then numbers in [-1, 1].
EDGE_COLUMNS = (
    *(Column(f"is_{name}", "0 or 1") for name in OPERATION_TYPES),
    Column("log_channels_in", "log2(1 + channels) / 15, at most 1"),
    Column("log_channels_out", "log2(1 + channels) / 15, at most 1"),
    Column("log_kernel_height", "log2(elements) / 4, at most 1"),
    Column("log_kernel_width", "log2(elements) / 4, at most 1"),
    Column("log_stride", "log2(elements, geometric mean of both) / 4, at most 1"),
    Column("log_groups", "log2(1 + groups) / 15, at most 1; 0 for one group"),
    Column("log_height", "log2(elements of what comes out) / 10, at most 1"),
    Column("log_width", "log2(elements of what comes out) / 10, at most 1"),
    Column("macs_share", "square root of the share of all multiply-adds"),
    Column("parameter_share", "square root of the share of all trainable parameters"),
    Column("weight_mean", "tanh(mean * sqrt(fan_in)) of the original weight"),
    Column("weight_std", "tanh(std * sqrt(fan_in) / 2) of the original weight"),
)

NUM_TYPES = len(OPERATION_TYPES)


class GraphConverter:
    """Makes `Data` of one network under any plan.

    Nodes are the activations, in execution order, inputs first. Edges are the
    operations, one per activation read, directed and ordered by execution; two edges
    may join the same nodes. All attributes but the statistics of the weights are those
    of the pruned network, so pruning and tracing again gives the same numbers.

    Shapes:
        `x`: float32 [num_nodes, len(NODE_COLUMNS)];
        `edge_index`: int64 [2, num_edges];
        `edge_attr`: float32 [num_edges, len(EDGE_COLUMNS)].

    Args:
        graph: the traced network.
    """

    def __init__(self, graph: ModelGraph) -> None:
        self.graph = graph
        self.nodes = tuple(graph.tensors)
        position = {name: i for i, name in enumerate(self.nodes)}
        edges = [(source, op) for op in _edges(graph) for source in _sources(graph, op)]
        self.edges = tuple(op.name for _, op in edges)
        self.edge_index = np.array(
            [[position[s] for s, _ in edges], [position[op.name] for _, op in edges]],
            dtype=np.int64,
        ).reshape(2, len(edges))
        self._sizes = np.array([group.size for group in graph.groups], dtype=float)
        self._widths = Widths(graph)
        shapes = [graph.tensors[name].shape for name in self.nodes]
        forms = [
            self._widths.size_form((name, 1))
            if len(shape) > 1
            else (1.0, np.zeros(len(graph.groups)))
            for name, shape in zip(self.nodes, shapes, strict=True)
        ]
        self._channel_offsets = np.array([offset for offset, _ in forms])
        self._channel_slopes = np.array([slope for _, slope in forms])
        self._space = np.array([spatial_size(shape) for shape in shapes]).reshape(-1, 2)
        self._node_base = self._static_nodes()
        operations = [op for _, op in edges]
        self._edge_base = self._static_edges(operations)
        self._groups = np.array([window(graph, op).groups for op in operations])
        depthwise = list(OPERATION_TYPES).index("depthwise_conv")
        self._is_depthwise = self._edge_base[:, depthwise] > 0
        self._macs_row = _rows(self.edges, self._widths.operations)
        self._parameter_rows, self._trainable = self._parameters_read(operations)

    def data(self, counts: Sequence[int] | np.ndarray | None = None) -> Data:
        """The network that keeps `counts` channels of its groups; None keeps all.

        Args:
            counts: int [num_groups].
        """
        kept = self._sizes if counts is None else np.asarray(counts, dtype=float)
        channels = self._channel_offsets + self._channel_slopes @ kept
        nodes, edges = self._node_base.copy(), self._edge_base.copy()
        elements = self._widths.activation_elements(kept)
        nodes[:, 0] = _log_channels(channels)
        nodes[:, 4] = np.sqrt(elements / elements.sum())

        source, target = self.edge_index
        groups = np.where(self._is_depthwise, channels[source], self._groups)
        macs = np.append(self._widths.macs(kept), 0.0)
        numels = np.append(self._widths.numels(kept), 0.0)
        numbers = edges[:, NUM_TYPES:]
        numbers[:, 0] = _log_channels(channels[source])
        numbers[:, 1] = _log_channels(channels[target])
        numbers[:, 5] = np.where(groups > 1, _log_channels(groups), 0.0)
        numbers[:, 8] = np.sqrt(macs[self._macs_row] / max(1.0, macs.sum()))
        total = max(1.0, float(numels @ self._trainable))
        read = (numels * self._trainable)[self._parameter_rows].sum(axis=1)
        numbers[:, 9] = np.sqrt(read / total)
        return Data(
            x=torch.from_numpy(nodes.astype(np.float32)),
            edge_index=torch.from_numpy(self.edge_index),
            edge_attr=torch.from_numpy(edges.astype(np.float32)),
        )

    def _static_nodes(self) -> np.ndarray:
        """Node columns that no plan changes, the others 0."""
        count = len(self.nodes)
        base = np.zeros((count, len(NODE_COLUMNS)))
        source, target = self.edge_index
        depth = np.zeros(count)
        for s, t in self.edge_index.T:  # execution order: sources are settled
            depth[t] = max(depth[t], depth[s] + 1)
        base[:, 1:3] = _log_elements(self._space)
        base[:, 3] = depth / max(1.0, depth.max(initial=0.0))
        base[:, 5] = _log_degree(np.bincount(target, minlength=count))
        base[:, 6] = _log_degree(np.bincount(source, minlength=count))
        base[:, 7] = [name in self.graph.program.inputs for name in self.nodes]
        base[:, 8] = np.bincount(source, minlength=count) == 0
        return base

    def _static_edges(self, operations: Sequence[Operation]) -> np.ndarray:
        """Edge columns that no plan changes, the others 0."""
        base = np.zeros((len(operations), len(EDGE_COLUMNS)))
        types = list(OPERATION_TYPES)
        for row, operation in enumerate(operations):
            base[row, types.index(operation_type(self.graph, operation))] = 1
            moves = window(self.graph, operation)
            numbers = base[row, NUM_TYPES:]
            numbers[2:4] = np.minimum(1, np.log2(np.maximum(1, moves.kernel)) / 4)
            numbers[4] = min(1, math.log2(max(1, math.prod(moves.stride))) / 8)
            numbers[6:8] = _log_elements(
                np.array(spatial_size(self.graph.tensors[operation.name].shape))
            )
            numbers[10:12] = _weight_statistics(self.graph, operation)
        return base

    def _parameters_read(
        self, operations: Sequence[Operation]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Which parameters every edge reads, and which are trainable.

        Returns:
            Rows of `Widths.parameters`, int64 [num_edges, most of one edge], padded
            with the row past the last; 1 or 0 for every row, 0 for the padding.
        """
        row = {name: i for i, name in enumerate(self._widths.parameters)}
        read = [[row[n] for n in self.graph.parameters_of(op)] for op in operations]
        longest = max(map(len, read), default=0)
        padded = [rows + [len(row)] * (longest - len(rows)) for rows in read]
        trainable = [self.graph.parameters[name].trainable for name in row]
        return (
            np.array(padded, dtype=np.int64).reshape(len(read), longest),
            np.array([*trainable, False], dtype=float),
        )


def _edges(graph: ModelGraph) -> Iterator[Operation]:
    """The operations that make an activation."""
    return (op for op in graph.program.operations if op.name in graph.tensors)


def _sources(graph: ModelGraph, operation: Operation) -> Iterator[str]:
    """The activations an operation reads, through operations that make tuples."""
    for name in operation.refs():
        if name in graph.tensors:
            yield name
        elif name in graph.operations:
            yield from _sources(graph, graph.operations[name])


def _weight_statistics(graph: ModelGraph, operation: Operation) -> tuple[float, float]:
    names = [n for n in graph.parameters_of(operation) if graph.parameters[n].trainable]
    if not names:
        return 0.0, 0.0
    weight = graph.parameters[names[0]]
    fan_in = weight.numel / weight.shape[0] if len(weight.shape) > 1 else 1.0
    scale = math.sqrt(fan_in)
    return math.tanh(weight.mean * scale), math.tanh(weight.std * scale / 2)


def _log_channels(channels: np.ndarray) -> np.ndarray:
    return np.minimum(1, np.log2(1 + channels) / 15)


def _log_elements(sizes: np.ndarray) -> np.ndarray:
    return np.minimum(1, np.log2(np.maximum(1, sizes)) / 10)


def _log_degree(edges: np.ndarray) -> np.ndarray:
    return np.minimum(1, np.log2(1 + edges) / 4)


def _rows(names: Sequence[str], table: Sequence[str]) -> np.ndarray:
    """Position of every name in the table, one past its end where it has none."""
    position = {name: i for i, name in enumerate(table)}
    return np.array([position.get(name, len(table)) for name in names], dtype=np.int64)
