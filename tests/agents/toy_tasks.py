"""Two tasks with a known optimum, and what an agent makes of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import nn

from agmc.agents import Agent, AgentContext, Episode


def context(
    observation_dim: int = 5,
    num_decisions: int = 4,
    num_episodes: int = 20,
    seed: int = 0,
    encoder: nn.Module | None = None,
) -> AgentContext:
    return AgentContext(
        observation_dim,
        num_decisions,
        num_episodes,
        seed,
        (0.5,) * num_decisions,
        encoder,
    )


class Knapsack:
    """Maximise sum(value * sqrt(share)) under sum(cost * share) = budget.

    Shares lie in [.1, 1]. Where no border is active, Lagrange asks for
    value / (2 * sqrt(share)) = multiplier * cost; the values are made so that
    `shares` fulfil it with multiplier 1, by default at
    .2 * (.95 + .12 + .95) + .4 * .2 = .484. The uniform share has 92 % of the optimum.
    """

    least = 0.1

    def __init__(
        self,
        shares: Sequence[float] = (0.95, 0.12, 0.95, 0.2),
        cost: Sequence[float] = (0.2, 0.2, 0.2, 0.4),
    ) -> None:
        self.shares = torch.tensor(shares)
        self.cost = torch.tensor(cost)
        self.value = 2 * self.cost * self.shares.sqrt()
        self.budget = float(self.cost @ self.shares)
        self.optimum = float(self.value @ self.shares.sqrt())

    def play(self, agent: Agent, explore: bool) -> tuple[Episode, list[float]]:
        """One begun episode, with the executed actions, and the proposed ones."""
        used, rest, length = 0.0, float(self.cost.sum()), len(self.cost)
        observations, actions, proposals = [], [], []
        items = zip(self.value.tolist(), self.cost.tolist(), strict=True)
        for t, (value, cost) in enumerate(items):
            rest -= cost
            observation = torch.tensor(
                [t / length, value, cost, used / self.budget, rest]
            )
            proposals.append(agent.act(observation, explore))
            assert 0.0 <= proposals[-1] <= 1.0
            upper = min(1.0, (self.budget - used - self.least * rest) / cost)
            lower = max(self.least, (self.budget - used - rest) / cost)
            actions.append(max(min(proposals[-1], upper), lower))
            used += cost * actions[-1]
            observations.append(observation)
        assert used == pytest.approx(self.budget, rel=1e-4)
        executed = torch.tensor(actions)
        reward = float(self.value @ executed.sqrt())
        return Episode(torch.stack(observations), executed, reward), proposals

    def search(
        self,
        agent: Agent,
        num_episodes: int,
        between: Callable[[], object] = lambda: None,
    ) -> list[Episode]:
        """Train for some episodes; `between` is called all over the place."""
        episodes = []
        for index in range(num_episodes):
            agent.begin_episode(index)
            between()
            episodes.append(self.play(agent, explore=True)[0])
            between()
            agent.observe(episodes[-1])
        return episodes

    def share_of_optimum(self, agent: Agent, num_episodes: int) -> float:
        """Train, then what the greedy policy reaches of the optimum."""
        self.search(agent, num_episodes)
        agent.begin_episode(num_episodes)
        share = self.play(agent, explore=False)[0].reward / self.optimum
        assert share <= 1.0001
        return share


def identity_error(agent: Agent, num_episodes: int, num_decisions: int = 3) -> float:
    """Train where the best action is the observation; the mean error of the greedy one.

    The best constant is off by 0.22.
    """
    generator = torch.Generator().manual_seed(1)
    for index in range(num_episodes):
        agent.begin_episode(index)
        observations = torch.rand(num_decisions, 1, generator=generator)
        actions = torch.tensor([agent.act(row) for row in observations])
        error = (actions - observations[:, 0]).abs().mean().item()
        agent.observe(Episode(observations, actions, 1.0 - error))
    wanted = torch.linspace(0.1, 0.9, 9)
    greedy = []
    for row in wanted[:, None]:
        agent.begin_episode(num_episodes)
        greedy.append(agent.act(row, explore=False))
    return (torch.tensor(greedy) - wanted).abs().mean().item()
