from __future__ import annotations

from dataclasses import replace

import numpy as np
from agent_plans import LEVELS, chain_cost, context

from agmc.agents.proposals import Proposals

CHOICES = context().choices
PLANS = np.array([[0.9, 0.3, 0.5, 0.6], [0.2, 0.8, 0.9, 0.4]])


def proposals(choices=CHOICES) -> Proposals:
    return Proposals(choices, np.random.default_rng(0))


def test_plans_are_scaled_until_the_budget_is_used_up() -> None:
    scaled = proposals().within(np.array([[0.1, 0.2, 0.1, 0.1], [1.0, 1.0, 1.0, 1.0]]))
    assert np.all(chain_cost(scaled) <= 1)
    assert np.all(chain_cost(scaled) > 0.98)
    assert np.ptp(scaled[1]) == 0.0


def test_scaling_leaves_the_range_alone() -> None:
    scaled = proposals().within(np.array([[1e-3, 5.0, 0.5, 0.5]]))
    assert scaled.min() >= LEVELS[0] and scaled.max() == 1.0


def test_without_a_budget_nothing_is_scaled() -> None:
    free = proposals(replace(CHOICES, cost=lambda ratios: 0.1 * chain_cost(ratios)))
    assert np.array_equal(free.within(PLANS), PLANS)


def test_steps_are_of_many_sizes_and_often_in_few_decisions() -> None:
    free = proposals(replace(CHOICES, cost=lambda ratios: 0.1 * chain_cost(ratios)))
    around = free.around(PLANS[:1], 400)
    changed = (np.abs(around - PLANS[0]) > 1e-12).sum(1)
    assert {1, 4} <= set(changed.tolist())
    away = np.abs(np.log(around / PLANS[0])).max(1)
    assert (away < 0.05).any() and (away > 0.3).any()


KINDS = np.array([[1.0], [1.0], [-1.0], [-1.0]])


def test_decisions_that_look_alike_step_together() -> None:
    free = proposals(replace(CHOICES, cost=lambda ratios: 0.1 * chain_cost(ratios)))
    plan = np.full(4, 0.4)

    def steps(together: float) -> np.ndarray:
        drawn = [free.near(plan, 0.2, together) for _ in range(300)]
        return np.log(np.array(drawn) / plan)

    assert abs(np.corrcoef(steps(1.0).T)[0, 1]) < 0.2  # nothing was seen yet
    free.see(KINDS)
    correlation = np.corrcoef(steps(1.0).T)
    assert correlation[0, 1] > 0.999 and correlation[0, 2] < -0.999
    correlation = np.corrcoef(steps(0.5).T)
    assert 0.35 < correlation[0, 1] < 0.65 and -0.65 < correlation[0, 3] < -0.35
    assert abs(np.corrcoef(steps(0.0).T)[0, 1]) < 0.2
    for together in (0.0, 0.5, 1.0):
        assert 0.15 < steps(together).std() < 0.25
    moved = np.log(free.around(plan[None], 400) / plan)
    alike = np.isclose(moved[:, 0], moved[:, 1]) & (np.abs(moved) > 1e-12).all(1)
    assert alike[:200].all() and not alike[200:].any()


def test_without_differences_to_see_decisions_step_on_their_own() -> None:
    blind, seeing = proposals(), proposals()
    seeing.see(np.zeros((4, 3)))
    near = [given.near(PLANS[0], 0.4, 0.75) for given in (blind, seeing)]
    assert np.array_equal(*near)
    assert np.array_equal(*[given.around(PLANS, 50) for given in (blind, seeing)])


def test_the_distance_between_the_survivors_is_that_of_the_next() -> None:
    free = proposals(replace(CHOICES, cost=lambda ratios: 0.1 * chain_cost(ratios)))
    close = np.array([[0.5, 0.5, 0.5, 0.5], [0.5, 0.5, 0.5, 0.4]])
    steps = np.log(free.between(close, 500) / 0.5)
    assert np.abs(steps[:, :3]).max() < 0.1 < np.abs(steps[:, 3]).max()


def test_what_is_executed_is_at_a_level_and_within_the_budget() -> None:
    executed = proposals().executable(np.array([0.93, 0.71, 0.55, 0.62]))
    assert set(executed.tolist()) <= set(LEVELS)
    assert chain_cost(executed) <= 1
