from __future__ import annotations

import pytest
import torch
from torch import nn

from agmc.embedding.columns import index_of
from agmc.embedding.corpus import (
    family_graphs,
    graph_with_variants,
    training_graphs,
    with_trained_statistics,
)
from agmc.embedding.pyg import EDGE_COLUMNS, GraphConverter
from agmc.plan_space import PlanSpace
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


def test_families_stay_apart():
    families = {
        "chains": [chain_graph()],
        "others": [residual_graph(), branches_graph()],
    }
    made = family_graphs(families, variants=2)
    sizes = {name: [data.num_nodes for data in graphs] for name, graphs in made.items()}
    chain, *others = (
        len(g.tensors) for g in (chain_graph(), residual_graph(), branches_graph())
    )
    assert sizes == {"chains": [chain] * 3, "others": [others[0]] * 3 + [others[1]] * 3}
    whole = GraphConverter(chain_graph()).data()
    assert torch.equal(made["chains"][0].edge_attr, whole.edge_attr)
    again = family_graphs(families, variants=2)["others"][-1]
    assert torch.equal(made["others"][-1].edge_attr, again.edge_attr)
    with pytest.raises(ValueError, match=r"variants \(=-1\) must be >= 0"):
        family_graphs(families, variants=-1)


def test_only_the_statistics_of_weights_are_changed():
    data = GraphConverter(residual_graph()).data()
    before = data.edge_attr.clone()
    made = with_trained_statistics(data, torch.Generator().manual_seed(0))
    assert torch.equal(data.edge_attr, before)
    columns = [index_of(EDGE_COLUMNS, f"weight_{name}") for name in ("mean", "std")]
    weighted = (before[:, columns] != 0).any(dim=1)
    assert 0 < weighted.sum() < len(before)
    changed = (made.edge_attr != before).any(dim=1)
    assert torch.equal(changed, weighted)
    others = [i for i in range(len(EDGE_COLUMNS)) if i not in columns]
    assert torch.equal(made.edge_attr[:, others], before[:, others])
    assert made.edge_attr.abs().max() <= 1 and made.edge_attr[:, columns[1]].min() >= 0


@pytest.mark.parametrize("parts", [["keep_ratio", "weight_bits"], ["weight_bits"]])
def test_variants_are_of_channels_whatever_else_is_decided(parts):
    graph = chain_graph()
    generator = torch.Generator().manual_seed(0)
    space = PlanSpace(graph, parts=parts, end_bits=None)
    first, *others = graph_with_variants(
        graph, variants=20, generator=generator, space=space
    )
    assert any(not torch.equal(data.x, first.x) for data in others)
    assert all(data.x.shape == first.x.shape for data in others)
