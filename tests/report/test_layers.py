from __future__ import annotations

import functools
import warnings

import torch
import torch.nn.functional as F
from torch import nn

from agmc.cost.model import cost_of
from agmc.graph.groups import UnprunableWarning
from agmc.graph.trace import trace
from agmc.models import build
from agmc.report.layers import blocks_of, layers_of, layers_table


@functools.cache
def graph_of(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnprunableWarning)
        model = build(name, num_classes=10)
        return trace(model, torch.randn(1, 3, 32, 32))


def test_layers_add_up_to_the_network():
    for name in ("resnet20", "squeezenet1_1"):
        graph = graph_of(name)
        cost = cost_of(graph)
        assert sum(layer.macs for layer in layers_of(graph)) == cost.macs
        assert sum(layer.params for layer in layers_of(graph)) == cost.params
        blocks = blocks_of(graph)
        assert sum(block.macs for block in blocks) == cost.macs
        assert sum(block.params for block in blocks) == cost.params


def test_blocks_of_a_residual_network():
    blocks = blocks_of(graph_of("resnet20"))
    names = [block.name for block in blocks]
    assert names[:4] == ["conv1", "bn1", "relu", "layer1.0"]
    assert names[-2:] == ["adaptive_avg_pool2d flatten", "linear"]
    assert blocks[3].readers == (4,)
    assert blocks[3].groups == ("layer1.0.conv1", "conv1")


def test_a_connection_over_a_block_is_kept():
    class Skip(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1)

        def forward(self, x):
            x = self.a(x)
            return F.relu(x + self.b(x))

    blocks = blocks_of(trace(Skip(), torch.randn(1, 3, 4, 4)))
    assert [(b.name, b.readers) for b in blocks] == [
        ("a", (1, 2)),
        ("b", (2,)),
        ("add relu", ()),
    ]


def test_the_table_says_what_stays_whole():
    table = layers_table(graph_of("resnet20"))
    assert len(table.rows) == 20
    assert table.rows[0] == ("conv1", "conv1", "16 x 32 x 32", "1.1 %", "432")
    assert table.rows[-1][:2] == ("linear", "stays whole")


def test_a_large_network_is_still_an_overview():
    assert 5 < len(blocks_of(graph_of("densenet121"))) <= 60
