"""Topological: messages in the order in which a network is executed."""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from agmc.embedding.pyg import EDGE_COLUMNS

#: Bias of a gate that lets 0.88 through.
_OPEN = 2.0


class Level(NamedTuple):
    """Nodes that wait for nothing but earlier levels, in one of both directions.

    Attributes:
        nodes: int64 [M].
        edges: those that lead into these nodes, int64 [K].
        earlier: positions of the levels that these edges come from.
        senders: where the edges come from: positions in the nodes of the `earlier`
            levels, one after the other, int64 [K].
        places: positions in `nodes` that the edges lead to, int64 [K].
        scale: 1 / number of edges into every node, float32 [M, 1]; 1 where none is.
    """

    nodes: Tensor
    edges: Tensor
    earlier: tuple[int, ...]
    senders: Tensor
    places: Tensor
    scale: Tensor


class Levels(NamedTuple):
    """The levels of a directed acyclic graph, in execution order and against it."""

    along: tuple[Level, ...]
    against: tuple[Level, ...]


class Edges:
    """The edges of one graph, or of several side by side.

    Args:
        index: int64 [2, E].
        attributes: float32 [E, edge columns].
        num_nodes: N.
    """

    def __init__(self, index: Tensor, attributes: Tensor, num_nodes: int) -> None:
        self.index, self.attributes, self.num_nodes = index, attributes, num_nodes

    @cached_property
    def levels(self) -> Levels:
        """The nodes, sorted by the longest way to them.

        Raises:
            ValueError: the graph has a cycle, so that it cannot be executed.
        """
        source, target = self.index.cpu().numpy()
        return Levels(
            _one_way(source, target, self.num_nodes),
            _one_way(target, source, self.num_nodes),
        )


class BothWaysGRU(nn.Module):
    """A gated recurrent unit walks over the graph as it is executed, and back.

    After DAGNN (arXiv 2101.07965) and D-VAE (arXiv 1904.11088):
    `s_v = GRU(h_v, mean_u sigmoid(G s_u + G_e e_uv) * (M s_u + M_e e_uv))` over the
    predecessors `u` of `v`, which are complete when `v` is reached; the same over the
    successors with weights of its own. Both states are summed, so that one layer
    already sees everything before and behind a node.

    Args:
        hidden: width.
    """

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.along, self.against = (_Walk(hidden) for _ in range(2))

    def forward(self, nodes: Tensor, edges: Edges) -> Tensor:
        """States [N, hidden] of nodes [N, hidden]."""
        along, against = edges.levels
        return self.along(nodes, edges.attributes, along) + self.against(
            nodes, edges.attributes, against
        )


class _Walk(nn.Module):
    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.input = nn.Linear(hidden, 3 * hidden)
        self.state = nn.Linear(hidden, 3 * hidden)
        self.send = nn.Linear(hidden, 2 * hidden, bias=False)
        self.edges = nn.Linear(len(EDGE_COLUMNS), 2 * hidden)
        # What is known at first gets through hundreds of operations: gates stand open
        # and every node hands on what it has heard.
        with torch.no_grad():
            self.send.weight[hidden:].copy_(torch.eye(hidden))
            self.edges.bias[:hidden] = _OPEN
            self.input.bias[hidden : 2 * hidden] = _OPEN

    def forward(
        self, nodes: Tensor, edge_attr: Tensor, levels: tuple[Level, ...]
    ) -> Tensor:
        order = torch.cat([level.nodes for level in levels])
        edges_in_order = torch.cat([level.edges for level in levels])
        # Cut once: a selection in every level would cost a whole gradient in each.
        inputs = self.input(nodes.index_select(0, order)).split(
            [len(level.nodes) for level in levels]
        )
        offsets = self.edges(edge_attr.index_select(0, edges_in_order)).split(
            [len(level.edges) for level in levels]
        )
        states: list[Tensor] = []
        sent: list[Tensor] = []
        for level, own, offset in zip(levels, inputs, offsets, strict=True):
            heard = nodes.new_zeros(len(level.nodes), nodes.shape[1])
            if level.earlier:
                said = torch.cat([sent[i] for i in level.earlier])
                said = said.index_select(0, level.senders) + offset
                gate, content = said.chunk(2, dim=1)
                messages = torch.sigmoid(gate) * content
                heard = level.scale * heard.index_add(0, level.places, messages)
            states.append(self._step(own, heard))
            sent.append(self.send(states[-1]))
        return torch.cat(states).index_select(0, order.argsort())

    def _step(self, inputs: Tensor, heard: Tensor) -> Tensor:
        """The gated recurrent unit of arXiv 1406.1078."""
        reset_in, update_in, new_in = inputs.chunk(3, dim=1)
        reset, update, new = self.state(heard).chunk(3, dim=1)
        update = torch.sigmoid(update_in + update)
        new = torch.tanh(new_in + torch.sigmoid(reset_in + reset) * new)
        return new + update * (heard - new)


def _one_way(source: np.ndarray, target: np.ndarray, count: int) -> tuple[Level, ...]:
    """Levels of edges from `source` to `target`, after Kahn (1962)."""
    waits = np.bincount(target, minlength=count)
    degree = np.maximum(1, waits)
    leaving, arriving = (np.argsort(ends, kind="stable") for ends in (source, target))
    first_out = np.searchsorted(source[leaving], np.arange(count + 1))
    first_in = np.searchsorted(target[arriving], np.arange(count + 1))
    level_of, place = np.zeros((2, count), dtype=np.int64)
    sizes: list[int] = []
    levels: list[Level] = []
    ready = np.flatnonzero(waits == 0)
    while len(ready):
        level_of[ready], place[ready] = len(levels), np.arange(len(ready))
        sizes.append(len(ready))
        edges = arriving[_ranges(first_in[ready], first_in[ready + 1])]
        senders = source[edges]
        earlier, which = np.unique(level_of[senders], return_inverse=True)
        starts = np.cumsum([0, *(sizes[i] for i in earlier)])
        numbers = (
            ready,
            edges,
            starts[which] + place[senders],
            place[target[edges]],
            (1 / degree[ready]).astype(np.float32)[:, None],
        )
        nodes, into, positions, places, scale = map(torch.from_numpy, numbers)
        levels.append(
            Level(nodes, into, (*earlier.tolist(),), positions, places, scale)
        )
        reached = target[leaving[_ranges(first_out[ready], first_out[ready + 1])]]
        np.subtract.at(waits, reached, 1)
        reached = np.unique(reached)
        ready = reached[waits[reached] == 0]
    if sum(sizes) < count:
        raise ValueError(
            f"edge_index has a cycle through {count - sum(sizes)} of {count} nodes; an "
            "encoder in topological order needs a graph that can be executed"
        )
    return tuple(levels)


def _ranges(starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """The numbers of all the intervals [start, end), one after the other."""
    lengths = ends - starts
    offsets = np.repeat(starts - np.concatenate([[0], lengths.cumsum()[:-1]]), lengths)
    return np.arange(lengths.sum()) + offsets
