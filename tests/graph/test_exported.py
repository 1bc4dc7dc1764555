from __future__ import annotations

import logging

import pytest
import torch
from graph_nets import Net, conv, images, make, quiet_trace
from torch import nn

from agmc.graph.exported import exported_program
from agmc.graph.trace import trace


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(value):
    net, inputs = make("chain")
    with torch.no_grad():
        net.bn2.running_var[1] = value
    with pytest.raises(ValueError, match=r"bn2\.running_var holds NaN or infinity"):
        trace(net, inputs)


def test_data_dependent_control_flow_is_refused_in_one_line():
    def forward(net, x):
        return net.conv(x) if x.sum() > 0 else x

    with pytest.raises(ValueError, match="Net cannot be traced") as caught:
        trace(Net(forward, conv=conv(3, 4)), images())
    assert "\n" not in str(caught.value)


def test_inputs_that_do_not_fit_are_refused_in_one_line():
    net, (x,) = make("chain")
    plain = nn.Sequential(conv(3, 4))
    for model, example, reason in (
        (net, torch.randn(2, 4, 6, 6), "cannot be traced"),
        (plain, (x, x), "does not take 2 inputs"),
        (plain, (), "must be one or more Tensors"),
        (plain, (3,), "must be one or more Tensors"),
    ):
        with pytest.raises(ValueError, match=reason) as caught:
            trace(model, example)
        assert "\n" not in str(caught.value)


def test_training_modes_are_restored_even_after_an_error():
    net, inputs = make("chain")
    net.train()
    net.bn1.eval()
    before = {n: m.training for n, m in net.named_modules()}
    state = {n: t.clone() for n, t in net.state_dict().items()}
    quiet_trace(net, inputs)
    with pytest.raises(ValueError):
        trace(net, torch.randn(2, 5, 6, 6))
    assert {n: m.training for n, m in net.named_modules()} == before
    assert all(torch.equal(t, state[n]) for n, t in net.state_dict().items())


@pytest.mark.parametrize("size", [lambda x: 1, lambda x: int(x.shape[0])])
def test_code_that_fixes_the_batch_size_is_traced_at_one(size, caplog):
    def forward(net, x):
        return net.linear(net.conv(x).view(size(x), -1))

    net = Net(forward, conv=conv(3, 4), linear=nn.Linear(144, 2)).eval()
    with caplog.at_level(logging.WARNING, logger="agmc.graph.exported"):
        graph = quiet_trace(net, torch.randn(1, 3, 6, 6))
    assert "fixes the batch size" in caplog.text
    assert [group.size for group in graph.groups] == [4]


def test_exported_program_is_in_evaluation_mode():
    net, inputs = make("dropout")
    exported = exported_program(net.train(), inputs)
    assert torch.allclose(exported.module()(*inputs), net.eval()(*inputs), atol=1e-6)
