from __future__ import annotations

import pytest

from agmc.graph import part_rules
from agmc.graph.labels import Label, Labels
from agmc.graph.model_graph import TensorSpec
from agmc.graph.program import Operation, Ref


def after(rule, shape, kind, *arguments, source=(1, 4, 2, 2), **kwargs):
    """Label of the result of one operation on 4 channels, and all labels."""
    labels = Labels({"x": TensorSpec(source), "y": TensorSpec(shape)}, {}, {}, {})
    labels.set("x", Label(1, labels.new(source[1])))
    operation = Operation("y", f"aten.{kind}.default", (Ref("x"), *arguments), kwargs)
    rule(labels, operation)
    return labels.of("y"), labels


@pytest.mark.parametrize(
    ("arguments", "shape", "expected"),
    [
        ((1, 0, 3), (1, 3, 2, 2), [1, 2, 3]),
        ((1, -2, 2**63 - 1), (1, 2, 2, 2), [3, 4]),
        ((-3, None, -1), (1, 3, 2, 2), [1, 2, 3]),
        ((2, 0, 1), (1, 4, 1, 2), [1, 2, 3, 4]),
        ((2, 0, 2, 2), (1, 4, 1, 2), [1, 2, 3, 4]),
    ],
)
def test_slices_take_their_channels(arguments, shape, expected):
    label, labels = after(part_rules.slice_, shape, "slice", *arguments)
    assert label.atoms.tolist() == expected and not labels.reasons


def test_narrow_is_a_slice():
    label, _ = after(part_rules.slice_, (1, 2, 2, 2), "narrow", 1, 1, 2)
    assert label.atoms.tolist() == [2, 3]


def test_other_slices_are_left_alone():
    _, labels = after(part_rules.slice_, (1, 2, 2, 2), "slice", 1, 0, 4, 2)
    assert "every 2th channel" in labels.reasons[0]
    _, labels = after(part_rules.slice_, (1, 2, 2, 2), "slice", 1, Ref("n"), 4)
    assert "bounds are computed" in labels.reasons[0]


def test_a_channel_that_is_picked_stays():
    label, labels = after(part_rules.select, (1, 2, 2), "select", 1, -1)
    assert label is None and "picks channel -1" in labels.reasons[0]
    assert labels.atoms.roots(labels.of("x").atoms).tolist() == [1, 2, 3, 0]
    label, _ = after(part_rules.select, (4, 2, 2), "select", 0, 0)
    assert (label.dim, label.atoms.tolist()) == (0, [1, 2, 3, 4])


@pytest.mark.parametrize(
    ("kind", "how", "expected"),
    [
        ("split", 3, [[1, 2, 3], [4]]),
        ("split", [1, 3], [[1], [2, 3, 4]]),
        ("chunk", 3, [[1, 2], [3, 4]]),
    ],
)
def test_pieces_of_a_split(kind, how, expected):
    _, labels = after(part_rules.split, (1, 2, 2, 2), kind, how, 1)
    assert [part.atoms.tolist() for part in labels.parts["y"]] == expected


def test_a_split_of_pixels_keeps_all_channels_in_every_piece():
    _, labels = after(part_rules.split, (1, 4, 1, 2), "split", 1, 2)
    assert labels.parts["y"].atoms.tolist() == [1, 2, 3, 4]


def test_zeros_beside_channels_are_channels_of_their_own():
    label, labels = after(part_rules.pad, (1, 7, 2, 2), "pad", [0, 0, 0, 0, 1, 2])
    assert label.atoms.tolist() == [5, 1, 2, 3, 4, 6, 7]
    assert label.zero and not labels.reasons
    label, _ = after(part_rules.pad, (1, 4, 3, 4), "pad", [1, 1, 1, 0])
    assert label.atoms.tolist() == [1, 2, 3, 4]
    label, _ = after(part_rules.pad, (1, 4, 2, 4), "pad", [1, 1], "constant", 1.0)
    assert label.atoms.tolist() == [1, 2, 3, 4] and not label.zero


def test_other_paddings_are_left_alone():
    along = [0, 0, 0, 0, 1, 1]
    for arguments, kwargs, reason in (
        ((along, "constant", 1.0), {}, "by other channels"),
        ((along,), {"value": 2.0}, "by other channels"),
        ((along, "circular"), {}, "by other channels"),
        (([0, 0, 0, 0, -1, 0],), {}, "by other channels"),
        (([0, 0, 0, 0, 0, Ref("n")],), {}, "computed"),
    ):
        label, labels = after(part_rules.pad, (1, 6, 2, 2), "pad", *arguments, **kwargs)
        assert label is None and reason in labels.reasons[0]
