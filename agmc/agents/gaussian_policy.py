"""The policy of the on-policy agents: a normal distribution per action."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from agmc.agents import checks
from agmc.agents.actor_critic import feature_encoder, linear


class GaussianPolicy(nn.Module):
    """Encoder, then the mean of each action and the value of the observation.

    `features -> hidden -> tanh -> hidden -> tanh -> num_outputs`, twice: squashed by
    a sigmoid to means in [lowest, 1], and plain to one value. Sigma is not learnt but
    tied to the length of the search like DDPG's noise: a search of a few hundred
    episodes is too short to learn when to stop exploring.

    Actions are drawn without bounds and clipped where they are played; what is learnt
    from is the draw itself, as the clip belongs to the environment.

    Args:
        observation_dim: length of one observation.
        num_actions: means per observation, >= 1.
        hidden_dim: width of the hidden layers, >= 1.
        encoder: see `feature_encoder`.
        generator: draws the initial weights.
        lowest: bound of the means, < 1.

    Shapes:
        observations `[B, observation_dim]` -> means `[B, num_actions]`, values `[B]`.

    Raises:
        ValueError: when the encoder does not map to `[B, F]`, or for a hidden_dim
            out of range.
    """

    def __init__(
        self,
        observation_dim: int,
        num_actions: int,
        hidden_dim: int,
        encoder: nn.Module | None,
        generator: torch.Generator,
        *,
        lowest: float = 0.0,
    ) -> None:
        checks.at_least(1, hidden_dim=hidden_dim)
        super().__init__()
        self._lowest = lowest
        self.encoder, num_features = feature_encoder(encoder, observation_dim)
        self.mean = _perceptron(num_features, hidden_dim, num_actions, generator)
        self.value = _perceptron(num_features, hidden_dim, 1, generator)

    def forward(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        """Return means and values."""
        features = self.encoder(observations)
        share = torch.sigmoid(self.mean(features))
        means = self._lowest + (1.0 - self._lowest) * share
        return means, self.value(features)[:, 0]


def draw(means: Tensor, sigma: float, *, generator: torch.Generator) -> Tensor:
    """Draw from N(means, sigma), not clipped."""
    return means + sigma * torch.randn(means.shape, generator=generator)


def log_likelihood(actions: Tensor, means: Tensor, sigmas: Tensor) -> Tensor:
    """Return log N(actions; means, sigmas), summed over the actions of a row.

    Shapes:
        actions `[B, A]`, means `[B, A]`, sigmas `[B]` -> `[B]`.
    """
    sigmas = sigmas[:, None]
    deviations = (actions - means) / sigmas
    densities = -0.5 * deviations.square() - sigmas.log() - 0.5 * math.log(2 * math.pi)
    return densities.sum(dim=1)


@dataclass(frozen=True)
class Trajectory:
    """What a policy saw and drew in one episode of S steps, and what came of it.

    Attributes:
        observations: float32 `[S, observation_dim]`, what the policy was asked with.
        draws: float32 `[S, A]`, as drawn from the policy, not clipped.
        sigma: standard deviation of the draws, > 0.
        reward: at the end of the episode; before there is none.
    """

    observations: Tensor
    draws: Tensor
    sigma: float
    reward: float


def _perceptron(
    inputs: int, hidden: int, outputs: int, generator: torch.Generator
) -> nn.Sequential:
    return nn.Sequential(
        linear(inputs, hidden, generator),
        nn.Tanh(),
        linear(hidden, hidden, generator),
        nn.Tanh(),
        linear(hidden, outputs, generator),
    )
