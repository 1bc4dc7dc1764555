from __future__ import annotations

import warnings

import numpy as np
import pytest
from graph_nets import NETS, UNPRUNABLE, graph_of, make

from agmc.graph.groups import UnprunableWarning
from agmc.graph.trace import trace


def summary(name):
    """Group name -> (size, {(parameter, dim): positions per channel})."""
    graph = graph_of(name)
    return {
        g.name: (g.size, {(c.parameter, c.dim): c.index.shape[1] for c in g.slices})
        for g in graph.groups
    }


def test_a_chain():
    norm = ("weight", "bias", "running_mean", "running_var")
    assert summary("chain") == {
        "conv1": (
            8,
            {
                ("conv1.weight", 0): 1,
                **{(f"bn1.{n}", 0): 1 for n in norm},
                ("conv2.weight", 1): 1,
            },
        ),
        "conv2": (
            6,
            {
                ("conv2.weight", 0): 1,
                ("conv2.bias", 0): 1,
                **{(f"bn2.{n}", 0): 1 for n in norm},
                ("linear.weight", 1): 1,
            },
        ),
    }


def test_both_sides_of_a_sum_go_together():
    groups = summary("residual")
    assert {name: size for name, (size, _) in groups.items()} == {"stem": 6, "conv1": 8}
    assert {("stem.weight", 0), ("conv2.weight", 0), ("conv1.weight", 1)} <= set(
        groups["stem"][1]
    )
    graph = graph_of("residual")
    assert graph.groups[0].producers == ("stem", "conv2")


def test_depthwise_channels_pass_through():
    groups = summary("depthwise")
    assert groups["conv1"][0] == 6
    assert groups["conv1"][1]["depth.weight", 0] == 1
    assert ("depth.weight", 1) not in groups["conv1"][1]
    multiplied = summary("depthwise_multiplier")
    assert multiplied["conv1"][0] == 5
    assert multiplied["conv1"][1]["depth.weight", 0] == 2
    assert multiplied["conv1"][1]["linear.weight", 1] == 2
    graph = graph_of("depthwise")
    assert graph.groups[0].producers == ("conv1",)


def test_groups_of_a_convolution_shrink_evenly():
    groups = summary("grouped")
    assert {name: size for name, (size, _) in groups.items()} == {
        "conv1": 4,
        "grouped": 6,
        "conv2": 6,
    }
    graph = graph_of("grouped")
    made = {c.parameter: c for c in graph.groups[0].slices if c.dim == 0}
    # Channel i of both halves.
    assert made["conv1.weight"].index.tolist() == [[0, 4], [1, 5], [2, 6], [3, 7]]
    read = next(c for c in graph.groups[0].slices if c.parameter == "grouped.weight")
    assert (read.dim, read.index.tolist()) == (1, [[0], [1], [2], [3]])
    assert graph.groups[1].producers == ("grouped",)


def test_concatenated_channels_find_their_place():
    graph = graph_of("concat")
    join = {
        g.name: next(c.index for c in g.slices if c.parameter == "join.weight")
        for g in graph.groups
        if g.name not in ("join",)
    }
    assert join["left"].reshape(-1).tolist() == [0, 1, 2, 3, 4]
    assert join["right"].reshape(-1).tolist() == [5, 6, 7, 8, 9, 10]
    assert join["stem"].reshape(-1).tolist() == [11, 12, 13, 14]


def test_flattened_channels_take_all_their_pixels():
    graph = graph_of("flatten_spatial")
    cut = next(c for c in graph.groups[0].slices if c.parameter == "linear.weight")
    assert cut.index.tolist() == np.arange(72).reshape(8, 9).tolist()


def test_the_shortcut_of_resnet20():
    groups = {name: size for name, (size, _) in summary("resnet20").items()}
    stages = {n: s for n, s in groups.items() if ".conv1" in n}
    assert len(stages) == 9
    # The stem's channels run through all stages, the zeros beside them are new.
    rest = {n: s for n, s in groups.items() if n not in stages}
    assert rest == {"conv1": 16, "layer2.0.conv2": 16, "layer3.0.conv2": 32}


def test_slices_split_a_layer():
    groups = {name: size for name, (size, _) in summary("channel_slice").items()}
    assert groups == {"conv1": 3, "conv1:2": 5, "front": 6}
    apart = {name: size for name, (size, _) in summary("slices_pooled_apart").items()}
    assert apart == {"conv1": 4, "conv1:2": 4, "conv2": 6}


def test_parameters_at_the_root_name_their_group():
    graph = graph_of("functional_conv")
    assert [(g.name, g.size) for g in graph.groups] == [("weight", 6)]
    assert graph.groups[0].producers == ("weight",)


@pytest.mark.parametrize("name", NETS)
def test_warnings_name_operator_and_layer_and_only_where_due(name):
    net, inputs = make(name)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        graph = trace(net, inputs)
    texts = [str(w.message) for w in caught]
    assert texts == list(graph.unprunable)
    assert all(w.category is UnprunableWarning for w in caught)
    assert all("\n" not in text and "left alone" in text for text in texts)
    if name in UNPRUNABLE:
        assert any(UNPRUNABLE[name] in text for text in texts)
    else:
        assert texts == []


@pytest.mark.parametrize("name", NETS)
def test_groups_are_consistent(name):
    graph = graph_of(name)
    assert len({g.name for g in graph.groups}) == len(graph.groups)
    taken: dict[tuple[str, int], set[int]] = {}
    for group, ids in zip(graph.groups, graph.group_atoms, strict=True):
        assert len(ids) == group.size > 1
        assert group.tensors and group.slices
        for cut in group.slices:
            assert cut.index.shape[0] == group.size
            positions = set(cut.index.reshape(-1).tolist())
            assert len(positions) == cut.index.size
            assert max(positions) < graph.parameters[cut.parameter].shape[cut.dim]
            before = taken.setdefault((cut.parameter, cut.dim), set())
            assert before.isdisjoint(positions)
            before |= positions
        for tensor in group.tensors:
            marks = graph.channels[tensor].atoms
            assert len({int((marks == i).sum()) for i in ids}) == 1
    fixed = {*graph.program.output_names(), *graph.program.inputs}
    assert fixed.isdisjoint(graph.channels)
