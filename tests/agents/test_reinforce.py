from __future__ import annotations

import torch
from toy_tasks import context

from agmc.agents import Episode, Reinforce


def _batch(agent: Reinforce, rewards: list[float]) -> float:
    """Play a batch of one-step episodes; how far the mean moved towards the last."""
    seen = torch.zeros(1, 5)
    before = agent.act(seen[0], explore=False)
    direction = 0.0
    for index, reward in enumerate(rewards):
        agent.begin_episode(index)
        # Sigma is small, so no draw is clipped.
        direction = agent.act(seen[0]) - before
        agent.observe(Episode(seen, torch.tensor([0.5]), reward))
    moved = agent.act(seen[0], explore=False) - before
    return moved * (1 if direction > 0 else -1)


def _agent(episodes_per_update: int) -> Reinforce:
    return Reinforce(
        context(num_decisions=1),
        episodes_per_update=episodes_per_update,
        initial_sigma=0.05,
        final_sigma=0.05,
    )


def test_the_first_batch_is_its_own_baseline() -> None:
    # One episode a batch: its reward is the baseline, nothing is to be learnt.
    assert _batch(_agent(1), [7.0]) == 0.0


def test_later_batches_are_weighed_against_the_ones_before() -> None:
    better, worse = _agent(1), _agent(1)
    _batch(better, [1.0])
    _batch(worse, [1.0])
    assert _batch(better, [2.0]) > 1e-4
    assert _batch(worse, [0.0]) < -1e-4


def test_each_episode_is_weighed_with_its_own_reward() -> None:
    assert _batch(_agent(2), [0.0, 1.0]) > 1e-4
    assert _batch(_agent(2), [1.0, 0.0]) < -1e-4
