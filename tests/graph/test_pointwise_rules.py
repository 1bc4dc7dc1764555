from __future__ import annotations

import pytest
from labelled import IMAGE, roots, slots, stops
from labelled import after as after_rule

from agmc.graph.pointwise_rules import is_pointwise, pointwise
from agmc.graph.program import Operation, Ref

X, Z, F, P = (Ref(name) for name in "xzfp")
CROSS = "channels of its operands cross each other"
FIXED = "they meet values that no channel can leave"
NOT_FINITE = "it maps zero to no finite number"


def after(op, *arguments, shape=IMAGE, **more):
    return after_rule(pointwise, op, shape, *arguments, **more)


@pytest.mark.parametrize(
    "op",
    [
        *("aten.relu.default", "aten.add.Tensor", "aten.where.self"),
        *("aten.dropout.default", "aten.contiguous.default", "aten.to.dtype"),
    ],
)
def test_operators_that_work_element_by_element(op):
    assert is_pointwise(Operation("y", op, ()))


@pytest.mark.parametrize(
    "op",
    [
        *("aten.conv2d.default", "aten.softmax.int", "aten.cumsum.default"),
        *("aten.no_such_operator.default", "_operator.getitem"),
    ],
)
def test_operators_that_do_not(op):
    assert not is_pointwise(Operation("y", op, ()))


def test_channels_that_meet_go_together():
    labels = after("add.Tensor", X, Z, x=(IMAGE, 1, True), z=(IMAGE, 1, True))
    assert roots(labels) == roots(labels, "x") == roots(labels, "z") == [1, 2, 3, 4]
    assert labels.of("y").dim == 1 and labels.of("y").zero and not labels.reasons


def test_operands_are_aligned_at_their_last_dimension():
    labels = after("add.Tensor", X, Z, x=(IMAGE, 1, True), z=((4, 2, 2), 0, True))
    assert labels.of("y").dim == 1 and roots(labels, "z") == [1, 2, 3, 4]


def test_a_wider_operand_moves_the_channels_of_the_other():
    x, out = ((4, 1), 0, True), (1, 4, 2)
    labels = after("mul.Tensor", X, Z, shape=out, x=x, z=((1, 1, 2), None, True))
    assert labels.of("y").dim == 1 and roots(labels) == [1, 2, 3, 4]
    labels = after("mul.Tensor", X, Z, shape=out, x=x, z=(out, None, True))
    assert stops(labels, "mul", FIXED)


def test_channels_that_meet_fixed_values_stay():
    labels = after("mul.Tensor", X, F, x=(IMAGE, 1, True), f=(IMAGE, None, True))
    assert stops(labels, "mul", FIXED)


def test_a_parameter_that_meets_fixed_values_too_is_never_cut():
    operands = {"x": (IMAGE, 1, True), "f": (IMAGE, None, True)}
    shapes = {"p": (4, 1, 1)}
    labels = after("addcmul.default", X, F, P, parameters=shapes, **operands)
    assert slots(labels) == {("p", 0): [0, 0, 0, 0]} and "p" in labels.untouchable


def test_channels_that_cross_each_other_stay():
    square = (1, 4, 4, 2)
    labels = after("add.Tensor", X, Z, x=(square, 1, True), z=(square, 2, True))
    assert stops(labels, "add", CROSS)


@pytest.mark.parametrize(
    ("op", "zero"), [("mul.Tensor", True), ("add.Tensor", False), ("div.Tensor", True)]
)
def test_a_broadcast_operand_need_not_follow(op, zero):
    for size in ((1, 1, 2, 2), (1, 1, 1, 1), (2, 2)):
        labels = after(op, X, F, x=(IMAGE, 1, True), f=(size, None, True))
        assert roots(labels) == [1, 2, 3, 4] and labels.of("y").zero is zero
        assert not labels.reasons


