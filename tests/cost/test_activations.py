from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from graph_nets import Net, conv, graph_of, images, make, quiet_trace

from agmc.compression.prune import Pruner
from agmc.cost.model import CostModel
from agmc.plan import Plan
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


def test_without_blocks_it_is_what_is_held_or_more():
    def forward(net, x):
        first, second = net.stem(x).chunk(2, 1)
        other = second.mean((1, 2, 3), keepdim=True)
        one = first + net.a(first)
        two = one + net.b(one)
        return net.head(net.wide(two)) + other

    layers = {"a": conv(16, 16), "b": conv(16, 16), "wide": conv(16, 64)}
    net = Net(forward, stem=conv(3, 32), **layers, head=conv(64, 2)).eval()
    one = [x[:1].clone() for x in images()]
    graph = quiet_trace(net, one)
    costs, pruner = CostModel(graph), Pruner(net, graph)
    assert [block.name for block in graph.blocks] == ["a", "b"]
    for dropped in ("", "a", "b", "ab"):
        plan = Plan({}, dropped=list(dropped))
        with torch.no_grad():
            held = measured_peak(pruner.prune(plan), one)
        predicted = costs.of(plan).activation_bytes
        # Without a, what its input is one half of stays as long as the output would.
        assert predicted == held if not dropped else predicted >= held


def several_results(net, x):
    y, _ = F.max_pool2d(net.conv(x), 3, 1, 1, return_indices=True)
    return net.head(y.relu())


def turned_and_copied(net, x):
    y = net.conv(x)
    return net.head(y + y.transpose(2, 3).contiguous())


def turned_and_reshaped(net, x):
    y = net.conv(x)
    return net.head(y + y.transpose(1, 2).reshape(y.shape))


def another_type(net, x):
    y = net.conv(x)
    return net.head(y + y.double().float())


@pytest.mark.parametrize(
    "function", [several_results, turned_and_copied, turned_and_reshaped, another_type]
)
def test_copies_that_look_like_views_are_held(function):
    net = Net(function, conv=conv(3, 16), head=conv(16, 2)).eval()
    one = [x[:1].clone() for x in images()]
    graph = quiet_trace(net, one)
    predicted = CostModel(graph).of(None).activation_bytes
    with torch.no_grad():
        held = measured_peak(Pruner(net, graph).prune(Plan({})), one)
    indices = 2 * 16 * 36 * 4 if function is several_results else 0  # int64
    assert predicted == held - indices
