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
    assert [(call.kind, call.layer) for call in found.operations] == [
        *(("conv2d", "conv"), ("sigmoid", "inner"), ("mul", "inner")),
        *(("sigmoid", "inner"), ("mul", "inner"), ("relu", ""), ("add", "")),
    ]


def test_every_call_has_the_innermost_line_outside_of_torch():
    found = capture(Outer(), torch.randn(1, 3, 4, 4))
    inner = inspect.getsourcelines(Inner.forward)[1]
    outer = inspect.getsourcelines(Outer.forward)[1]
    lines = {call.kind: found.sources[call.name] for call in found.operations}
    assert lines == {
        "conv2d": f"test_forward_code.py:{outer + 1}",
        "sigmoid": f"test_forward_code.py:{inner + 1}",
        "mul": f"test_forward_code.py:{inner + 1}",
        "relu": f"test_forward_code.py:{outer + 2}",
        "add": f"test_forward_code.py:{outer + 2}",
    }
