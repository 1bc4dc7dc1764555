from __future__ import annotations

import torch
from embedding_nets import chain_graph, residual_graph

from agmc.embedding.carriers import carriers_of


def test_a_decision_has_the_mean_of_what_carries_it():
    graph = chain_graph()
    names = list(graph.tensors)
    first = [names.index(name) for name in graph.groups[0].tensors]
    values = torch.arange(len(names))[:, None] * torch.tensor([1.0, 2.0])
    mean = sum(first) / len(first)
    found = carriers_of(graph) @ values
    torch.testing.assert_close(found[0], torch.tensor([mean, 2 * mean]))


def test_shares_of_every_decision_sum_to_one():
    carriers = carriers_of(residual_graph(8, 2))
    torch.testing.assert_close(carriers.sum(1), torch.ones(3))
