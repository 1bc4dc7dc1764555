from __future__ import annotations

import inspect

import pytest
import torch
from graph_nets import Net, Softmax, conv, graph_of, images, make, quiet_trace

from agmc.graph.groups import UnprunableWarning
from agmc.graph.trace import trace


def test_operations_shapes_and_parameters_of_a_chain():
    graph = graph_of("chain")
    program = graph.program
    assert [op.kind for op in program.operations] == [
        *("conv2d", "batch_norm", "relu", "conv2d", "batch_norm", "relu"),
        *("mean", "linear"),
    ]
    assert program.inputs == ("x",)
    assert program.input_shapes == ((1, 3, 6, 6),)
    shapes = [graph.tensors[op.name].shape for op in program.operations]
    assert shapes == [*[(1, 8, 6, 6)] * 3, *[(1, 6, 3, 3)] * 3, (1, 6), (1, 4)]
    assert program.parameters == (
        *("conv1.weight", "bn1.weight", "bn1.bias", "conv2.weight", "conv2.bias"),
        *("bn2.weight", "bn2.bias", "linear.weight", "linear.bias"),
    )
    assert "bn1.num_batches_tracked" not in program.buffers
    assert program.operations[0].layer == "conv1"


def test_unused_parameters_are_no_part_of_the_graph():
    assert "unused.weight" not in graph_of("unused_parameters").parameters


def test_tied_parameters_have_the_first_of_their_names():
    parameters = graph_of("tied_weights").program.parameters
    assert "second.weight" in parameters and "first.weight" not in parameters
    assert len(set(parameters)) == len(parameters)


def test_a_batch_of_one_is_as_good_an_example():
    net, (x,) = make("view_minus_one")
    assert quiet_trace(net, x[:1]).program == quiet_trace(net, (x,)).program


def test_tensors_outside_the_state_dict_are_constants():
    graph = graph_of("fixed_filter")
    (name,) = graph.constants
    assert name in graph.program.buffers and name.endswith("loose")
    assert graph.parameters[name].shape == (6, 1, 3, 3)


def test_autocast_in_the_forward_code_is_refused():
    def forward(net, x):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return net.conv(x)

    with pytest.raises(ValueError, match="autocast in its forward code"):
        trace(Net(forward, conv=conv(3, 4)), images())


def test_warnings_name_the_line_of_the_forward_code():
    net, inputs = make("unknown_operator")
    with pytest.warns(UnprunableWarning) as caught:
        graph = trace(net, inputs)
    (text,) = [str(w.message) for w in caught]
    # The line of `Softmax.forward` that calls the operator.
    _, first = inspect.getsourcelines(Softmax.forward)
    assert f"(graph_nets.py:{first + 1})" in text
    assert "softmax 'softmax' in 'odd'" in text
    assert graph.sources["softmax"] == f"graph_nets.py:{first + 1}"
