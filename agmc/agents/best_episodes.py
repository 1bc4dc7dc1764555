"""A replay that goes on dreaming of the best episodes of the search."""

from __future__ import annotations

import torch

from agmc.agents.agent import Episode
from agmc.agents.replay import Replay, Transitions


class BestEpisodesReplay:
    """The latest episodes, and beside them the best of all.

    A share of each batch comes from the best episodes. Late in a search the ring of
    the latest holds little but near copies of one policy, and an early lucky find
    would be forgotten. With `elite_share` 0 this is the ring alone, number for number.

    An episode whose executed actions are among the best already is not kept twice.

    Args:
        recent_episodes: latest episodes kept, >= 1.
        num_decisions: steps of an episode.
        observation_dim: length of one observation.
        elite_share: share of a batch from the best episodes, in [0, 1].
        elite_episodes: best episodes kept, >= 1.
    """

    def __init__(
        self,
        recent_episodes: int,
        num_decisions: int,
        observation_dim: int,
        *,
        elite_share: float,
        elite_episodes: int,
    ) -> None:
        self._recent = Replay(recent_episodes * num_decisions, observation_dim)
        self._elite = Replay(elite_episodes * num_decisions, observation_dim)
        self._elite_share = elite_share
        self._elite_episodes = elite_episodes
        self._best: list[Episode] = []

    def __len__(self) -> int:
        """Steps of the latest episodes that are stored."""
        return len(self._recent)

    def add(self, episode: Episode) -> None:
        """Store every step of an episode with the reward of its end.

        Raises:
            ValueError: for an episode of the wrong length or width.
        """
        self._recent.add(episode)
        if self._elite_share == 0.0:
            return
        if any(torch.equal(episode.actions, best.actions) for best in self._best):
            return
        # Sorting is stable: of equals the first one stays.
        ranked = sorted([*self._best, episode], key=lambda known: -known.reward)
        self._best = ranked[: self._elite_episodes]
        if any(best is episode for best in self._best):
            self._elite.clear()
            for best in self._best:
                self._elite.add(best)

    def sample(self, batch_size: int, *, generator: torch.Generator) -> Transitions:
        """Draw steps with replacement, uniformly within either memory."""
        num_elite = round(self._elite_share * batch_size)
        if num_elite == 0:
            return self._recent.sample(batch_size, generator=generator)
        elite = self._elite.sample(num_elite, generator=generator)
        if num_elite == batch_size:
            return elite
        recent = self._recent.sample(batch_size - num_elite, generator=generator)
        return Transitions(
            *(torch.cat(pair) for pair in zip(recent, elite, strict=True))
        )
