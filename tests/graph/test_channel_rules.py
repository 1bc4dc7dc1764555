from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from graph_nets import Net, conv, images, quiet_trace, relative_error
from torch import nn

from agmc.compression.prune import Pruner
from agmc.graph.channel_rules import rule_of
from agmc.graph.program import Operation
from agmc.plan_space import PlanSpace

PASS = {
    "relu": F.relu,
    "relu6": F.relu6,
    "leaky_relu": F.leaky_relu,
    "silu": F.silu,
    "gelu": F.gelu,
    "gelu tanh": lambda x: F.gelu(x, approximate="tanh"),
    "elu": F.elu,
    "selu": F.selu,
    "celu": F.celu,
    "hardswish": F.hardswish,
    "mish": F.mish,
    "tanh": torch.tanh,
    "hardshrink": F.hardshrink,
    "softshrink": F.softshrink,
    "hardtanh": F.hardtanh,
    "clamp": lambda x: x.clamp(0, 6),
    "clamp max": lambda x: x.clamp(max=1),
    "dropout": lambda x: F.dropout(x, training=False),
    "alpha_dropout": lambda x: F.alpha_dropout(x, training=False),
    "contiguous": lambda x: x.contiguous(),
    "clone": torch.clone,
    "detach": torch.detach,
    "max_pool2d": lambda x: F.max_pool2d(x, 3, 2, 1),
    "avg_pool2d": lambda x: F.avg_pool2d(x, 3, 2, 1),
    "adaptive_avg_pool2d": lambda x: F.adaptive_avg_pool2d(x, 3),
    "mean kept": lambda x: x.mean((2, 3), keepdim=True),
    "mean of one": lambda x: x.mean(-1, keepdim=True),
    "padding": lambda x: F.pad(x, (1, 2, 0, 1)),
    "padding reflected": lambda x: F.pad(x, (1, 1, 1, 1), mode="reflect"),
    "slice of pixels": lambda x: x[:, :, ::2, 1:],
    "to": lambda x: x.to(torch.float64),
    "sum": lambda x: x + F.relu(x),
    "cat of rows": lambda x: torch.cat([x, x], 2),
    "sigmoid": torch.sigmoid,
    "softplus": F.softplus,
    "clamp away": lambda x: x.clamp(min=0.1),
    "constant": lambda x: 2 - x * 3,
    "broadcast sum": lambda x: x + x.mean((2, 3), keepdim=True),
    "padded with one": lambda x: F.pad(x, (1, 1), value=1.0),
    "transposed": lambda x: x.transpose(1, 2).transpose(1, 2),
    "normed over space": lambda x: F.layer_norm(x, x.shape[2:]),
    "shuffled": lambda x: x.view(x.shape[0], 2, 3, 6, 6).transpose(1, 2).flatten(1, 2),
}
STOP = {
    "no finite number": (lambda x: 1 / (x * x), "no finite number"),
    "mean of channels": (lambda x: x + 0 * x.mean(1, keepdim=True), "over channels"),
    "mean of all": (lambda x: x * x.mean(), "over channels"),
    "every second": (lambda x: torch.cat([x[:, ::2], x[:, 1::2]], 1), "every 2th"),
    "pooled channels": (
        lambda x: F.max_pool2d(x.flatten(2), (2, 1), 1, (1, 0))[:, :6].view(x.shape),
        "pooled dimension",
    ),
    "a constant": (lambda x: x + torch.zeros_like(x[:1]).new_ones(6, 1, 1), "new_ones"),
    "unknown": (lambda x: torch.sort(x, 1)[0], "no rule says what aten.sort"),
}


def between(function):
    def forward(net, x):
        x = net.conv1(F.relu(net.stem(x)))
        x = net.conv2(function(x).to(x.dtype))
        return net.linear(x.mean((2, 3)))

    torch.manual_seed(0)
    net = Net(
        forward,
        stem=conv(3, 8),
        conv1=conv(8, 6),
        conv2=conv(6, 5),
        linear=nn.Linear(5, 4),
    )
    return net.eval().double(), tuple(x.double() for x in images())


def check(net, inputs, graph):
    pruner = Pruner(net, graph)
    plan = PlanSpace(graph, min_keep_ratio=0.01).sample(torch.Generator())
    small, masked = pruner.prune(plan), pruner.mask(plan)
    assert relative_error(small(*inputs), masked(*inputs)) < 1e-9


@pytest.mark.parametrize("name", PASS)
def test_channels_pass_through(name):
    net, inputs = between(PASS[name])
    graph = quiet_trace(net, inputs)
    assert graph.unprunable == ()
    sizes = {"stem": 8, "conv1": 6, "conv2": 5}
    assert {g.name: g.size for g in graph.groups} == sizes
    check(net, inputs, graph)


@pytest.mark.parametrize("name", STOP)
def test_channels_are_left_alone_and_others_are_not(name):
    function, reason = STOP[name]
    net, inputs = between(function)
    graph = quiet_trace(net, inputs)
    assert any(reason in line for line in graph.unprunable)
    assert {g.name: g.size for g in graph.groups} == {"stem": 8, "conv2": 5}
    check(net, inputs, graph)


def test_unknown_operators_and_arithmetic_have_a_rule():
    unknown = rule_of(Operation("y", "aten.sort.default", ()))
    assert unknown.__name__ == "_unknown"
    arithmetic = rule_of(Operation("y", "_operator.floordiv", ()))
    assert arithmetic.__name__ == "_arithmetic_on_shapes"


def test_a_channel_that_is_taken_alone_stays():
    net, inputs = between(lambda x: torch.clamp(x, min=x[:, :1] * 0))
    graph = quiet_trace(net, inputs)
    assert "the one channel of 'slice" in graph.unprunable[0]
    assert {g.name: g.size for g in graph.groups} == {"stem": 8, "conv1": 5, "conv2": 5}
    check(net, inputs, graph)
