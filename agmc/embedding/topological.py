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
    predecessors `u` of `v`, which are complete when `v` is reached. The way back has
    weights of its own, goes over the successors and begins with `h_v + s_v`, so that
    one layer sees everything before and behind a node, and all that this hangs on. Both
    states are summed.

    Args:
        hidden: width.
    """

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.along, self.against = (_Walk(hidden) for _ in range(2))

    def forward(self, nodes: Tensor, edges: Edges) -> Tensor:
        """States [N, hidden] of nodes [N, hidden]."""
        along, against = edges.levels
        states = self.along(nodes, edges.attributes, along)
        return states + self.against(nodes + states, edges.attributes, against)


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
            if level.earlier:
                heard = _mean_heard(
                    level, torch.cat([sent[i] for i in level.earlier]), offset
                )
            else:
                heard = nodes.new_zeros(len(level.nodes), nodes.shape[1])
            states.append(self._step(own, heard))
            sent.append(self.send(states[-1]))
        return torch.cat(states).index_select(0, order.argsort())

    def _step(self, inputs: Tensor, heard: Tensor) -> Tensor:
        """The gated recurrent unit of arXiv 1406.1078."""
        width = heard.shape[1]
        gates_in, new_in = inputs.split([2 * width, width], dim=1)
        gates, new = self.state(heard).split([2 * width, width], dim=1)
        reset, update = torch.sigmoid(gates_in + gates).chunk(2, dim=1)
        new = torch.tanh(torch.addcmul(new_in, reset, new))
        return torch.lerp(new, heard, update)


def _mean_heard(level: Level, sent: Tensor, offset: Tensor) -> Tensor:
    """What the nodes of a level hear on average, [M, hidden]."""
    said = sent.index_select(0, level.senders) + offset
    gate, content = said.chunk(2, dim=1)
    messages = torch.sigmoid(gate) * content
    if len(level.edges) == len(level.nodes):  # one each, in the order of the nodes
        return messages
    heard = messages.new_zeros(len(level.nodes), messages.shape[1])
    return level.scale * heard.index_add(0, level.places, messages)


def _one_way(source: np.ndarray, target: np.ndarray, count: int) -> tuple[Level, ...]:
    """Levels of edges from `source` to `target`."""
    level = _longest_ways(source, target, count)
    sizes = np.bincount(level)
    nodes = np.argsort(level, kind="stable")
    place = np.empty(count, dtype=np.int64)
    place[nodes] = np.arange(count) - (sizes.cumsum() - sizes)[level[nodes]]
    edges = np.lexsort((place[target], level[target]))
    # Every level joins what the levels before it sent, each of these once.
    of, by = level[target[edges]], level[source[edges]]
    joins, which = np.unique(of * len(sizes) + by, return_inverse=True)
    joined_of, joined = np.divmod(joins, len(sizes))
    ends = sizes[joined].cumsum()
    firsts = np.searchsorted(joined_of, joined_of)
    starts = ends - sizes[joined] - (ends - sizes[joined])[firsts]
    senders = starts[which] + place[source[edges]]
    scale = 1 / np.maximum(1, np.bincount(target, minlength=count))[nodes]

    def cut(values: np.ndarray, lengths: np.ndarray) -> tuple[Tensor, ...]:
        return torch.from_numpy(values).split(lengths.tolist())

    lengths = np.bincount(of, minlength=len(sizes))
    joined_by = np.split(joined, np.searchsorted(joined_of, range(1, len(sizes))))
    columns = zip(
        cut(nodes, sizes),
        cut(edges, lengths),
        [(*levels.tolist(),) for levels in joined_by],
        cut(senders, lengths),
        cut(place[target[edges]], lengths),
        cut(scale.astype(np.float32)[:, None], sizes),
        strict=True,
    )
    return tuple(Level(*column) for column in columns)


def _longest_ways(source: np.ndarray, target: np.ndarray, count: int) -> np.ndarray:
    """Edges on the longest way to every node, int64 [count], after Kahn (1962)."""
    leaving: list[list[int]] = [[] for _ in range(count)]
    for s, t in zip(source.tolist(), target.tolist(), strict=True):
        leaving[s].append(t)
    waits = np.bincount(target, minlength=count).tolist()
    level = [0] * count
    ready = [node for node in range(count) if not waits[node]]
    for node in ready:  # grows on the way
        for reached in leaving[node]:
            level[reached] = max(level[reached], level[node] + 1)
            waits[reached] -= 1
            if not waits[reached]:
                ready.append(reached)
    if len(ready) < count:
        raise ValueError(
            f"edge_index has a cycle before {count - len(ready)} of {count} nodes; an "
            "encoder in topological order needs a graph that can be executed"
        )
    return np.array(level, dtype=np.int64)
