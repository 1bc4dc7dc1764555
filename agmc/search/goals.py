"""goal_of: a budget as an agent sees it, in keep ratios."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from agmc.agents.agent import Choices, Goal
from agmc.search.bound import BoundBudget
from agmc.search.uniform import uniform_plan


def goal_of(bound: BoundBudget) -> Goal:
    """What an agent may know of the plans of one network under one budget."""
    sizes = np.array([decision.size for decision in bound.space])

    def cost(keep_ratios: np.ndarray) -> np.ndarray:
        counts = np.rint(np.asarray(keep_ratios) * sizes).astype(np.int64)
        return bound.usage(counts)

    def clamp(keep_ratios: Sequence[float]) -> tuple[float, ...]:
        return tuple((bound.clamp_plan(keep_ratios) / sizes).tolist())

    levels = tuple(tuple(n / d.size for n in d.counts) for d in bound.space)
    uniform = tuple(uniform_plan(bound).keep_ratio.values())
    return Goal(uniform, Choices(levels, cost, clamp))
