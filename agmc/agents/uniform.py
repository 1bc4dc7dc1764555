"""The uniform baseline: every decision keeps the same share."""

from __future__ import annotations

from torch import Tensor

from agmc.agents.agent import Agent, AgentContext, Episode
from agmc.agents.goal_turns import goal_of_episode


class Uniform(Agent):
    """Proposes the context's `uniform_keep_ratios` step by step and learns nothing.

    Args:
        context: only `uniform_keep_ratios` is read, that of `goals` where there are
            several budgets.
    """

    def __init__(self, context: AgentContext) -> None:
        self._plans = [goal.uniform_keep_ratios for goal in context.goals]
        self._plans = self._plans or [context.uniform_keep_ratios]
        self._keep_ratios = self._plans[0]
        self._step = 0

    def begin_episode(self, index: int) -> None:
        """Every episode under the same budget is the same."""
        self._keep_ratios = self._plans[goal_of_episode(index, len(self._plans))]
        self._step = 0

    def act(self, observation: Tensor, explore: bool = True) -> float:
        """Return the keep ratio of the next decision, in (0, 1]."""
        self._step += 1
        return self._keep_ratios[self._step - 1]

    def observe(self, episode: Episode) -> None:
        """Nothing to learn."""
