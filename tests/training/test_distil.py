"""Knowledge distillation against the formula worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from agmc.training import Distillation, Recipe, distil, distillation_loss, fit

STUDENT = torch.tensor([[2.0, 0.0], [0.0, 0.0]])
TEACHER = torch.tensor([[0.0, 0.0], [math.log(9) * 2, 0.0]])
LABELS = torch.tensor([0, 1])


def by_hand(weight: float) -> float:
    """The loss at temperature 2, where the softmax of two logits is a sigmoid."""
    p = 1 / (1 + math.exp(-1))  # the student's first image: sigmoid(2 / 2)
    first = 0.5 * math.log(0.5 / p) + 0.5 * math.log(0.5 / (1 - p))
    # The teacher's second image: sigmoid(log 9) = 0.9, against one half.
    second = 0.9 * math.log(0.9 / 0.5) + 0.1 * math.log(0.1 / 0.5)
    hard = (math.log(1 + math.exp(-2)) + math.log(2)) / 2
    return weight * 4 * (first + second) / 2 + (1 - weight) * hard


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_loss_by_hand(weight):
    loss = distillation_loss(
        STUDENT, TEACHER, LABELS, distillation_weight=weight, temperature=2.0
    )
    assert float(loss) == pytest.approx(by_hand(weight), rel=1e-6)


def test_same_logits_cost_nothing():
    loss = distillation_loss(
        TEACHER, TEACHER, LABELS, distillation_weight=1.0, temperature=3.0
    )
    assert float(loss) == pytest.approx(0, abs=1e-6)


def test_gradient_size_does_not_depend_on_the_temperature():
    """For high temperatures it goes to (s - t) / classes / images."""
    student = STUDENT.clone().requires_grad_()
    loss = distillation_loss(
        student, TEACHER, LABELS, distillation_weight=1.0, temperature=1000.0
    )
    (gradient,) = torch.autograd.grad(loss, student)
    difference = STUDENT - TEACHER
    expected = (difference - difference.mean(1, keepdim=True)) / 2 / 2
    torch.testing.assert_close(gradient, expected, rtol=1e-2, atol=1e-3)


def test_student_comes_to_answer_like_the_teacher(build, splits, execution):
    """The teacher calls everything `right`; so does a student that hears only it."""
    teacher = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    with torch.no_grad():
        teacher[1].weight.zero_()
        teacher[1].bias.copy_(torch.tensor([0.0, 3.0]))
    before = [p.clone() for p in teacher.parameters()]
    teacher.train()
    student = build()
    recipe = Distillation(epochs=8, batch_size=10, distillation_weight=1.0)
    records = distil(student, teacher, splits, recipe, execution=execution, seed=0)
    assert records[-1].loss < 0.2 * records[0].loss
    logits = student(splits.normalize(splits.test.images))
    assert logits.argmax(1).tolist() == [1] * 10
    assert teacher.training
    assert all(
        torch.equal(a, b) for a, b in zip(before, teacher.parameters(), strict=True)
    )
    assert all(p.grad is None for p in teacher.parameters())


def test_weight_zero_is_plain_training(build, splits, execution):
    teacher, student, plain = build(1), build(), build()
    knobs = {"epochs": 2, "learning_rate": 0.05}
    distil(
        student,
        teacher,
        splits,
        Distillation(**knobs, distillation_weight=0.0),
        execution=execution,
        seed=0,
    )
    fit(plain, splits, Recipe(**knobs), execution=execution, seed=0)
    for a, b in zip(student.parameters(), plain.parameters(), strict=True):
        assert torch.equal(a, b)


def test_after_step_is_called_as_in_plain_training(build, splits, execution):
    steps = []
    distil(
        build(),
        build(1),
        splits,
        Distillation(epochs=1, batch_size=20),
        execution=execution,
        seed=0,
        after_step=lambda *step: steps.append(step),
    )
    assert steps == [(1, 2), (2, 2)]


@pytest.mark.parametrize(
    "knobs", [{"distillation_weight": 1.1}, {"temperature": 0.0}, {"epochs": 0}]
)
def test_bad_knobs(knobs):
    (name,) = knobs
    with pytest.raises(ValueError, match=rf"{name} \(="):
        Distillation(**knobs)
