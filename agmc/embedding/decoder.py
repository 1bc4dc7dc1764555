"""Decoder: vectors of feature maps -> attributes, operations and links."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from agmc.embedding.encoder import Vectors, graph_of_node
from agmc.embedding.pyg import EDGE_COLUMNS, NODE_COLUMNS, NUM_TYPES


class Losses(NamedTuple):
    """The parts of the reconstruction loss, scalars.

    Attributes:
        nodes: smooth L1 of the standardised node attributes, mean over columns.
        edges: the same of the numeric edge attributes.
        types: cross entropy of the operation types, nats.
        links: binary cross entropy of edges and absent edges, nats, half each.
        networks: smooth L1 of what a network is like as a whole, see `summaries`.
    """

    nodes: Tensor
    edges: Tensor
    types: Tensor
    links: Tensor
    networks: Tensor

    @property
    def total(self) -> Tensor:
        """The sum, which is what is trained."""
        return torch.stack(self).sum()


class Reconstruction(NamedTuple):
    """What a decoder makes of the vectors of a graph.

    Attributes:
        nodes: node attributes, standardised, [N, node columns].
        edges: numeric edge attributes, standardised, [E, numeric edge columns].
        types: logits of the operation types, [E, types].
        networks: `summaries`, [G, node columns + edge columns + 1].
    """

    nodes: Tensor
    edges: Tensor
    types: Tensor
    networks: Tensor


class GraphDecoder(nn.Module):
    """Reconstructs a graph from its vectors alone.

    Node attributes come from the vector of the node, the attributes and the type of an
    edge from those of its two ends, and whether an edge is there at all from a directed
    product of both ends, `<source(z_a), target(z_b)> / sqrt(hidden) + bias`. The vector
    of a network gives its `summaries`.

    Args:
        dim: of the vectors.
        hidden: width of the hidden layers.
    """

    def __init__(self, *, dim: int = 32, hidden: int = 64) -> None:
        super().__init__()
        self.hidden = hidden
        num_edge = len(EDGE_COLUMNS) - NUM_TYPES
        self.nodes = _two_layers(dim, hidden, len(NODE_COLUMNS))
        self.edges = _two_layers(2 * dim, hidden, num_edge)
        self.types = _two_layers(2 * dim, hidden, NUM_TYPES)
        self.networks = _two_layers(
            dim, hidden, len(NODE_COLUMNS) + len(EDGE_COLUMNS) + 1
        )
        self.link_source = nn.Linear(dim, hidden)
        self.link_target = nn.Linear(dim, hidden)
        self.link_bias = nn.Parameter(torch.zeros(()))

    def forward(self, vectors: Vectors, edge_index: Tensor) -> Reconstruction:
        """What the nodes, the edges [2, E] between them and the networks are."""
        z = vectors.nodes
        ends = torch.cat([z[edge_index[0]], z[edge_index[1]]], dim=1)
        return Reconstruction(
            nodes=self.nodes(z),
            edges=self.edges(ends),
            types=self.types(ends),
            networks=self.networks(vectors.networks),
        )

    def link_logits(self, z: Tensor, pairs: Tensor) -> Tensor:
        """Logits that an edge leads from `pairs[0]` to `pairs[1]`, [P]."""
        source, target = self.link_source(z), self.link_target(z)
        products = (source[pairs[0]] * target[pairs[1]]).sum(dim=1)
        return products / math.sqrt(self.hidden) + self.link_bias


def summaries(data: Data) -> Tensor:
    """What a network is like as a whole, float32 [G, node columns + edge columns + 1].

    Means of the node attributes and of the edge attributes, so among them the shares of
    the operation types, then log2(1 + nodes) / 10.

    Args:
        data: one graph or a `Batch`, its numbers standardised.
    """
    graph, sizes = graph_of_node(data)
    of_edge = graph[data.edge_index[0]]
    edges = torch.zeros_like(sizes).index_add(
        0, of_edge, torch.ones(len(of_edge), 1, device=of_edge.device)
    )
    nodes = sizes.new_zeros(len(sizes), data.x.shape[1]).index_add(0, graph, data.x)
    attributes = sizes.new_zeros(len(sizes), data.edge_attr.shape[1])
    attributes = attributes.index_add(0, of_edge, data.edge_attr)
    return torch.cat(
        [nodes / sizes, attributes / edges.clamp(min=1), (1 + sizes).log2() / 10], dim=1
    )


def absent_links(data: Data, generator: torch.Generator) -> Tensor:
    """Pairs of nodes that no edge joins, int64 [2, P].

    For every edge its reverse, and one from the same source to a random node of the
    same graph; those that are edges are left out.
    """
    source, target = data.edge_index
    count = int(data.x.shape[0])
    starts = getattr(data, "ptr", None)
    if starts is None:
        starts = torch.tensor([0, count])
    graph = torch.searchsorted(starts, source, right=True) - 1
    sizes = (starts[1:] - starts[:-1])[graph]
    draws = torch.rand(len(source), generator=generator)
    drawn = starts[graph] + (draws * sizes).long()
    pairs = torch.cat(
        [torch.stack([source, drawn]), torch.stack([target, source])], dim=1
    )
    present = torch.isin(pairs[0] * count + pairs[1], source * count + target)
    return pairs[:, ~present]


def _two_layers(num_in: int, hidden: int, num_out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(num_in, hidden), nn.ReLU(), nn.Linear(hidden, num_out)
    )
