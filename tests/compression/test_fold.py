from __future__ import annotations

import pytest
import torch
from graph_nets import NETS, Net, double, images, make, quiet_trace, relative_error
from torch import nn

from agmc.compression.fold import fold_batch_norms, state_of
from agmc.compression.prune import Pruner
from agmc.graph.network import GraphNetwork
from agmc.models.random_cnn import with_statistics
from agmc.plan import Plan


def network_of(net, inputs):
    graph = quiet_trace(net.eval(), inputs)
    return GraphNetwork(graph.program, graph.state_of(net)).eval()


def norms(network):
    return sum(op.kind == "batch_norm" for op in network.program.operations)


@pytest.mark.parametrize("name", NETS)
def test_the_folded_network_computes_the_same(name):
    net, inputs, graph = double(name)
    network = GraphNetwork(graph.program, graph.state_of(net)).eval()
    before = {name: value.clone() for name, value in state_of(network).items()}
    folded = fold_batch_norms(network)
    assert relative_error(folded(*inputs), network(*inputs)) < 1e-9
    assert all(torch.equal(before[n], v) for n, v in state_of(network).items())
    if name in ("chain", "residual", "resnet20", "depthwise"):
        assert norms(network) and not norms(folded)


def test_by_hand():
    net = nn.Sequential(
        nn.Conv2d(1, 2, 1, bias=False), nn.BatchNorm2d(2, eps=0.0)
    ).eval()
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([3.0, -1.0]).reshape(2, 1, 1, 1))
        net[1].weight.copy_(torch.tensor([2.0, 1.0]))
        net[1].bias.copy_(torch.tensor([0.5, 0.0]))
        net[1].running_mean.copy_(torch.tensor([1.0, 2.0]))
        net[1].running_var.copy_(torch.tensor([4.0, 1.0]))
    folded = fold_batch_norms(network_of(net, torch.zeros(1, 1, 2, 2)))
    state = state_of(folded)
    assert list(state) == ["0.weight", "0.bias"]
    assert state["0.weight"].flatten().tolist() == [3, -1]
    assert state["0.bias"].tolist() == [-0.5, -2]
    assert isinstance(folded.get_submodule("0"), nn.Conv2d)


def test_what_is_read_twice_stays():
    def twice(net, x):
        return net.conv(x) + net.norm(net.conv(x))

    def both(net, x):
        y = net.conv(x)
        return y + net.norm(y)

    for forward in (twice, both):
        net = Net(forward, conv=nn.Conv2d(3, 4, 1), norm=nn.BatchNorm2d(4))
        assert norms(fold_batch_norms(network_of(with_statistics(net), images()))) == 1


def test_a_folded_network_trains_and_keeps_what_is_frozen():
    net, x = make("chain")
    net.conv1.weight.requires_grad_(False)
    folded = fold_batch_norms(Pruner(net, quiet_trace(net, x)).prune(Plan({})))
    learns = {name: p.requires_grad for name, p in folded.named_parameters()}
    assert not learns["conv1.weight"]
    assert learns["conv1.bias"] and learns["conv2.weight"]
