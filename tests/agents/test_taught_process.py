from __future__ import annotations

import numpy as np
import pytest

from agmc.agents.gaussian_process import GaussianProcess
from agmc.agents.shared_effects import SharedEffects, alike
from agmc.agents.taught_process import TaughtProcess

FEATURES = np.random.default_rng(0).normal(size=(6, 2))
TRUE = SharedEffects(np.array([0.3, 1.0, 0.0]), np.array([0.0, 0.0, -0.2]))


def plans(number: int) -> tuple[np.ndarray, np.ndarray]:
    """Plans and their rewards after `TRUE`, of mean 0 and variance 1."""
    numbers = np.random.default_rng(number).normal(0, 0.4, (number, 6))
    rewards = TRUE.expected(FEATURES, numbers)
    return numbers, (rewards - rewards.mean()) / rewards.std()


def test_without_a_teacher_it_is_the_plain_process() -> None:
    numbers, rewards = plans(12)
    taught, plain = TaughtProcess(FEATURES), GaussianProcess(alike(FEATURES))
    for process in (taught, plain):
        process.fit(numbers, rewards)
        process.condition(numbers, rewards)
    asked, _ = plans(5)
    for own, other in zip(taught.predict(asked), plain.predict(asked), strict=True):
        assert np.array_equal(own, other)


def test_what_it_found_holds_for_decisions_it_has_not_seen() -> None:
    numbers, rewards = plans(80)
    process = TaughtProcess(FEATURES)
    process.fit(numbers, rewards)
    process.condition(numbers, rewards)
    random = np.random.default_rng(1)
    elsewhere, other = random.normal(size=(9, 2)), random.normal(0, 0.4, (50, 9))
    found = process.effects().expected(elsewhere, other)
    true = TRUE.expected(elsewhere, other)
    # A part of it stays with the six decisions, as slopes of their own.
    assert np.corrcoef(found, true)[0, 1] > 0.9


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_good_teacher_is_believed_and_a_bad_one_is_not(sign: float) -> None:
    numbers, rewards = plans(8)
    asked, wanted = plans(200)
    taught = TaughtProcess(FEATURES, SharedEffects.none(2).plus(TRUE, sign))
    alone = TaughtProcess(FEATURES)
    errors = []
    for process in (taught, alone):
        process.condition(numbers, rewards)
        predicted, deviation = process.predict(asked)
        assert (deviation > 0).all()
        errors.append(np.abs(predicted - wanted).mean())
    assert errors[0] < (0.8 if sign > 0 else 1.1) * errors[1]


def test_what_was_taught_is_handed_on() -> None:
    numbers, rewards = plans(3)
    process = TaughtProcess(FEATURES, TRUE)
    process.condition(numbers, rewards)
    other, _ = plans(50)
    found = process.effects().expected(FEATURES, other)
    assert np.corrcoef(found, TRUE.expected(FEATURES, other))[0, 1] > 0.9
