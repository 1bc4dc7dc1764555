from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from graph_nets import Net, conv, images, quiet_trace, relative_error
from torch import nn

from agmc.graph.in_place import without_writes
from agmc.graph.network import GraphNetwork
from agmc.graph.program import Operation, Ref


def rebuilt(function, **layers):
    """Outputs of a network and of its program."""
    torch.manual_seed(0)
    net = Net(function, conv=conv(3, 4), **layers).eval()
    inputs = images()
    graph = quiet_trace(net, inputs)
    again = GraphNetwork(graph.program, {**graph.constants, **net.state_dict()}).eval()
    assert all(
        "_." not in op.op.partition("aten.")[2] for op in graph.program.operations
    )
    return net(*inputs), again(*inputs)


def test_later_readers_get_the_written_value():
    def forward(net, x):
        y = net.conv(x)
        z = y.relu_()
        z.add_(1)
        return y * 2 + z

    expected, got = rebuilt(forward)
    assert relative_error(got, expected) < 1e-6


def test_a_written_value_is_returned():
    def forward(net, x):
        y = net.conv(x)
        y.mul_(2)
        y += x[:, :1]
        return [y, y.flatten(1)]

    expected, got = rebuilt(forward)
    assert relative_error(got, expected) < 1e-6


def test_a_view_may_be_written_if_nobody_reads_the_rest():
    def forward(net, x):
        return F.relu(net.conv(x).flatten(1), inplace=True)

    expected, got = rebuilt(forward)
    assert relative_error(got, expected) < 1e-6


def read_the_base(net, x):
    y = net.conv(x)
    y[:, :2].relu_()
    return y * 2


def return_the_base(net, x):
    y = net.conv(x)
    y[:, :2].relu_()
    return y


def read_a_view_of_what_was_written(net, x):
    y = net.conv(x)
    view = y[:, :2]
    y.relu_()
    return view * 2


def read_a_sibling(net, x):
    y = net.conv(x)
    one, other = y[:, :3], y[:, 1:]
    one.relu_()
    return other * 2


def read_across_a_hidden_alias(net, x):
    y = net.conv(x)
    F.dropout(y, 0.5, False).relu_()
    return y * 2


def read_a_transposed_view(net, x):
    y = net.conv(x)
    view = y.permute(0, 2, 3, 1)
    y.add_(1)
    return view * 2


def write_by_index(net, x):
    y = net.conv(x)
    y[:, 0] = 0
    return y


@pytest.mark.parametrize(
    "function",
    [
        read_a_view_of_what_was_written,
        read_a_sibling,
        read_across_a_hidden_alias,
        read_a_transposed_view,
    ],
)
def test_reading_shared_memory_after_a_write_is_refused(function):
    net = Net(function, conv=conv(3, 4)).eval()
    with pytest.raises(ValueError, match="has written into memory") as caught:
        quiet_trace(net, images())
    assert "\n" not in str(caught.value)


def write_twice_into_slices(net, x):
    y = net.conv(x)
    y[:, 1:3, 2:].mul_(2)
    y[:, 0, :2] = 0
    y[:, :, 0].add_(y[:, :, 1])
    return y * 2


@pytest.mark.parametrize(
    "function",
    [read_the_base, return_the_base, write_by_index, write_twice_into_slices],
)
def test_what_is_written_into_a_slice_is_read_from_the_whole(function):
    expected, got = rebuilt(function)
    assert relative_error(got, expected) == 0


def copy_of_floats_into_integers(net, x):
    y = net.conv(x)
    tenths = torch.zeros_like(y, dtype=torch.int32)
    tenths.copy_(y * 10)
    return y + tenths / 10.0


def a_float64_number_for_each(net, x):
    y = net.conv(x)
    y -= net.shift
    return y.relu_() * 2


def truths_as_numbers(net, x):
    y = net.conv(x)
    z = torch.empty_like(y)
    z.copy_(y > 0)
    y.gt_(0.1)
    return y / 2 + z


def a_float64_number_alone(net, x):
    y = net.conv(x)
    y *= net.shift.mean()
    return y.relu_()


def a_float64_slice(net, x):
    y = net.conv(x)
    y[:, :2] += net.shift[:2]
    return y.relu_()


@pytest.mark.parametrize(
    "function",
    [
        copy_of_floats_into_integers,
        a_float64_number_for_each,
        truths_as_numbers,
        a_float64_number_alone,
        a_float64_slice,
    ],
)
def test_what_is_written_takes_the_type_of_the_target(function):
    class Shifted(Net):
        def __init__(self):
            super().__init__(function, conv=conv(3, 4))
            shift = torch.linspace(-1, 1, 4, dtype=torch.float64)
            self.register_buffer("shift", shift[:, None, None])

    torch.manual_seed(0)
    net, (x,) = Shifted().eval(), images()
    graph = quiet_trace(net, (x,))
    got = GraphNetwork(graph.program, graph.state_of(net)).eval()(x)
    assert got.dtype == net(x).dtype == torch.float32
    assert relative_error(got, net(x)) < 1e-6
    for operation in graph.program.operations:
        if operation.op == "aten.to.dtype":
            assert graph.tensors[next(operation.refs())].dtype != "float32" or (
                graph.tensors[operation.name].dtype == "int32"
            )


def test_operators_that_only_look_in_place_are_kept():
    operations = [Operation("y", "aten.__and__.Tensor", (Ref("x"), Ref("x")))]
    result, outputs, _ = without_writes(operations, (Ref("y"),), {})
    assert result == operations and outputs == (Ref("y"),)


def test_writes_into_several_values_are_refused():
    operations = [
        Operation("y", "aten._foreach_add_.Scalar", ([Ref("x"), Ref("z")], 1))
    ]
    with pytest.raises(ValueError, match="more than one value"):
        without_writes(operations, Ref("x"), {})


def test_operators_without_another_form_are_refused():
    with pytest.raises(ValueError, match="unknown"):
        without_writes(
            [Operation("y", "aten.nothing_.default", (Ref("x"),))], Ref("y"), {}
        )


def test_inplace_modules_of_torch():
    expected, got = rebuilt(
        lambda net, x: net.act(net.conv(x)) + 0, act=nn.ReLU6(inplace=True)
    )
    assert relative_error(got, expected) < 1e-6
