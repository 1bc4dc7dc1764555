from __future__ import annotations

import pytest
from labelled import IMAGE, roots, slots, stops
from labelled import after as after_rule

from agmc.graph import layer_rules
from agmc.graph.program import Ref

W, B, COMPUTED = (Ref(name) for name in "wbv")


def after(rule, kind, shape, *arguments, x=IMAGE, dim=1, zero=True, **parameters):
    operands = {"x": (x, dim, zero), "v": ((4,), None, True)}
    more = {"parameters": parameters, **operands}
    return after_rule(rule, kind, shape, Ref("x"), *arguments, **more)


def convolved(kind, num_out, groups, **shapes):
    num_in = shapes.pop("num_in", 4)
    shape, source = (1, num_out, 2, 2), (1, num_in, 2, 2)
    bias = B if "b" in shapes else None
    more = (W, bias, [1, 1], [0, 0], [1, 1], groups)
    return after(layer_rules.convolution, kind, shape, *more, x=source, **shapes)


def test_a_convolution_reads_channels_and_makes_others():
    labels = convolved("conv2d", 3, 1, w=(3, 4, 1, 1), b=(3,))
    new = [5, 6, 7]
    assert slots(labels) == {("w", 1): [1, 2, 3, 4], ("w", 0): new, ("b", 0): new}
    assert labels.made == {("w", 0)} and not labels.reasons
    assert labels.of("y").dim == 1 and roots(labels) == new and labels.of("y").zero


def test_a_transposed_convolution_has_its_inputs_first():
    labels = convolved("conv_transpose2d", 3, 1, w=(4, 3, 1, 1))
    assert slots(labels) == {("w", 0): [1, 2, 3, 4], ("w", 1): [5, 6, 7]}
    assert labels.made == {("w", 1)} and roots(labels) == [5, 6, 7]


def test_a_convolution_of_the_input_makes_channels_too():
    labels = convolved("conv2d", 3, 1, dim=None, w=(3, 4, 1, 1))
    assert slots(labels) == {("w", 1): [0, 0, 0, 0], ("w", 0): [1, 2, 3]}


@pytest.mark.parametrize("kind", ["conv2d", "conv_transpose2d"])
def test_a_depthwise_convolution_passes_channels_on(kind):
    labels = convolved(kind, 4, 4, zero=False, w=(4, 1, 1, 1), b=(4,))
    assert slots(labels) == {("w", 0): [1, 2, 3, 4], ("b", 0): [1, 2, 3, 4]}
    assert roots(labels) == [1, 2, 3, 4] and labels.of("y").zero
    assert labels.made == set()


def test_a_depthwise_convolution_may_make_several_of_each_channel():
    labels = convolved("conv2d", 8, 4, w=(8, 1, 1, 1))
    assert slots(labels) == {("w", 0): [1, 1, 2, 2, 3, 3, 4, 4]} and not labels.made
    labels = convolved("conv_transpose2d", 8, 4, w=(4, 2, 1, 1))
    assert slots(labels) == {("w", 0): [1, 2, 3, 4]}
    assert roots(labels) == [1, 1, 2, 2, 3, 3, 4, 4]


def test_a_depthwise_convolution_of_the_input_makes_channels_that_stay():
    labels = convolved("conv2d", 4, 4, dim=None, w=(4, 1, 1, 1))
    assert slots(labels) == {("w", 0): [0, 0, 0, 0]} and not any(roots(labels))


@pytest.mark.parametrize("kind", ["conv2d", "conv_transpose2d"])
def test_many_groups_go_as_a_whole(kind):
    labels = convolved(kind, 8, 4, num_in=8, w=(8, 2, 1, 1), b=(8,))
    whole = [1, 1, 3, 3, 5, 5, 7, 7]
    assert roots(labels, "x") == roots(labels) == whole
    assert slots(labels) == {("w", 0): whole, ("b", 0): whole}
    assert labels.made == {("w", 0)}


def test_groups_that_make_one_channel_each_go_as_a_whole():
    labels = convolved("conv2d", 4, 4, num_in=8, w=(4, 2, 1, 1))
    assert roots(labels, "x") == [1, 1, 3, 3, 5, 5, 7, 7]
    assert slots(labels) == {("w", 0): [1, 3, 5, 7]} and roots(labels) == [1, 3, 5, 7]


def test_few_groups_stay_and_lose_the_same_channels():
    labels = convolved("conv2d", 6, 2, num_in=8, w=(6, 4, 1, 1), b=(6,))
    new = [9, 10, 11] * 2
    assert roots(labels, "x") == [1, 2, 3, 4] * 2 and roots(labels) == new
    assert slots(labels) == {("w", 0): new, ("w", 1): [1, 2, 3, 4], ("b", 0): new}
    assert labels.made == {("w", 0)}


