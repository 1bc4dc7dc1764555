"""The optimum of additive sensitivities, as an integer program."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import scipy.optimize
import scipy.sparse

from agmc.agents.agent import AgentContext
from agmc.agents.probing import Probing

#: After which the best plan so far is taken: a last resort, since what is found by then
#: depends on the machine.
_SECONDS = 300.0


class Additive(Probing):
    """Takes the plan whose single losses have the smallest sum within the budget.

    The first episodes measure what each decision does alone, as many as `max_levels`
    and the length of the search allow; the others play the optimum. A baseline: it
    knows nothing of how decisions act together.

    Args:
        context: needs `choices`.
        max_levels: most levels measured for each decision, >= 1.

    Raises:
        ValueError: a number is out of range, there are no choices, or the budget is on
            what is no sum over decisions and pairs of them.
    """

    def __init__(self, context: AgentContext, *, max_levels: int = 8) -> None:
        super().__init__(context, max_levels=max_levels)
        levels, cost = self.choices.levels, self.choices.cost
        least = float(cost(np.array([own[0] for own in levels])))
        if abs(_least(levels, cost) - least) > 1e-6:
            raise ValueError(
                "agent additive needs a budget on what adds up over decisions and "
                "pairs of them, as macs, params or bytes do, and one of several "
                "limits does not; take agent=greedy"
            )

    def choose(self) -> tuple[float, ...]:
        """The optimum of the integer program."""
        return additive_optimum(self.choices.levels, self.losses(), self.choices.cost)


def additive_optimum(
    levels: Sequence[Sequence[float]],
    losses: Sequence[np.ndarray],
    cost: Callable[[np.ndarray], np.ndarray],
    *,
    max_levels: int = 12,
) -> tuple[float, ...]:
    """The plan with the smallest sum of losses, to 0.2 %, whose cost is at most 1.

    The cost has to be a sum of functions of one and of two decisions, as multiply-adds
    and parameters are (channels in times channels out). With x = 1 for the chosen
    level of a decision and z = 1 for the chosen pair of levels of two decisions that
    share a term, both are linear; z follows from x through its row and column sums.

    Args:
        levels: keep ratios of every decision, ascending, 1 last.
        losses: for every decision one number a level.
        cost: of keep ratios `[..., num_decisions]`, relative to the budget.
        max_levels: of a decision; more are thinned out evenly.

    Raises:
        ValueError: no plan is within the budget, or none was found in time.
    """
    chosen = [_thinned(len(own), max_levels) for own in levels]
    ratios = [np.array(own)[places] for own, places in zip(levels, chosen, strict=True)]
    objective = [loss[places] for loss, places in zip(losses, chosen, strict=True)]
    sizes = [len(own) for own in ratios]
    starts = np.concatenate([[0], np.cumsum(sizes)])
    whole = float(cost(np.ones(len(levels))))
    single = [_alone(cost, ratios, (i,)) - whole for i in range(len(levels))]
    pairs = {
        (i, j): both
        for i in range(len(levels))
        for j in range(i)
        if np.abs(both := _together(cost, ratios, i, j, single, whole)).max() > 1e-9
    }
    num_single, count = int(starts[-1]), int(starts[-1])
    rows: list[tuple[list[int], list[float], float]] = [
        ([*range(starts[i], starts[i + 1])], [1.0] * sizes[i], 1.0)
        for i in range(len(levels))
    ]
    prices = np.concatenate(single)
    for (i, j), both in pairs.items():
        place = count + np.arange(both.size).reshape(both.shape)
        count += both.size
        prices = np.concatenate([prices, both.ravel()])
        for decision, lines in ((i, place), (j, place.T)):
            for level, line in enumerate(lines):
                columns = [*line.tolist(), int(starts[decision]) + level]
                rows.append((columns, [1.0] * len(line) + [-1.0], 0.0))
    matrix = scipy.sparse.lil_array((len(rows), count))
    for row, (columns, values, _) in enumerate(rows):
        matrix[row, columns] = values
    equal = np.array([right for *_, right in rows])
    found = scipy.optimize.milp(
        np.concatenate([*objective, np.zeros(count - num_single)]),
        constraints=[
            scipy.optimize.LinearConstraint(matrix.tocsr(), equal, equal),
            scipy.optimize.LinearConstraint(prices[None], ub=1.0 - whole),
        ],
        integrality=np.arange(count) < num_single,
        bounds=scipy.optimize.Bounds(0, 1),
        # Losses are measured, and not to a thousandth; more takes minutes for nothing.
        options={"time_limit": _SECONDS, "mip_rel_gap": 2e-3},
    )
    if found.x is None:
        raise ValueError(f"the integer program found no plan: {found.message}")
    return tuple(
        float(own[np.argmax(found.x[start : start + len(own)])])
        for own, start in zip(ratios, starts, strict=False)
    )


def _least(
    levels: Sequence[Sequence[float]], cost: Callable[[np.ndarray], np.ndarray]
) -> float:
    """What the program takes the smallest plan to cost."""
    ratios = [np.array(own[:1]) for own in levels]
    whole = float(cost(np.ones(len(levels))))
    single = [_alone(cost, ratios, (i,)) - whole for i in range(len(levels))]
    terms = [
        *single,
        *(
            _together(cost, ratios, i, j, single, whole)
            for i in range(len(levels))
            for j in range(i)
        ),
    ]
    return whole + float(sum(term.item() for term in terms))


def _thinned(count: int, most: int) -> np.ndarray:
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int))


def _alone(
    cost: Callable[[np.ndarray], np.ndarray],
    ratios: Sequence[np.ndarray],
    decisions: Sequence[int],
) -> np.ndarray:
    """Cost of all levels of some decisions, the others whole."""
    shape = [len(ratios[i]) for i in decisions]
    plans = np.ones((*shape, len(ratios)))
    for axis, i in enumerate(decisions):
        own = [1] * len(shape)
        own[axis] = -1
        plans[..., i] = ratios[i].reshape(own)
    return cost(plans)


def _together(
    cost: Callable[[np.ndarray], np.ndarray],
    ratios: Sequence[np.ndarray],
    i: int,
    j: int,
    single: Sequence[np.ndarray],
    whole: float,
) -> np.ndarray:
    """What two decisions cost together beyond what each does alone."""
    both = _alone(cost, ratios, (i, j))
    return both - whole - single[i][:, None] - single[j][None]
