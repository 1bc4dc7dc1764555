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
    habits = Habits(np.array([[0.0, 0.0], [2.0, 0.0]]), np.array([0.6, -0.3]))
    # By hand, for one decision alone: exp(0) / (1 + 0.5) of its step.
    one = Habits(habits.looks[:1], habits.steps[:1])
    assert one.expected(np.zeros((1, 2)))[0] == pytest.approx(0.6 / 1.5)
    distance = np.exp(-0.5 * (0.7 / 0.7) ** 2)
    assert one.expected(np.array([[0.7, 0.0]]))[0] == pytest.approx(0.4 * distance)
    close, other, far = habits.expected(np.array([[0.1, 0], [1.9, 0], [0, 9.0]]))
    assert close > 0.3 and other < -0.15 and abs(far) < 1e-6
    # The more have done it, the surer.
    assert habits.plus(one).expected(np.zeros((1, 2)))[0] > close


def test_nothing_is_expected_where_nothing_is_known() -> None:
    nothing = Habits.none(3)
    assert not nothing.expected(RANDOM.normal(size=(4, 3))).any()
    some = Habits(RANDOM.normal(size=(5, 3)), RANDOM.normal(size=5))
    again = Habits.of_state(nothing.plus(some).state())
    assert np.array_equal(again.looks, some.looks)
    assert np.array_equal(again.steps, some.steps)
    some.state()["steps"].zero_()
    assert some.steps.any()
