"""The random baseline: every action is drawn from U(0, 1)."""

from __future__ import annotations

import torch
from torch import Tensor

from agmc.agents.agent import Agent, AgentContext, Episode


class Random(Agent):
    """Proposes independent uniform actions from its own generator; learns nothing.

    Args:
        context: only `seed` is read.
    """

    def __init__(self, context: AgentContext) -> None:
        self._generator = torch.Generator().manual_seed(context.seed)

    def begin_episode(self, index: int) -> None:
        """Nothing to prepare: the draws simply go on."""

    def act(self, observation: Tensor, explore: bool = True) -> float:
        """Return a draw from U(0, 1); there is no greedy policy to ask for."""
        return torch.rand((), generator=self._generator).item()

    def observe(self, episode: Episode) -> None:
        """Nothing to learn."""
