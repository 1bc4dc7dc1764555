"""What plans are worth, as a critic of one budget knows it."""

from __future__ import annotations

import numpy as np
import pytest

from agmc.agents.plan_value import PlanValue

WORTH = np.array([1.0, 0.2, 0.5])
UNIFORM = np.full(3, 0.5)


def tell(value, plans, *, seen=None, pending=()):
    rewards = np.log(plans) @ WORTH
    value.learn(plans, rewards, seen=seen or len(plans), pending=list(pending))


def taught(number=12, *, pending=(), enough=8, refit=np.inf, seed=0):
    plans = np.random.default_rng(seed).uniform(0.2, 1, size=(number, 3))
    value = PlanValue(UNIFORM, np.eye(3), enough=enough, refit=refit)
    tell(value, plans, pending=pending)
    return value, plans


def test_it_knows_what_it_was_told_and_what_is_like_it():
    value, plans = taught()
    found, deviation = value.predict(plans)
    assert np.corrcoef(found, np.log(plans) @ WORTH)[0, 1] > 0.99
    more = np.random.default_rng(1).uniform(0.2, 1, size=(30, 3))
    assert np.corrcoef(value.predict(more)[0], np.log(more) @ WORTH)[0, 1] > 0.95
    assert value.predict(np.full((1, 3), 0.01))[1] > 3 * deviation.max()


def test_the_uniform_plan_is_what_others_are_compared_with():
    value, _ = taught()
    assert (value._numbers(UNIFORM[None]) == 0).all()


def test_plans_under_way_are_worth_what_is_expected():
    there = np.array([[0.9, 0.3, 0.25]])
    (mean, deviation), (known, narrower) = (
        taught(pending=pending)[0].predict(there) for pending in ((), there)
    )
    assert known == pytest.approx(mean, abs=0.02)
    assert narrower < 0.95 * deviation


def test_what_it_is_told_takes_the_place_of_what_it_was_told_before():
    value, _ = taught()
    once, plans = taught(seed=1)
    value._process._log = once._process._log
    tell(value, plans)
    assert value.predict(plans)[0] == pytest.approx(once.predict(plans)[0])


@pytest.mark.parametrize(
    ("refit", "fits"), [(np.inf, (1, 1, 1, 0, 0)), (20, (1, 1, 1, 0, 1))]
)
def test_when_hyperparameters_are_fitted(refit, fits):
    value, _ = taught(2, refit=refit)
    for (number, seen), fitted in zip(
        ((5, 5), (7, 20), (9, 21), (10, 40), (11, 41)), fits, strict=True
    ):
        before = value._process.hyperparameters
        tell(value, taught(number, seed=seen)[1], seen=seen)
        assert (value._process.hyperparameters != before) == bool(fitted)
