from __future__ import annotations

import copy
import dataclasses
import pickle

import pytest
import torch
from graph_nets import NETS, flat, graph_of, make, quiet_trace, relative_error
from torch import nn

from agmc.graph.network import GraphNetwork
from agmc.graph.program_json import program_from_json, program_to_json


def rebuilt(name):
    """Network, its inputs and the network rebuilt from its program."""
    net, inputs = make(name)
    graph = graph_of(name)
    state = {k: v.clone() for k, v in {**graph.constants, **net.state_dict()}.items()}
    return net, inputs, GraphNetwork(graph.program, state).eval()


@pytest.mark.parametrize("name", NETS)
def test_computes_what_the_network_computes_at_any_batch_size(name):
    net, inputs, again = rebuilt(name)
    outputs = again(*inputs)
    assert type(outputs) is type(net(*inputs))
    assert relative_error(outputs, net(*inputs)) < 1e-5
    many = tuple(torch.cat([x, x, -x]) for x in inputs)
    assert relative_error(again(*many), net(*many)) < 1e-5
    if name != "squeezed":  # drops a batch of 1 as well
        one = tuple(x[:1] for x in inputs)
        assert relative_error(again(*one), net(*one)) < 1e-5


@pytest.mark.parametrize("name", sorted(set(NETS) - {"unused_parameters"}))
def test_names_are_the_original_ones(name):
    net, _, again = rebuilt(name)
    names = set(again.state_dict()) - set(graph_of(name).constants)
    tied = {"first.weight"} if name == "tied_weights" else set()
    assert names == set(net.state_dict()) - tied


def test_layers_are_real_modules():
    _, _, again = rebuilt("depthwise")
    assert isinstance(again.depth, nn.Conv2d) and again.depth.groups == 6
    assert isinstance(again.linear, nn.Linear)
    assert isinstance(again.bn1, nn.modules.batchnorm._BatchNorm)
    assert again.bn1.eps == 1e-5 and again.bn1.momentum == 0.1


@pytest.mark.parametrize(
    "name", ["chain", "batch_norm_without_affine", "batch_norm_1d"]
)
def test_training_moves_batch_norm_as_in_the_original(name):
    net, inputs, again = rebuilt(name)
    before = {k: v.clone() for k, v in again.state_dict().items()}
    net.train()(*inputs)
    again.train()(*inputs)
    for key, value in net.state_dict().items():
        assert torch.allclose(again.state_dict()[key], value, atol=1e-6), key
        if "running" in key:
            assert not torch.equal(value, before[key])
    frozen = {k: v.clone() for k, v in again.state_dict().items()}
    again.eval()(*inputs)
    assert all(torch.equal(v, frozen[k]) for k, v in again.state_dict().items())


def test_training_applies_every_dropout():
    net, inputs, again = rebuilt("dropout")
    again.bn.eval()
    kinds = [op.kind for op in again.program.operations if "dropout" in op.kind]
    assert kinds == ["feature_dropout", "dropout"]
    again.training = True
    torch.manual_seed(0)
    one = again(*inputs)
    assert not torch.allclose(one, again(*inputs))
    assert torch.equal(again.eval()(*inputs), again(*inputs))


def test_copies_share_nothing():
    _, inputs, again = rebuilt("in_place")
    for copied in (copy.deepcopy(again), pickle.loads(pickle.dumps(again))):
        assert torch.equal(copied(*inputs), again(*inputs))
        own = {t.data_ptr() for t in again.state_dict().values()}
        assert own.isdisjoint(t.data_ptr() for t in copied.state_dict().values())
        with torch.no_grad():
            copied.conv1.weight.zero_()
        assert not torch.equal(copied(*inputs), again(*inputs))


def test_moves_to_another_type_and_under_autocast():
    net, inputs, again = rebuilt("resnet20")
    doubles = tuple(x.double() for x in inputs)
    assert relative_error(again.double()(*doubles), net.double()(*doubles)) < 1e-12
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert again.float()(*inputs).dtype == torch.bfloat16


def test_every_parameter_gets_a_gradient():
    for name in ("resnet20", "functional_conv", "shared_module"):
        _, inputs, again = rebuilt(name)
        sum(x.square().sum() for x in flat(again.train()(*inputs))).backward()
        assert all(p.grad is not None for p in again.parameters())


def test_wrong_number_of_inputs():
    _, inputs, again = rebuilt("several_inputs")
    with pytest.raises(ValueError, match="takes 3 inputs, got 1"):
        again(inputs[0])


def test_missing_and_misshapen_tensors():
    net, _ = make("chain")
    program = graph_of("chain").program
    state = net.state_dict()
    del state["conv2.weight"]
    with pytest.raises(ValueError, match=r"\['conv2.weight'\] of the network are miss"):
        GraphNetwork(program, state)
    for name in ("conv2.bias", "bn1.running_mean", "bn1.weight", "linear.bias"):
        state = net.state_dict() | {name: torch.zeros(17)}
        with pytest.raises(ValueError, match=r"has shape \(\d+,\), its layer takes"):
            GraphNetwork(program, state)


def test_a_layer_named_like_something_of_the_network_itself():
    net = nn.Sequential()
    net.add_module("program", nn.Conv2d(1, 2, 1))
    graph = quiet_trace(net, torch.ones(2, 1, 3, 3))
    with pytest.raises(ValueError, match="cannot be called 'program'"):
        GraphNetwork(graph.program, net.state_dict())


class OneByOne(nn.Module):
    """Goes through a batch one by one, so its size cannot be left free."""

    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)

    def forward(self, x):
        y = self.conv(x).mean((2, 3))
        return self.head(torch.stack([row / row.norm() for row in y]))


def test_what_was_traced_for_one_input_takes_no_more(caplog):
    net, one = OneByOne().eval(), torch.randn(1, 3, 6, 6)
    graph = quiet_trace(net, [one])
    again = GraphNetwork(
        program_from_json(program_to_json(graph.program)), {**graph.state_of(net)}
    ).eval()
    assert relative_error(again(one), net(one)) < 1e-6
    with pytest.raises(ValueError, match="for one input at a time, got 3: its forward"):
        again(torch.cat([one] * 3))


@pytest.mark.parametrize("name", ["info", "program", "_steps", "training"])
def test_names_that_are_its_own_are_refused(name):
    net = NETS["chain"]()[0].eval()
    graph = graph_of("chain")
    program = dataclasses.replace(graph.program, buffers=(name,))
    state = {**graph.state_of(net), name: torch.zeros(1)}
    with pytest.raises(ValueError, match=f"cannot be called '{name}': GraphNetwork"):
        GraphNetwork(program, state)
