"""A ring of the latest transitions, kept in preallocated tensors."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from agmc.agents.agent import Episode


class Transitions(NamedTuple):
    """A batch of B steps.

    Attributes:
        observations: float32 `[B, observation_dim]`.
        actions: float32 `[B, 1]`, executed.
        rewards: float32 `[B, 1]`, the reward at the end of the step's episode.
        next_observations: float32 `[B, observation_dim]`; meaningless where
            `continues` is 0, but finite.
        continues: float32 `[B, 1]`, 0 for the last step of an episode, else 1.
    """

    observations: Tensor
    actions: Tensor
    rewards: Tensor
    next_observations: Tensor
    continues: Tensor


class Replay:
    """The latest `capacity` steps; the oldest are overwritten first.

    Args:
        capacity: steps kept, >= 1.
        observation_dim: length of one observation.
    """

    def __init__(self, capacity: int, observation_dim: int) -> None:
        self._store = Transitions(
            torch.zeros(capacity, observation_dim),
            torch.zeros(capacity, 1),
            torch.zeros(capacity, 1),
            torch.zeros(capacity, observation_dim),
            torch.zeros(capacity, 1),
        )
        self._capacity = capacity
        self._next = 0
        self._size = 0

    def __len__(self) -> int:
        """Steps stored, at most the capacity."""
        return self._size

    def add(self, episode: Episode) -> None:
        """Store every step of an episode with the reward of its end.

        Raises:
            ValueError: for an episode that does not fit into the ring.
        """
        length, width = episode.observations.shape
        if not 1 <= length <= self._capacity:
            raise ValueError(
                f"an episode of {length} steps does not fit a replay of "
                f"{self._capacity}; build the agent with the right num_decisions"
            )
        if width != self._store.observations.shape[1]:
            raise ValueError(
                f"observations have {width} features, expected "
                f"{self._store.observations.shape[1]}; build the agent with the "
                "right observation_dim"
            )
        rows = (self._next + torch.arange(length)) % self._capacity
        following = episode.observations.roll(-1, dims=0)
        continues = torch.ones(length, 1)
        continues[-1] = 0.0
        self._store.observations[rows] = episode.observations
        self._store.actions[rows] = episode.actions[:, None]
        self._store.rewards[rows] = episode.reward
        self._store.next_observations[rows] = following
        self._store.continues[rows] = continues
        self._next = (self._next + length) % self._capacity
        self._size = min(self._size + length, self._capacity)

    def clear(self) -> None:
        """Forget everything."""
        self._next = self._size = 0

    def sample(self, batch_size: int, *, generator: torch.Generator) -> Transitions:
        """Draw steps uniformly, with replacement."""
        rows = torch.randint(self._size, (batch_size,), generator=generator)
        return Transitions(*(field.index_select(0, rows) for field in self._store))
