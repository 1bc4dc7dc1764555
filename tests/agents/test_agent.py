from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Any

import pytest
import torch
from agent_plans import context

from agmc.agents import (
    Additive,
    AgentContext,
    BlackBox,
    Episode,
    Goal,
    Greedy,
    PPOVector,
)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("observation_dim", 0),
        ("num_decisions", 0),
        ("num_episodes", 0),
        ("seed", -1),
        ("uniform_keep_ratios", (0.5, 0.0)),
        ("uniform_keep_ratios", (0.5, 1.5)),
    ],
)
def test_a_context_out_of_range_names_the_argument(name: str, value: object) -> None:
    good: dict[str, Any] = {
        "observation_dim": 3,
        "num_decisions": 2,
        "num_episodes": 4,
        "seed": 0,
        "uniform_keep_ratios": (0.5, 0.5),
    }
    AgentContext(**good)
    with pytest.raises(ValueError, match=re.escape(f"{name} (={value})")):
        AgentContext(**(good | {name: value}))


@pytest.mark.parametrize("reward", [math.nan, math.inf])
def test_a_reward_that_is_not_finite_is_refused(reward: float) -> None:
    with pytest.raises(ValueError, match="must be finite"):
        Episode(torch.zeros(2, 3), torch.zeros(2), reward)


@pytest.mark.parametrize("shape", [(3,), (2, 1)])
def test_actions_must_match_the_observations(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"\(2, 3\)"):
        Episode(torch.zeros(2, 3), torch.zeros(shape), 1.0)


@pytest.mark.parametrize("build", [Greedy, Additive, BlackBox, PPOVector])
def test_agents_of_one_budget_refuse_several(build) -> None:
    one = context()
    goal = Goal(one.uniform_keep_ratios, one.choices)
    build(replace(one, goals=(goal,)))
    with pytest.raises(ValueError, match="one budget at a time, and there are 2"):
        build(replace(one, goals=(goal, goal)))
