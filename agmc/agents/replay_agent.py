"""What DDPG and TD3 have in common: all but the update itself."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import Generic, TypeVar

import torch
from torch import Tensor

from agmc.agents import checks
from agmc.agents.actor_critic import ActorCritic
from agmc.agents.agent import Agent, AgentContext, Episode
from agmc.agents.baseline import RunningBaseline
from agmc.agents.best_episodes import BestEpisodesReplay
from agmc.agents.exploration import NoiseSchedule, truncated_normal
from agmc.agents.policy_state import load_state, state_of
from agmc.agents.replay import Transitions

Networks = TypeVar("Networks", bound=ActorCritic)


class ReplayAgent(Agent, Generic[Networks]):
    """An actor that explores with falling noise and learns from remembered steps.

    `DDPG` says how; what differs between agents is the `update`, called with a batch of
    the memory.

    Args:
        context: dimensions, number of episodes, seed and optional encoder.
        build: the class of the networks.

    The knobs are described where they have a default, in `DDPG` and `TD3`.

    Attributes:
        networks: what is trained; they propose the actions.
        targets: a copy that follows slowly, without gradients.
        replay: the executed actions, with what was seen and earned.

    Raises:
        ValueError: for a number outside its range or an encoder of the wrong shape.
    """

    def __init__(
        self,
        context: AgentContext,
        build: type[Networks],
        *,
        hidden_dim: int,
        actor_lr: float,
        critic_lr: float,
        discount: float,
        tau: float,
        batch_size: int,
        replay_episodes: int,
        elite_share: float,
        elite_episodes: int,
        baseline_rate: float,
        warmup_share: float,
        initial_sigma: float,
        final_sigma: float,
        updates_per_step: int,
    ) -> None:
        checks.at_least(
            1,
            hidden_dim=hidden_dim,
            batch_size=batch_size,
            replay_episodes=replay_episodes,
            elite_episodes=elite_episodes,
            updates_per_step=updates_per_step,
        )
        checks.positive(actor_lr=actor_lr, critic_lr=critic_lr)
        checks.share_above_zero(tau=tau, baseline_rate=baseline_rate)
        checks.share(discount=discount, elite_share=elite_share)
        self._schedule = NoiseSchedule(
            context.num_episodes, warmup_share, initial_sigma, final_sigma
        )
        self._sigma = self._schedule.sigma(0)
        self._observation_dim = context.observation_dim
        self._discount = discount
        self._tau = tau
        self._batch_size = batch_size
        self._baseline = RunningBaseline(baseline_rate)
        self._updates_per_step = updates_per_step
        self._generator = torch.Generator().manual_seed(context.seed)
        self.networks = build(
            context.observation_dim, hidden_dim, context.encoder, self._generator
        )
        self.targets = copy.deepcopy(self.networks).requires_grad_(False)
        # The fused step is four times as fast as the default one on a CPU.
        self._actor_adam = torch.optim.Adam(
            self.networks.actor_parameters(), lr=actor_lr, fused=True
        )
        self._critic_adam = torch.optim.Adam(
            self.networks.critic_parameters(), lr=critic_lr, fused=True
        )
        self.replay = BestEpisodesReplay(
            replay_episodes,
            context.num_decisions,
            context.observation_dim,
            elite_share=elite_share,
            elite_episodes=elite_episodes,
        )

    def begin_episode(self, index: int) -> None:
        """Set the exploration to that of episode `index`, counted from 0."""
        self._sigma = self._schedule.sigma(index)

    def act(self, observation: Tensor, explore: bool = True) -> float:
        """Propose an action in [0, 1] for one observation `[observation_dim]`.

        The greedy policy (`explore=False`) draws no random number.

        Raises:
            ValueError: for an observation of the wrong shape or with NaN in it.
        """
        checks.observation_fits(observation, self._observation_dim)
        if explore and self._sigma is None:
            return torch.rand((), generator=self._generator).item()
        with torch.no_grad():
            mean: Tensor = self.networks(observation[None])
        checks.policy_is_finite(mean)
        if not explore or self._sigma is None:
            return mean.item()
        return truncated_normal(mean.item(), self._sigma, generator=self._generator)

    def observe(self, episode: Episode) -> None:
        """Remember the episode and, after the warm-up, learn from the memory."""
        self.replay.add(episode)
        if self._sigma is None:
            return
        for _ in range(self._updates_per_step * len(episode.actions)):
            self.update(self.replay.sample(self._batch_size, generator=self._generator))

    def policy_state(self) -> Mapping[str, Tensor]:
        """Encoder, actor and critics; see `Agent`."""
        return state_of(self.networks)

    def load_policy_state(self, state: Mapping[str, Tensor]) -> None:
        """Begin with these networks, and without a warm-up; see `Agent`."""
        load_state(self.networks, state)
        load_state(self.targets, state)
        self._schedule = replace(self._schedule, warmup_share=0.0)

    @abstractmethod
    def update(self, batch: Transitions) -> None:
        """Learn once from a batch of steps."""

    def follow(self) -> None:
        """Move the target networks by `tau` towards what is trained."""
        with torch.no_grad():
            for target, source in zip(
                self.targets.parameters(), self.networks.parameters(), strict=True
            ):
                target.lerp_(source, self._tau)


def descend(adam: torch.optim.Adam, loss: Tensor) -> None:
    """Do one step on what the optimiser holds, and on nothing else."""
    adam.zero_grad()
    # Named inputs spare the gradients that the other optimiser would need.
    loss.backward(inputs=adam.param_groups[0]["params"])
    adam.step()
