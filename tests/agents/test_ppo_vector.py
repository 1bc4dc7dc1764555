from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from toy_tasks import context

from agmc.agents import AgentContext, Choices, Episode, PPOVector


def _with_budget(limit: float, num_decisions: int = 4) -> AgentContext:
    """The mean keep ratio may be at most `limit`."""

    def cost(ratios: np.ndarray) -> np.ndarray:
        return np.asarray(ratios.mean(-1) / limit)

    def clamp(ratios: Sequence[float]) -> tuple[float, ...]:
        raise AssertionError("the environment clamps, not the agent")

    levels = ((0.5, 1.0),) * num_decisions
    uniform = (0.5,) * num_decisions
    choices = Choices(levels, cost, clamp)
    return AgentContext(5, num_decisions, 20, 0, uniform, choices=choices)


def _constant_share(agent: PPOVector, share: float) -> None:
    """Make the policy prune the same share of everything in every step."""
    last = agent.policy.mean[-1]
    torch.nn.init.zeros_(last.weight)
    # The inverse of the squashing to [-1, 1].
    torch.nn.init.constant_(
        last.bias, float(torch.logit(torch.tensor(share / 2 + 0.5)))
    )


def _greedy_plan(agent: PPOVector, num_decisions: int = 4) -> list[float]:
    agent.begin_episode(0)
    return [agent.act(torch.zeros(5), explore=False) for _ in range(num_decisions)]


@pytest.mark.parametrize(
    ("limit", "steps"), [(0.95, 1), (0.9, 1), (0.8, 3), (0.6, 5), (0.1, 5)]
)
def test_steps_multiply_until_the_budget_is_met_and_no_more_than_five(
    limit: float, steps: int
) -> None:
    agent = PPOVector(_with_budget(limit))
    _constant_share(agent, 0.1000001)
    assert _greedy_plan(agent) == pytest.approx([0.9**steps] * 4, abs=1e-5)


def test_without_choices_the_mean_of_the_uniform_plan_ends_the_steps() -> None:
    agent = PPOVector(context())  # uniform: 0.5
    _constant_share(agent, 0.25)
    assert _greedy_plan(agent) == pytest.approx([0.75**3] * 4, abs=1e-5)


def test_no_step_goes_below_the_least_and_none_above_one() -> None:
    agent = PPOVector(context(), min_keep_ratio=0.3)
    _constant_share(agent, 0.95)
    assert _greedy_plan(agent) == pytest.approx([0.3] * 4)
    _constant_share(agent, -0.5)
    assert _greedy_plan(agent) == [1.0] * 4


def test_one_vector_a_step_is_what_is_learnt_from() -> None:
    agent = PPOVector(context(), episodes_per_update=2)
    before = agent.policy.mean[0].weight.clone()
    for index in range(2):
        assert torch.equal(agent.policy.mean[0].weight, before)
        agent.begin_episode(index)
        for _ in range(4):
            agent.act(torch.zeros(5))
        agent.observe(Episode(torch.zeros(4, 5), torch.full((4,), 0.5), float(index)))
    assert not torch.equal(agent.policy.mean[0].weight, before)


def test_it_learns_from_its_own_whole_episodes_only() -> None:
    agent = PPOVector(context())
    episode = Episode(torch.zeros(4, 5), torch.full((4,), 0.5), 1.0)
    with pytest.raises(ValueError, match="4 steps, but the agent explored 0"):
        agent.observe(episode)
    agent.begin_episode(0)
    agent.act(torch.zeros(5))
    with pytest.raises(ValueError, match="4 steps, but the agent explored 1"):
        agent.observe(episode)
    for _ in range(3):
        agent.act(torch.zeros(5))
    with pytest.raises(ValueError, match="all 4 decisions are handed out"):
        agent.act(torch.zeros(5))
    agent.observe(episode)


@pytest.mark.parametrize("steps", [0, 6])
def test_the_published_number_of_steps_is_the_limit(steps: int) -> None:
    with pytest.raises(ValueError, match=rf"max_steps \(={steps}\) must lie in \[1, 5"):
        PPOVector(context(), max_steps=steps)
