from __future__ import annotations

import numpy as np
from graph_nets import graph_of, make
from torch import nn

from agmc.compression.literals import rewrite_literals


def rewritten(name, group_name, gone, *, convolutions=None):
    """Operation of the pruned program -> its arguments, and `broken`."""
    net, _ = make(name)
    graph = graph_of(name)
    names = [group.name for group in graph.groups]
    removed = graph.group_atoms[names.index(group_name)][gone]
    if convolutions is None:
        convolutions = {
            n for n, m in net.named_modules() if isinstance(m, nn.modules.conv._ConvNd)
        }
    program, broken = rewrite_literals(graph, removed, convolutions)
    return {op.name: op.args for op in program.operations}, broken, graph


def test_nothing_gone_nothing_changed():
    graph = graph_of("resnet20")
    program, broken = rewrite_literals(graph, np.array([], dtype=int), set())
    assert program == graph.program
    assert not broken


def test_padding_counts_the_zero_channels_that_stay():
    graph = graph_of("resnet20")
    pad = next(op for op in graph.program.operations if op.kind == "pad")
    assert list(pad.args[1]) == [0, 0, 0, 0, 8, 8]
    # 32 channels after the padding: 8 zeros, 16 of the first stage, 8 zeros.
    channels = graph.atoms[pad.name].reshape(-1)
    assert channels.shape == (32,) and len(set(channels)) == 32
    removed = channels[[0, 1, 2, 10, 31]]
    program, broken = rewrite_literals(graph, removed, set())
    again = next(op for op in program.operations if op.name == pad.name)
    assert broken
    assert again.args[1] == [0, 0, 0, 0, 5, 7]


def test_slices_move_with_the_channels():
    # x[:, :3] and x[:, 3:] of 8.
    arguments, broken, _ = rewritten("channel_slice", "conv1", [1])
    sliced = [a for n, a in arguments.items() if n.startswith("slice") and a[1] == 1]
    assert [a[2:4] for a in sliced] == [(0, 2), (2, 7)]
    assert broken
    # Nothing before 3 goes: `:3` and `3:` are still right.
    _, broken, _ = rewritten("channel_slice", "conv1:2", [0, 4])
    assert not broken


def test_slices_counted_from_the_end_move_too():
    # x[:, :-2] and x[:, -2:] of 8.
    arguments, broken, _ = rewritten("negative_slice", "conv1:2", [1])
    sliced = [a for n, a in arguments.items() if n.startswith("slice") and a[1] == 1]
    assert [a[2:4] for a in sliced] == [(0, 6), (6, 7)]
    assert broken
    _, broken, _ = rewritten("negative_slice", "conv1", [0, 3])
    assert not broken


def test_groups_of_a_depthwise_convolution_follow_the_channels():
    for convolutions, broken_code in ((None, False), ((), True)):
        arguments, broken, graph = rewritten(
            "depthwise", "conv1", [0, 5], convolutions=convolutions
        )
        depth = next(o for o in graph.program.operations if o.layer == "depth")
        assert depth.args[6] == 6
        assert arguments[depth.name][6] == 4
        assert broken == broken_code


def test_evenly_shrinking_groups_keep_their_number():
    arguments, broken, graph = rewritten("grouped", "conv1", [0, 2])
    layer = next(o for o in graph.program.operations if o.layer == "grouped")
    assert arguments[layer.name] == layer.args
    assert not broken
