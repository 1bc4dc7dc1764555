from __future__ import annotations

import numpy as np
import pytest

from agmc.graph import shape_rules
from agmc.graph.labels import Label, Labels
from agmc.graph.model_graph import TensorSpec
from agmc.graph.program import Operation, Ref


def after(rule, shape, kind, *arguments, source=(1, 4, 2, 2), dim=1, op="default"):
    """Label of the result, its roots, and the reasons to stop."""
    labels = Labels({"x": TensorSpec(source), "y": TensorSpec(shape)}, {}, {}, {})
    labels.set("x", Label(dim, labels.new(source[dim])))
    operation = Operation("y", f"aten.{kind}.{op}", (Ref("x"), *arguments))
    rule(labels, operation)
    label = labels.of("y")
    if label is None:
        return None, None, labels.reasons
    return label.dim, labels.atoms.roots(label.atoms).tolist(), labels.reasons


def test_flatten_repeats_every_channel():
    dim, atoms, reasons = after(shape_rules.reshape, (1, 16), "flatten", 1)
    assert (dim, atoms) == (1, np.repeat([1, 2, 3, 4], 4).tolist()) and not reasons


def test_flatten_of_trailing_channels_tiles_them():
    dim, atoms, _ = after(
        shape_rules.reshape, (1, 8), "flatten", 1, source=(1, 2, 4), dim=2
    )
    assert (dim, atoms) == (1, [1, 2, 3, 4, 1, 2, 3, 4])


def test_a_dimension_that_is_split_keeps_the_longer_part():
    dim, atoms, reasons = after(
        shape_rules.reshape, (1, 2, 6), "view", [1, 2, 6], source=(1, 12)
    )
    assert (dim, atoms) == (2, [1, 2, 3, 4, 5, 6]) and not reasons
    dim, atoms, _ = after(
        shape_rules.reshape, (1, 6, 2), "view", [1, 6, 2], source=(1, 12)
    )
    assert (dim, atoms) == (1, [1, 3, 5, 7, 9, 11])


def test_features_become_channels_of_an_image():
    dim, atoms, _ = after(
        shape_rules.reshape, (1, 2, 4, 4), "view", [-1, 2, 4, 4], source=(1, 32)
    )
    assert (dim, atoms) == (1, [1, 17])


def test_a_computed_size_and_the_batch_stop_a_view():
    _, atoms, reasons = after(shape_rules.reshape, (1, 16), "view", [1, Ref("n")])
    assert atoms is None and "is computed" in reasons[0]
    _, atoms, reasons = after(shape_rules.reshape, (4, 4), "view", [4, 4])
    assert atoms is None and "batch" in reasons[0]


def test_squeeze():
    pixel = {"source": (1, 4, 1, 1)}
    assert after(shape_rules.squeeze, (1, 4), "squeeze", [2, 3], **pixel)[:2] == (
        1,
        [1, 2, 3, 4],
    )
    assert after(shape_rules.squeeze, (1, 4), "squeeze", **pixel)[0] == 1
    _, atoms, reasons = after(shape_rules.squeeze, (1, 4, 1, 1), "squeeze", 1, **pixel)
    assert atoms is None and "one channel stayed" in reasons[0]


@pytest.mark.parametrize(
    ("kind", "arguments", "expected"),
    [
        ("permute", ([0, 2, 3, 1],), 3),
        ("permute", ([0, 1, 3, 2],), 1),
        ("transpose", (1, -1), 3),
        ("transpose", (2, 3), 1),
        ("movedim", (1, 3), 3),
        ("movedim", ([2, 3], [1, 2]), 3),
    ],
)
def test_permute_follows_the_dimension(kind, arguments, expected):
    shape = [1, 2, 2, 2]
    shape[expected] = 4
    dim, atoms, _ = after(shape_rules.permute, tuple(shape), kind, *arguments)
    assert (dim, atoms) == (expected, [1, 2, 3, 4])


def test_expand_and_repeat():
    pixel = {"source": (1, 4, 1, 1)}
    assert after(shape_rules.expand, (1, 4, 2, 2), "expand", [-1, 4, 2, 2], **pixel)[
        :2
    ] == (1, [1, 2, 3, 4])
    assert after(shape_rules.repeat, (1, 8, 2, 2), "repeat", [1, 2, 1, 1])[:2] == (
        1,
        [1, 2, 3, 4, 1, 2, 3, 4],
    )
    assert after(
        shape_rules.repeat_interleave, (1, 8, 2, 2), "repeat_interleave", 2, 1
    )[1] == [1, 1, 2, 2, 3, 3, 4, 4]


def test_pixels_and_channels():
    dim, atoms, _ = after(
        shape_rules.pixel_shuffle, (1, 2, 4, 4), "pixel_shuffle", 2, source=(1, 8, 2, 2)
    )
    assert (dim, atoms) == (1, [1, 5])
    dim, atoms, _ = after(
        shape_rules.pixel_unshuffle, (1, 16, 1, 1), "pixel_unshuffle", 2
    )
    assert atoms == np.repeat([1, 2, 3, 4], 4).tolist()
    dim, atoms, _ = after(
        shape_rules.channel_shuffle, (1, 4, 2, 2), "channel_shuffle", 2
    )
    assert atoms == [1, 3, 2, 4]
