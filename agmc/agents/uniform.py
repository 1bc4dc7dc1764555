"""The uniform baseline: every decision keeps the same share."""

from __future__ import annotations

from torch import Tensor

from agmc.agents.agent import Agent, AgentContext, Episode


class Uniform(Agent):
    """Proposes the context's `uniform_keep_ratio` at every step and learns nothing.

    Args:
        context: only `uniform_keep_ratio` is read.
    """

    def __init__(self, context: AgentContext) -> None:
        self._keep_ratio = float(context.uniform_keep_ratio)

    def begin_episode(self, index: int) -> None:
        """Nothing to prepare: every episode is the same."""

    def act(self, observation: Tensor, explore: bool = True) -> float:
        """Return the fixed keep ratio, in (0, 1]."""
        return self._keep_ratio

    def observe(self, episode: Episode) -> None:
        """Nothing to learn."""
