"""choices_of: a budget as an agent sees it, in keep ratios."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from agmc.agents.agent import Choices
from agmc.search.bound import BoundBudget


def choices_of(bound: BoundBudget) -> Choices:
    """What an agent may know of the plans of one network under one budget."""
    sizes = np.array([decision.size for decision in bound.space])

    def cost(keep_ratios: np.ndarray) -> np.ndarray:
        counts = np.rint(np.asarray(keep_ratios) * sizes).astype(np.int64)
        return bound.usage(counts)

    def clamp(keep_ratios: Sequence[float]) -> tuple[float, ...]:
        counts = sizes.copy()
        for step, ratio in enumerate(keep_ratios):
            counts[step] = bound.clamp(ratio, counts, step)
        return tuple((counts / sizes).tolist())

    return Choices(
        tuple(tuple(n / d.size for n in d.counts) for d in bound.space), cost, clamp
    )
