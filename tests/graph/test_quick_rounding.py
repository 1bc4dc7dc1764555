from __future__ import annotations

import pytest
import torch

from agmc.graph.operators import operator_of
from agmc.graph.quick_rounding import quick_form

OP = "aten._fake_quantize_learnable_per_tensor_affine.default"


@pytest.mark.parametrize(
    ("scale", "zero", "low", "high"),
    [
        (0.013, 120.0, 0, 255),
        (0.5, 0.0, 0, 15),
        (3e-5, 7.4, 0, 15),
        (0.1, 0.0, -7, 7),
        (0.2, 300.0, 0, 255),  # a zero point beyond the ends is drawn in
        (1e3, 2.0, 0, 3),
    ],
)
def test_values_are_those_of_the_operator(scale, zero, low, high):
    torch.manual_seed(0)
    values = torch.randn(6, 5, 9, 9) * 2
    values[0, 0, 0] = scale * (torch.arange(9) - 4.5)  # halfway between two numbers
    rest = (torch.tensor([scale]), torch.tensor([zero]), low, high, 0.25)
    assert torch.equal(quick_form(OP)(values, *rest), operator_of(OP)(values, *rest))


@pytest.mark.parametrize(
    ("scale", "zero", "low", "high"),
    [(0.013, 120.0, 0, 255), (0.5, 0.0, 0, 15), (0.1, 0.0, -7, 7), (0.9, 2.0, 0, 3)],
)
def test_gradients_are_those_of_the_operator(scale, zero, low, high):
    torch.manual_seed(0)
    values, weights = torch.randn(6, 5, 9, 9) * 2, torch.randn(6, 5, 9, 9)
    found = []
    for function in (operator_of(OP), quick_form(OP)):
        own = values.clone().requires_grad_()
        size = torch.tensor([scale], requires_grad=True)
        made = function(own, size, torch.tensor([zero]), low, high, 0.25)
        (made * weights).sum().backward()
        found.append((made.detach(), own.grad, size.grad))
    (made, by_values, by_size), ours = found
    assert torch.equal(made, ours[0]) and torch.equal(by_values, ours[1])
    torch.testing.assert_close(ours[2], by_size, rtol=1e-4, atol=1e-4)


def test_the_values_it_is_given_stay():
    values = torch.randn(4, 3)
    before = values.clone()
    quick_form(OP)(values, torch.tensor([0.1]), torch.tensor([0.0]), 0, 255, 1.0)
    assert torch.equal(values, before)


def test_an_export_finds_the_operator():
    class Rounds(torch.nn.Module):
        def forward(self, x):
            scale, zero = torch.tensor([0.1]), torch.tensor([0.0])
            return quick_form(OP)(x, scale, zero, 0, 255, 1.0)

    program = torch.export.export(Rounds(), (torch.randn(2, 3),))
    assert OP.removeprefix("aten.") in str(program.graph)


def test_other_operators_are_themselves():
    assert quick_form("aten.relu.default") is operator_of("aten.relu.default")
    with pytest.raises(ValueError, match="unknown"):
        quick_form("aten.no_such.default")


def test_a_weight_of_another_norm_and_norms_that_are_too_few():
    weight, norm = torch.randn(4, 3, 2), torch.rand(4, 1, 1)
    op = "aten._weight_norm.default"
    for dim, norms in ((0, norm), (-1, norm[0])):
        expected = operator_of(op)(weight, norms, dim)
        assert torch.allclose(quick_form(op)(weight, norms, dim), expected)
    with pytest.raises(RuntimeError, match="size of tensor"):
        quick_form(op)(weight, torch.rand(3, 1, 1), 0)
