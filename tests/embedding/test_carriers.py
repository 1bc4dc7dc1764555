from __future__ import annotations

import torch
from embedding_nets import chain_graph, residual_graph

from agmc.embedding.carriers import carriers_of, carriers_of_decisions
from agmc.plan_space import PlanSpace


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


def test_a_layer_is_what_it_makes_and_its_inputs_what_it_reads():
    graph = chain_graph()
    parts = ["keep_ratio", "weight_bits", "act_bits"]
    space = PlanSpace(graph, parts=parts, end_bits=None)
    carriers = carriers_of_decisions(space)
    assert torch.equal(carriers[:3], carriers_of(graph))
    names = list(graph.tensors)
    seen = [[names[i] for i in row.nonzero().flatten()] for row in carriers[3:]]
    assert carriers[3:].sum(1).tolist() == [1] * 8
    made = [name for (name,) in seen]
    weights, inputs = made[0::2], made[1::2]
    assert inputs[0] == graph.program.inputs[0]
    kinds = [graph.program.by_name[name].kind.rstrip("_") for name in inputs[1:]]
    assert kinds == ["relu", "relu", "flatten"]
    assert [graph.program.by_name[name].kind for name in weights] == [
        *("conv2d", "conv2d", "conv2d", "linear")
    ]


def test_of_channels_alone_the_carriers_are_those_of_the_groups():
    graph = residual_graph(8, 2)
    assert torch.equal(carriers_of_decisions(PlanSpace(graph)), carriers_of(graph))
