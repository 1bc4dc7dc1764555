from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from agent_plans import LEVELS, chain_cost, context, play, probes_of

from agmc.agents import Greedy
from agmc.agents.greedy import greedy_plan

WEIGHTS = np.array([4.0, 1.0, 0.2, 2.0])


def test_it_stops_as_soon_as_the_budget_is_met() -> None:
    losses = [weight * (1 - np.array(LEVELS)) for weight in WEIGHTS]
    plan = np.array(greedy_plan((LEVELS,) * 4, losses, chain_cost))
    assert chain_cost(plan) <= 1
    assert plan[2] == LEVELS[0] and plan[0] == 1  # the cheapest went first
    raised = plan.copy()
    raised[np.argmin(np.where(plan < 1, WEIGHTS, np.inf)[:2])] = 1
    assert chain_cost(raised) > 1


def test_steps_that_gain_come_first() -> None:
    levels = ((0.5, 1.0), (0.5, 1.0))
    losses = [np.array([-0.1, 0.0]), np.array([0.1, 0.0])]
    assert greedy_plan(levels, losses, lambda x: x.sum(-1) / 1.6) == (0.5, 1.0)


def test_everything_goes_down_where_nothing_suffices() -> None:
    levels = ((0.5, 1.0), (0.5, 1.0))
    plan = greedy_plan(levels, [np.zeros(2)] * 2, lambda x: 2 + x.sum(-1))
    assert plan == (0.5, 0.5)


def test_without_a_limit_there_is_nothing_to_go_down_to() -> None:
    limited = context()
    free = replace(limited.choices, cost=lambda ratios: np.zeros(np.shape(ratios)[:-1]))
    with pytest.raises(ValueError, match="until a limit is met, and there is none"):
        Greedy(replace(limited, choices=free))


def test_the_agent_measures_and_then_plays_one_plan() -> None:
    agent = Greedy(context(num_episodes=60))
    played = play(agent, lambda plan: -(WEIGHTS * (1 - plan)).sum(), 60)
    assert len(played) == 60 - len(probes_of(agent))
    assert len({plan for plan, _ in played}) == 1
