from __future__ import annotations

import inspect

import torch
from torch import nn

from agmc.graph.capture import capture


class Inner(nn.Module):
    def forward(self, x):
        return x.sigmoid() * 2


class Outer(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.inner = nn.Conv2d(3, 4, 1), Inner()

    def forward(self, x):
        x = self.inner(self.conv(x))
        return self.inner(x).relu() + 1


def test_every_call_has_the_innermost_module():
    found = capture(Outer(), torch.randn(1, 3, 4, 4))
    calls = [n for n in found.nodes if n.op == "call_function"]
    assert [(str(n.target).split(".")[1], found.layers[n.name]) for n in calls] == [
        *(("conv2d", "conv"), ("sigmoid", "inner"), ("mul", "inner")),
        *(("sigmoid", "inner"), ("mul", "inner"), ("relu", ""), ("add", "")),
    ]
    assert found.sources == {}


def test_every_call_has_the_innermost_line_outside_of_torch():
    found = capture(Outer(), torch.randn(1, 3, 4, 4), with_sources=True)
    inner = inspect.getsourcelines(Inner.forward)[1]
    outer = inspect.getsourcelines(Outer.forward)[1]
    lines = {
        str(n.target).split(".")[1]: found.sources[n.name]
        for n in found.nodes
        if n.op == "call_function"
    }
    assert lines == {
        "conv2d": f"test_forward_code.py:{outer + 1}",
        "sigmoid": f"test_forward_code.py:{inner + 1}",
        "mul": f"test_forward_code.py:{inner + 1}",
        "relu": f"test_forward_code.py:{outer + 2}",
        "add": f"test_forward_code.py:{outer + 2}",
    }
