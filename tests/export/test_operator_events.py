"""Whose time a node of the profile is."""

from __future__ import annotations

import numpy as np
import pytest
from torch import nn, randn

from agmc.cost.units import Units
from agmc.export.operator_events import times_by_unit
from agmc.graph.trace import trace


def units_of(*layers):
    graph = trace(nn.Sequential(*layers).eval(), randn(1, 4, 8, 8))
    units = Units(graph)
    counts = np.array([group.size for group in graph.groups])
    return units.units, units.shapes(counts)


def node(operator, reads, makes, duration):
    return {
        "cat": "Node",
        "name": f"{operator}_kernel_time",
        "dur": duration,
        "args": {
            "op_name": operator,
            "input_type_shape": [{"float": shape} for shape in reads],
            "output_type_shape": [{"float": makes}],
        },
    }


def times(units, shapes, *nodes):
    found = times_by_unit(nodes, units, shapes, calls=1, skipped=0)[0]
    return {unit.layer: time for unit, time in zip(units, found, strict=True)}


# A pointwise layer and one of stride 2 make as many channels of as many.
LAYERS = (nn.Conv2d(4, 4, 3, padding=1, stride=2), nn.ReLU(), nn.Conv2d(4, 4, 1))


def test_convolutions_of_floats_are_told_by_their_kernels():
    units, shapes = units_of(*LAYERS)
    found = times(
        *(units, shapes),
        node("Conv", [[1, 4, 8, 8], [4, 4, 3, 3]], [1, 4, 4, 4], 5),
        node("Relu", [[1, 4, 4, 4]], [1, 4, 4, 4], 1),
        node("Conv", [[1, 4, 4, 4], [4, 4, 1, 1]], [1, 4, 4, 4], 3),
    )
    assert (found["0"], found["2"]) == (6, 3)


@pytest.mark.parametrize("last", [False, True])
def test_convolutions_of_integers_are_told_by_what_they_read_and_make(last):
    units, shapes = units_of(*LAYERS)

    def of(size):
        return [1, size, size, 4] if last else [1, 4, size, size]

    # In another order than that of the network: sizes decide.
    found = times(
        *(units, shapes),
        node("QLinearConv", [of(4), [], [], [4]], of(4), 3),
        node("QLinearConv", [of(8), [], [], [4]], of(4), 5),
    )
    assert (found["0"], found["2"]) == (5, 3)


def test_a_change_of_layout_belongs_to_what_comes_after_it():
    units, shapes = units_of(*LAYERS)
    found = times(
        *(units, shapes),
        node("Conv", [[1, 4, 8, 8], [4, 4, 3, 3]], [1, 4, 4, 4], 5),
        node("ReorderInput", [[1, 4, 4, 4]], [1, 4, 4, 4], 2),
        node("Conv", [[1, 4, 4, 4], [4, 4, 1, 1]], [1, 4, 4, 4], 3),
    )
    assert (found["0"], found["2"]) == (5, 5)
