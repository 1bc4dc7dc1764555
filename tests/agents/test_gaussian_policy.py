from __future__ import annotations

import pytest
import torch
from torch.distributions import Normal

from agmc.agents import Episode
from agmc.agents.exploration import NoiseSchedule
from agmc.agents.gaussian_policy import (
    DrawnActions,
    GaussianPolicy,
    draw,
    log_likelihood,
)


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_means_lie_between_the_lowest_and_one() -> None:
    wide = 50 * torch.randn(200, 3, generator=_generator())
    for lowest in (0.0, -1.0):
        policy = GaussianPolicy(3, 2, 8, None, _generator(), lowest=lowest)
        torch.nn.init.constant_(policy.mean[-1].weight, 3.0)
        means, values = policy(wide)
        assert means.shape == (200, 2)
        assert values.shape == (200,)
        assert lowest <= means.min().item() < lowest + 0.05
        assert 0.95 < means.max().item() <= 1.0


def test_the_likelihood_is_that_of_independent_normals() -> None:
    actions, means = torch.rand(2, 4, 3, generator=_generator()).unbind()
    sigmas = torch.tensor([0.1, 0.5, 1.0, 2.0])
    expected = Normal(means, sigmas[:, None]).log_prob(actions).sum(dim=1)
    assert torch.allclose(log_likelihood(actions, means, sigmas), expected)


def test_draws_have_the_mean_and_sigma_asked_for() -> None:
    drawn = draw(torch.full((20_000,), 0.3), 0.5, generator=_generator())
    assert drawn.mean().item() == pytest.approx(0.3, abs=0.02)
    assert drawn.std().item() == pytest.approx(0.5, rel=0.03)
    assert drawn.min() < 0  # not clipped


def _drawn_actions() -> DrawnActions:
    policy = GaussianPolicy(2, 1, 8, None, _generator())
    schedule = NoiseSchedule(10, 0.0, 2.0, 0.01)
    return DrawnActions(policy, 2, schedule, _generator(1))


def test_the_draws_are_learnt_from_not_the_clipped_or_executed_actions() -> None:
    actions = _drawn_actions()
    actions.begin_episode(0)
    observations = torch.zeros(50, 2)
    proposed = [actions.act(row, explore=True) for row in observations]
    assert min(proposed) == 0.0
    assert max(proposed) == 1.0
    played = actions.finish(Episode(observations, torch.full((50,), 0.5), -1.0))
    assert played.draws.shape == (50, 1)
    assert played.draws.clamp(0, 1)[:, 0].tolist() == pytest.approx(proposed)
    assert played.draws.min() < -0.5
    assert (played.sigma, played.reward) == (2.0, -1.0)


def test_sigma_falls_over_the_search() -> None:
    actions = _drawn_actions()
    actions.begin_episode(9)
    proposed = torch.tensor([actions.act(torch.ones(2), True) for _ in range(500)])
    assert proposed.std().item() == pytest.approx(0.01, rel=0.1)


def test_episodes_of_others_are_refused() -> None:
    actions = _drawn_actions()
    actions.begin_episode(0)
    actions.act(torch.zeros(2), explore=True)
    actions.act(torch.zeros(2), explore=False)
    with pytest.raises(ValueError, match="2 steps, but the agent explored 1"):
        actions.finish(Episode(torch.zeros(2, 2), torch.zeros(2), 0.0))
    actions.begin_episode(1)
    with pytest.raises(ValueError, match="1 steps, but the agent explored 0"):
        actions.finish(Episode(torch.zeros(1, 2), torch.zeros(1), 0.0))
