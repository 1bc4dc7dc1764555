"""What agents refuse: knobs out of range, observations and policies gone wrong."""

from __future__ import annotations

import math

from torch import Tensor


def at_least(least: int, /, **counts: int) -> None:
    """Raise ValueError for a count below `least`."""
    for name, value in counts.items():
        if value < least:
            raise ValueError(f"{name} (={value}) must be at least {least}")


def positive(**numbers: float) -> None:
    """Raise ValueError for a number that is not positive and finite."""
    for name, value in numbers.items():
        if not 0.0 < value < math.inf:
            raise ValueError(f"{name} (={value}) must be positive and finite")


def not_negative(**numbers: float) -> None:
    """Raise ValueError for a number that is negative or not finite."""
    for name, value in numbers.items():
        if not 0.0 <= value < math.inf:
            raise ValueError(f"{name} (={value}) must be at least 0 and finite")


def share_above_zero(**shares: float) -> None:
    """Raise ValueError for a share outside (0, 1]."""
    for name, value in shares.items():
        if not 0.0 < value <= 1.0:
            raise ValueError(f"{name} (={value}) must lie in (0, 1]")


def share(**shares: float) -> None:
    """Raise ValueError for a share outside [0, 1]."""
    for name, value in shares.items():
        if not 0.0 <= value <= 1.0:
            raise ValueError(f"{name} (={value}) must lie in [0, 1]")


def observation_fits(observation: Tensor, observation_dim: int) -> None:
    """Raise ValueError for an observation that is not `[observation_dim]`."""
    if observation.shape != (observation_dim,):
        raise ValueError(
            f"observation has shape {tuple(observation.shape)}, expected "
            f"({observation_dim},); build the agent with the right observation_dim"
        )


def policy_is_finite(mean: Tensor) -> None:
    """Raise ValueError for a policy that answers with NaN."""
    if mean.isnan().any():
        raise ValueError(
            "the policy's action is NaN; check the observations for NaN or infinite "
            "values, or lower the learning rates"
        )


def episode_is_own(num_steps: int, num_explored: int) -> None:
    """Raise ValueError for an episode that an on-policy agent has not just played."""
    if num_steps != num_explored:
        raise ValueError(
            f"episode has {num_steps} steps, but the agent explored {num_explored} "
            "since it began; an on-policy agent learns from its own episodes only"
        )
