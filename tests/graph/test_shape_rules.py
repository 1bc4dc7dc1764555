from __future__ import annotations

import numpy as np

from agmc.graph import shape_rules
from agmc.graph.labels import Labels
from agmc.graph.model_graph import TensorSpec
from agmc.graph.program import Operation, Ref


def after(rule, shape, kind, *arguments, source=(1, 4, 2, 2), **kwargs):
    """Labels [C] of 4 channels after one operation, and the reasons to stop."""
    labels = Labels({"x": TensorSpec(source), "y": TensorSpec(shape)}, {})
    labels.set("x", labels.new(4).reshape(1, 4, *(1,) * (len(source) - 2)))
    operation = Operation("y", f"aten.{kind}.default", (Ref("x"), *arguments), kwargs)
    rule(labels, operation)
    return labels.of("y"), labels.reasons


def test_flatten_repeats_every_channel():
    made, reasons = after(shape_rules.reshape_freely, (1, 16), "flatten", 1)
    assert made.tolist() == [np.repeat([1, 2, 3, 4], 4).tolist()]
    assert not reasons


def test_unsqueeze_and_squeeze():
    made, _ = after(shape_rules.reshape_freely, (1, 1, 4, 2, 2), "unsqueeze", 1)
    assert made.shape == (1, 1, 4, 1, 1)
    pixel = {"source": (1, 4, 1, 1)}
    made, reasons = after(shape_rules.squeeze, (1, 4), "squeeze", [2, 3], **pixel)
    assert made.tolist() == [[1, 2, 3, 4]] and not reasons
    made, reasons = after(shape_rules.squeeze, (4,), "squeeze", **pixel)
    assert not made.any() and "one channel stayed" in reasons[0]
    made, reasons = after(shape_rules.squeeze, (1, 4, 1, 1), "squeeze", 1, **pixel)
    assert not made.any() and reasons


def test_view_needs_a_minus_one_where_channels_are():
    made, reasons = after(shape_rules.view, (1, 16), "view", [Ref("n"), -1])
    assert made.shape == (1, 16) and not reasons
    made, reasons = after(shape_rules.view, (1, 4, 4), "view", [1, -1, 4])
    assert made.reshape(-1).tolist() == [1, 2, 3, 4] and not reasons
    made, reasons = after(shape_rules.view, (1, 16), "view", [Ref("n"), 16])
    assert not made.any() and "(16) is no -1" in reasons[0]
    made, reasons = after(shape_rules.view, (2, 8), "view", [Ref("twice"), -1])
    assert not made.any() and "(computed) is no -1" in reasons[0]


def test_slices_take_their_channels():
    for arguments, shape, expected in (
        ((1, 0, 3), (1, 3, 2, 2), [1, 2, 3]),
        ((1, -2, 2**63 - 1), (1, 2, 2, 2), [3, 4]),
        ((-3, None, -1), (1, 3, 2, 2), [1, 2, 3]),
        ((2, 0, 1), (1, 4, 1, 2), [1, 2, 3, 4]),
        ((2, 0, 2, 2), (1, 4, 1, 2), [1, 2, 3, 4]),
    ):
        made, reasons = after(shape_rules.slice_, shape, "slice", *arguments)
        assert made.reshape(-1).tolist() == expected and not reasons
    _, reasons = after(shape_rules.slice_, (1, 2, 2, 2), "slice", 1, 0, 4, 2)
    assert "every 2th channel" in reasons[0]
    _, reasons = after(shape_rules.slice_, (1, 2, 2, 2), "slice", 1, Ref("n"), 4)
    assert "bounds are computed" in reasons[0]


def test_zeros_beside_channels_are_channels_of_their_own():
    made, reasons = after(shape_rules.pad, (1, 7, 2, 2), "pad", [0, 0, 0, 0, 1, 2])
    assert made.reshape(-1).tolist() == [5, 1, 2, 3, 4, 6, 7] and not reasons
    made, _ = after(shape_rules.pad, (1, 4, 3, 4), "pad", [1, 1, 1, 0])
    assert made.reshape(-1).tolist() == [1, 2, 3, 4]


def test_other_paddings_are_left_alone():
    along = [0, 0, 0, 0, 1, 1]
    for arguments, kwargs, reason in (
        ((along, "constant", 1.0), {}, "is not zero"),
        ((along,), {"value": 2.0}, "is not zero"),
        ((along, "circular"), {}, "mixes them"),
        (([0, 0, 0, 0, -1, 0],), {}, "mixes them"),
        (([0, 0, 0, 0, 0, Ref("n")],), {}, "computed"),
    ):
        made, reasons = after(
            shape_rules.pad, (1, 6, 2, 2), "pad", *arguments, **kwargs
        )
        assert not made.any() and reason in reasons[0]
