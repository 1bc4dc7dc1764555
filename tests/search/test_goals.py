from __future__ import annotations

import numpy as np
import pytest
from search_fakes import SIZES, make_env

from agmc.search.goals import goal_of


def test_a_budget_as_an_agent_sees_it():
    budget = make_env().budget
    choices = goal_of(budget).choices
    assert [levels[-1] for levels in choices.levels] == [1.0] * 3
    assert [len(levels) for levels in choices.levels] == [
        len(decision.counts) for decision in budget.space
    ]
    plans = np.array([[1.0, 1.0, 1.0], [0.5, 0.5, 0.5]])
    macs = budget.cost_model.evaluate("macs", np.rint(plans * SIZES).astype(int))
    assert np.allclose(choices.cost(plans), macs / budget.limits["macs"])


def test_a_clamped_plan_is_what_the_environment_would_do():
    env = make_env()
    asked = (0.9, 0.1, 0.8)
    env.reset()
    executed = [env.step(np.array([a]))[-1]["executed"] for a in asked]
    choices = goal_of(env.budget).choices
    assert choices.clamp(asked) == tuple(executed)
    assert choices.cost(np.array(executed)) <= 1


@pytest.mark.parametrize("ratio", [float("nan"), 1.7, -3.0])
def test_what_is_no_keep_ratio_is_refused(ratio):
    choices = goal_of(make_env().budget).choices
    for _ in range(2):
        with pytest.raises(ValueError, match=r"must be a keep ratio in \[0, 1\]"):
            choices.clamp((0.5, ratio, 0.5))
