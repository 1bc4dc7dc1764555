"""PPO with one action a decision."""

from __future__ import annotations

from collections.abc import Sequence

from agmc.agents import checks
from agmc.agents.agent import AgentContext
from agmc.agents.clipped_surrogate import ClippedSurrogate
from agmc.agents.gaussian_policy import GaussianPolicy, Trajectory
from agmc.agents.on_policy_agent import OnPolicyAgent


class PPO(OnPolicyAgent):
    """Proximal policy optimisation (Schulman et al., 2017), one scalar a decision.

    The policy draws each action from a normal distribution and learns, once in
    `episodes_per_update` episodes, from the episodes since the last time; see
    `ClippedSurrogate` for the formulas. The reward exists at the end of an episode
    alone, and the value of the next observation tells each step its share of it.

    An encoder in the context is trained in place by both terms of the loss. What is
    learnt from are the agent's own draws; `OnPolicyAgent` says why.

    Args:
        context: dimensions, number of episodes, seed and optional encoder.
        hidden_dim: width of the two hidden layers of policy and value, >= 1.
        learning_rate: Adam's, of policy, value and encoder, > 0.
        discount: of the value of the next step, in [0, 1].
        gae_decay: of later errors of the value in an advantage, in [0, 1]; 1 trusts
            the reward alone, 0 the value alone.
        clip_range: how far the ratio of new and old likelihood may leave 1 with
            profit, > 0.
        value_weight: of the value's error in the loss, > 0.
        epochs: gradient steps on each batch, >= 1.
        episodes_per_update: episodes in a batch, >= 2.
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
        discount: float = 1.0,
        gae_decay: float = 0.95,
        clip_range: float = 0.2,
        value_weight: float = 0.5,
        epochs: int = 10,
        episodes_per_update: int = 8,
        initial_sigma: float = 0.5,
        final_sigma: float = 0.05,
    ) -> None:
        checks.at_least(2, episodes_per_update=episodes_per_update)
        super().__init__(
            context,
            episodes_per_update=episodes_per_update,
            initial_sigma=initial_sigma,
            final_sigma=final_sigma,
        )
        self.policy = GaussianPolicy(
            context.observation_dim, 1, hidden_dim, context.encoder, self._generator
        )
        self._surrogate = ClippedSurrogate(
            self.policy,
            learning_rate=learning_rate,
            discount=discount,
            gae_decay=gae_decay,
            clip_range=clip_range,
            value_weight=value_weight,
            epochs=epochs,
        )

    def learn(self, batch: Sequence[Trajectory]) -> None:
        """Climb the clipped surrogate."""
        self._surrogate.learn(batch)
