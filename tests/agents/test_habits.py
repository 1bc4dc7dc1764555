from __future__ import annotations

import numpy as np
import pytest

from agmc.agents.habits import Habits, looks_of

RANDOM = np.random.default_rng(0)


def test_looks_are_about_differences_within_a_network() -> None:
    features = RANDOM.normal(3, [2, 50, 0.1, 1], (7, 4))
    features[:, 1] = 0.1 + 8e-9 * RANDOM.normal(size=7)  # the same, but for rounding
    looks = looks_of(features)
    assert looks.shape == (7, 4) and not looks[:, 1].any()
    np.testing.assert_allclose(looks.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(looks.std(0)[[0, 2, 3]] ** 2, 1 / 3)
    assert (looks**2).sum(1).mean() == pytest.approx(1)
    assert not looks_of(np.ones((3, 2))).any()
    np.testing.assert_allclose(looks_of(features * 5 + 2), looks)


def test_what_looks_alike_is_expected_to_do_alike() -> None:
    # The second feature is the same for all that is known, and says nothing.
    habits = Habits(np.array([[-1.0, 5.0], [1.0, 5.0]]), np.array([0.6, -0.3]))
    between = np.exp(-0.5 * (2 / 0.7) ** 2)
    known = np.array([[1.5, between], [between, 1.5]])
    by_hand = np.array([1, between]) @ np.linalg.solve(known, habits.steps)
    assert habits.expected(np.array([[-1.0, 9.0]]))[0] == pytest.approx(by_hand)
    close, other, far = habits.expected(np.array([[-0.9, 5], [0.9, 5], [9, 5.0]]))
    assert close > 0.3 and other < -0.15 and abs(far) < 1e-6
    # The more have done it, the surer.
    again = habits.plus(habits)
    assert again.expected(np.array([[-0.9, 5]]))[0] > close


def test_it_does_not_matter_in_what_units_decisions_are_seen() -> None:
    looks, asked = RANDOM.normal(size=(6, 3)), RANDOM.normal(size=(4, 3))
    steps = RANDOM.normal(size=6)
    units, zero = np.array([7.0, 0.1, 1e4]), np.array([3.0, -2.0, 50.0])
    there = Habits(looks * units + zero, steps).expected(asked * units + zero)
    np.testing.assert_allclose(there, Habits(looks, steps).expected(asked))


def test_nothing_is_expected_where_nothing_is_known() -> None:
    nothing = Habits.none(3)
    assert not nothing.expected(RANDOM.normal(size=(4, 3))).any()
    some = Habits(RANDOM.normal(size=(5, 3)), RANDOM.normal(size=5))
    again = Habits.of_state(nothing.plus(some).state())
    assert np.array_equal(again.looks, some.looks)
    assert np.array_equal(again.steps, some.steps)
    some.state()["steps"].zero_()
    assert some.steps.any()