def test_few_groups_of_a_transposed_convolution():
    labels = convolved("conv_transpose2d", 6, 2, num_in=8, w=(8, 3, 1, 1))
    assert slots(labels) == {("w", 0): [1, 2, 3, 4] * 2, ("w", 1): [9, 10, 11]}
    assert roots(labels) == [9, 10, 11] * 2 and ("w", 1) in labels.made


def test_as_many_groups_as_channels_in_each_stay():
    labels = convolved("conv2d", 4, 2, w=(4, 2, 1, 1))
    assert roots(labels, "x") == [1, 2, 1, 2] and roots(labels) == [5, 6, 5, 6]


def test_a_convolution_needs_its_channels_along_dimension_1():
    why = "its input channels do not lie along dimension 1"
    labels = convolved("conv2d", 3, 1, num_in=2, dim=2, w=(3, 2, 1, 1))
    assert stops(labels, "conv2d", why) and "w" in labels.untouchable
    for dim in (0, None):
        no_batch = {"x": (4, 2, 2), "dim": dim, "w": (3, 4, 1, 1)}
        labels = after(layer_rules.convolution, "conv2d", (3, 2, 2), W, **no_batch)
        assert stops(labels, "conv2d", why)


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        ("convolution", (COMPUTED,)),
        ("convolution", (W, COMPUTED)),
        ("linear", (COMPUTED,)),
        ("batch_norm", (W, B, COMPUTED, COMPUTED)),
        ("instance_norm", (COMPUTED, B)),
        ("layer_norm", ([2, 2], COMPUTED)),
        ("prelu", (COMPUTED,)),
    ],
)
def test_computed_weights_leave_channels_alone(kind, arguments):
    rule = getattr(layer_rules, kind)
    shapes = {"w": (4, 4, 1, 1), "b": (4,)}
    labels = after(rule, kind, IMAGE, *arguments, **shapes)
    assert stops(labels, kind, "the forward code computes its weights")


def test_a_linear_layer_reads_features_and_makes_others():
    sizes = {"x": (1, 2, 4), "dim": 2, "w": (3, 4), "b": (3,)}
    labels = after(layer_rules.linear, "linear", (1, 2, 3), W, B, **sizes)
    new = [5, 6, 7]
    assert slots(labels) == {("w", 1): [1, 2, 3, 4], ("w", 0): new, ("b", 0): new}
    assert labels.made == {("w", 0)} and not labels.reasons
    assert labels.of("y").dim == 2 and roots(labels) == new and labels.of("y").zero


def test_a_linear_layer_over_positions_keeps_channels_and_its_weights():
    sizes = {"x": (1, 4, 2), "w": (3, 2), "b": (3,)}
    labels = after(layer_rules.linear, "linear", (1, 4, 3), W, B, **sizes)
    assert labels.of("y").dim == 1 and roots(labels) == [1, 2, 3, 4]
    assert not labels.of("y").zero and not labels.slots and not labels.reasons
    labels.slot("w", 0, labels.new(3))
    assert not any(slots(labels)["w", 0])
    assert "channels do not lie along its features" in labels.reasons[0]


@pytest.mark.parametrize("zero", [True, False])
def test_a_linear_layer_over_positions_without_bias_keeps_zeros(zero):
    sizes = {"x": (1, 4, 2), "zero": zero, "w": (3, 2)}
    labels = after(layer_rules.linear, "linear", (1, 4, 3), W, **sizes)
    assert labels.of("y").zero is zero


@pytest.mark.parametrize(
    ("num_slopes", "dim", "expected"),
    [
        (4, 1, {("w", 0): [1, 2, 3, 4]}),
        (4, 3, {("w", 0): [0, 0, 0, 0]}),
        (1, 1, {}),
        (1, 3, {}),
    ],
)
@pytest.mark.parametrize("zero", [True, False])
def test_slopes_are_cut_with_their_channels(num_slopes, dim, expected, zero):
    sizes = {"x": (1, 4, 2, 4), "dim": dim, "zero": zero, "w": (num_slopes,)}
    labels = after(layer_rules.prelu, "prelu", (1, 4, 2, 4), W, **sizes)
    assert slots(labels) == expected and not labels.reasons
    assert labels.of("y").dim == dim and roots(labels) == [1, 2, 3, 4]
    assert labels.of("y").zero is zero
