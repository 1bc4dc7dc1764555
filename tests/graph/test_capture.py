from __future__ import annotations

import logging
import math

import pytest
import torch
from graph_nets import Net, conv, images, make, quiet_trace
from quantized_nets import all_bits, network_of
from torch import nn

from agmc.compression.quantize import Quantization
from agmc.graph.network import GraphNetwork
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


@pytest.mark.parametrize("bits", [(8, None), (None, 8)], ids=["weights", "activations"])
def test_a_network_that_rounds_already_is_refused_in_one_line(bits):
    network, inputs = network_of("chain")
    rounded = Quantization().apply(network, all_bits(network, *bits), inputs)
    with pytest.raises(ValueError, match="rounds its weights or activations") as raised:
        trace(rounded, inputs)
    assert "network of floats" in str(raised.value)
    assert "aten" not in str(raised.value)


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


@pytest.mark.parametrize(
    "size", [lambda x: 1, lambda x: x.shape[0] // 5000 - x.shape[0] // 5003 + 1]
)
def test_code_that_fixes_the_batch_size_is_traced_at_one(size, caplog):
    def forward(net, x):
        return net.linear(net.conv(x).view(size(x), -1))

    net = Net(forward, conv=conv(3, 4), linear=nn.Linear(144, 2)).eval()
    with caplog.at_level(logging.WARNING, logger="agmc.graph.capture"):
        graph = quiet_trace(net, torch.randn(1, 3, 6, 6))
    assert "fixes the batch size" in caplog.text
    assert [group.size for group in graph.groups] == [4]


def test_the_batch_stays_free_in_every_size_it_gives():
    def forward(net, x):
        n, c, h, w = x.shape
        y = net.conv(x).reshape(n * 2, 2, h, w).reshape(int(n), -1)
        return net.linear(y) + torch.zeros(n, 2, device=x.device)

    torch.manual_seed(0)
    net = Net(forward, conv=conv(3, 4), linear=nn.Linear(144, 2)).eval()
    graph = quiet_trace(net, images())
    again = GraphNetwork(graph.program, net.state_dict()).eval()
    for n in (1, 2, 5):
        x = torch.randn(n, 3, 6, 6)
        assert torch.allclose(again(x), net(x), atol=1e-6)
    assert all(shape[0] == 1 for shape in graph.program.input_shapes)


def test_arithmetic_with_the_batch_that_is_no_multiple_is_found_out(caplog):
    def forward(net, x):
        return net.conv(x)[: (x.shape[0] + 1) // 2].flatten(1)

    net = Net(forward, conv=conv(3, 4)).eval()
    with caplog.at_level(logging.WARNING, logger="agmc.graph.capture"):
        graph = quiet_trace(net, images())
    assert "fixes the batch size" in caplog.text
    x = torch.randn(1, 3, 6, 6)
    again = GraphNetwork(graph.program, net.state_dict()).eval()
    assert torch.allclose(again(x), net(x), atol=1e-6)


def test_an_error_names_the_line_of_the_forward_code():
    def forward(net, x):
        return net.conv(x) if x.sum() > 0 else x

    with pytest.raises(ValueError, match=r"\(test_capture.py:\d+\)$"):
        trace(Net(forward, conv=conv(3, 4)), images())


BY_BATCH = {
    "a factor": lambda net, x: net.conv(x) * (1 / x.shape[0]),
    "a root": lambda net, x: net.conv(x) / math.sqrt(x.shape[0]),
    "a tensor": lambda net, x: net.conv(x) + torch.tensor([float(x.shape[0])]),
    "a branch": lambda net, x: net.conv(x) * (2 if x.shape[0] % 2 else 1),
    "a small batch": lambda net, x: net.conv(x) * (2 if x.shape[0] > 4 else 1),
    "a loop": lambda net, x: torch.stack([net.conv(y[None])[0] for y in x]),
}


@pytest.mark.parametrize("case", BY_BATCH)
def test_code_that_computes_with_the_size_of_the_batch_is_found_out(case, caplog):
    net = Net(BY_BATCH[case], conv=conv(3, 4)).eval()
    with caplog.at_level(logging.WARNING, logger="agmc.graph.capture"):
        graph = quiet_trace(net, images())
    assert "fixes the batch size" in caplog.text
    x = torch.randn(1, 3, 6, 6)
    again = GraphNetwork(graph.program, {**net.state_dict(), **graph.constants}).eval()
    assert torch.allclose(again(x), net(x), atol=1e-6)


def test_a_layer_may_be_as_wide_as_the_number_that_stands_for_the_batch():
    net = nn.Sequential(conv(3, 4), nn.Flatten(), nn.Linear(144, 10007)).eval()
    graph = quiet_trace(net, images())
    assert graph.tensors[graph.program.output_names()[0]].shape == (1, 10007)
    again = GraphNetwork(graph.program, net.state_dict()).eval()
    (x,) = images()
    assert torch.allclose(again(x), net(x), atol=1e-6)


def test_the_memory_format_of_the_example_counts():
    def forward(net, x):
        y = net.conv(x).transpose(1, 2).contiguous()
        return y.flatten(1)

    net = Net(forward, conv=conv(3, 4)).eval()
    x = images()[0].contiguous(memory_format=torch.channels_last)
    graph = quiet_trace(net, x)
    again = GraphNetwork(graph.program, net.state_dict()).eval()
    assert torch.allclose(again(x), net(x), atol=1e-6)

    def raw(net, x):
        return net.conv(x.view(x.shape[0], -1).view(x.shape))

    with pytest.raises(ValueError, match="view size is not compatible"):
        trace(Net(raw, conv=conv(3, 4)).eval(), x)
    assert quiet_trace(Net(raw, conv=conv(3, 4)).eval(), x.contiguous()).groups == ()


def test_a_dictionary_of_inputs_is_refused_with_a_way_out():
    with pytest.raises(ValueError, match="wrap the network in one that takes these"):
        trace(conv(3, 4), {"image": images()[0]})


@pytest.mark.parametrize("number", [10007, 2 * 10007])
def test_a_number_of_the_forward_code_is_not_the_size_of_the_batch(number):
    net = Net(lambda net, x: net.conv(x).mul(number).remainder(2 * number))
    net.conv = conv(3, 4)
    inputs = images()
    graph = quiet_trace(net.eval(), inputs)
    again = GraphNetwork(graph.program, graph.state_of(net)).eval()
    assert torch.equal(again(*inputs), net(*inputs))
