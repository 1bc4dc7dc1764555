"""REINFORCE with a running baseline, as N2N learning and its followers use it."""

from __future__ import annotations

import torch
from torch import Tensor

from agmc.agents import checks
from agmc.agents.actor_critic import trainable
from agmc.agents.agent import Agent, AgentContext, Episode
from agmc.agents.baseline import RunningBaseline
from agmc.agents.exploration import NoiseSchedule
from agmc.agents.gaussian_policy import (
    DrawnActions,
    GaussianPolicy,
    Trajectory,
    log_likelihood,
)


class Reinforce(Agent):
    """REINFORCE (Williams, 1992) with the running baseline of N2N (ICLR 2018).

    Once in `episodes_per_update` episodes the policy climbs

        mean over the episodes of (r - b) * sum_t log pi(a_t | s_t)

    where r is the reward of the episode and b an exponential moving average of the
    batches' mean rewards, without the present one. N2N takes 5 students an iteration;
    unlike its code, each episode here is weighed with its own reward.

    The policy is that of `PPO`, its value unused; so are the draws learnt from.

    Args:
        context: dimensions, number of episodes, seed and optional encoder.
        hidden_dim: width of the two hidden layers of the policy, >= 1.
        learning_rate: Adam's, of policy and encoder, > 0.
        baseline_rate: share in (0, 1] by which the baseline follows each batch.
        episodes_per_update: episodes in a batch, >= 1.
        initial_sigma: noise in the first episode, > 0, in action units.
        final_sigma: noise in the last episode, in (0, initial_sigma].

    Raises:
        ValueError: for a number outside its range or an encoder of the wrong shape.
    """

    on_policy = True

    def __init__(
        self,
        context: AgentContext,
        *,
        hidden_dim: int = 64,
        learning_rate: float = 3e-3,
        baseline_rate: float = 0.5,
        episodes_per_update: int = 5,
        initial_sigma: float = 0.5,
        final_sigma: float = 0.05,
    ) -> None:
        checks.at_least(
            1, hidden_dim=hidden_dim, episodes_per_update=episodes_per_update
        )
        checks.positive(learning_rate=learning_rate)
        checks.share_above_zero(baseline_rate=baseline_rate)
        schedule = NoiseSchedule(context.num_episodes, 0.0, initial_sigma, final_sigma)
        self._episodes_per_update = episodes_per_update
        generator = torch.Generator().manual_seed(context.seed)
        self.policy = GaussianPolicy(
            context.observation_dim, 1, hidden_dim, context.encoder, generator
        )
        self._adam = torch.optim.Adam(trainable(self.policy), lr=learning_rate)
        self._baseline = RunningBaseline(baseline_rate)
        self._actions = DrawnActions(
            self.policy, context.observation_dim, schedule, generator
        )
        self._batch: list[Trajectory] = []

    def begin_episode(self, index: int) -> None:
        """Set the exploration to that of episode `index`, counted from 0."""
        self._actions.begin_episode(index)

    def act(self, observation: Tensor, explore: bool = True) -> float:
        """Propose an action in [0, 1] for one observation `[observation_dim]`.

        The greedy policy (`explore=False`) draws no random number.

        Raises:
            ValueError: for an observation of the wrong shape or with NaN in it.
        """
        return self._actions.act(observation, explore)

    def observe(self, episode: Episode) -> None:
        """Remember the episode; learn when the batch is full.

        Raises:
            ValueError: for an episode that this agent has not just explored.
        """
        self._batch.append(self._actions.finish(episode))
        if len(self._batch) == self._episodes_per_update:
            self._learn()
            self._batch = []

    def _learn(self) -> None:
        mean_reward = sum(one.reward for one in self._batch) / len(self._batch)
        before = self._baseline.value
        # The first batch is its own baseline.
        baseline = mean_reward if before is None else before
        self._baseline.follow(mean_reward)
        objective = torch.zeros(())
        for one in self._batch:
            means, _ = self.policy(one.observations)
            sigmas = torch.full((len(means),), one.sigma)
            likelihood = log_likelihood(one.draws, means, sigmas).sum()
            objective = objective + (one.reward - baseline) * likelihood
        self._adam.zero_grad()
        (-objective / len(self._batch)).backward()
        self._adam.step()
