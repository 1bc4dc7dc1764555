from __future__ import annotations

import numpy as np
import torch
from graph_nets import graph_of, quiet_trace, relative_error
from hard_nets import HARD
from torch import nn

from agmc.compression.literals import rewrite_literals
from agmc.compression.prune import Pruner
from agmc.plan_space import PlanSpace


def rewritten(graph, group_name, gone):
    """Operation of the pruned program -> its arguments, and the new buffers."""
    names = [group.name for group in graph.groups]
    removed = graph.group_atoms[names.index(group_name)][gone]
    program, buffers = rewrite_literals(graph, removed)
    return {op.name: op.args for op in program.operations}, buffers


def hard(name):
    net, inputs = HARD[name].make()
    return quiet_trace(net.eval(), inputs)


def test_nothing_gone_nothing_changed():
    for graph in (graph_of("resnet20"), hard("shufflenet_units")):
        program, buffers = rewrite_literals(graph, np.array([], dtype=int))
        assert program == graph.program and not buffers


def test_padding_counts_the_zero_channels_that_stay():
    graph = graph_of("resnet20")
    pad = next(op for op in graph.program.operations if op.kind == "pad")
    assert list(pad.args[1]) == [0, 0, 0, 0, 8, 8]
    # 32 channels after the padding: 8 zeros, 16 of the first stage, 8 zeros.
    channels = graph.channels[pad.name].atoms
    assert channels.shape == (32,) and len(set(channels)) == 32
    program, _ = rewrite_literals(graph, channels[[0, 1, 2, 10, 31]])
    again = next(op for op in program.operations if op.name == pad.name)
    assert again.args[1] == [0, 0, 0, 0, 5, 7]


def test_slices_move_with_the_channels():
    # x[:, :3] and x[:, 3:] of 8.
    arguments, _ = rewritten(graph_of("channel_slice"), "conv1", [1])
    sliced = [a for n, a in arguments.items() if n.startswith("slice") and a[1] == 1]
    assert [a[2:4] for a in sliced] == [(0, 2), (2, 7)]


def test_slices_counted_from_the_end_move_too():
    # x[:, :-2] and x[:, -2:] of 8.
    arguments, _ = rewritten(graph_of("negative_slice"), "conv1:2", [1])
    sliced = [a for n, a in arguments.items() if n.startswith("slice") and a[1] == 1]
    assert [a[2:4] for a in sliced] == [(0, 6), (6, 7)]


def test_groups_of_a_depthwise_convolution_follow_the_channels():
    graph = graph_of("depthwise")
    arguments, _ = rewritten(graph, "conv1", [0, 5])
    depth = next(o for o in graph.program.operations if o.layer == "depth")
    assert depth.args[6] == 6
    assert arguments[depth.name][6] == 4


def test_evenly_shrinking_groups_keep_their_number():
    graph = graph_of("grouped")
    arguments, _ = rewritten(graph, "conv1", [0, 2])
    layer = next(o for o in graph.program.operations if o.layer == "grouped")
    assert arguments[layer.name] == layer.args


def test_splits_and_sizes():
    arguments, _ = rewritten(hard("split_with_sizes"), "stem:2", [0])
    assert arguments["split_with_sizes"][1] == [3, 1, 3]
    arguments, _ = rewritten(hard("view_by_literals"), "a", [0, 3])
    assert arguments["view"][1] == [-1, 2, 2, 6, 6]
    arguments, _ = rewritten(hard("group_norm"), "stem", [1])
    assert arguments["group_norm"][1] == 3


def test_a_shuffle_becomes_an_order():
    graph = hard("shuffle_module")
    # Four groups of two, dealt out in turn: 0 2 4 6 1 3 5 7.
    arguments, buffers = rewritten(graph, "stem", [2, 7])
    ((name, order),) = buffers.items()
    assert order.tolist() == [0, 3, 5, 1, 2, 4]
    assert name.endswith("_order")
    assert any(args[1:2] == (1,) and len(args) == 3 for args in arguments.values())


def test_parts_of_parameters_follow_their_channels():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Conv2d(3, 6, 3, padding=1)
            self.last = nn.Conv2d(6, 4, 1)
            self.scale = nn.Parameter(torch.randn(8))
            self.place = nn.Parameter(torch.randn(1, 6, 10, 10))

        def forward(self, x):
            y = self.first(x) * self.scale[:6].view(-1, 1, 1)
            return self.last(y + self.place[:, :, : y.shape[2], : y.shape[3]])

    net, inputs = Scaled().eval().double(), (torch.randn(2, 3, 8, 8).double(),)
    graph = quiet_trace(net, inputs)
    pruner = Pruner(net, graph)
    for seed in range(3):
        plan = PlanSpace(graph, min_keep_ratio=0.1).sample(
            torch.Generator().manual_seed(seed)
        )
        small, masked = pruner.prune(plan), pruner.mask(plan)
        assert relative_error(small(*inputs), masked(*inputs)) <= 1e-9
