"""Plans that drop blocks, carried out: alone, with channels, zeros and bits."""

from __future__ import annotations

import copy

import pytest
import torch
from graph_nets import (
    Net,
    conv,
    double,
    graph_of,
    images,
    make,
    quiet_trace,
    relative_error,
)
from torch import nn

from agmc.compression.prune import Pruner, compress
from agmc.compression.reconstruct import Reconstruction
from agmc.compression.sparsify import layer_weights
from agmc.export.checkpoint import load, save
from agmc.graph.network import GraphNetwork
from agmc.plan import Plan
from agmc.plan_space import PlanSpace

DROPPED = ("layer1.1", "layer1.2", "layer3.1")


def some_channels(graph, seed=0):
    return PlanSpace(graph).sample(torch.Generator().manual_seed(seed)).keep_ratio


def by_hand(net):
    """A ResNet-20 in which nothing is in the place of these blocks."""
    result = copy.deepcopy(net)
    for name in DROPPED:
        result.set_submodule(name, nn.Identity())
    return result


def test_channels_and_blocks_in_one_plan_or_one_after_the_other():
    net, inputs, graph = double("resnet20")
    keep = some_channels(graph)
    pruner = Pruner(net, graph)
    small = pruner.prune(Plan(keep, dropped=DROPPED))
    # Zeroed channels, and blocks taken out of the model by hand.
    masked = by_hand(pruner.mask(Plan(keep)))
    with torch.no_grad():
        assert relative_error(small(*inputs), masked(*inputs)) <= 1e-9
        wide = compress(net, Plan({}, dropped=DROPPED), inputs)
        assert relative_error(wide(*inputs), by_hand(net)(*inputs)) <= 1e-12
    # What is left is a network like any other, under the names of the original.
    again = quiet_trace(wide, inputs)
    groups = [group.name for group in again.groups]
    gone = {f"{name}.conv1" for name in DROPPED}
    assert groups == [group.name for group in graph.groups if group.name not in gone]
    left = [block.name for block in graph.blocks if block.name not in DROPPED]
    assert [block.name for block in again.blocks] == left
    half = compress(wide, Plan(dict.fromkeys(groups, 0.5), dropped=left[:1]), inputs)
    sizes = {name: p.shape for name, p in half.named_parameters()}
    at_once = Plan(dict.fromkeys(groups, 0.5), dropped=[*DROPPED, left[0]])
    wanted = Pruner(net, graph).prune(at_once).named_parameters()
    assert sizes == {name: p.shape for name, p in wanted}


def test_the_model_is_untouched_and_nothing_of_a_block_is_left(tmp_path):
    net, inputs = make("resnet20")
    before = copy.deepcopy(net.state_dict())
    plan = Plan(some_channels(graph_of("resnet20")), dropped=DROPPED)
    small = compress(net, plan, inputs)
    assert isinstance(small, GraphNetwork) and not small.training
    assert not any(name.startswith(DROPPED) for name in small.state_dict())
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    save(small, tmp_path / "small.safetensors")
    again = load(tmp_path / "small.safetensors")
    assert relative_error(again(*inputs), small(*inputs)) == 0
    loss = small.train()(*inputs).square().sum()
    loss.backward()
    assert all(p.grad is not None for p in small.parameters())


def test_a_block_that_computes_nothing_goes_all_the_same():
    """The model's own code would agree: it adds zeros."""

    def forward(net, x):
        x = net.stem(x)
        return net.head((x + net.branch(x)).mean((2, 3)))

    net = Net(forward, stem=conv(3, 4), branch=conv(4, 4), head=nn.Linear(4, 2)).eval()
    nn.init.zeros_(net.branch.weight)
    nn.init.zeros_(net.branch.bias)
    small = compress(net, Plan({}, dropped=["branch"]), images())
    assert {"stem", "head"} == {n.split(".")[0] for n, _ in small.named_parameters()}


def test_zeros_and_bits_of_layers_that_are_gone_are_left_out():
    net, inputs = make("resnet20")
    layers = list(layer_weights(Pruner(net, graph_of("resnet20")).prune(Plan({}))))
    plan = Plan(
        {},
        sparsity=dict.fromkeys(layers, 0.5),
        weight_bits=dict.fromkeys(layers, 8),
        act_bits=dict.fromkeys(layers, 8),
        dropped=DROPPED,
    )
    small = compress(net, plan, inputs, calibration=[inputs])
    floats = compress(net, Plan({}, plan.sparsity, dropped=DROPPED), inputs)
    assert 0 < relative_error(small(*inputs), floats(*inputs)) < 0.2
    left = [name for name in layers if not name.startswith(DROPPED)]
    assert sorted(layer_weights(floats)) == sorted(left)
    assert all((w == 0).float().mean() > 0.49 for w in layer_weights(floats).values())
    assert not any(name.startswith(DROPPED) for name in small.state_dict())


def test_least_squares_pass_over_dropped_layers():
    net, inputs = make("resnet20")
    graph = graph_of("resnet20")
    reconstruction = Reconstruction(net, graph, [torch.cat(inputs * 8)])
    pruner = Pruner(net, graph)
    keep = dict.fromkeys((group.name for group in graph.groups), 0.5)
    small, other = (pruner.prune(Plan(keep, dropped=d)) for d in (DROPPED, ()))
    before = small.get_submodule("layer1.0.conv2").weight.clone()
    plan = Plan(keep, dropped=DROPPED)
    reconstruction.apply(small, pruner.kept_positions(plan))
    reconstruction.apply(other, pruner.kept_positions(Plan(keep)))
    after = small.get_submodule("layer1.0.conv2").weight
    assert not torch.equal(after, before)
    assert torch.equal(after, other.get_submodule("layer1.0.conv2").weight)


def test_unknown_blocks_are_refused_with_those_to_choose_from():
    net, inputs = make("chain")
    with pytest.raises(ValueError, match=r"unknown blocks \['conv1'\]; .* has none"):
        compress(net, Plan({}, dropped=["conv1"]), inputs)
    net, inputs = make("resnet20")
    with pytest.raises(ValueError, match=r"zeros do not drop blocks \['layer1.1'\]"):
        Pruner(net, graph_of("resnet20")).mask(Plan({}, dropped=["layer1.1"]))
