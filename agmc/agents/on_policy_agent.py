"""What the on-policy agents have in common: all but what they learn from a batch."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from agmc.agents import checks
from agmc.agents.agent import Agent, AgentContext, Episode
from agmc.agents.exploration import NoiseSchedule
from agmc.agents.gaussian_policy import GaussianPolicy, Trajectory, draw
from agmc.agents.policy_state import load_state, state_of


class OnPolicyAgent(Agent):
    """Draws from a `GaussianPolicy` and learns from batches of its latest episodes.

    What is learnt from are the agent's own draws and not the executed actions: their
    likelihood is needed, and clipping and clamping belong to the environment. So each
    `observe` must follow the `act`s of its episode.

    Every random number comes from one generator of this agent.

    Args:
        context: number of episodes, dimension of the observations and seed.
        episodes_per_update: episodes in a batch, >= 1.
        initial_sigma: noise in the first episode, > 0, in action units.
        final_sigma: noise in the last episode, in (0, initial_sigma].

    Attributes:
        policy: what is trained; the agent itself builds it, with one action a
            decision where it does not override `act`.

    Raises:
        ValueError: for a number outside its range.
    """

    on_policy = True
    policy: GaussianPolicy

    def __init__(
        self,
        context: AgentContext,
        *,
        episodes_per_update: int,
        initial_sigma: float,
        final_sigma: float,
    ) -> None:
        checks.at_least(1, episodes_per_update=episodes_per_update)
        self._schedule = NoiseSchedule(
            context.num_episodes, 0.0, initial_sigma, final_sigma
        )
        self._sigma = initial_sigma
        self._observation_dim = context.observation_dim
        self._episodes_per_update = episodes_per_update
        self._generator = torch.Generator().manual_seed(context.seed)
        self._states: list[Tensor] = []
        self._draws: list[Tensor] = []
        self._batch: list[Trajectory] = []

    def begin_episode(self, index: int) -> None:
        """Set sigma to that of episode `index`, counted from 0, and forget draws."""
        self._sigma = self._schedule.after_warmup(index)
        self._states, self._draws = [], []

    def act(self, observation: Tensor, explore: bool = True) -> float:
        """Propose an action in [0, 1] for one observation `[observation_dim]`.

        The greedy policy (`explore=False`) draws no random number.

        Raises:
            ValueError: for an observation of the wrong shape or with NaN in it.
        """
        checks.observation_fits(observation, self._observation_dim)
        return self.decide(observation, explore).clamp(0.0, 1.0).item()

    def decide(self, state: Tensor, explore: bool) -> Tensor:
        """Ask the policy; what it draws where it explores is remembered.

        Shapes:
            state, the policy's input, `[S]` -> actions `[1, A]`, not clipped.

        Raises:
            ValueError: for a policy that answers with NaN.
        """
        with torch.no_grad():
            means, _ = self.policy(state[None])
        checks.policy_is_finite(means)
        if not explore:
            return means
        self._states.append(state)
        self._draws.append(draw(means, self._sigma, generator=self._generator))
        return self._draws[-1]

    def observe(self, episode: Episode) -> None:
        """Remember the episode; learn when the batch is full.

        Raises:
            ValueError: for an episode that this agent has not just explored.
        """
        checks.episode_is_own(len(episode.actions), self.num_explored())
        states, draws = torch.stack(self._states), torch.cat(self._draws)
        self._batch.append(Trajectory(states, draws, self._sigma, episode.reward))
        self._states, self._draws = [], []
        if len(self._batch) == self._episodes_per_update:
            self.learn(self._batch)
            self._batch = []

    def num_explored(self) -> int:
        """Return how many decisions were explored since the episode began."""
        return len(self._draws)

    def policy_state(self) -> Mapping[str, Tensor]:
        """Encoder, policy and value; see `Agent`."""
        return state_of(self.policy)

    def load_policy_state(self, state: Mapping[str, Tensor]) -> None:
        """Begin with these weights; see `Agent`."""
        load_state(self.policy, state)

    @abstractmethod
    def learn(self, batch: Sequence[Trajectory]) -> None:
        """Improve the policy by the episodes that it has just played."""
