"""PPO with one action a decision."""

from __future__ import annotations

import torch
from torch import Tensor

from agmc.agents import checks
from agmc.agents.agent import Agent, AgentContext, Episode
from agmc.agents.clipped_surrogate import ClippedSurrogate
from agmc.agents.exploration import NoiseSchedule
from agmc.agents.gaussian_policy import DrawnActions, GaussianPolicy, Trajectory


class PPO(Agent):
    """Proximal policy optimisation (Schulman et al., 2017), one scalar a decision.

    The policy draws each action from a normal distribution and learns, once in
    `episodes_per_update` episodes, from the episodes since the last time; see
    `ClippedSurrogate` for the formulas. The reward exists at the end of an episode
    alone, and the value of the next observation tells each step its share of it.

    What is learnt from are the agent's own draws and not the executed actions: the
    surrogate needs their likelihood, and clipping and clamping belong to the
    environment. So each `observe` must follow the `act`s of its episode.

    An encoder in the context is trained in place by both terms of the loss. Every
    random number comes from a generator of this agent.

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

    on_policy = True

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
        checks.at_least(
            1,
            hidden_dim=hidden_dim,
            epochs=epochs,
        )
        checks.at_least(2, episodes_per_update=episodes_per_update)
        checks.positive(
            learning_rate=learning_rate,
            clip_range=clip_range,
            value_weight=value_weight,
        )
        checks.share(discount=discount, gae_decay=gae_decay)
        schedule = NoiseSchedule(context.num_episodes, 0.0, initial_sigma, final_sigma)
        self._episodes_per_update = episodes_per_update
        generator = torch.Generator().manual_seed(context.seed)
        self.policy = GaussianPolicy(
            context.observation_dim, 1, hidden_dim, context.encoder, generator
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
            self._surrogate.learn(self._batch)
            self._batch = []
