"""Which pieces of a network are blocks, and what is left without them."""

from __future__ import annotations

import functools
import itertools

import pytest
import torch
import torch.nn.functional as F
import torchvision
from graph_nets import Net, conv, images, quiet_trace, relative_error
from torch import nn

from agmc.graph.blocks import without_blocks
from agmc.graph.network import GraphNetwork
from agmc.models import build
from agmc.models.random_cnn import with_statistics


def network(name):
    """One of ours or of torchvision's, with statistics that are not fresh."""
    torch.manual_seed(0)
    theirs = getattr(torchvision.models, name, None)
    net = build(name, num_classes=5) if theirs is None else theirs()
    return with_statistics(net).eval()


@functools.cache
def traced(name):
    """Network, an input and its graph; nobody changes them."""
    net, x = network(name), torch.randn(2, 3, 32, 32)
    return net, x, quiet_trace(net, x)


def blocks_of(function, **layers):
    """The blocks of `function(network, stem(x))`, and the graph."""

    def forward(net, x):
        return function(net, net.stem(x))

    net = Net(forward, stem=conv(3, 4), **layers).eval()
    graph = quiet_trace(net, images())
    return graph.blocks, graph


def kinds(graph, block):
    return [graph.operations[name].kind for name in block.operations]


@pytest.mark.parametrize(
    ("name", "count", "first"),
    [
        ("resnet20", 7, "layer1.0 layer1.1 layer1.2 layer2.1 layer2.2 layer3.1"),
        ("resnet56", 25, "layer1.0 layer1.1"),
        ("resnet18", 5, "layer1.0 layer1.1 layer2.1 layer3.1 layer4.1"),
        ("resnet50", 12, "layer1.1 layer1.2 layer2.1 layer2.2 layer2.3 layer3.1"),
        ("mobilenet_v2", 10, "features.3.conv features.5.conv features.6.conv"),
        ("efficientnet_b0", 9, "features.2.1.block features.3.1.block"),
        ("densenet22_cifar", 0, ""),
        ("vgg16_bn_cifar", 0, ""),
    ],
)
def test_every_identity_shortcut_is_found_and_no_other(name, count, first):
    _, _, graph = traced(name)
    names = [block.name for block in graph.blocks]
    assert len(names) == len(set(names)) == count
    assert names[: len(first.split())] == first.split()
    for block in graph.blocks:
        assert block.operations[-1] == block.output
        assert graph.tensors[block.input] == graph.tensors[block.output]


def test_the_activation_goes_where_the_input_has_passed_it():
    (known,), graph = blocks_of(
        lambda net, x: F.relu((y := F.relu(x)) + net.conv(y)), conv=conv(4, 4)
    )
    assert kinds(graph, known) == ["conv2d", "add", "relu"]
    (pooled,), graph = blocks_of(
        lambda net, x: F.relu((y := F.max_pool2d(F.relu(x), 2)) + net.conv(y)),
        conv=conv(4, 4),
    )
    assert kinds(graph, pooled) == ["conv2d", "add", "relu"]
    for function in (
        lambda net, x: F.relu(x + net.conv(x)),
        lambda net, x: F.relu6((y := F.relu(x)) + net.conv(y)),
        lambda net, x: F.silu((y := F.silu(x)) + net.conv(y)),
        # The sum is read by others as well.
        lambda net, x: (s := (y := F.relu(x)) + net.conv(y)).mean() + F.relu(s),
    ):
        (unknown,), graph = blocks_of(function, conv=conv(4, 4))
        assert kinds(graph, unknown) == ["conv2d", "add"]


def test_what_is_left_is_the_input():
    both = {"a": conv(4, 4), "b": conv(4, 4)}
    for function in (
        lambda net, x: net.a(x) + x,
        lambda net, x: x - net.a(x),
        lambda net, x: torch.add(x, net.a(x), alpha=0.5),
        lambda net, x: x + net.a(net.b(x) * x),
        lambda net, x: x + net.a(x.mean((2, 3), keepdim=True)),
    ):
        (block,), _ = blocks_of(function, **both)
        assert block.input == "conv2d"
    for function in (
        lambda net, x: net.a(x) - x,
        lambda net, x: torch.add(net.a(x), x, alpha=0.5),
        lambda net, x: x * torch.sigmoid(net.a(x)),
        lambda net, x: torch.cat([x, net.a(x)], 1),
        lambda net, x: (
            (m := x.mean((2, 3), keepdim=True)) + net.a(m.repeat(1, 1, 6, 6))
        ),
        lambda net, x: net.a(x) + net.b(x),
        lambda net, x: (y := net.b(x), x + net.a(y), y),  # y is an output
        lambda net, x: (y := net.b(x)).mean() + x + net.a(y),
        lambda net, x: x + 0.5 * torch.tanh(x),  # a function, no layer
        lambda net, x: x + net.a.bias.reshape(1, -1, 1, 1),
    ):
        assert blocks_of(function, **both)[0] == ()


def test_weights_computed_for_a_block_alone_go_with_it():
    def forward(net, x):
        return x + F.conv2d(x, net.a.weight * net.a.weight.tanh(), padding=1)

    (block,), graph = blocks_of(forward, a=conv(4, 4))
    assert kinds(graph, block) == ["tanh", "mul", "conv2d", "add"]
    assert block.name == "a"


def test_blocks_inside_blocks_and_layers_used_twice():
    def forward(net, x):
        inner = net.a(x)
        inner = inner + net.b(inner)
        x = x + net.c(inner)
        return x + net.d(x + net.d(x))

    layers = {name: conv(4, 4) for name in "abcd"}
    blocks, graph = blocks_of(forward, **layers)
    assert [block.name for block in blocks] == ["b", "a", "d", "d:2"]
    inside = {block.name: set(block.operations) for block in blocks}
    assert inside["b"] < inside["a"] and inside["d"] < inside["d:2"]
    assert kinds(graph, blocks[1]) == ["conv2d", "conv2d", "add", "conv2d", "add"]


def test_any_subset_of_a_chain_can_go():
    net, x, graph = traced("resnet20")
    state = graph.state_of(net)
    chain = [block for block in graph.blocks if block.name.startswith("layer1.")]
    assert len(chain) == 3
    for some in itertools.chain.from_iterable(
        itertools.combinations(chain, n) for n in range(4)
    ):
        by_hand = network("resnet20")
        for block in some:
            by_hand.layer1[int(block.name[-1])] = nn.Identity()
        left = without_blocks(graph.program, some)
        assert relative_error(GraphNetwork(left, state).eval()(x), by_hand(x)) == 0
        assert set(left.parameters) == dict(by_hand.named_parameters()).keys()


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "efficientnet_b0"])
def test_without_all_blocks(name):
    net, x, graph = traced(name)
    left = without_blocks(graph.program, graph.blocks)
    by_hand = network(name)
    for block in graph.blocks:
        module = block.name.removesuffix(".conv").removesuffix(".block")
        by_hand.set_submodule(module, nn.Identity())
    outputs = GraphNetwork(left, graph.state_of(net)).eval()(x)
    assert relative_error(outputs, by_hand(x)) <= 1e-6


def test_a_network_that_is_one_block_leaves_its_input():
    net = Net(lambda net, x: x + net.conv(x), conv=conv(3, 3)).eval()
    graph = quiet_trace(net, images())
    left = without_blocks(graph.program, graph.blocks)
    assert left.operations == () and left.parameters == ()
    x = torch.randn(1, 3, 4, 4)
    assert GraphNetwork(left, {})(x) is x
