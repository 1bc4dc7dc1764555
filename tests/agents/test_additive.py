from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from agent_plans import LEVELS, chain_cost, context, play

from agmc.agents import Additive
from agmc.agents.additive import additive_optimum

WEIGHTS = np.array([4.0, 1.0, 0.2, 2.0])


def additive(plan: np.ndarray) -> float:
    return float(-(WEIGHTS * (1 - plan) ** 2).sum())


def test_the_program_finds_the_best_of_all_plans() -> None:
    levels = (LEVELS[::3],) * 4
    losses = [w * (1 - np.array(levels[0])) ** 2 for w in WEIGHTS]
    plans = np.array(list(itertools.product(*levels)))
    within = plans[chain_cost(plans) <= 1]
    best = max(map(additive, within))
    found = np.array(additive_optimum(levels, losses, chain_cost))
    assert chain_cost(found) <= 1 + 1e-6
    assert additive(found) == pytest.approx(best, abs=1e-6)


def test_many_levels_are_thinned_out_but_the_ends_stay() -> None:
    levels = (tuple(np.linspace(0.01, 1, 100).tolist()),) * 2
    losses = [1 - np.array(levels[0])] * 2
    free = additive_optimum(levels, losses, lambda x: np.zeros(np.shape(x)[:-1]))
    assert free == (1.0, 1.0)
    tight = additive_optimum(levels, losses, lambda x: x.sum(-1) / 0.021, max_levels=3)
    assert tight == pytest.approx((0.01, 0.01))


def test_what_cannot_be_met_is_said() -> None:
    with pytest.raises(ValueError, match="found no plan"):
        additive_optimum((LEVELS,), [np.zeros(10)], lambda x: 2 + x.sum(-1))


def test_a_budget_that_does_not_add_up_is_refused_before_anything_is_measured() -> None:
    summed = context()
    peak = replace(summed.choices, cost=lambda ratios: 2 * np.max(ratios, axis=-1))
    with pytest.raises(ValueError, match="adds up over decisions.*agent=greedy"):
        Additive(replace(summed, choices=peak))


def test_the_agent_plays_the_optimum_of_what_it_measured() -> None:
    agent = Additive(context(num_episodes=41), max_levels=10)
    played = play(agent, additive, 41)
    (plan, reward), *rest = played
    assert not rest or all(other == (plan, reward) for other in rest)
    assert chain_cost(np.array(plan)) <= 1
    uniform = np.full(4, context().uniform_keep_ratios[0])
    assert reward > additive(uniform)


def test_several_limits_do_not_add_up() -> None:
    summed = context()

    def cost(ratios: np.ndarray) -> np.ndarray:
        return np.maximum(chain_cost(ratios), 1.2 * np.asarray(ratios).mean(-1))

    with pytest.raises(ValueError, match="one of several limits does not"):
        Additive(replace(summed, choices=replace(summed.choices, cost=cost)))
