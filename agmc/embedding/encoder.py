"""Encoder: graph attributes -> one vector per feature map."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch_geometric.data import Data
from torch_geometric.nn import GINEConv

from agmc.embedding.pyg import EDGE_COLUMNS, NODE_COLUMNS


class GraphEncoder(nn.Module):
    """Message passing over the directed graph, edge attributes included.

    Each layer sends messages along the operations and, with weights of its own,
    against them: `h' = h + relu(norm(GINE_along(h) + GINE_against(h)))`, GINE after Hu
    et al. (arXiv 1905.12265). Every vector ends with mean 0 and spread 1, so that what
    is decoded, or seen by an agent, has one scale.

    Shapes:
        input: `Data` of N nodes and E edges, see `GraphConverter`;
        output: float32 [N, dim].

    Args:
        dim: of the vectors.
        hidden: width of the layers.
        layers: number of them; a vector knows the network this many operations away.
    """

    def __init__(self, *, dim: int = 32, hidden: int = 64, layers: int = 3) -> None:
        super().__init__()
        for name, value in (("dim", dim), ("hidden", hidden), ("layers", layers)):
            if value < 1:
                raise ValueError(f"{name} (={value}) must be >= 1")
        self.dim, self.hidden, self.num_layers = dim, hidden, layers
        self.input = nn.Linear(len(NODE_COLUMNS), hidden)
        self.along = nn.ModuleList(_convolution(hidden) for _ in range(layers))
        self.against = nn.ModuleList(_convolution(hidden) for _ in range(layers))
        self.norms = nn.ModuleList(nn.LayerNorm(hidden) for _ in range(layers))
        self.output = nn.Linear(hidden, dim)

    def forward(self, data: Data) -> Tensor:
        """The vectors of all nodes, float32 [N, dim]."""
        edges, attributes = data.edge_index, data.edge_attr
        backwards = edges.flip(0)
        h = self.input(data.x)
        for along, against, norm in zip(
            self.along, self.against, self.norms, strict=True
        ):
            messages = along(h, edges, attributes) + against(h, backwards, attributes)
            h = h + torch.relu(norm(messages))
        return functional.layer_norm(self.output(h), (self.dim,))


def _convolution(hidden: int) -> GINEConv:
    layers = nn.Sequential(
        nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, hidden)
    )
    return GINEConv(layers, edge_dim=len(EDGE_COLUMNS))
