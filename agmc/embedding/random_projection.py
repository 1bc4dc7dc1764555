"""random_projection: the attributes of the graph, mixed by chance, nothing learned."""

from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.data import Data

from agmc.embedding.autoencoder import GraphAutoencoder
from agmc.embedding.carriers import carriers_of_decisions
from agmc.embedding.columns import Column
from agmc.embedding.embedding import EmbeddingContext
from agmc.embedding.fixed import FixedEmbedding
from agmc.embedding.pyg import GraphConverter
from agmc.embedding.standardised import REACH, within_reach


def random_projection(
    context: EmbeddingContext, *, dim: int = 32, hidden: int = 64, layers: int = 3
) -> FixedEmbedding:
    """Builds the embedding `random_projection`; the seed decides on it.

    A reference: what an encoder is worth before it has learned anything. The published
    code of AGMC never trains its encoder, so this is what its agent sees. Of the same
    attributes as the auto-encoder's, the mean over the feature maps that carry the
    channels of a decision, standardised over the decisions.

    Args:
        context: graph and seed.
        dim: numbers per decision, >= 1; those of `Progress` follow.
        hidden: width of the layers.
        layers: of an untrained `GraphAutoencoder`, >= 1; 0: a matrix of normally
            distributed numbers, applied to the attributes of a feature map and the
            means of those of the operations that make it and that read it.

    Raises:
        ValueError: a number is out of range.
    """
    for name, value, least in (("dim", dim, 1), ("layers", layers, 0)):
        if value < least:
            raise ValueError(f"{name} (={value}) must be >= {least}")
    graph = context.graph
    data = GraphConverter(graph).data()
    with torch.no_grad():
        if layers:
            seed = context.seed
            made = GraphAutoencoder(dim=dim, hidden=hidden, layers=layers, seed=seed)
            vectors = made.eval()(data)
        else:
            vectors = _projected(data, dim, context.seed)
    carried = (carriers_of_decisions(context.space) @ vectors).double()
    columns = [
        Column(f"random_{i}", f"standardised over the decisions, / {REACH:g}")
        for i in range(dim)
    ]
    return FixedEmbedding(
        context.space,
        columns,
        within_reach(carried, carried).numpy(),
        fitted=f"seed {context.seed}, {layers} layers of {hidden}",
    )


def _projected(data: Data, dim: int, seed: int) -> Tensor:
    """Normally distributed sums of the attributes, [num_nodes, dim]."""
    ends = [_mean_at(data.edge_attr, to, len(data.x)) for to in data.edge_index]
    attributes = torch.cat([data.x, *ends], dim=1)
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.randn(attributes.shape[1], dim, generator=generator)
    return attributes @ matrix / attributes.shape[1] ** 0.5


def _mean_at(values: Tensor, nodes: Tensor, count: int) -> Tensor:
    """Mean over the edges at every node, [count, columns]; 0 where there are none."""
    total = values.new_zeros(count, values.shape[1]).index_add_(0, nodes, values)
    return total / torch.bincount(nodes, minlength=count).clamp(min=1)[:, None]
