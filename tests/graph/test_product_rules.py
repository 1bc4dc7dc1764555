from __future__ import annotations

import pytest
from labelled import IMAGE, after, passes, roots, slots, stops

from agmc.graph import mixing_rules
from agmc.graph.program import Operation, Ref

X, Z, V, W = (Ref(name) for name in "xzvw")
LAST, FIRST = ((1, 2, 4), 2, True), ((1, 4, 2), 1, True)
CROSS = "channels of its operands cross each other"
NO_ZERO = "it sums channels that are no zero"
FIXED = "they meet values that no channel can leave"
ELSEWHERE = "its input features lie along another dimension"
UNKNOWN = "its form is not known"
ATTENTION = "scaled_dot_product_attention"
NOT_LAST = "its channels do not lie along the last ones"


@pytest.mark.parametrize(
    ("kind", "arguments", "ranks", "letters", "out"),
    [
        ("matmul", (X, Z), (2, 2), ("ik", "kj"), "ij"),
        ("matmul", (X, Z), (4, 3), ("abik", "bkj"), "abij"),
        ("matmul", (X, Z), (2, 4), ("ik", "abkj"), "abij"),
        ("einsum", ("nc, oc -> no", [X, Z]), (2, 2), ("nc", "oc"), "no"),
    ],
)
def test_letters_of_products(kind, arguments, ranks, letters, out):
    operation = Operation("y", f"aten.{kind}.default", arguments)
    found = mixing_rules.product_of(operation, ranks)
    assert found == mixing_rules.Product(("x", "z"), letters, out)


@pytest.mark.parametrize(
    ("kind", "arguments", "ranks"),
    [
        ("matmul", (X, Z), (2, 1)),
        ("matmul", (X, 3), (2, 2)),
        ("einsum", ("nc,oc", [X, Z]), (2, 2)),
        ("einsum", ("...c,oc->...o", [X, Z]), (3, 2)),
        ("einsum", ("cc,oc->o", [X, Z]), (2, 2)),
        ("einsum", ("nc,oc,o->n", [X, Z, V]), (2, 2)),
        ("einsum", ("nc->cn", [X]), (2, 2)),
    ],
)
def test_products_of_another_form(kind, arguments, ranks):
    operation = Operation("y", f"aten.{kind}.default", arguments)
    assert mixing_rules.product_of(operation, ranks) is None


def times(kind, shape, *arguments, **more):
    return after(mixing_rules.product, kind, shape, *arguments, **more)


@pytest.mark.parametrize(
    ("kind", "arguments", "x", "weight", "read", "out"),
    [
        ("matmul", (X, W), LAST, (4, 3), 0, (1, 2, 3)),
        ("matmul", (W, X), FIRST, (3, 4), 1, (1, 3, 2)),
        ("einsum", ("nlc,oc->nlo", [X, W]), LAST, (3, 4), 1, (1, 2, 3)),
        ("einsum", ("oc,ncl->nol", [W, X]), FIRST, (3, 4), 1, (1, 3, 2)),
    ],
)
def test_a_product_with_a_matrix_is_a_linear_layer(
    kind, arguments, x, weight, read, out
):
    labels = times(kind, out, *arguments, x=x, parameters={"w": weight})
    new = [5, 6, 7]
    assert slots(labels) == {("w", read): [1, 2, 3, 4], ("w", 1 - read): new}
    assert labels.made == {("w", 1 - read)} and not labels.reasons
    assert labels.of("y").dim == x[1] and roots(labels) == new and labels.of("y").zero


def test_a_matrix_makes_channels_of_values_that_have_none():
    x = ((1, 2, 4), None, True)
    labels = times("matmul", (1, 2, 3), X, W, x=x, parameters={"w": (4, 3)})
    assert slots(labels) == {("w", 0): [0, 0, 0, 0], ("w", 1): [1, 2, 3]}


def test_a_matrix_over_positions_leaves_channels_alone():
    labels = times("matmul", (1, 4, 3), X, W, x=FIRST, parameters={"w": (2, 3)})
    assert stops(labels, "matmul", ELSEWHERE) and "w" in labels.untouchable


def test_a_matrix_that_cannot_be_cut_leaves_channels_alone():
    def rule(labels, operation):
        labels.keep_whole("w", "it lies outside")
        mixing_rules.product(labels, operation)

    labels = after(rule, "matmul", (1, 2, 3), X, W, x=LAST, parameters={"w": (4, 3)})
    assert stops(labels, "matmul", ELSEWHERE) and not labels.slots


@pytest.mark.parametrize(
    ("equation", "out"), [("nlc,oc->nloc", (1, 2, 3, 4)), ("nlc,oc->nl", (1, 2))]
)
def test_a_matrix_that_is_not_summed_once_leaves_channels_alone(equation, out):
    labels = times("einsum", out, equation, [X, W], x=LAST, parameters={"w": (3, 4)})
    assert stops(labels, "einsum", UNKNOWN)


