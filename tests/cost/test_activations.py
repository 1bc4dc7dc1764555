from __future__ import annotations

import numpy as np
import pytest
import torch
from graph_nets import graph_of, make

from agmc.compression.prune import Pruner
from agmc.cost.model import CostModel
from agmc.plan_space import PlanSpace


def measured_peak(small, inputs):
    """Bytes of the memory that a GraphNetwork's activations hold, at the worst step."""
    stored = {**dict(small.named_parameters()), **dict(small.named_buffers())}
    values = dict(zip(small.program.inputs, inputs, strict=True))
    values |= {name: stored[name] for name in small._stored}
    peak = 0
    for step in small._steps:
        values[step.operation.name] = step.run(small, values)
        held = {}
        for name, value in values.items():
            for tensor in torch.utils._pytree.tree_leaves(value):
                if isinstance(tensor, torch.Tensor) and name not in stored:
                    storage = tensor.untyped_storage()
                    held[storage.data_ptr()] = storage.nbytes()
        peak = max(peak, sum(held.values()))
        for name in step.frees:
            del values[name]
    return peak


@pytest.mark.parametrize(
    "name",
    ["chain", "residual", "concat", "depthwise", "flatten_spatial", "sigmoid_gate"],
)
def test_peak_is_what_a_network_holds(name):
    net, inputs = make(name)
    one = [x[:1].clone() for x in inputs]
    graph = graph_of(name)
    space, costs = PlanSpace(graph, min_keep_ratio=0.1), CostModel(graph)
    for seed in range(2):
        plan = space.sample(torch.Generator().manual_seed(seed))
        small = Pruner(net, graph).prune(plan)
        predicted = costs.cost(space.counts(plan)).activation_bytes
        with torch.no_grad():
            assert predicted == measured_peak(small, one)


def test_many_plans_at_once_and_never_less_for_more():
    graph = graph_of("resnet20")
    costs, space = CostModel(graph), PlanSpace(graph)
    draw = np.random.default_rng(0)
    sizes = np.array([d.size for d in space])
    counts = draw.integers(1, sizes + 1, (20, len(space)))
    values = costs.evaluate("activation_bytes", counts)
    one_by_one = [int(costs.evaluate("activation_bytes", row)) for row in counts]
    assert values.tolist() == one_by_one
    more = np.minimum(counts + draw.integers(0, 3, counts.shape), sizes)
    assert (costs.evaluate("activation_bytes", more) >= values).all()
