"""Greedy pruning by sensitivity: the cheapest step first."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from agmc.agents.agent import AgentContext
from agmc.agents.probing import Probing


class Greedy(Probing):
    """Lowers the decision that loses least for what it saves, until the budget is met.

    The first episodes measure what each decision does alone, as many as `max_levels`
    and the length of the search allow; the others play the plan. A baseline, after Li
    et al. (arXiv 1608.08710) and NetAdapt (1804.03230), which measures again after
    every step.

    Args:
        context: needs `choices`.
        max_levels: most levels measured for each decision, >= 1.

    Raises:
        ValueError: a number is out of range, there are no choices, or no budget to go
            down to.
    """

    def __init__(self, context: AgentContext, *, max_levels: int = 8) -> None:
        whole = np.ones(context.num_decisions)
        if context.choices is not None and context.choices.cost(whole) == 0.0:
            raise ValueError(
                "agent greedy prunes until a limit is met, and there is none; set one, "
                "as budget=macs:0.5, or take another agent"
            )
        super().__init__(context, max_levels=max_levels)

    def choose(self) -> tuple[float, ...]:
        """The plan that greedy steps lead to."""
        return greedy_plan(self.choices.levels, self.losses(), self.choices.cost)


def greedy_plan(
    levels: Sequence[Sequence[float]],
    losses: Sequence[np.ndarray],
    cost: Callable[[np.ndarray], np.ndarray],
) -> tuple[float, ...]:
    """From the whole network level by level down to a cost of at most 1.

    Args:
        levels: keep ratios of every decision, ascending, 1 last.
        losses: for every decision one number a level.
        cost: of keep ratios `[..., num_decisions]`, relative to the budget.

    Returns:
        One keep ratio a decision; everything at its lowest where that is not enough.
    """
    places = [len(own) - 1 for own in levels]
    plan = np.ones(len(levels))
    while cost(plan) > 1.0 and any(places):
        lower = [i for i, place in enumerate(places) if place]
        tries = np.tile(plan, (len(lower), 1))
        for row, i in enumerate(lower):
            tries[row, i] = levels[i][places[i] - 1]
        lost = [losses[i][places[i] - 1] - losses[i][places[i]] for i in lower]
        saved = np.maximum(float(cost(plan)) - cost(tries), 1e-12)
        # A step that gains accuracy comes first, the one that saves most of these.
        rank = [
            loss / gain if loss > 0 else loss * gain
            for loss, gain in zip(lost, saved, strict=True)
        ]
        best = lower[int(np.argmin(rank))]
        places[best] -= 1
        plan[best] = levels[best][places[best]]
    return tuple(plan.tolist())
