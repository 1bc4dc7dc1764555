"""Sums over channels are followed only where removed channels are really zero."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from graph_nets import Net, conv, quiet_trace, relative_error, to_double
from torch import nn

from agmc.compression.prune import Pruner
from agmc.plan_space import PlanSpace

SUMMED = {
    "relu": lambda net, x: torch.relu(x),
    "difference": lambda net, x: torch.exp(x) - torch.sigmoid(x),
    "clamped": lambda net, x: torch.clamp(x - 1, max=0),
    "rounded": lambda net, x: torch.floor(torch.exp(x)),
    "shrunk": lambda net, x: F.hardshrink(torch.exp(x), 0.9),
    "cut off": lambda net, x: F.threshold(torch.exp(x), 0.9, 0.0),
    "smaller of two": lambda net, x: torch.minimum(x, net.map(x) - 5),
    "compared": lambda net, x: (x > net.map(x) - 5).to(x.dtype),
    "positions of a pool": lambda net, x: F.max_pool2d(x, 2, return_indices=True)[1].to(
        x.dtype
    ),
    "norm with a shift alone": lambda net, x: F.batch_norm(
        torch.exp(x), net.bn.running_mean, net.bn.running_var, None, net.bn.bias
    ),
    "norm with a scale alone": lambda net, x: F.batch_norm(
        torch.exp(x), net.bn.running_mean, net.bn.running_var, net.bn.weight, None
    ),
}
SAFE = {"relu", "norm with a scale alone"}


@pytest.mark.parametrize("case", SUMMED)
def test_pruned_sums_equal_masked_ones(case):
    def forward(net, x):
        x = net.conv1(F.relu(net.stem(x)))
        x = net.conv2(SUMMED[case](net, x).sum(1, keepdim=True))
        return net.linear(x.mean((2, 3)))

    torch.manual_seed(0)
    net = to_double(
        Net(
            forward,
            stem=conv(3, 8),
            conv1=conv(8, 6),
            map=conv(6, 1),
            bn=nn.BatchNorm2d(6),
            conv2=conv(1, 5),
            linear=nn.Linear(5, 4),
        ).eval()
    )
    nn.init.normal_(net.bn.bias)
    inputs = (torch.randn(3, 3, 6, 6, dtype=torch.float64),)
    graph = quiet_trace(net, inputs)
    assert ("conv1" in {group.name for group in graph.groups}) == (case in SAFE)
    assert bool(graph.unprunable) == (case not in SAFE)
    pruner = Pruner(net, graph)
    plan = PlanSpace(graph, min_keep_ratio=0.01).sample(torch.Generator())
    small, masked = pruner.prune(plan), pruner.mask(plan)
    assert relative_error(small(*inputs), masked(*inputs)) <= 1e-9