def test_a_product_with_a_vector_leaves_channels_alone():
    labels = times("matmul", (1, 2), X, Z, x=LAST, z=((4,), 0, True))
    assert stops(labels, "matmul", UNKNOWN)


@pytest.mark.parametrize(("x", "z"), [(True, True), (True, False), (False, True)])
def test_channels_that_are_summed_go_on_both_sides(x, z):
    operands = {"x": (*LAST[:2], x), "z": (*FIRST[:2], z)}
    labels = times("bmm", (1, 2, 2), X, Z, **operands)
    assert labels.of("y") is None and not labels.reasons
    assert roots(labels, "x") == roots(labels, "z") == [1, 2, 3, 4]


def test_sums_of_other_values_than_zero_leave_channels_alone():
    x, z = (*LAST[:2], False), (*FIRST[:2], False)
    assert stops(times("bmm", (1, 2, 2), X, Z, x=x, z=z), "bmm", NO_ZERO)


@pytest.mark.parametrize("z", [((1, 4, 2), None, True), ((1, 4, 2), 2, True)])
def test_a_sum_over_channels_and_others_leaves_them_alone(z):
    assert stops(times("bmm", (1, 2, 2), X, Z, x=LAST, z=z), "bmm", FIXED)


@pytest.mark.parametrize("zero", [True, False])
def test_channels_of_one_side_pass_through_a_product(zero):
    weights = ((1, 2, 2), None, True)
    x = (*LAST[:2], zero)
    assert passes(times("bmm", (1, 2, 4), Z, X, x=x, z=weights), 2, zero)
    x = (*FIRST[:2], zero)
    assert passes(times("bmm", (1, 4, 2), X, Z, x=x, z=weights), 1, zero)


@pytest.mark.parametrize("shape", [(1, 1, 2, 2), (1, 2, 2), (2, 2)])
def test_channels_pass_through_products_of_matrices_that_all_of_them_share(shape):
    z = (shape, None, True)
    assert passes(times("matmul", IMAGE, X, Z, x=(IMAGE, 1, True), z=z), 1)


def test_channels_that_cross_in_a_product_stay():
    assert stops(times("bmm", (1, 4, 4), X, Z, x=FIRST, z=LAST), "bmm", CROSS)


@pytest.mark.parametrize(
    ("x", "z", "zero"), [(1, 1, True), (1, 0, True), (0, 1, True), (0, 0, False)]
)
def test_channels_that_meet_in_a_product_go_together(x, z, zero):
    operands = {"x": (IMAGE, 1, bool(x)), "z": ((1, 4), 1, bool(z))}
    labels = times("einsum", IMAGE, "nchw,nc->nchw", [X, Z], **operands)
    assert passes(labels, 1, zero) and roots(labels, "z") == [1, 2, 3, 4]


def test_a_sum_of_the_channels_of_one_side_needs_zeros():
    z = ((1, 2, 2), None, True)
    more = ("nchw,nhw->nhw", [X, Z])
    labels = times("einsum", z[0], *more, x=(IMAGE, 1, True), z=z)
    assert labels.of("y") is None and roots(labels, "x") == [1, 2, 3, 4]
    labels = times("einsum", z[0], *more, x=(IMAGE, 1, False), z=z)
    assert stops(labels, "einsum", NO_ZERO)


def attended(*more, **labelled):
    """Attention over 3 positions; operands are named as (dim, zero)."""
    rule, shape = mixing_rules.attention, (1, 3, 4)
    operands = {name: (shape, *labelled.get(name, (None, True))) for name in "xzv"}
    return after(rule, ATTENTION, shape, X, Z, V, *more, **operands)


@pytest.mark.parametrize(("x", "z"), [(True, True), (True, False), (False, True)])
@pytest.mark.parametrize("zero", [True, False])
def test_queries_and_keys_go_together_and_values_pass(x, z, zero):
    labels = attended(x=(2, x), z=(2, z), v=(2, zero))
    assert roots(labels, "x") == roots(labels, "z") == [1, 2, 3, 4]
    assert roots(labels) == [9, 10, 11, 12] and labels.of("y").dim == 2
    assert labels.of("y").zero is zero and not labels.reasons


def test_only_values_hand_their_channels_on():
    assert passes(attended(v=(2, True)), 2)
    labels = attended(x=(2, True), z=(2, True))
    assert labels.of("y") is None and roots(labels, "z") == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("more", "labelled"),
    [
        ((), {"x": (1, True), "z": (2, True)}),
        ((), {"v": (1, True)}),
        ((), {"x": (2, True)}),
        ((), {"z": (2, True), "v": (2, True)}),
        ((None, 0.0, True), {"v": (2, True)}),
    ],
)
def test_attention_of_another_form_leaves_channels_alone(more, labelled):
    assert stops(attended(*more, **labelled), ATTENTION, NOT_LAST)


def test_attention_needs_zeros_on_one_side():
    assert stops(attended(x=(2, False), z=(2, False)), ATTENTION, NO_ZERO)
