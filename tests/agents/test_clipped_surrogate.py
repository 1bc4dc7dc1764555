from __future__ import annotations

import pytest
import torch

from agmc.agents.clipped_surrogate import ClippedSurrogate, advantages
from agmc.agents.gaussian_policy import GaussianPolicy, Trajectory, log_likelihood

VALUES = torch.tensor([1.0, 2.0, 4.0])


def test_advantages_with_decay_one_are_returns_minus_values() -> None:
    assert advantages(VALUES, 5.0, 1.0, 1.0).tolist() == [4.0, 3.0, 1.0]
    discounted = advantages(VALUES, 5.0, 0.5, 1.0)
    assert discounted.tolist() == pytest.approx([0.25, 0.5, 1.0])


def test_advantages_with_decay_zero_are_the_errors_of_one_step() -> None:
    assert advantages(VALUES, 5.0, 1.0, 0.0).tolist() == [1.0, 2.0, 1.0]


def test_advantages_between_sum_the_errors_with_their_decay() -> None:
    found = advantages(VALUES, 5.0, 0.5, 0.5)
    deltas = [0.5 * 2 - 1, 0.5 * 4 - 2, 5.0 - 4]
    expected = [deltas[0] + deltas[1] / 4 + deltas[2] / 16, deltas[1] + deltas[2] / 4]
    assert found.tolist() == pytest.approx([*expected, deltas[2]])


def _learnt(clip_range: float, epochs: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Means and ratios after one batch: the draw above the mean was the better one."""
    policy = GaussianPolicy(1, 1, 16, None, torch.Generator().manual_seed(0))
    surrogate = ClippedSurrogate(
        policy,
        learning_rate=0.01,
        discount=1.0,
        gae_decay=1.0,
        clip_range=clip_range,
        value_weight=0.5,
        epochs=epochs,
    )
    seen = torch.ones(2, 1)
    with torch.no_grad():
        mean, _ = policy(seen)
    batch = [
        Trajectory(seen[:1], mean[:1] + 0.1, 0.2, 1.0),
        Trajectory(seen[:1], mean[:1] - 0.1, 0.2, 0.0),
    ]
    draws = torch.cat([one.draws for one in batch])
    sigmas = torch.full((2,), 0.2)
    surrogate.learn(batch)
    with torch.no_grad():
        after, _ = policy(seen)
    ratio = log_likelihood(draws, after, sigmas) - log_likelihood(draws, mean, sigmas)
    return after - mean, ratio.exp()


def test_the_better_draw_becomes_likelier_until_the_clip_ends_the_profit() -> None:
    moved, ratio = _learnt(clip_range=0.1, epochs=40)
    assert moved.min() > 0
    assert ratio[0] > 1 > ratio[1]
    # Adam's momentum carries a little past the clip.
    assert ratio[0] < 1.25
    free, _ = _learnt(clip_range=100.0, epochs=40)
    assert free.min() > 2 * moved.max()
