from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from toy_tasks import Knapsack, context

from agmc.agents import DDPG, TD3

Build = Callable[..., DDPG | TD3]
both = pytest.mark.parametrize("build", [DDPG, TD3])


@both
def test_the_executed_action_is_what_is_remembered(build: Build) -> None:
    agent = build(context(num_episodes=4), warmup_share=0.5)
    episode, proposals = Knapsack().play(agent, explore=True)
    executed = {round(action, 5) for action in episode.actions.tolist()}
    assert executed != {round(action, 5) for action in proposals}
    agent.observe(episode)
    batch = agent.replay.sample(100, generator=torch.Generator().manual_seed(0))
    assert {round(action, 5) for action in batch.actions[:, 0].tolist()} == executed


@both
def test_the_warmup_is_uniform_and_learns_nothing(build: Build) -> None:
    agent = build(context(num_episodes=8, num_decisions=4), warmup_share=0.5)
    before = copy.deepcopy(agent.networks.state_dict())
    draws = torch.tensor([agent.act(torch.zeros(5)) for _ in range(1000)])
    assert draws.std().item() == pytest.approx(12**-0.5, rel=0.05)
    Knapsack().search(agent, 4)
    after = agent.networks.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    agent.begin_episode(4)
    agent.observe(Knapsack().play(agent, explore=True)[0])
    assert not any(torch.equal(before[name], after[name]) for name in before)


@both
def test_draws_lie_around_the_policy_with_the_scheduled_sigma(build: Build) -> None:
    agent = build(context(num_episodes=8), final_sigma=0.01)
    agent.begin_episode(7)
    mean = agent.act(torch.ones(5), explore=False)
    draws = torch.tensor([agent.act(torch.ones(5)) for _ in range(1000)])
    assert draws.mean().item() == pytest.approx(mean, abs=0.002)
    assert draws.std().item() == pytest.approx(0.01, rel=0.1)


@both
def test_the_replay_holds_the_given_number_of_episodes(build: Build) -> None:
    agent = build(context(num_episodes=8), replay_episodes=3, warmup_share=0.75)
    Knapsack().search(agent, 5)
    assert len(agent.replay) == 3 * 4
