from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from graph_nets import images, quiet_trace
from torch import nn

from agmc.graph.weighted import (
    OUTPUT_DIM,
    check_layers,
    left_out,
    weight_of,
    weighted_layers,
)


class _Net(nn.Module):
    """A tied convolution, a functional weight, a transposed convolution, a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.tied = nn.Conv2d(4, 4, 3, padding=1)
        self.kernel = nn.Parameter(torch.randn(4, 4, 1, 1))
        self.up = nn.ConvTranspose2d(4, 5, 2, stride=2)
        self.fc = nn.Linear(5, 2)

    def forward(self, x):
        x = self.tied(self.tied(self.stem(x)))
        x = self.up(F.conv2d(x, self.kernel))
        return self.fc(x.mean((2, 3)))


def test_layers_by_the_name_of_their_weight():
    program = quiet_trace(_Net(), images()).program
    assert left_out(program) == ["tied"]
    layers = weighted_layers(program)
    assert {name: weight_of(op) for name, op in layers.items()} == {
        "stem": "stem.weight",
        "kernel": "kernel",
        "up": "up.weight",
        "fc": "fc.weight",
    }
    assert OUTPUT_DIM[layers["up"].kind] == 1 and OUTPUT_DIM[layers["fc"].kind] == 0


def test_other_names_are_refused_with_those_that_there_are():
    check_layers(["fc", "stem"], ["stem", "fc", "up"])
    with pytest.raises(ValueError, match=r"\['a', 'b'\].*has \['stem', 'fc'\]"):
        check_layers(["fc", "b", "a"], ["stem", "fc"])
