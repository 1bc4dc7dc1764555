"""uniform_plan: the same share everywhere, the plainest plan within a budget."""

from __future__ import annotations

import numpy as np

from agmc.plan import Plan
from agmc.search.bound import BoundBudget


def uniform_keep_ratio(bound: BoundBudget) -> float:
    """The largest share, in (0, 1], that is within the limits if all decisions keep it.

    Found by bisection over plans rounded to whole channels, to within a millionth.
    """
    low, high = 0.0, 1.0
    if bound.keeps_everything or bound.usage(_rounded(bound, high)) <= 1:
        return high
    # Twenty halvings give a number that float32 holds exactly: actions are float32, and
    # rounding must not lift the ratio over the edge that the bisection leads to.
    for _ in range(20):
        middle = (low + high) / 2
        if bound.usage(_rounded(bound, middle)) <= 1:
            low = middle
        else:
            high = middle
    return low


def uniform_plan(bound: BoundBudget) -> Plan:
    """The plan of `uniform_counts`."""
    return bound.space.plan(uniform_counts(bound))


def uniform_counts(bound: BoundBudget) -> np.ndarray:
    """The same keep ratio everywhere, as large as the budget allows, then filled up.

    What rounding leaves of the budget at `uniform_keep_ratio` is used by keeping one
    notch more in decision after decision, in the order of the space, round after round
    until no notch fits. Without limits it keeps everything.
    """
    counts = _rounded(bound, uniform_keep_ratio(bound))
    filling = True
    while filling:
        filling = False
        for step, decision in enumerate(bound.space):
            larger = [count for count in decision.counts if count > counts[step]]
            raised = counts.copy()
            raised[step] = larger[0] if larger else counts[step]
            if larger and bound.usage(raised) <= 1:
                counts, filling = raised, True
    return counts


def _rounded(bound: BoundBudget, keep_ratio: float) -> np.ndarray:
    return np.array([decision.nearest(keep_ratio) for decision in bound.space])
