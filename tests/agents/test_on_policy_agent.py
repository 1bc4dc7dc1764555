from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from toy_tasks import context

from agmc.agents import Episode
from agmc.agents.gaussian_policy import GaussianPolicy, Trajectory
from agmc.agents.on_policy_agent import OnPolicyAgent


class _Pupil(OnPolicyAgent):
    """Keeps what there is to learn."""

    def __init__(self, episodes_per_update: int = 1) -> None:
        super().__init__(
            context(2, 1, 10),
            episodes_per_update=episodes_per_update,
            initial_sigma=2.0,
            final_sigma=0.01,
        )
        self.policy = GaussianPolicy(2, 1, 8, None, torch.Generator().manual_seed(0))
        self.lessons: list[list[Trajectory]] = []

    def learn(self, batch: Sequence[Trajectory]) -> None:
        self.lessons.append(list(batch))


def test_the_draws_are_learnt_from_not_the_clipped_or_executed_actions() -> None:
    agent = _Pupil()
    agent.begin_episode(0)
    observations = torch.rand(50, 2)
    proposed = [agent.act(row) for row in observations]
    assert min(proposed) == 0.0
    assert max(proposed) == 1.0
    agent.observe(Episode(observations, torch.full((50,), 0.5), -1.0))
    ((played,),) = agent.lessons
    assert torch.equal(played.observations, observations)
    assert played.draws.shape == (50, 1)
    assert played.draws.clamp(0, 1)[:, 0].tolist() == pytest.approx(proposed)
    assert played.draws.min() < -0.5
    assert (played.sigma, played.reward) == (2.0, -1.0)


def test_each_episode_is_learnt_from_once_when_the_batch_is_full() -> None:
    agent = _Pupil(episodes_per_update=2)
    for index in range(5):
        agent.begin_episode(index)
        agent.act(torch.zeros(2))
        agent.observe(Episode(torch.zeros(1, 2), torch.zeros(1), float(index)))
    rewards = [[one.reward for one in batch] for batch in agent.lessons]
    assert rewards == [[0.0, 1.0], [2.0, 3.0]]


def test_sigma_falls_over_the_search() -> None:
    agent = _Pupil()
    agent.begin_episode(9)
    proposed = torch.tensor([agent.act(torch.ones(2)) for _ in range(500)])
    assert proposed.std().item() == pytest.approx(0.01, rel=0.1)


def test_episodes_of_others_are_refused() -> None:
    agent = _Pupil()
    agent.begin_episode(0)
    agent.act(torch.zeros(2))
    agent.act(torch.zeros(2), explore=False)
    with pytest.raises(ValueError, match="2 steps, but the agent explored 1"):
        agent.observe(Episode(torch.zeros(2, 2), torch.zeros(2), 0.0))
    agent.begin_episode(1)
    with pytest.raises(ValueError, match="1 steps, but the agent explored 0"):
        agent.observe(Episode(torch.zeros(1, 2), torch.zeros(1), 0.0))
