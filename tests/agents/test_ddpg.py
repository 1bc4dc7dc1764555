from __future__ import annotations

import pytest
import torch
from torch import nn
from toy_tasks import Knapsack, context, identity_error

from agmc.agents import DDPG, Episode


def test_the_identity_is_learnt_through_an_encoder() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = nn.Sequential(nn.Linear(1, 16), nn.Tanh())
    given = context(1, 3, 200, encoder=encoder)
    assert identity_error(DDPG(given, actor_lr=1e-3), 200) < 0.06


def test_the_critic_learns_the_sum_of_what_is_to_come() -> None:
    # Rewards -1 and 1 with a baseline near 0: Q of the good action is near 1 at the
    # last step and near 2 at the one before, and opposite for the bad action.
    agent = DDPG(
        context(1, 2, 400),
        hidden_dim=32,
        warmup_share=0.0,
        baseline_rate=0.01,
        actor_lr=1e-12,
        tau=0.1,
        replay_episodes=400,
    )
    steps = torch.tensor([[0.0], [1.0]])
    for index in range(400):
        agent.begin_episode(index)
        good = float(index % 2)
        agent.observe(Episode(steps, torch.full((2,), good), 2 * good - 1))
    with torch.no_grad():
        last = agent.networks.critic(torch.ones(2, 1), torch.tensor([[0.0], [1.0]]))
    assert last[:, 0].tolist() == pytest.approx([-1.0, 1.0], abs=0.25)


def test_each_loss_reaches_every_parameter_of_the_encoder() -> None:
    def moved(actor_lr: float, critic_lr: float) -> list[bool]:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            encoder = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 6))
        before = [p.detach().clone() for p in encoder.parameters()]
        agent = DDPG(
            context(num_episodes=2, encoder=encoder),
            warmup_share=0.0,
            actor_lr=actor_lr,
            critic_lr=critic_lr,
        )
        agent.observe(Knapsack().play(agent, explore=True)[0])
        return [
            bool((p.detach() - old).abs().max() > 1e-6)
            for p, old in zip(encoder.parameters(), before, strict=True)
        ]

    assert moved(critic_lr=1e-20, actor_lr=1e-3) == [True] * 4
    assert moved(critic_lr=1e-3, actor_lr=1e-20) == [True] * 4
    assert moved(critic_lr=1e-20, actor_lr=1e-20) == [False] * 4
