from __future__ import annotations

import pytest
import torch

from agmc.agents.exploration import NoiseSchedule, truncated_normal


def test_sigma_falls_from_the_first_to_the_last_episode_after_the_warmup() -> None:
    # 8 episodes: 0-1 warm up, 2-7 decay by (1/32) ** (1/5) = 1/2 an episode.
    schedule = NoiseSchedule(8, 0.25, 0.5, 0.015625)
    assert schedule.warmup_episodes == 2
    assert schedule.sigma(0) is None
    assert schedule.sigma(1) is None
    sigmas = [schedule.sigma(index) for index in range(2, 8)]
    assert sigmas == pytest.approx([0.5, 0.25, 0.125, 0.0625, 0.03125, 0.015625])
    assert schedule.sigma(100) == pytest.approx(0.015625)
    assert [schedule.after_warmup(index) for index in range(2, 8)] == sigmas


@pytest.mark.parametrize("num_episodes", [1, 2, 200, 800])
def test_sigma_ends_at_the_final_value_whatever_the_length(num_episodes: int) -> None:
    schedule = NoiseSchedule(num_episodes, 0.25, 0.5, 0.02)
    assert schedule.sigma(schedule.warmup_episodes) == pytest.approx(0.5)
    assert schedule.sigma(max(num_episodes - 1, 1)) == pytest.approx(0.02)


def test_the_warmup_leaves_an_episode_for_the_policy() -> None:
    assert NoiseSchedule(5, 0.99, 0.5, 0.02).warmup_episodes == 4
    assert NoiseSchedule(5, 0.0, 0.5, 0.02).warmup_episodes == 0


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ((10, 1.0, 0.5, 0.02), "warmup_share"),
        ((10, -0.1, 0.5, 0.02), "warmup_share"),
        ((10, 0.25, 0.5, 0.0), "final_sigma"),
        ((10, 0.25, 0.5, 0.6), "final_sigma"),
    ],
)
def test_schedules_out_of_range_are_refused(
    arguments: tuple[int, float, float, float], name: str
) -> None:
    with pytest.raises(ValueError, match=rf"{name} \(="):
        NoiseSchedule(*arguments)


@pytest.mark.parametrize(
    ("mean", "sigma", "expected"),
    [
        (0.5, 0.05, 0.5),
        # Half normals: the mean lies sigma * sqrt(2 / pi) from the border.
        (0.0, 0.1, 0.0797885),
        (1.0, 0.1, 0.9202115),
        # A very wide normal is uniform.
        (0.3, 100.0, 0.5),
    ],
)
def test_draws_follow_the_truncated_normal(
    mean: float, sigma: float, expected: float
) -> None:
    generator = torch.Generator().manual_seed(0)
    draws = torch.tensor(
        [truncated_normal(mean, sigma, generator=generator) for _ in range(4000)],
        dtype=torch.float64,
    )
    assert draws.min() >= 0.0
    assert draws.max() <= 1.0
    assert draws.mean().item() == pytest.approx(expected, abs=0.02)
    if mean == 0.5:
        assert draws.std().item() == pytest.approx(sigma, rel=0.05)


@pytest.mark.parametrize("mean", [0.0, 1.0])
def test_tiny_noise_at_the_border_stays_finite_and_near(mean: float) -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(200):
        draw = truncated_normal(mean, 1e-6, generator=generator)
        assert abs(draw - mean) < 1e-4
