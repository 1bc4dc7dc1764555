"""NetworkState: what a plan changes of a network's graph, for many plans at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from agmc.embedding.carriers import carriers_of
from agmc.embedding.pyg import NUM_TYPES, GraphConverter
from agmc.graph.model_graph import ModelGraph
from agmc.graph.widths import Widths

#: Columns of `Numbers.nodes` and `Numbers.layers`.
DYNAMIC_NODES, DYNAMIC_EDGES = 2, 4


class Numbers(NamedTuple):
    """N feature maps and L layers under P plans.

    Attributes:
        nodes: float32 [N, P, 2]: log2(1 + channels) / 15 and the share that is left.
        layers: float32 [L, P, 4]: log2(1 + channels) / 15 of what is read and of what
            is made, then the square roots of the layer's multiply-adds as a share of
            all those that are left and of all those of the unpruned network.
        channels: float32 [L, P]: that a layer reads.
    """

    nodes: Tensor
    layers: Tensor
    channels: Tensor


class NetworkState(nn.Module):
    """The graph of `GraphConverter`, and its channels and multiply-adds under plans.

    What follows a feature map that nobody else reads, batch norm, activations, pooling,
    is drawn together with it: N feature maps are left, and E edges between them, each a
    layer, an addition and the like, together with what follows it.

    Has no weights: what it holds belongs to the network and not to who learns.

    Args:
        graph: the traced network.

    Attributes:
        feature_maps: names of the N, each that of the first of those drawn together.
        edge_index: int64 [2, E].
        types: float32 [E, number of `OPERATION_TYPES`]: how many operations of each
            type an edge stands for, its layer left out.
        layers: int64 [L], the edges that multiply and add: convolutions and the like.
        norm: float32 [E]: 1 / sqrt(d_i d_j), d the number of edges at a node.
        node_columns: float32 [N, columns], of the unpruned network.
        layer_columns: float32 [L, columns], likewise.
        carriers: float32 [num_decisions, N]: mean over what carries the channels.
    """

    edge_index: Tensor
    types: Tensor
    layers: Tensor
    norm: Tensor
    node_columns: Tensor
    layer_columns: Tensor
    carriers: Tensor

    def __init__(self, graph: ModelGraph) -> None:
        super().__init__()
        converter = GraphConverter(graph)
        data = converter.data()
        widths = self._widths = Widths(graph)
        self._sizes = np.array([group.size for group in graph.groups], dtype=float)
        self.num_decisions = len(self._sizes)
        self._total = max(1.0, float(widths.macs(self._sizes).sum()))
        work = {name: row for row, name in enumerate(widths.operations)}
        row_of = [work.get(name, -1) for name in converter.edges]

        owner, kept = _drawn_together(data.edge_index.numpy(), np.array(row_of) >= 0)
        nodes, position = np.unique(owner, return_inverse=True)
        source, target = torch.from_numpy(position)[data.edge_index]
        types = data.edge_attr[:, :NUM_TYPES].clone()
        types[torch.tensor(row_of) >= 0] = 0
        following = torch.zeros(len(nodes), NUM_TYPES)
        following.index_add_(0, target[~kept], types[~kept])
        source, target = source[kept], target[kept]
        rows = np.array(row_of)[kept.numpy()]
        degree = torch.bincount(torch.cat([source, target]), minlength=len(nodes))
        carriers = torch.zeros(self.num_decisions, len(nodes))
        carriers.index_add_(1, torch.from_numpy(position), carriers_of(graph))

        self.feature_maps = tuple(converter.nodes[node] for node in nodes)
        read = converter.edge_index[0][np.array(row_of) >= 0]
        self._channels = _Channels(widths, self.feature_maps)
        self._read = _Channels(widths, [converter.nodes[node] for node in read])
        self._full = self._channels(self._sizes[None])
        self._macs_row = rows[rows >= 0]
        held = {
            "edge_index": torch.stack([source, target]),
            "types": types[kept] + following[target],
            "layers": torch.from_numpy(np.flatnonzero(rows >= 0)),
            "norm": (degree[source] * degree[target]).float().rsqrt(),
            "node_columns": data.x[torch.from_numpy(nodes)],
            "layer_columns": data.edge_attr[kept][torch.from_numpy(rows >= 0)],
            "carriers": carriers,
        }
        for name, value in held.items():
            self.register_buffer(name, value, persistent=False)

    def under(self, plans: Tensor) -> Numbers:
        """The numbers that plans change.

        Args:
            plans: shares of the channels that the groups keep, [P, num_decisions].
        """
        counts = np.rint(plans.double().numpy() * self._sizes)
        channels, read = self._channels(counts), self._read(counts)
        macs = self._widths.macs(counts)
        of_layers = macs[:, self._macs_row].T
        made = channels[self.edge_index[1, self.layers].numpy()]
        left = channels / np.maximum(1, self._full)
        now = of_layers / np.maximum(1.0, macs.sum(axis=1))
        layers = [
            _log(read),
            _log(made),
            np.sqrt(now),
            np.sqrt(of_layers / self._total),
        ]
        return Numbers(
            torch.from_numpy(np.stack([_log(channels), left], axis=2)).float(),
            torch.from_numpy(np.stack(layers, axis=2)).float(),
            torch.from_numpy(read).float(),
        )


class _Channels:
    """How many channels feature maps have, in closed form."""

    def __init__(self, widths: Widths, names: Sequence[str]) -> None:
        tensors, groups = widths.graph.tensors, widths.graph.groups
        forms = [
            widths.size_form((name, 1))
            if len(tensors[name].shape) > 1
            else (1.0, np.zeros(len(groups)))
            for name in names
        ]
        self._offsets = np.array([[offset] for offset, _ in forms])
        self._slopes = np.array([slope for _, slope in forms])

    def __call__(self, counts: np.ndarray) -> np.ndarray:
        """Float64 [number of names, P], of counts [P, num_groups]."""
        channels: np.ndarray = self._slopes @ counts.T + self._offsets
        return channels


def _log(channels: np.ndarray) -> np.ndarray:
    return np.log2(1 + channels) / 15


def _drawn_together(
    edges: np.ndarray, is_layer: np.ndarray
) -> tuple[np.ndarray, Tensor]:
    """Which nodes become one, and which edges stay.

    Args:
        edges: int64 [2, E], in execution order.
        is_layer: bool [E]; a layer always stays.

    Returns:
        For every node the first of those that it becomes one with; bool [E].
    """
    number = int(edges.max(initial=-1)) + 1
    read, made = (np.bincount(ends, minlength=number) for ends in edges)
    owner, kept = np.arange(number), np.ones(len(is_layer), dtype=bool)
    for edge, (source, target) in enumerate(edges.T):
        if not is_layer[edge] and read[source] == 1 and made[target] == 1:
            owner[target], kept[edge] = owner[source], False
    return owner, torch.from_numpy(kept)
