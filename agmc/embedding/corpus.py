"""Corpus: the graphs that the auto-encoder learns from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch_geometric.data import Data

from agmc.embedding.columns import index_of
from agmc.embedding.pyg import EDGE_COLUMNS, GraphConverter
from agmc.graph.model_graph import ModelGraph
from agmc.plan import kept_channels
from agmc.plan_space import PlanSpace

#: Family -> its networks and their variants.
Graphs = dict[str, list[Data]]


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
        space: to draw from; None, and one that decides nothing about channels, stands
            for the space with its default limits.
    """
    converter = GraphConverter(graph)
    if not graph.groups:
        return [converter.data()]
    if space is None or "keep_ratio" not in space.parts:
        space = PlanSpace(graph)
    plans = (space.sample(generator) for _ in range(variants))
    channels = (kept_channels(graph, plan) for plan in plans)
    return [converter.data(), *map(converter.data, channels)]


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


def family_graphs(
    families: Mapping[str, Sequence[ModelGraph]], *, variants: int, seed: int = 0
) -> Graphs:
    """Networks by family, as they are and as random pruned variants of them.

    The variants have weight statistics such as training leaves behind: those of fresh
    weights, changed by chance in every operation.

    Args:
        families: the networks.
        variants: of every network, >= 0.
        seed: of the variants.

    Raises:
        ValueError: the number of variants is negative.
    """
    if variants < 0:
        raise ValueError(f"variants (={variants}) must be >= 0")
    generator = torch.Generator().manual_seed(seed)
    result: Graphs = {}
    for family, graphs in families.items():
        made = result.setdefault(family, [])
        for graph in graphs:
            first, *others = graph_with_variants(
                graph, variants=variants, generator=generator
            )
            made += [first, *(with_trained_statistics(d, generator) for d in others)]
    return result


def with_trained_statistics(data: Data, generator: torch.Generator) -> Data:
    """The graph with means and spreads of the weights that differ by operation.

    Both are multiplied by exp(n / 2) and shifted by n / 10, the spread upwards, with n
    normally distributed; operations without weights have none.

    Args:
        data: from `GraphConverter`; not touched.
        generator: draws the changes.
    """
    columns = [index_of(EDGE_COLUMNS, f"weight_{name}") for name in ("mean", "std")]
    before = data.edge_attr[:, columns]
    scale, shift = torch.randn(2, *before.shape, generator=generator)
    shift[:, 1].abs_()
    after = torch.tanh(
        before.clamp(-0.999, 0.999).atanh() * (scale / 2).exp() + shift / 10
    )
    weighted = (before != 0).any(dim=1, keepdim=True)
    result = data.clone()
    result.edge_attr[:, columns] = torch.where(weighted, after, before)
    return result
