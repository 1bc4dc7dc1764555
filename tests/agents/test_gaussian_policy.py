from __future__ import annotations

import pytest
import torch
from torch.distributions import Normal

from agmc.agents.gaussian_policy import (
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
