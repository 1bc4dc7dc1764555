from __future__ import annotations

import pytest
from labelled import IMAGE, roots, slots, stops
from labelled import after as after_rule

from agmc.graph import layer_rules
from agmc.graph.program import Ref

W, B, MEAN, VAR = (Ref(name) for name in ("w", "b", "mean", "var"))
NORM = {name: (4,) for name in ("w", "b", "mean", "var")}
OVER_CHANNELS = "it normalises over the channels"


def after(rule, kind, shape, *arguments, x=IMAGE, dim=1, zero=True, **parameters):
    operands = {"x": (x, dim, zero)}
    more = {"parameters": parameters, **operands}
    return after_rule(rule, kind, shape, Ref("x"), *arguments, **more)


@pytest.mark.parametrize("kind", ["batch_norm", "instance_norm"])
def test_a_norm_of_single_channels_is_cut_with_them(kind):
    rule, more = getattr(layer_rules, kind), (W, B, MEAN, VAR)
    labels = after(rule, kind, IMAGE, *more, zero=False, **NORM)
    assert slots(labels) == {(name, 0): [1, 2, 3, 4] for name in NORM}
    assert roots(labels) == [1, 2, 3, 4] and labels.of("y").zero and not labels.made


@pytest.mark.parametrize("kind", ["batch_norm", "instance_norm"])
def test_a_norm_without_weights_makes_no_zeros(kind):
    rule, more = getattr(layer_rules, kind), (None, None, MEAN, VAR)
    labels = after(rule, kind, IMAGE, *more, zero=False, **NORM)
    assert slots(labels) == {(name, 0): [1, 2, 3, 4] for name in ("mean", "var")}
    assert roots(labels) == [1, 2, 3, 4] and not labels.of("y").zero


@pytest.mark.parametrize("kind", ["batch_norm", "instance_norm", "prelu"])
def test_weights_that_meet_no_channels_are_never_cut(kind):
    rule, more = getattr(layer_rules, kind), () if kind == "prelu" else (B,)
    labels = after(rule, kind, IMAGE, W, *more, dim=None, **NORM)
    assert labels.of("y") is None and not labels.reasons
    assert slots(labels) == {(ref.name, 0): [0, 0, 0, 0] for ref in (W, *more)}


def test_a_batch_norm_across_channels_is_never_cut():
    sizes = {"x": (1, 2, 4), "dim": 2, "w": (2,), "b": (2,)}
    labels = after(layer_rules.batch_norm, "batch_norm", (1, 2, 4), W, B, **sizes)
    assert slots(labels) == {("w", 0): [0, 0], ("b", 0): [0, 0]}
    assert labels.of("y").dim == 2 and roots(labels) == [1, 2, 3, 4]
    assert not labels.of("y").zero and not labels.reasons


def test_an_instance_norm_across_channels_leaves_them_alone():
    rule, sizes = layer_rules.instance_norm, {"x": (1, 2, 4), "dim": 2}
    labels = after(rule, "instance_norm", (1, 2, 4), None, None, **sizes)
    assert stops(labels, "instance_norm", OVER_CHANNELS)


def group_normed(*arguments, **more):
    rule = layer_rules.group_norm
    return after(rule, "group_norm", more.get("x", IMAGE), *arguments, **more)


def test_a_group_that_is_normalised_goes_as_a_whole():
    labels = group_normed(2, W, B, zero=False, w=(4,), b=(4,))
    assert slots(labels) == {("w", 0): [1, 1, 3, 3], ("b", 0): [1, 1, 3, 3]}
    assert roots(labels) == [1, 1, 3, 3] and labels.of("y").zero


@pytest.mark.parametrize("zero", [True, False])
def test_a_group_norm_without_weights_keeps_zeros(zero):
    labels = group_normed(4, None, None, zero=zero)
    assert roots(labels) == [1, 2, 3, 4] and labels.of("y").zero is zero


def test_a_group_norm_over_channels_leaves_them_alone():
    labels = group_normed(1, W, B, w=(4,), b=(4,))
    why = "it normalises over all channels together"
    assert stops(labels, "group_norm", why)
    assert set(labels.untouchable) == {"w", "b"}
    labels = group_normed(2, None, None, x=(1, 2, 4), dim=2)
    assert stops(labels, "group_norm", OVER_CHANNELS)


def test_a_group_norm_of_the_input_makes_no_channels():
    labels = group_normed(2, None, None, dim=None)
    assert labels.of("y") is None and not labels.reasons


def test_a_layer_norm_over_positions_keeps_channels_but_no_zeros():
    rule, more = layer_rules.layer_norm, {"w": (2, 2), "b": (2, 2)}
    labels = after(rule, "layer_norm", IMAGE, [2, 2], W, B, **more)
    assert labels.of("y").dim == 1 and roots(labels) == [1, 2, 3, 4]
    assert not labels.of("y").zero and not labels.slots and not labels.reasons


@pytest.mark.parametrize(("dim", "over"), [(1, [4, 2, 2]), (3, [2]), (3, [2, 2])])
def test_a_layer_norm_over_channels_leaves_them_alone(dim, over):
    rule, more = layer_rules.layer_norm, {"w": tuple(over)}
    labels = after(rule, "layer_norm", IMAGE, over, W, dim=dim, **more)
    assert stops(labels, "layer_norm", OVER_CHANNELS)


def test_a_layer_norm_of_the_input_makes_no_channels():
    labels = after(layer_rules.layer_norm, "layer_norm", IMAGE, [2], dim=None)
    assert labels.of("y") is None and not labels.reasons
