"""The uniform baseline: every decision keeps the same share."""

from __future__ import annotations

from torch import Tensor

from agmc.agents.agent import Agent, AgentContext, Episode


class Uniform(Agent):
    """Proposes the context's `uniform_keep_ratios` step by step and learns nothing.

    Args:
        context: only `uniform_keep_ratios` is read.
    """

    def __init__(self, context: AgentContext) -> None:
        self._keep_ratios = context.uniform_keep_ratios
        self._step = 0

    def begin_episode(self, index: int) -> None:
        """Every episode is the same."""
        self._step = 0

    def act(self, observation: Tensor, explore: bool = True) -> float:
        """Return the keep ratio of the next decision, in (0, 1]."""
        self._step += 1
        return self._keep_ratios[self._step - 1]

    def observe(self, episode: Episode) -> None:
        """Nothing to learn."""
