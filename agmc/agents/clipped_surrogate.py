"""What PPO learns with: advantages of whole episodes and the clipped surrogate."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from agmc.agents import checks
from agmc.agents.actor_critic import trainable
from agmc.agents.gaussian_policy import GaussianPolicy, Trajectory, log_likelihood


def advantages(values: Tensor, reward: float, discount: float, decay: float) -> Tensor:
    """Generalised advantage estimation (Schulman et al., ICLR 2016) of one episode.

        delta_t = r_t + discount * V_{t+1} - V_t
        A_t     = delta_t + discount * decay * A_{t+1}

    with r_t = 0 but for the last step, and V = A = 0 after it. With `decay` 1 this is
    the return minus the value, with 0 the error of one step.

    Shapes:
        values `[S]` -> advantages `[S]`.
    """
    following = torch.cat([values[1:], values.new_zeros(1)])
    deltas = discount * following - values
    deltas[-1] += reward
    found, after = torch.zeros_like(values), values.new_zeros(())
    for t in reversed(range(len(values))):
        after = deltas[t] + discount * decay * after
        found[t] = after
    return found


class ClippedSurrogate:
    """Proximal policy optimisation (Schulman et al., 2017) of a `GaussianPolicy`.

        ratio = pi(a | s) / pi_old(a | s)
        L = -E[min(ratio * A, clip(ratio, 1 - clip_range, 1 + clip_range) * A)]
            + value_weight * E[(V(s) - (A + V_old(s)))^2]

    with the advantages A normalised over the batch in the first term. The paper's
    entropy bonus is missing: sigma follows a schedule, and so the entropy does.

    Args:
        policy: trained in place, encoder included.
        learning_rate: Adam's, > 0.
        discount: of the next step, in [0, 1].
        gae_decay: see `advantages`, in [0, 1].
        clip_range: how far the ratio may leave 1 with profit, > 0.
        value_weight: of the value's error in the loss, > 0.
        epochs: gradient steps on each batch, >= 1.

    Raises:
        ValueError: for a number outside its range.
    """

    def __init__(
        self,
        policy: GaussianPolicy,
        *,
        learning_rate: float,
        discount: float,
        gae_decay: float,
        clip_range: float,
        value_weight: float,
        epochs: int,
    ) -> None:
        checks.at_least(1, epochs=epochs)
        checks.positive(
            learning_rate=learning_rate,
            clip_range=clip_range,
            value_weight=value_weight,
        )
        checks.share(discount=discount, gae_decay=gae_decay)
        self._policy = policy
        self._discount = discount
        self._gae_decay = gae_decay
        self._clip_range = clip_range
        self._value_weight = value_weight
        self._epochs = epochs
        self._adam = torch.optim.Adam(trainable(policy), lr=learning_rate, fused=True)

    def learn(self, trajectories: Sequence[Trajectory]) -> None:
        """Improve the policy by the episodes that it has just played."""
        observations = torch.cat([one.observations for one in trajectories])
        draws = torch.cat([one.draws for one in trajectories])
        lengths = [len(one.draws) for one in trajectories]
        sigmas = torch.tensor([one.sigma for one in trajectories]).repeat_interleave(
            torch.tensor(lengths)
        )
        with torch.no_grad():
            means, values = self._policy(observations)
            old = log_likelihood(draws, means, sigmas)
        gained = torch.cat(
            [
                advantages(part, one.reward, self._discount, self._gae_decay)
                for part, one in zip(values.split(lengths), trajectories, strict=True)
            ]
        )
        returns = gained + values
        gained = (gained - gained.mean()) / (gained.std(correction=0) + 1e-8)
        for _ in range(self._epochs):
            means, values = self._policy(observations)
            ratio = (log_likelihood(draws, means, sigmas) - old).exp()
            clipped = ratio.clamp(1.0 - self._clip_range, 1.0 + self._clip_range)
            surrogate = torch.minimum(ratio * gained, clipped * gained).mean()
            error = functional.mse_loss(values, returns)
            self._adam.zero_grad()
            (self._value_weight * error - surrogate).backward()
            self._adam.step()
