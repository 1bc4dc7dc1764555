from __future__ import annotations

import pytest
from graph_nets import graph_of, make

from agmc.graph.model_graph import ParameterSpec


def test_networkx_has_activations_as_nodes_and_operations_as_edges():
    graph = graph_of("residual")
    result = graph.to_networkx()
    assert list(result.nodes) == list(graph.tensors)
    assert list(result.nodes)[0] == "x" == graph.program.inputs[0]
    assert result.nodes["x"]["spec"].shape == (1, 3, 6, 6)
    edges = [(a, b, key) for a, b, key in result.edges(keys=True)]
    by_layer = {op.layer: op for op in graph.layers}
    stem = by_layer["stem"]
    assert ("x", stem.name, stem.name) in edges
    assert result.edges["x", stem.name, stem.name]["operation"] is stem
    # The sum has two edges, everything else here one.
    assert [name for name in result if result.in_degree(name) == 2] == ["add"]
    assert result.number_of_edges() == len(graph.program.operations) + 1


def test_layers_name_what_they_read():
    graph = graph_of("chain")
    conv = next(op for op in graph.layers if op.layer == "conv1")
    assert graph.inputs_of(conv) == ("x",)
    assert graph.parameters_of(conv) == ("conv1.weight",)
    norm = next(op for op in graph.layers if op.layer == "bn1")
    assert graph.parameters_of(norm) == (
        "bn1.weight",
        "bn1.bias",
        "bn1.running_mean",
        "bn1.running_var",
    )
    assert [op.layer for op in graph.layers] == [
        *("conv1", "bn1", "conv2", "bn2", "linear")
    ]
    assert list(graph.operations) == [op.name for op in graph.program.operations]


def test_numel():
    assert ParameterSpec((2, 3, 4), "float32", True, 0.0, 1.0).numel == 24
    assert ParameterSpec((), "int64", False, 0.0, 0.0).numel == 1


def test_statistics_of_parameters():
    net, _ = make("chain")
    spec = graph_of("chain").parameters["conv1.weight"]
    weight = net.conv1.weight.detach()
    assert spec.mean == pytest.approx(float(weight.mean()), abs=1e-6)
    assert spec.std == pytest.approx(float(weight.std(correction=0)), rel=1e-5)
    assert (spec.shape, spec.dtype, spec.trainable) == ((8, 3, 3, 3), "float32", True)
