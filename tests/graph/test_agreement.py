from __future__ import annotations

import math

import pytest
import torch

from agmc.graph.agreement import TOLERANCE, mean_difference, relative_difference


def test_by_hand():
    ours = torch.tensor([[-200.0, 1.0], [0.0, 100.0]])
    theirs = ours + torch.tensor([[0.0, 0.5], [-1.0, 0.0]])
    assert relative_difference(theirs, ours) == pytest.approx(1 / 200)
    assert relative_difference(ours, ours) == 0
    labels = torch.tensor([3, 4])
    assert relative_difference(labels + 1, labels) == pytest.approx(1 / 4)


def test_outputs_that_are_nothing():
    nothing = torch.zeros(0, 3)
    assert relative_difference(nothing, nothing) == 0
    zeros = torch.zeros(2)
    assert relative_difference(zeros + 1e-12, zeros) < TOLERANCE
    assert relative_difference(zeros + 1e-3, zeros) > TOLERANCE


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("side", [0, 1])
def test_what_is_no_number_never_agrees(value, side):
    both = [torch.ones(2), torch.ones(2)]
    both[side][0] = value
    assert not relative_difference(*both) <= TOLERANCE


def test_the_mean_is_over_all_outputs():
    ours = torch.tensor([[4.0, -8.0], [0.0, 2.0]])
    theirs = ours + torch.tensor([[0.0, 0.8], [0.0, 0.0]])
    assert relative_difference(theirs, ours) == pytest.approx(0.1)
    assert mean_difference(theirs, ours) == pytest.approx(0.025)
    assert mean_difference(ours[:0], ours[:0]) == 0
