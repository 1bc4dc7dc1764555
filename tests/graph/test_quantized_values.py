from __future__ import annotations

import pytest
from graph_nets import graph_of

from agmc.graph.quantized_values import QuantizedValues
from agmc.graph.weighted import weighted_layers


def kinds(graph, values):
    operations = graph.operations
    return {operations[n].kind if n in operations else "input" for n in values}


def test_inputs_of_layers_and_of_additions():
    graph = graph_of("residual")
    bits = dict.fromkeys(weighted_layers(graph.program), 4)
    found = QuantizedValues.of(graph.program, bits)
    # The stem's output and that of the block are added, at 8 bits; the first
    # convolution of the block reads the former with 4.
    by_name = {
        (op.kind if (op := graph.operations.get(n)) else "input", bits)
        for n, bits in found.made.items()
    }
    assert by_name == {
        ("input", 4),
        ("relu", 8),
        ("relu", 4),
        ("batch_norm", 8),
        ("mean", 4),
    }
    layers = weighted_layers(graph.program)
    assert {(reader, b) for (reader, _), b in found.read.items()} == {
        (layers["conv1"].name, 4)
    }


def test_what_only_carries_numbers_is_rounded_at_its_source():
    graph = graph_of("flatten_spatial")
    layers = weighted_layers(graph.program)
    found = QuantizedValues.of(graph.program, dict.fromkeys(layers, 8))
    assert "flatten" not in kinds(graph, found.made)
    assert "max_pool2d" not in kinds(graph, found.made)


def test_nothing_asked_nothing_rounded():
    program = graph_of("residual").program
    found = QuantizedValues.of(program, {})
    assert not found.made and not found.read
    with pytest.raises(
        ValueError, match=r"no layers \['x'\] with weights .*has \['stem'"
    ):
        QuantizedValues.of(program, {"x": 8})
