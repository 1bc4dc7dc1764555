"""Encoder: graph attributes -> one vector per feature map and one per network."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch_geometric.data import Data

from agmc.embedding.messages import layer_named
from agmc.embedding.pyg import NODE_COLUMNS
from agmc.embedding.topological import Edges

#: Layers where nobody says otherwise: as many as others have, or by name.
_DEPTH = 3
_DEPTHS = {"dag": 1}


class Vectors(NamedTuple):
    """What an encoder makes of G graphs of N nodes together.

    Attributes:
        nodes: of the feature maps, float32 [N, dim].
        networks: of the networks as a whole, float32 [G, dim].
    """

    nodes: Tensor
    networks: Tensor


class GraphEncoder(nn.Module):
    """Message passing over the directed graph, edge attributes and the whole included.

    Each layer sends messages along the operations and against them, see `LAYERS`:
    `h' = h + relu(norm(messages(h + w)))`. `w` is the virtual node of the network
    (arXiv 1704.01212), joined to all of its nodes: it hears their mean after every
    layer, `w' = w + relu(norm(W_1 w + W_2 mean(h')))`, starts at 0, and ends as the
    vector of the network. Every vector ends with mean 0 and spread 1, so that what is
    decoded, or seen by an agent, has one scale.

    Args:
        layer: "gin", "gcn", "gat" or "dag", see `agmc.embedding.messages.LAYERS`.
        dim: of the vectors.
        hidden: width of the layers.
        layers: number of them; a vector knows what is this many operations away, and
            the rest through the virtual node only. With "dag" it knows all that is
            before and behind it. None: 1 for "dag", 3 for the others.

    Raises:
        ValueError: the layer is unknown, or a number is out of range.
    """

    def __init__(
        self,
        *,
        layer: str = "gin",
        dim: int = 32,
        hidden: int = 64,
        layers: int | None = None,
    ) -> None:
        super().__init__()
        if layers is None:
            layers = _DEPTHS.get(layer, _DEPTH)
        for name, value in (("dim", dim), ("hidden", hidden), ("layers", layers)):
            if value < 1:
                raise ValueError(f"{name} (={value}) must be >= 1")
        self.layer, self.dim, self.hidden, self.num_layers = layer, dim, hidden, layers
        self.input = nn.Linear(len(NODE_COLUMNS), hidden)
        self.messages = nn.ModuleList(layer_named(layer, hidden) for _ in range(layers))
        self.norms = nn.ModuleList(nn.LayerNorm(hidden) for _ in range(layers))
        self.hear = nn.ModuleList(nn.Linear(2 * hidden, hidden) for _ in range(layers))
        self.hear_norms = nn.ModuleList(nn.LayerNorm(hidden) for _ in range(layers))
        self.output = nn.Linear(hidden, dim)
        self.network_output = nn.Linear(hidden, dim)

    def forward(self, data: Data) -> Vectors:
        """The vectors of one graph, or of a `Batch` of them."""
        edges = Edges(data.edge_index, data.edge_attr, len(data.x))
        graph, sizes = graph_of_node(data)
        h = self.input(data.x)
        whole = h.new_zeros(len(sizes), self.hidden)
        for send, norm, hear, hear_norm in zip(
            self.messages, self.norms, self.hear, self.hear_norms, strict=True
        ):
            h = h + torch.relu(norm(send(h + whole[graph], edges)))
            mean = torch.zeros_like(whole).index_add(0, graph, h) / sizes
            whole = whole + torch.relu(hear_norm(hear(torch.cat([whole, mean], 1))))
        return Vectors(
            functional.layer_norm(self.output(h), (self.dim,)),
            functional.layer_norm(self.network_output(whole), (self.dim,)),
        )


def graph_of_node(data: Data) -> tuple[Tensor, Tensor]:
    """Graph of every node, int64 [N], and nodes of every graph, float32 [G, 1]."""
    starts = getattr(data, "ptr", None)
    if starts is None:
        starts = torch.tensor([0, len(data.x)], device=data.x.device)
    sizes = starts[1:] - starts[:-1]
    positions = torch.arange(len(sizes), device=sizes.device)
    graph = torch.repeat_interleave(positions, sizes)
    return graph, sizes.clamp(min=1).float().unsqueeze(1)
