"""The policy of the on-policy agents: a normal distribution per action."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from agmc.agents import checks
from agmc.agents.actor_critic import feature_encoder, linear
from agmc.agents.agent import Episode
from agmc.agents.exploration import NoiseSchedule


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
        hidden_dim: width of the hidden layers.
        encoder: see `feature_encoder`.
        generator: draws the initial weights.
        lowest: bound of the means, < 1.

    Shapes:
        observations `[B, observation_dim]` -> means `[B, num_actions]`, values `[B]`.

    Raises:
        ValueError: when the encoder does not map to `[B, F]`.
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
        observations: float32 `[S, observation_dim]`.
        draws: float32 `[S, A]`, as drawn from the policy, not clipped.
        sigma: standard deviation of the draws, > 0.
        reward: at the end of the episode; before there is none.
    """

    observations: Tensor
    draws: Tensor
    sigma: float
    reward: float


class DrawnActions:
    """Plays a `GaussianPolicy`, one action a decision, and remembers its draws.

    Args:
        policy: of one action.
        observation_dim: length of one observation.
        schedule: of sigma, without a warm-up.
        generator: makes all draws.
    """

    def __init__(
        self,
        policy: GaussianPolicy,
        observation_dim: int,
        schedule: NoiseSchedule,
        generator: torch.Generator,
    ) -> None:
        self._policy = policy
        self._observation_dim = observation_dim
        self._schedule = schedule
        self._generator = generator
        self._sigma = schedule.initial_sigma
        self._draws: list[Tensor] = []

    def begin_episode(self, index: int) -> None:
        """Set sigma to that of episode `index`, counted from 0, and forget draws."""
        self._sigma = self._schedule.after_warmup(index)
        self._draws = []

    def act(self, observation: Tensor, explore: bool) -> float:
        """Propose an action in [0, 1]; the greedy policy draws no random number.

        Raises:
            ValueError: for an observation of the wrong shape or with NaN in it.
        """
        checks.observation_fits(observation, self._observation_dim)
        with torch.no_grad():
            mean, _ = self._policy(observation[None])
        checks.policy_is_finite(mean)
        if not explore:
            return float(mean.item())
        self._draws.append(draw(mean, self._sigma, generator=self._generator))
        return self._draws[-1].clamp(0.0, 1.0).item()

    def finish(self, episode: Episode) -> Trajectory:
        """Return the draws of an episode with its reward, and forget them.

        Raises:
            ValueError: for an episode that was not just explored.
        """
        checks.episode_is_own(len(episode.actions), len(self._draws))
        draws, self._draws = torch.cat(self._draws), []
        return Trajectory(episode.observations, draws, self._sigma, episode.reward)


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
