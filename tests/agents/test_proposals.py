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


def test_the_distance_between_the_survivors_is_that_of_the_next() -> None:
    free = proposals(replace(CHOICES, cost=lambda ratios: 0.1 * chain_cost(ratios)))
    close = np.array([[0.5, 0.5, 0.5, 0.5], [0.5, 0.5, 0.5, 0.4]])
    steps = np.log(free.between(close, 500) / 0.5)
    assert np.abs(steps[:, :3]).max() < 0.1 < np.abs(steps[:, 3]).max()


def test_what_is_executed_is_at_a_level_and_within_the_budget() -> None:
    executed = proposals().executable(np.array([0.93, 0.71, 0.55, 0.62]))
    assert set(executed.tolist()) <= set(LEVELS)
    assert chain_cost(executed) <= 1
