"""Fidelity: how much of a graph can be read off its vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch_geometric.data import Data

from agmc.embedding.autoencoder import GraphAutoencoder
from agmc.embedding.columns import index_of
from agmc.embedding.decoder import absent_links
from agmc.embedding.pyg import EDGE_COLUMNS, NODE_COLUMNS, NUM_TYPES

_NODE_SHAPES = ("log_channels", "log_height", "log_width")
_EDGE_SHAPES = (
    *("log_channels_in", "log_channels_out", "log_kernel_height", "log_kernel_width"),
    *("log_stride", "log_groups", "log_height", "log_width"),
)
_NODE_SHARES = ("activation_share",)
_EDGE_SHARES = ("macs_share", "parameter_share")


class Fidelity(NamedTuple):
    """What a decoder gets right, over all nodes and edges of some graphs.

    Attributes:
        types: share of the operations whose type is right, in [0, 1].
        links: share of edges and of absent edges told apart, half each, in [0, 1]; 0.5
            is guessing.
        shapes: R^2 of channels, sizes, kernels, strides and groups, <= 1; 0 is the best
            constant.
        shares: R^2 of the shares of activations, multiply-adds and parameters, <= 1.
    """

    types: float
    links: float
    shapes: float
    shares: float


def fidelity(
    model: GraphAutoencoder, graphs: Sequence[Data], *, seed: int = 0
) -> Fidelity:
    """Decodes graphs from their vectors, nothing masked.

    Args:
        model: a fitted auto-encoder.
        graphs: from `GraphConverter`, at least one.
        seed: of the absent edges.
    """
    generator = torch.Generator().manual_seed(seed)
    types, present, absent = [], [], []
    nodes, made_nodes, edges, made_edges = [], [], [], []
    with torch.no_grad():
        for data in graphs:
            scaled, vectors = model.standardised(data), model.vectors(data)
            made = model.decoder(vectors, data.edge_index)
            right = data.edge_attr[:, :NUM_TYPES].argmax(dim=1)
            types.append(made.types.argmax(dim=1) == right)
            missing = absent_links(data, generator)
            logits = model.decoder.link_logits
            present.append(logits(vectors.nodes, data.edge_index) > 0)
            absent.append(logits(vectors.nodes, missing) <= 0)
            nodes.append(scaled.x)
            made_nodes.append(made.nodes)
            edges.append(scaled.edge_attr[:, NUM_TYPES:])
            made_edges.append(made.edges)
    x, made_x = torch.cat(nodes), torch.cat(made_nodes)
    e, made_e = torch.cat(edges), torch.cat(made_edges)

    def explained(of_nodes: Sequence[str], of_edges: Sequence[str]) -> float:
        left = [index_of(NODE_COLUMNS, name) for name in of_nodes]
        right = [index_of(EDGE_COLUMNS, name) - NUM_TYPES for name in of_edges]
        wrong = _squares(x - made_x, left) + _squares(e - made_e, right)
        spread = _squares(x - x.mean(0), left) + _squares(e - e.mean(0), right)
        return 1 - wrong / spread

    return Fidelity(
        types=_share(types),
        links=(_share(present) + _share(absent)) / 2,
        shapes=explained(_NODE_SHAPES, _EDGE_SHAPES),
        shares=explained(_NODE_SHARES, _EDGE_SHARES),
    )


def _squares(values: Tensor, columns: Sequence[int]) -> float:
    """Sum over the columns of their mean squares."""
    return float(values[:, columns].square().mean(dim=0).sum())


def _share(right: Sequence[Tensor]) -> float:
    return float(torch.cat(list(right)).float().mean())
