from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from graph_nets import NETS, Net, conv, counted_macs, graph_of, images, quiet_trace
from torch import nn

from agmc.compression.prune import Pruner
from agmc.graph.widths import Widths
from agmc.plan_space import PlanSpace


def shape_of(widths, name, counts):
    """Shape of a parameter or an activation under one plan."""
    graph = widths.graph
    whole = (graph.tensors if name in graph.tensors else graph.parameters)[name].shape
    forms = [widths.size_form((name, dim)) for dim in range(len(whole))]
    return tuple(round(constant + counts @ repeats) for constant, repeats in forms)


def test_a_chain_by_hand():
    graph = graph_of("chain")
    widths = Widths(graph)
    counts = np.array([5, 2])
    assert shape_of(widths, "conv1.weight", counts) == (5, 3, 3, 3)
    assert shape_of(widths, "conv2.weight", counts) == (2, 5, 3, 3)
    assert shape_of(widths, "bn1.bias", counts) == (5,)
    assert shape_of(widths, "linear.weight", counts) == (4, 2)
    numels = dict(zip(widths.parameters, widths.numels(counts), strict=True))
    assert numels["conv1.weight"] == 135 and numels["linear.bias"] == 4
    assert list(widths.macs_by_operation(counts).values()) == [36 * 135, 9 * 90, 8]
    shapes = [shape_of(widths, op.name, counts) for op in graph.layers]
    assert [shape[1] for shape in shapes] == [5, 5, 2, 2, 4]
    assert shape_of(widths, "x", counts) == (1, 3, 6, 6)
    elements = dict(zip(graph.tensors, widths.activation_elements(counts), strict=True))
    assert elements["conv2d"] == 5 * 36 and elements["x"] == 3 * 36
    assert widths.numels(np.stack([counts] * 3)).shape == (3, len(widths.parameters))


@pytest.mark.parametrize("name", NETS)
def test_shapes_are_those_of_the_pruned_network(name):
    net, inputs = NETS[name]()
    graph = graph_of(name)
    space = PlanSpace(graph, min_keep_ratio=0.1)
    plan = space.sample(torch.Generator().manual_seed(3))
    small = Pruner(net.eval(), graph).prune(plan)
    widths, counts = Widths(graph), space.counts(plan)
    held = {**dict(small.named_parameters()), **dict(small.named_buffers())}
    for parameter in graph.program.parameters + graph.program.buffers:
        if parameter in held:
            assert shape_of(widths, parameter, counts) == tuple(held[parameter].shape)
    again = quiet_trace(small, inputs)
    for tensor in graph.tensors:
        if tensor in again.tensors:
            shape = shape_of(widths, tensor, counts)
            assert shape == again.tensors[tensor].shape


def test_products_and_computed_weights_count_too():
    def forward(net, x):
        x = F.conv2d(net.conv(x), net.weight * 2)  # 16 positions, 4 x 6 x 9
        x = net.up(x)  # 16 positions, 4 x 3 x 4
        x = x.flatten(2)
        x = x @ net.matrix  # 3 rows, 64 x 5
        return torch.addmm(net.bias, x[:, 0], net.matrix[:5])  # 5 x 5

    net = Net(
        forward,
        conv=conv(3, 6),
        weight=nn.Parameter(torch.randn(4, 6, 3, 3)),
        up=nn.ConvTranspose2d(4, 3, 2, stride=2),
        matrix=nn.Parameter(torch.randn(64, 5)),
        bias=nn.Parameter(torch.randn(5)),
    ).eval()
    graph = quiet_trace(net, images())
    macs = Widths(graph).macs_by_operation(np.array([], dtype=int))
    assert sorted(macs.values()) == sorted(
        [36 * 3 * 6 * 9, 16 * 4 * 6 * 9, 16 * 48, 3 * 64 * 5, 25]
    )
    assert sum(macs.values()) == counted_macs(net, images())


def test_einsum_is_counted_from_its_letters():
    net = Net(lambda net, x: torch.einsum("nchw,nc->nhw", x, net.conv(x).mean((2, 3))))
    net.conv = conv(3, 3)
    graph = quiet_trace(net.eval(), images())
    macs = Widths(graph).macs_by_operation(np.array([], dtype=int))
    assert macs["einsum"] == 36 * 3


def test_operators_that_nothing_counts_are_refused():
    net = Net(lambda net, x: torch.cdist(net.conv(x), x))
    net.conv = conv(3, 3)
    graph = quiet_trace(net.eval(), images())
    with pytest.raises(ValueError, match="multiply-adds of cdist 'cdist'"):
        Widths(graph)


def test_a_convolution_without_a_batch_counts_as_with_one():
    def forward(net, x, squeeze):
        y = net.conv(x)
        y = net.wide(y.squeeze(0)).unsqueeze(0) if squeeze else net.wide(y)
        return net.head(y.mean((2, 3)))

    counted = []
    for squeeze in (False, True):
        net = Net(lambda net, x, s=squeeze: forward(net, x, s))
        net.conv, net.wide, net.head = conv(3, 4), conv(4, 9), nn.Linear(9, 2)
        graph = quiet_trace(net.eval(), [x[:1] for x in images()])
        sizes = np.array([group.size for group in graph.groups])
        counted.append(Widths(graph).total_macs(sizes).item())
    assert counted[0] == counted[1] > 0


def test_a_convolution_under_another_name_is_no_silent_zero():
    def forward(net, x):
        ones, zeros = [1, 1], [0, 0]
        return torch.convolution(
            x, net.weight, None, ones, zeros, ones, False, zeros, 1
        )

    net = Net(forward, weight=nn.Parameter(torch.randn(4, 3, 3, 3)))
    graph = quiet_trace(net.eval(), images())
    with pytest.raises(ValueError, match="no closed form counts .* of convolution"):
        Widths(graph)
