from __future__ import annotations

import pytest
import torch
from torch import nn

from agmc.embedding.corpus import graph_with_variants, training_graphs
from agmc.plan import PlanSpace
from tests.embedding.embedding_nets import (
    branches_graph,
    chain_graph,
    graph_of,
    residual_graph,
)


def test_target_comes_first_then_variants_then_the_others():
    space = PlanSpace(chain_graph())
    others = [residual_graph(), branches_graph()]
    graphs = training_graphs(space, others, variants=3, corpus_variants=2)
    nodes = [data.num_nodes for data in graphs]
    sizes = [len(graph.tensors) for graph in (chain_graph(), *others)]
    assert nodes == [sizes[0]] * 4 + [sizes[1]] * 3 + [sizes[2]] * 3
    assert any(not torch.equal(graphs[0].x, variant.x) for variant in graphs[1:4])


def test_same_seed_same_graphs():
    space = PlanSpace(residual_graph())
    first, again, other = (
        torch.cat([data.x for data in training_graphs(space, variants=4, seed=seed)])
        for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_network_without_groups_has_no_variants():
    graph = graph_of(nn.Sequential(nn.Flatten(), nn.Linear(192, 3)))
    found = graph_with_variants(graph, variants=5, generator=torch.Generator())
    assert len(found) == 1


def test_numbers_are_checked():
    space = PlanSpace(chain_graph())
    with pytest.raises(ValueError, match=r"variants \(=-1\) must be >= 0"):
        training_graphs(space, variants=-1)
