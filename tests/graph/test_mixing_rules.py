from __future__ import annotations

import pytest
from labelled import IMAGE, after, passes, roots, stops

from agmc.graph import mixing_rules
from agmc.graph.program import Ref

X, Z = Ref("x"), Ref("z")
TRAILING = ((1, 2, 2, 4), 3, True)


@pytest.mark.parametrize("zero", [True, False])
@pytest.mark.parametrize("kind", ["max_pool2d", "upsample_nearest2d", "grid_sampler"])
def test_pools_keep_channels_and_zeros(kind, zero):
    x = (IMAGE, 1, zero)
    assert passes(after(mixing_rules.pool, kind, IMAGE, X, x=x), 1, zero)


@pytest.mark.parametrize(
    ("kind", "shape", "dim"),
    [
        *(("avg_pool1d", (1, 2, 4), 2), ("avg_pool2d", (1, 2, 4, 2), 2)),
        *(("grid_sampler", (1, 2, 4, 2), 2), ("avg_pool3d", (1, 2, 4, 2, 2), 2)),
    ],
)
def test_channels_that_are_pooled_stay(kind, shape, dim):
    labels = after(mixing_rules.pool, kind, shape, X, x=(shape, dim, True))
    assert stops(labels, kind, "its channels lie along a pooled dimension")


def test_dimensions_before_the_pooled_ones_are_free():
    x = ((1, 2, 4, 2), 2, True)
    assert passes(after(mixing_rules.pool, "avg_pool1d", x[0], X, x=x), 2)


def test_all_results_of_a_pool_have_its_channels():
    labels = after(mixing_rules.pool, "max_pool2d_with_indices", None, X, [2, 2])
    for label, zero in zip(labels.parts["y"], (True, False), strict=True):
        atoms = labels.atoms.roots(label.atoms).tolist()
        assert (label.dim, atoms, label.zero) == (1, [1, 2, 3, 4], zero)
    assert "y" not in labels.values


def test_a_grid_with_channels_stops_a_sampler():
    operands = {"x": (IMAGE, 1, True), "z": ((1, 4, 4, 2), 1, True)}
    labels = after(mixing_rules.pool, "grid_sampler", (1, 4, 4, 4), X, Z, **operands)
    why = "channels of its operands cross each other"
    assert stops(labels, "grid_sampler", why)


@pytest.mark.parametrize(
    "rule", [mixing_rules.pool, mixing_rules.reduction, mixing_rules.along_dimensions]
)
def test_values_without_channels_stay_without(rule):
    labels = after(rule, "mean", IMAGE, X, [2], x=(IMAGE, None, True))
    assert labels.of("y") is None and not labels.reasons


@pytest.mark.parametrize(
    ("shape", "arguments", "dim"),
    [
        ((1, 2, 1, 4), (2,), 3),
        ((1, 2, 4), (2,), 2),
        ((1, 2, 4), (-3,), 2),
        ((1, 1, 1, 4), ([1, 2], True), 3),
        ((1, 4), ([-2, 1],), 1),
    ],
)
def test_channels_move_up_when_dimensions_vanish(shape, arguments, dim):
    labels = after(mixing_rules.reduction, "mean", shape, X, *arguments, x=TRAILING)
    assert passes(labels, dim)


def test_dimensions_after_the_channels_vanish_without_notice():
    assert passes(after(mixing_rules.reduction, "amax", (1, 4), X, [2, 3]), 1)


@pytest.mark.parametrize(
    ("kind", "arguments", "kwargs"),
    [
        ("norm", (2, [1, 2]), {}),
        ("linalg_vector_norm", (2, [1, 2]), {}),
        ("var", (), {"dim": [1, 2], "correction": 1}),
    ],
)
def test_where_a_reduction_has_its_dimensions(kind, arguments, kwargs):
    rule = mixing_rules.reduction
    labels = after(rule, kind, (1, 4), X, *arguments, kwargs=kwargs, x=TRAILING)
    assert labels.of("y").dim == 1 and roots(labels) == [1, 2, 3, 4]
    assert not labels.reasons


@pytest.mark.parametrize("zero", [True, False])
@pytest.mark.parametrize("kind", ["sum", "mean", "amax", "amin", "norm"])
def test_reductions_that_keep_zeros(kind, zero):
    arguments = (2, [2, 3]) if kind == "norm" else ([2, 3],)
    x = (IMAGE, 1, zero)
    labels = after(mixing_rules.reduction, kind, (1, 4), X, *arguments, x=x)
    assert passes(labels, 1, zero)


def test_a_logarithm_of_sums_is_no_zero():
    labels = after(mixing_rules.reduction, "logsumexp", (1, 4), X, [2, 3])
    assert passes(labels, 1, zero=False)


@pytest.mark.parametrize("arguments", [(1,), ([1, 2],), (), ([],), (None,)])
def test_only_sums_leave_zeros_out(arguments):
    labels = after(mixing_rules.reduction, "sum", (1, 2, 2), X, *arguments)
    assert labels.of("y") is None and not labels.reasons
    assert roots(labels, "x") == [1, 2, 3, 4]
    x = (IMAGE, 1, False)
    labels = after(mixing_rules.reduction, "sum", (1, 2, 2), X, *arguments, x=x)
    assert stops(labels, "sum", "the sum runs over channels that are no zero")
    labels = after(mixing_rules.reduction, "mean", (1, 2, 2), X, *arguments)
    assert stops(labels, "mean", "the mean runs over channels")


@pytest.mark.parametrize(
    ("arguments", "kwargs", "dim"),
    [((1,), {}, 2), ((1, True), {}, 3), ((1,), {"keepdim": True}, 3)],
)
def test_values_and_positions_have_the_same_channels(arguments, kwargs, dim):
    rule = mixing_rules.reduction
    labels = after(rule, "max", None, X, *arguments, kwargs=kwargs, x=TRAILING)
    for label, zero in zip(labels.parts["y"], (True, False), strict=True):
        assert (label.dim, label.atoms.tolist()) == (dim, [1, 2, 3, 4])
        assert label.zero is zero  # the position of a zero is some number


@pytest.mark.parametrize(
    ("kind", "arguments", "keeps"),
    [
        *(("softmax", (3,), False), ("log_softmax", (-1,), False)),
        *(("cumsum", (2,), True), ("flip", ([2, 3],), True)),
        *(("roll", ([1], [2]), True), ("roll", (1, -1), True)),
    ],
)
def test_channels_beside_the_dimension_stay_apart(kind, arguments, keeps):
    rule = mixing_rules.along_dimensions
    assert passes(after(rule, kind, IMAGE, X, *arguments), 1, zero=keeps)
    x = (IMAGE, 1, False)
    assert passes(after(rule, kind, IMAGE, X, *arguments, x=x), 1, zero=False)


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        *(("softmax", (1,)), ("softmax", (-3,)), ("flip", ([3, 1],))),
        *(("roll", ([1], [1])), ("roll", (1,)), ("roll", ([1], []))),
    ],
)
def test_operators_that_run_over_channels_leave_them_alone(kind, arguments):
    labels = after(mixing_rules.along_dimensions, kind, IMAGE, X, *arguments)
    assert stops(labels, kind, f"the {kind} runs over channels")