@pytest.mark.parametrize(
    ("op", "x", "z", "zero"),
    [
        ("mul.Tensor", True, False, True),
        ("mul.Tensor", False, False, False),
        ("add.Tensor", True, True, True),
        ("add.Tensor", True, False, False),
        ("div.Tensor", True, False, True),
        ("maximum.default", True, True, True),
    ],
)
def test_a_gate_has_zeros_where_the_operator_keeps_them(op, x, z, zero):
    labels = after(op, X, Z, x=(IMAGE, 1, x), z=((1, 4, 1, 1), 1, z))
    assert labels.of("y").zero is zero and roots(labels, "z") == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("op", "arguments", "zero"),
    [
        *(("relu.default", (), True), ("silu.default", (), True)),
        *(("sigmoid.default", (), False), ("exp.default", (), False)),
        *(("mul.Tensor", (3,), True), ("add.Tensor", (3,), False)),
        *(("rsub.Scalar", (2,), False), ("clamp.default", (0, 6), True)),
        *(("clamp.default", (0.1,), False), ("dropout.default", (0.5, False), True)),
        *(("mul.Tensor", (Ref("n"),), True), ("add.Tensor", (Ref("n"),), False)),
    ],
)
def test_what_an_operator_makes_of_zeros(op, arguments, zero):
    labels = after(op, X, *arguments)
    assert labels.of("y").zero is zero and roots(labels) == [1, 2, 3, 4]
    labels = after(op, X, *arguments, x=(IMAGE, 1, False))
    assert not labels.of("y").zero and roots(labels) == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("op", "arguments"),
    [("reciprocal.default", ()), ("log.default", ()), ("div.Tensor", (X,))],
)
def test_zero_that_becomes_no_finite_number_is_left_alone(op, arguments):
    labels = after(op, X, *arguments)
    assert stops(labels, op.split(".")[0], NOT_FINITE)
    assert after(op, X, *arguments, x=(IMAGE, 1, False)).of("y") is not None


def test_a_choice_between_zeros_and_others_is_not_taken_for_zero():
    condition = ((1, 1, 2, 2), None, True)
    labels = after("where.self", Z, X, 1.0, x=(IMAGE, 1, True), z=condition)
    assert roots(labels) == [1, 2, 3, 4] and not labels.of("y").zero


@pytest.mark.parametrize(
    ("shape", "dim"), [((4,), 0), ((4, 1, 1), 0), (IMAGE, 1), ((1, 4, 2, 1), 1)]
)
def test_a_parameter_is_cut_with_the_channels_it_meets(shape, dim):
    operands = {"x": ((1, 2, 2, 4), 3, True)} if shape == (4,) else {}
    size = operands["x"][0] if operands else IMAGE
    parameters = {"p": shape}
    labels = after("add.Tensor", X, P, shape=size, parameters=parameters, **operands)
    assert slots(labels) == {("p", dim): [1, 2, 3, 4]} and not labels.made
    assert roots(labels) == [1, 2, 3, 4] and labels.of("y").zero


def test_a_quotient_of_zeros_is_left_alone_even_if_a_parameter_divides():
    labels = after("div.Tensor", X, P, parameters={"p": (4, 1, 1)})
    assert slots(labels) == {("p", 0): [0, 0, 0, 0]}
    assert stops(labels, "div", NOT_FINITE)


@pytest.mark.parametrize(("op", "zero"), [("mul.Tensor", True), ("add.Tensor", False)])
@pytest.mark.parametrize("shape", [(1,), (2, 2), (1, 1, 2, 2), ()])
def test_a_parameter_that_is_broadcast_stays_whole(op, zero, shape):
    labels = after(op, X, P, parameters={"p": shape})
    assert roots(labels) == [1, 2, 3, 4] and labels.of("y").zero is zero
    assert not labels.slots and not labels.reasons and "p" in labels.untouchable


def test_a_parameter_that_meets_no_channels_is_never_cut():
    parameters, operands = {"p": (4, 1, 1)}, {"x": (IMAGE, None, True)}
    labels = after("add.Tensor", X, P, parameters=parameters, **operands)
    assert labels.of("y") is None and not labels.reasons
    labels.slot("p", 0, labels.new(4))
    assert slots(labels) == {("p", 0): [0, 0, 0, 0]}
    assert stops(labels, "add", "'p' meets channels that cannot go")


def test_a_vector_alone_has_channels_of_its_own():
    parameters, operands = {"p": (1, 4)}, {"x": (IMAGE, None, True)}
    labels = after("relu.default", P, shape=(1, 4), parameters=parameters, **operands)
    assert slots(labels) == {("p", 1): [1, 2, 3, 4]} and roots(labels) == [1, 2, 3, 4]
    assert labels.of("y").dim == 1


def test_a_matrix_alone_stays_whole():
    labels = after("relu.default", P, shape=(4, 4), parameters={"p": (4, 4)})
    assert labels.of("y") is None and "p" in labels.untouchable


def test_an_outcome_is_computed_once_for_each_call():
    labels = after("add.Tensor", X, 1)
    for name, constant in (("y", 1), ("y", 2)):
        pointwise(labels, Operation(name, "aten.add.Tensor", (X, constant)))
    assert list(labels.outcomes.values()) == [1.0, 2.0]
