"""Corpus: the graphs that the auto-encoder learns from."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch_geometric.data import Data

from agmc.embedding.pyg import GraphConverter
from agmc.graph.model_graph import ModelGraph
from agmc.plan import PlanSpace


def graph_with_variants(
    graph: ModelGraph,
    *,
    variants: int,
    generator: torch.Generator,
    space: PlanSpace | None = None,
) -> list[Data]:
    """A network and random pruned variants of it; the original comes first.

    Args:
        graph: the network; without a prunable group it has no variants.
        variants: how many, >= 0.
        generator: draws them.
        space: to draw from; None stands for the space with its default limits.
    """
    converter = GraphConverter(graph)
    if not graph.groups:
        return [converter.data()]
    space = PlanSpace(graph) if space is None else space
    plans = (space.sample(generator) for _ in range(variants))
    return [converter.data(), *(converter.data(space.counts(plan)) for plan in plans)]


def training_graphs(
    space: PlanSpace,
    corpus: Sequence[ModelGraph] = (),
    *,
    variants: int = 16,
    corpus_variants: int = 4,
    seed: int = 0,
) -> list[Data]:
    """The target network, other networks, and random pruned variants of all.

    Args:
        space: the target network and its decisions.
        corpus: the other networks.
        variants: pruned variants of the target, >= 0.
        corpus_variants: pruned variants of every other network, >= 0.
        seed: of the variants.

    Raises:
        ValueError: a number of variants is negative.
    """
    for name, value in (("variants", variants), ("corpus_variants", corpus_variants)):
        if value < 0:
            raise ValueError(f"{name} (={value}) must be >= 0")
    generator = torch.Generator().manual_seed(seed)
    result = graph_with_variants(
        space.graph, variants=variants, generator=generator, space=space
    )
    for graph in corpus:
        result += graph_with_variants(
            graph, variants=corpus_variants, generator=generator
        )
    return result
