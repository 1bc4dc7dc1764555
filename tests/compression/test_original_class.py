from __future__ import annotations

import logging

import pytest
import torch
from graph_nets import Net, conv, graph_of, images, make, quiet_trace, relative_error
from hard_nets import HARD
from torch import nn

from agmc.compression.original_class import in_original_class, program_of
from agmc.compression.prune import Pruner, compress
from agmc.export.checkpoint import load, save
from agmc.graph.network import GraphNetwork
from agmc.plan import Plan
from agmc.plan_space import PlanSpace


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        *(("residual", True), ("depthwise", True), ("concat", True)),
        *(("resnet20", False), ("channel_slice", False), ("functional_conv", False)),
    ],
)
def test_the_class_stays_where_its_code_still_runs(name, kept):
    net, inputs = make(name)
    graph = graph_of(name)
    small = Pruner(net, graph).prune(Plan.uniform(PlanSpace(graph), 0.5))
    own = in_original_class(net, small, inputs)
    assert isinstance(small, GraphNetwork) and not own.training
    assert (type(own) is type(net)) == kept
    assert relative_error(own(*inputs), small(*inputs)) < 1e-6


def test_both_classes_know_their_operations():
    net, inputs = make("residual")
    small = Pruner(net, graph_of("residual")).prune(Plan({}))
    own = in_original_class(net, small, inputs)
    assert program_of(own) is program_of(small) is small.program
    with pytest.raises(ValueError, match="unknown; take what agmc.compress returns"):
        program_of(net)


@pytest.mark.parametrize("name", ["branch_on_channels", "scaled_by_channels"])
def test_code_that_computes_something_else_is_found_out(name, caplog):
    torch.manual_seed(0)
    net, inputs = HARD[name].make()
    net.eval()
    graph = quiet_trace(net, inputs)
    with caplog.at_level(logging.INFO):
        small = compress(net, Plan.uniform(PlanSpace(graph), 0.5), inputs)
    assert isinstance(small, GraphNetwork)
    assert "its results differ" in caplog.text


class Auxiliary(nn.Module):
    """A second head, in training mode only."""

    def __init__(self):
        super().__init__()
        self.stem, self.head = conv(3, 8), nn.Linear(8, 3)
        self.auxiliary = nn.Linear(8, 3)

    def forward(self, x):
        x = self.stem(x).relu().mean((2, 3))
        return (self.head(x), self.auxiliary(x)) if self.training else self.head(x)


def test_a_head_of_training_alone_that_reads_what_went():
    net = Auxiliary()
    small = compress(net, Plan({"stem": 0.5}), images())
    assert isinstance(small, GraphNetwork)
    assert net.training and net.stem.training
    assert type(compress(net, Plan({"stem": 1.0}), images())) is Auxiliary


def test_the_check_changes_nothing():
    net, inputs = make("residual")
    before = {name: value.clone() for name, value in net.state_dict().items()}
    small = compress(net, Plan({"conv1": 0.5}), inputs)
    assert all(torch.equal(value, before[n]) for n, value in net.state_dict().items())
    assert int(small.bn1.num_batches_tracked) == 0


def test_a_copy_is_saved_with_what_its_graph_needs(tmp_path):
    layers = {"a": conv(3, 8), "shuffle": nn.ChannelShuffle(1), "b": conv(8, 4)}
    net = Net(lambda net, x: net.b(net.shuffle(net.a(x))), **layers).eval()
    small = compress(net, Plan({"a": 0.5}), images())
    save(small, tmp_path / "small.safetensors")
    again = load(tmp_path / "small.safetensors")
    x = images()
    assert relative_error(again(*x), small(*x)) < 1e-6


def test_modules_in_two_places_keep_real_weights():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Conv2d(3, 6, 3, padding=1)
            self.stem = nn.Sequential(self.first, nn.ReLU())
            self.last = nn.Conv2d(6, 4, 1)
            self.only_in_training = nn.Linear(6, 2)
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, x):
            self.calls += 1
            y = self.stem(x)
            if self.training:
                self.seen = self.only_in_training(y.mean((2, 3)))
            return self.last(y)

    net, x = Twice().eval(), torch.randn(2, 3, 8, 8)
    small = compress(net, Plan({"first": 0.5}), x)
    for model in (net, small):
        assert all(type(p.data) is torch.Tensor for p in model.parameters())
    assert not hasattr(net, "seen") and net.calls == 0
    assert small(x).shape == (2, 4, 8, 8)


class KeepsAnActivation(nn.Module):
    """As networks for class activation maps do; such a tensor cannot be copied."""

    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 8, 3), nn.Linear(8, 2)

    def forward(self, x):
        self.features = self.conv(x).relu()
        return self.head(self.features.mean((2, 3)))


def test_what_cannot_be_copied_is_rebuilt_from_its_graph(caplog):
    torch.manual_seed(0)
    net, x = KeepsAnActivation(), torch.randn(2, 3, 6, 6)
    net(x)  # in training
    with caplog.at_level(logging.INFO):
        small = compress(net, Plan({}), x)
    assert isinstance(small, GraphNetwork) and "cannot be copied" in caplog.text
    assert relative_error(small(x), net.eval()(x)) < 1e-6
