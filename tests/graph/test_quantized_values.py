from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from graph_nets import graph_of
from torch import nn

from agmc.compression.fold import fold_batch_norms
from agmc.compression.prune import compress
from agmc.compression.quantize import graph_network
from agmc.graph.quantized_values import QuantizedValues
from agmc.graph.weighted import weighted_layers
from agmc.plan import Plan


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


class Curved(nn.Module):
    """Layers behind which stands an activation function that is no rectifier."""

    def __init__(self):
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)
        self.gate, self.second = nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1)
        self.third, self.last = nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1)
        self.scale = nn.Parameter(torch.ones(8, 1, 1))

    def forward(self, x):
        x = F.hardswish(self.norm(self.first(x)))
        x = F.relu6(self.second(x * self.gate(x).sigmoid()))
        return self.last(self.scale * self.third(x))


def test_what_layers_make_for_curves_is_rounded_before_and_after_folding():
    model, x = Curved().eval(), torch.randn(2, 3, 8, 8)
    network = graph_network(compress(model, Plan({}), x))
    for program in (network.program, fold_batch_norms(network).program):
        layers = weighted_layers(program)
        made = QuantizedValues.of(program, dict.fromkeys(layers, 4)).made
        behind = {"first": made.keys() & {layers["first"].name, "batch_norm"}}
        assert len(behind["first"]) == 1 and made[next(iter(behind["first"]))] == 8
        assert made[layers["gate"].name] == made[layers["third"].name] == 8
        # A rectifier is part of the layer that it follows; the last one is returned.
        assert not {layers["second"].name, layers["last"].name} & made.keys()
        of_one = QuantizedValues.of(program, {"gate": 4}).made
        assert layers["gate"].name in of_one and layers["third"].name not in of_one
