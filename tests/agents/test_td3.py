from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from toy_tasks import Knapsack, context

from agmc.agents import TD3, Episode


class _Critic(nn.Module):
    """Values actions by a given function."""

    def __init__(self, slope: float, offset: float) -> None:
        super().__init__()
        self._slope, self._offset = slope, offset

    def forward(self, features: Tensor, actions: Tensor) -> Tensor:
        return self._slope * torch.relu(actions - 0.5) + self._offset


def _value_of_the_first_step(
    first: _Critic, second: _Critic, target_sigma: float = 1e-6
) -> list[float]:
    """What both critics learn where all reward is 0 and only the targets count.

    The target's actor says 0.5 whatever it sees.
    """
    agent = TD3(
        context(1, 2, 1),
        hidden_dim=32,
        warmup_share=0.0,
        critic_lr=3e-3,
        target_sigma=target_sigma,
        target_clip=0.25,
        actor_delay=10_000,
        updates_per_step=150,
    )
    for parameter in agent.targets.actor[-2].parameters():
        nn.init.zeros_(parameter)
    agent.targets.critic = first  # type: ignore[assignment]
    agent.targets.second_critic = second  # type: ignore[assignment]
    agent.begin_episode(0)
    agent.observe(Episode(torch.tensor([[0.0], [1.0]]), torch.full((2,), 0.5), 0.0))
    features, action = torch.zeros(1, 1), torch.full((1, 1), 0.5)
    with torch.no_grad():
        return [
            agent.networks.critic(features, action).item(),
            agent.networks.second_critic(features, action).item(),
        ]


def test_both_critics_learn_from_the_smaller_target() -> None:
    low, high = _Critic(0.0, -2.0), _Critic(0.0, 3.0)
    for pair in ((low, high), (high, low)):
        assert _value_of_the_first_step(*pair) == pytest.approx([-2.0] * 2, abs=0.1)


def test_the_action_of_the_target_is_smoothed_by_clipped_noise() -> None:
    ramp = _Critic(8.0, 0.0)
    assert _value_of_the_first_step(ramp, ramp) == pytest.approx([0.0] * 2, abs=0.05)
    # Noise far beyond the clip: half of the actions are 0.25, half 0.75.
    smoothed = _value_of_the_first_step(ramp, ramp, target_sigma=100.0)
    assert smoothed == pytest.approx([1.0] * 2, abs=0.25)


def test_actor_and_targets_move_with_the_delay_and_the_critics_always() -> None:
    agent = TD3(context(num_episodes=4), warmup_share=0.0, actor_delay=5, tau=1.0)
    start = copy.deepcopy(agent.networks)

    def moved(now: nn.Module, before: nn.Module) -> bool:
        pairs = zip(now.parameters(), before.parameters(), strict=True)
        return not all(torch.equal(*pair) for pair in pairs)

    Knapsack().search(agent, 1)  # four updates
    assert moved(agent.networks.critic, start.critic)
    assert moved(agent.networks.second_critic, start.second_critic)
    assert not moved(agent.networks.actor, start.actor)
    assert not moved(agent.targets, start)
    Knapsack().search(agent, 1)  # eight
    assert moved(agent.networks.actor, start.actor)
    assert moved(agent.targets.second_critic, start.second_critic)


def test_the_two_critics_start_differently() -> None:
    agent = TD3(context())
    features, actions = torch.rand(3, 5), torch.rand(3, 1)
    first = agent.networks.critic(features, actions)
    assert not torch.allclose(first, agent.networks.second_critic(features, actions))
