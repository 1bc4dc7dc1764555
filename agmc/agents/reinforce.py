"""REINFORCE with a running baseline, as N2N learning and its followers use it."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from agmc.agents import checks
from agmc.agents.actor_critic import trainable
from agmc.agents.agent import AgentContext
from agmc.agents.baseline import RunningBaseline
from agmc.agents.gaussian_policy import GaussianPolicy, Trajectory, log_likelihood
from agmc.agents.on_policy_agent import OnPolicyAgent


class Reinforce(OnPolicyAgent):
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
        checks.positive(learning_rate=learning_rate)
        checks.share_above_zero(baseline_rate=baseline_rate)
        super().__init__(
            context,
            episodes_per_update=episodes_per_update,
            initial_sigma=initial_sigma,
            final_sigma=final_sigma,
        )
        self.policy = GaussianPolicy(
            context.observation_dim, 1, hidden_dim, context.encoder, self._generator
        )
        self._adam = torch.optim.Adam(trainable(self.policy), lr=learning_rate)
        self._baseline = RunningBaseline(baseline_rate)

    def learn(self, batch: Sequence[Trajectory]) -> None:
        """Climb the likelihood of what was better than the baseline."""
        mean_reward = sum(one.reward for one in batch) / len(batch)
        before = self._baseline.value
        # The first batch is its own baseline.
        baseline = mean_reward if before is None else before
        self._baseline.follow(mean_reward)
        objective = torch.zeros(())
        for one in batch:
            means, _ = self.policy(one.observations)
            sigmas = torch.full((len(means),), one.sigma)
            likelihood = log_likelihood(one.draws, means, sigmas).sum()
            objective = objective + (one.reward - baseline) * likelihood
        self._adam.zero_grad()
        (-objective / len(batch)).backward()
        self._adam.step()
